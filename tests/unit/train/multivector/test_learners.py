"""Heads for token vectors: they learn, can be killed, and what is saved gives the vectors that were trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from toy_training import Killing, toy_examples, toy_recipe

from irkit.core.errors import ConfigError, IrkitError
from irkit.models.encoder import Encoder, unit
from irkit.models.resolve import resolve
from irkit.pipeline.context import Runtime
from irkit.train.bi_encoder import with_dropout
from irkit.train.candidates import Candidates
from irkit.train.examples import Examples
from irkit.train.fit import Fitting, fit
from irkit.train.learner import Surroundings, ndcg
from irkit.train.multivector.kind import MultiVectorKind, MultiVectorOptions
from irkit.train.multivector.learner import TokenLearner, _pool
from irkit.train.multivector.learners import TrainedTokens
from irkit.train.multivector.tokens import TokenCache
from irkit.train.recipe import Recipe

VARIANTS: dict[str, dict[str, Any]] = {
    "contrastive": {},
    "xtr": {"objective": "xtr", "k_train": 8, "k_share": 0.2},
    "match": {"objective": "match"},
    "lora": {"rank": 2, "lora_lr": 0.003},
    "lora-xtr": {"rank": 2, "lora_lr": 0.003, "objective": "xtr", "k_share": 0.2, "dropout": 0.1},
}


def how(folder: Path, **more: Any) -> Fitting:
    return Fitting(folder, folder.parent, Runtime("cpu", 1), **more)


def equal(first: Path, second: Path) -> bool:
    """Whether two folders hold the same files of weights."""
    names = [sorted(path.name for path in each.glob("*.safetensors")) for each in (first, second)]
    return names[0] == names[1] != [] and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in names[0]
    )


def heads(model: Path, options: dict[str, Any], **changes: Any) -> Recipe:
    given = {"model": str(model), "dim": 8, **options}
    return toy_recipe(kind="multivector", options=None, **changes).model_copy(
        update={"options": MultiVectorOptions(**given)}
    )


def learner(model: Path, tmp_path: Path, examples: Examples | None = None, **options: Any) -> TokenLearner:
    found = MultiVectorKind.open(
        heads(model, options), examples or toy_examples(), Surroundings("cpu", tmp_path, tmp_path / "scratch")
    )
    assert isinstance(found, TokenLearner)
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_a_head_learns_and_what_is_saved_scores_as_it_did(
    tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    """MaxSim, written here, of hidden states through the saved head gives the score that training reports."""
    examples, recipe = toy_examples(), heads(tiny_encoder, VARIANTS[name], training={"epochs": 8})
    said = fit(recipe, examples, how(tmp_path / "out"))[""]
    losses = list(said["losses"].values())
    assert losses[-1] < losses[0]
    if name != "match":  # which learns from no label
        assert said["validation"]["after"]["toy"] >= said["validation"]["before"]["toy"]
    described = json.loads((tmp_path / "out" / "irkit_model.json").read_text())
    assert described["kind"] == "multivector" and described["base"]["model"] == str(tiny_encoder)
    assert described["options"]["dim"] == 8 and described["options"]["normalise"] is True
    weight = load_file(tmp_path / "out" / "token_head.safetensors")["weight"]
    assert weight.shape == (8, 32)

    encoder = Encoder(resolve(str(tiny_encoder), tmp_path), device="cpu")
    if "lora" in name:
        from peft import PeftModel

        inner = encoder.loaded.transformers_model
        encoder.loaded[0].model = PeftModel.from_pretrained(inner, str(tmp_path / "out")).eval()
    rows, pool = examples.held.tolist(), examples.pool.tolist()
    asked = encoder.tokens([examples.queries[row].text for row in rows], "query", special=False)
    found = encoder.tokens([examples.documents[doc] for doc in pool], "document")
    queries, documents = ([unit(each[i] @ weight.T) for i in range(len(each))] for each in (asked, found))
    scores = np.array([[(q @ d.T).max(axis=1).mean() for d in documents] for q in queries])
    relevant = [frozenset(examples.queries[row].positives) for row in rows]
    tolerance = 0.02 if "lora" in name else 1e-6  # float16 adapters may swap two near scores
    assert ndcg(scores, relevant, pool).mean() == pytest.approx(
        said["validation"]["after"]["toy"], abs=tolerance
    )


@pytest.mark.parametrize("prompts", [{}, {"query_prompt": "green blue ", "document_prompt": "red "}])
@pytest.mark.parametrize("name", ["contrastive", "lora"])
def test_the_encoder_gives_the_tokens_that_were_trained(
    tiny_encoder: Path, tmp_path: Path, name: str, prompts: dict[str, str]
) -> None:
    """The folder is a model: whoever opens it gets the learner's token vectors."""
    trained = learner(tiny_encoder, tmp_path, **VARIANTS[name], **prompts)
    with torch.no_grad():
        for number, group in enumerate(trained.groups(trained.recipe.training)):
            random = torch.Generator().manual_seed(number)
            for each in group["params"]:
                each.add_(0.1 * torch.randn(each.shape, generator=random))
    folder = tmp_path / "out"
    folder.mkdir()
    trained.save(folder, str(folder), {})
    opened = Encoder(resolve(str(folder), tmp_path), device="cpu")
    assert opened.token_dim == 8
    query = {} if opened.multi_vector else {"special": False}
    sides: dict[str, tuple[list[str], dict[str, bool]]] = {
        "document": (trained.examples.documents[:9], {}),
        "query": ([each.text for each in trained.examples.queries[:9]], query),
    }
    for side, (texts, special) in sides.items():
        with torch.inference_mode():
            mine = trained.tokens(range(9), side)  # type: ignore[arg-type]
        theirs = opened.tokens(texts, side, **special)  # type: ignore[arg-type]
        assert np.diff(theirs.offsets).tolist() == mine.lengths.tolist()
        assert theirs.vectors == pytest.approx(mine.vectors.numpy(), abs=5e-3)


def test_it_starts_as_the_pca_of_document_tokens(tiny_encoder: Path, tmp_path: Path) -> None:
    mine = learner(tiny_encoder, tmp_path)
    found = mine.encoder.tokens(mine.examples.documents, "document").vectors.astype(np.float64)
    _, _, directions = np.linalg.svd(found, full_matrices=False)
    head = mine.head.detach().numpy()
    assert head @ head.T == pytest.approx(np.eye(8), abs=1e-5)
    assert np.abs(head @ directions[:8].T) == pytest.approx(np.eye(8), abs=0.02)


@pytest.mark.parametrize("name", ["xtr", "lora-xtr"])
def test_killed_and_resumed_is_as_if_nothing_had_happened(
    tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    recipe = heads(tiny_encoder, VARIANTS[name], training={"epochs": 3, "checkpoint": 4})
    whole = fit(recipe, toy_examples(), how(tmp_path / "whole"))[""]
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, toy_examples(), how(tmp_path / "out", progress=Killing(10)))
    assert not (tmp_path / "out").exists()
    resumed = fit(recipe, toy_examples(), how(tmp_path / "out"))[""]
    assert equal(tmp_path / "out", tmp_path / "whole") and resumed["losses"] == whole["losses"]
    other = fit(recipe.model_copy(update={"seed": 1}), toy_examples(), how(tmp_path / "other"))[""]
    assert other["losses"] != whole["losses"]


def test_kept_tokens_are_the_encoders_and_a_killed_run_keeps_whole_parts(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irkit.train.multivector.tokens._PART", 4)
    encoder = Encoder(resolve(str(tiny_encoder), tmp_path), device="cpu")
    texts, place = toy_examples().documents[:10], Surroundings("cpu", tmp_path, tmp_path)
    whole, calls = encoder.tokens(texts, "query", special=False), []

    class Dying:
        token_dim = encoder.token_dim

        def tokens(self, some: list[str], *arguments: Any, **more: Any) -> Any:
            calls.append(len(some))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return encoder.tokens(some, *arguments, **more)

    given: Any = (Dying(), texts, "query", place, {})
    with pytest.raises(KeyboardInterrupt):
        TokenCache(*given, special=False)
    kept = TokenCache(*given, special=False)
    assert calls == [4, 4, 4, 2], "the first part is not encoded again"
    assert kept.lengths.tolist() == np.diff(whole.offsets).tolist() and len(kept) == 10
    for numbers in ([9, 0, 4, 0], list(range(10))):
        expected = np.concatenate([whole[number] for number in numbers])
        assert kept.take(numbers) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("cut", ["vectors", "lengths", "words"])
def test_a_part_that_was_cut_is_made_anew(tiny_encoder: Path, tmp_path: Path, cut: str) -> None:
    encoder: Any = Encoder(resolve(str(tiny_encoder), tmp_path), device="cpu")
    given: Any = (
        encoder,
        toy_examples().documents[:5],
        "document",
        Surroundings("cpu", tmp_path, tmp_path),
        {},
    )
    first = TokenCache(*given, special=True, words=True)
    (path,) = tmp_path.rglob(f"*.{cut}")
    raw = path.read_bytes()
    path.write_bytes(raw[:-8])
    again = TokenCache(*given, special=True, words=True)
    assert path.read_bytes() == raw
    assert np.array_equal(again.words(range(5)), first.words(range(5)))
    plain = TokenCache(*given, special=True)
    assert len(list(tmp_path.rglob("*.vectors"))) == 2 and len(list(tmp_path.rglob("*.words"))) == 1
    assert np.array_equal(plain.take([3]), again.take([3]))


def test_a_match_needs_several_documents_of_a_query() -> None:
    with pytest.raises(ConfigError, match=r"(?s)match compares what is found in several documents"):
        toy_recipe(kind="multivector", options={"objective": "match", "rank": None}, training={"group": 1})


def test_a_match_keeps_its_last_weights(tiny_encoder: Path, tmp_path: Path) -> None:
    """Held-out queries have labels, and it learns from none: they do not choose its step, nor end it early."""
    recipe = heads(
        tiny_encoder, VARIANTS["match"], training={"epochs": 4}, validation={"every": 2, "patience": 1}
    )
    said = fit(recipe, toy_examples(), how(tmp_path / "out"))[""]
    assert said["validation"]["best_step"] == said["steps"] == 20 and not said["stopped_early"]
    assert said["validation"]["kept"] == "last" and "outcome" not in said
    card = (tmp_path / "out" / "README.md").read_text()
    assert "They chose nothing:\nthe weights are those of the last step." in card
    other = fit(heads(tiny_encoder, {}, training={"epochs": 1}), toy_examples(), how(tmp_path / "other"))[""]
    assert other["validation"]["kept"] == "best"
    assert "The step was chosen on" in (tmp_path / "other" / "README.md").read_text()


def test_a_teacher_pulls_the_scores_towards_its_own(tiny_encoder: Path, tmp_path: Path) -> None:
    """A teacher that prefers the negatives raises the loss at first, and wins with enough weight."""
    plain = toy_examples()
    wrong = [replace(query, scores=(0.0, 5.0, 5.0)) for query in plain.queries]
    taught = replace(plain, queries=wrong)
    alone = learner(tiny_encoder, tmp_path, plain)
    distil = {"weight": 2.0, "temperature": 1.0}
    mine = learner(tiny_encoder, tmp_path, taught, distil=distil)
    rows = [0, 1, 2, 3]
    first, second = float(alone.loss(rows, 0).detach()), float(mine.loss(rows, 0).detach())
    assert second > first + 0.1
    with pytest.raises(ConfigError, match="no scores"):
        learner(tiny_encoder, tmp_path, plain, distil=distil)
    blind = [replace(query, scores=(float("nan"), 5.0, float("nan"))) for query in plain.queries]
    unsaid = learner(tiny_encoder, tmp_path, replace(plain, queries=blind), distil=distil)
    assert float(unsaid.loss(rows, 0).detach()) == first


def test_a_document_of_which_no_token_is_retrieved_is_not_compared_with_the_teacher(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    """The divergence of the rest, by hand: of the first query's list only two documents have a score."""
    plain = toy_examples()
    taught = replace(plain, queries=[replace(query, scores=(3.0, 1.0, 2.0)) for query in plain.queries])
    distil = {"weight": 2.0, "temperature": 0.5}
    mine = learner(tiny_encoder, tmp_path, taught, objective="xtr", distil=distil)
    drawn = Candidates([8, 2, 3], [[0, 1, 2]], np.zeros((1, 3), bool))
    row = next(
        i for i, query in enumerate(taught.queries) if (*query.positives, *query.negatives) == (8, 2, 3)
    )
    scores = torch.tensor([[0.7, 0.0, 0.4]], requires_grad=True)
    loss = mine._distilled(mine.options.distil, scores, [row], drawn)  # type: ignore[arg-type]
    wanted = np.exp(np.array([1.0, -1.0]) / 0.5)
    got = np.exp(np.array([0.7, 0.4]) / mine.recipe.training.temperature)
    p, q = wanted / wanted.sum(), got / got.sum()
    assert loss.item() == pytest.approx(2 * (p * np.log(p / q)).sum(), rel=1e-4)
    loss.backward()
    assert scores.grad is not None and scores.grad[0, 1] == 0 and scores.grad.sum().abs() < 1e-5


def test_other_relevant_documents_are_left_out_of_the_softmax(tiny_encoder: Path, tmp_path: Path) -> None:
    plain = toy_examples()
    rows = [0, 1]
    both = tuple({plain.queries[row].positives[0] for row in rows})
    lenient = replace(plain, queries=[replace(query, positives=both) for query in plain.queries])
    candidates = lambda some: learner(tiny_encoder, tmp_path, some)  # noqa: E731
    strict, loose = candidates(plain), candidates(lenient)
    loose.recipe = strict.recipe
    assert float(loose.loss(rows, 3).detach()) < float(strict.loss(rows, 3).detach())


def test_k_share_caps_what_a_token_retrieves(tiny_encoder: Path, tmp_path: Path) -> None:
    few = learner(tiny_encoder, tmp_path, objective="xtr", k_share=0.02)
    many = learner(tiny_encoder, tmp_path, objective="xtr", k_share=1.0)
    with torch.no_grad():
        asked, found = few.tokens(range(4), "query"), few.tokens(range(30), "document")
        assert (few.scores(asked, found) == 0).any() and not (many.scores(asked, found) == 0).any()


def test_a_pool_may_be_capped_and_keeps_the_queries_own(tiny_encoder: Path, tmp_path: Path) -> None:
    plain = toy_examples()
    examples = replace(plain, queries=[replace(query, also=(59,)) for query in plain.queries])
    held = [examples.queries[row] for row in examples.held]
    own = {doc for query in held for doc in (*query.positives, *query.also, *query.negatives)}
    assert np.array_equal(_pool(examples, None), examples.pool) and len(own) < 40
    capped = _pool(examples, 40)
    assert len(capped) == 40 and own < set(capped.tolist())
    assert set(_pool(examples, 5).tolist()) == own, "there may be more of them than asked for"
    blocks = learner(tiny_encoder, tmp_path, pool=40, block_tokens=16)
    whole = learner(tiny_encoder, tmp_path, pool=40)
    assert len(list(blocks._blocks())) > 3 and blocks.validate() == whole.validate()
    assert whole.facts()["pool"] == 40


def test_facts_tell_of_which_relevant_documents_a_token_is_retrieved(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irkit.stages.multivector.token_search.default_k_prime", lambda tokens: 9)
    mine = learner(tiny_encoder, tmp_path, block_tokens=16)
    with torch.inference_mode():
        asked, found = (
            mine.tokens(mine.examples.held.tolist(), "query"),
            mine.tokens(mine.pool.tolist(), "document"),
        )
    documents = np.repeat(mine.pool, found.lengths.numpy())
    shares, start = [], 0
    vectors = found.vectors.numpy().astype(np.float16).astype(np.float32)
    for row, length in zip(mine.examples.held, asked.lengths.tolist(), strict=True):
        own = asked.vectors[start : start + length].numpy()
        start += length
        best = np.argsort(-(own @ vectors.T), axis=1, kind="stable")[:, :9]
        shares.append(np.isin(mine.examples.queries[row].positives, documents[best]).mean())
    said = mine.facts()["token_retrieval"]
    assert said["k_prime"] == 9 and said["tokens"] == len(documents)
    assert said["recall"]["toy"] == pytest.approx(np.mean(shares)) and 0 < np.mean(shares) < 1


def test_texts_of_like_length_are_read_together(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = learner(tiny_encoder, tmp_path, rank=2)
    assert isinstance(mine, TrainedTokens)
    with torch.inference_mode():
        together = mine.hidden([3, 40, 3, 7], "document")
        monkeypatch.setattr("irkit.train.multivector.learners._PASS", 1)
        alone = mine.hidden([3, 40, 3, 7], "document")
    assert together.lengths.tolist() == alone.lengths.tolist()
    assert torch.allclose(together.vectors, alone.vectors, atol=1e-5)


def test_on_cuda_attention_in_training_has_one_gradient(tiny_encoder: Path, tmp_path: Path) -> None:
    """Of torch's fused attention the gradients differ from run to run there."""
    encoder = learner(tiny_encoder, tmp_path, rank=2).encoder
    cuda = torch.backends.cuda
    fused = [cuda.mem_efficient_sdp_enabled, cuda.flash_sdp_enabled, cuda.cudnn_sdp_enabled]
    before = [each() for each in fused]
    with with_dropout(encoder):
        assert [each() for each in fused] == before and encoder.loaded.training
    encoder.device = "cuda:1"
    with with_dropout(encoder):
        assert not any(each() for each in fused) and cuda.math_sdp_enabled()
    assert [each() for each in fused] == before and not encoder.loaded.training


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 4.0}, "frozen transformer makes no use of alpha"),
        ({"k_train": 8}, "contrastive makes no use of k_train"),
        ({"objective": "match", "k_train": 8}, "match makes no use of k_train"),
        ({"objective": "match", "rank": 4}, "match learns from a frozen transformer"),
        ({"objective": "match", "distil": {}}, "match makes no use of distil"),
        ({"rank": 2, "dtype": "float16"}, "trained has float32"),
    ],
)
def test_options_without_a_use_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        MultiVectorOptions(**options)


def test_a_head_is_no_wider_than_what_it_projects(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(IrkitError, match="dim is 33"):
        learner(tiny_encoder, tmp_path, dim=33)


@pytest.mark.parametrize("name", ["multivector", "multivector-smoke"])
def test_the_recipes_are_valid(name: str) -> None:
    from irkit.train.recipe import load_recipe

    recipe = load_recipe(Path(__file__).parents[4] / "pipelines" / "train" / f"{name}.yaml")
    contrastive, xtr = (recipe.variant(each) for each in ("contrastive", "xtr"))
    assert contrastive.training == xtr.training and contrastive.seed == xtr.seed
    assert [each.options.objective for each in (contrastive, xtr)] == ["contrastive", "xtr"]


@pytest.mark.parametrize("name", ["models/mine", "my models/a: b #1", "it's {odd}, [so]"])
def test_usage_names_the_folder(tiny_encoder: Path, tmp_path: Path, name: str) -> None:
    import yaml

    for options, stage in (({}, "maxsim"), ({"objective": "xtr"}, "xtr"), ({"reduce": "words"}, "colberter")):
        said = learner(tiny_encoder, tmp_path, **options).usage(name)
        assert yaml.safe_load(said) == [{stage: {"model": name}}]
