"""ColBERTer's heads: what is saved is a ColBERTer that scores as training did, and drops what the gates dropped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_training import toy_examples
from word_heads import learner, opened, recipe

from irkit.core.errors import ModelError
from irkit.core.fingerprint import file_sha256
from irkit.core.queries import Queries
from irkit.models import catalogue as listing
from irkit.models.colberter_trained import HEADS, WordEncoder
from irkit.models.kinds import model_type
from irkit.models.opening import open_encoder
from irkit.models.resolve import resolve
from irkit.models.trained import ADAPTER, ADAPTER_WEIGHTS, DESCRIPTION
from irkit.pipeline.context import Runtime
from irkit.stages.multivector.colberter import Colberter
from irkit.train.candidates import Candidates
from irkit.train.distil import Distil
from irkit.train.fit import Fitting, fit
from irkit.train.learner import ndcg
from irkit.train.multivector.kind import MultiVectorOptions
from irkit.train.multivector.word_learners import _merged
from irkit.train.multivector.words import WordHeads

WAYS = pytest.mark.parametrize(
    "way", [{}, {"rank": 2}, {"objective": "match", "gate_l1": 0.0}], ids=["frozen", "lora", "match"]
)


def shaken(model: Path, folder: Path, **way: Any) -> WordHeads:
    """Return a learner with weights far from the first ones, whose gates drop words, saved in ``folder / "out"``."""
    trained = learner(model, folder, **way)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for each in trained.weights.values():
            each.add_(0.3 * torch.randn(each.shape, generator=random))
        trained.heads["stop_word_reducer.bias"].fill_(100)
        gates = trained.reduced(range(9), "document")[2]
        trained.heads["stop_word_reducer.bias"].sub_(gates.quantile(0.4))
    (folder / "out").mkdir()
    trained.save(folder / "out", "out", {})
    return trained


def fused(model: WordEncoder, queries: list[str], documents: list[str]) -> np.ndarray:
    """The paper's score, as loops."""
    words = [model.tokens(texts, side) for texts, side in ((queries, "query"), (documents, "document"))]  # type: ignore[arg-type]
    whole = [model.vectors(texts, side) for texts, side in ((queries, "query"), (documents, "document"))]  # type: ignore[arg-type]
    share, scores = model.merge_weight, np.zeros((len(queries), len(documents)))
    for q in range(len(queries)):
        for d in range(len(documents)):
            best = (words[0][q] @ words[1][d].T).max(axis=1, initial=-np.inf) if len(words[1][d]) else 0.0
            scores[q, d] = share * (whole[0][q] @ whole[1][d]) + (1 - share) * np.sum(best)
    return scores


@WAYS
def test_it_learns_and_the_saved_model_scores_as_it_did(
    tiny_encoder: Path, tmp_path: Path, way: dict[str, Any]
) -> None:
    examples = toy_examples()
    how = Fitting(tmp_path / "out", tmp_path, Runtime("cpu", 1))
    said = fit(recipe(tiny_encoder, **way), examples, how)[""]
    losses = list(said["losses"].values())
    assert losses[-1] < 0.9 * losses[0]
    if "objective" in way:  # what is right is nothing that a match can learn
        assert said["validation"]["best_step"] == said["steps"]
    else:
        assert said["validation"]["after"]["toy"] > said["validation"]["before"]["toy"]
    rows, pool = examples.held.tolist(), examples.pool.tolist()
    queries, documents = [examples.queries[row].text for row in rows], [examples.documents[d] for d in pool]
    scores = fused(opened(tmp_path / "out"), queries, documents)
    relevant = [frozenset(examples.queries[row].positives) for row in rows]
    # tokens are kept in float16 while training, and updates saved in it
    assert ndcg(scores, relevant, pool).mean() == pytest.approx(said["validation"]["after"]["toy"], abs=0.02)
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) < 100_000


@WAYS
def test_the_folder_gives_what_was_trained(tiny_encoder: Path, tmp_path: Path, way: dict[str, Any]) -> None:
    trained = shaken(tiny_encoder, tmp_path, **way)
    model, examples = opened(tmp_path / "out"), trained.examples
    assert (model.dim, model.token_dim) == (12, 8)
    texts = {"query": [each.text for each in examples.queries[:9]], "document": examples.documents[:9]}
    found = {}
    for side in ("query", "document"):
        with torch.inference_mode():
            whole, words = found[side] = trained.encoded(range(9), side)  # type: ignore[arg-type]
        theirs = model.tokens(texts[side], side)  # type: ignore[arg-type]
        assert np.diff(theirs.offsets).tolist() == words.lengths.tolist()
        np.testing.assert_allclose(theirs.vectors, words.vectors.numpy(), rtol=5e-3, atol=0.01)
        np.testing.assert_allclose(model.vectors(texts[side], side), whole.numpy(), rtol=5e-3, atol=0.01)  # type: ignore[arg-type]
    assert 0 < found["document"][1].lengths.sum() < 18, "the gates are to drop some of the two words a text"
    with torch.inference_mode():
        ours = trained.ranked(found["query"], found["document"]).numpy()
    np.testing.assert_allclose(fused(model, texts["query"], texts["document"]), ours, atol=0.02)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {HEADS, DESCRIPTION} | (
        {ADAPTER, ADAPTER_WEIGHTS, "README.md"} & files if "rank" in way else set()
    )
    assert json.loads((tmp_path / "out" / DESCRIPTION).read_text())["base"]["model"] == str(tiny_encoder)
    assert model_type(tmp_path / "out") == "ColBERTer"


@WAYS
def test_the_stage_finds_by_name_what_was_trained(
    tiny_encoder: Path,
    tmp_path: Path,
    make_context: Any,
    monkeypatch: pytest.MonkeyPatch,
    way: dict[str, Any],
) -> None:
    trained = shaken(tiny_encoder, tmp_path, **way)
    shelf = tmp_path / "shipped"
    shelf.mkdir()
    (tmp_path / "out").rename(shelf / "tiny-words")
    monkeypatch.setattr(listing, "SHIPPED", shelf)
    documents, queries = trained.examples.documents[:9], trained.examples.queries[:4]
    stage = Colberter(model="irkit/tiny-words", k=9)
    state = stage.prepare(make_context(documents))
    assert state.weight == pytest.approx(float(trained.heads["score_merger"].detach().sigmoid()))
    found = stage.search(Queries.of([each.text for each in queries]), 9, state)
    with torch.inference_mode():
        ours = trained.ranked(trained.encoded(range(4), "query"), trained.encoded(range(9), "document"))
        full = (
            trained.tokens(range(9), "document").lengths > 0
        ).numpy()  # a search puts wordless documents last
    for query, (codes, scores) in enumerate(found):
        assert sorted(codes.tolist()) == list(range(9))
        there = full[codes]
        np.testing.assert_allclose(scores[there], ours.numpy()[query][codes][there], atol=0.03)


def test_batches_and_threads_change_nothing(tiny_encoder: Path, tmp_path: Path) -> None:
    trained = shaken(tiny_encoder, tmp_path, rank=2)
    texts = [*trained.examples.documents[:7], "", "one red cat " * 20]
    model = resolve(str(tmp_path / "out"))
    first = open_encoder(model, device="cpu").tokens(texts, "document", words=True)
    assert first.words is not None
    assert len(first[7]) == 0
    for batch_size, threads in ((1, 2), (3, 1)):
        again = open_encoder(model, device="cpu", batch_size=batch_size, threads=threads)
        found = again.tokens(texts, "document", words=True)
        assert np.array_equal(found.vectors, first.vectors)
        assert np.array_equal(found.words, first.words)  # type: ignore[arg-type]


def test_words_are_merged_in_training_as_in_search(tiny_encoder: Path, tmp_path: Path) -> None:
    vectors = torch.arange(24.0).view(2, 4, 3)
    found = _merged(vectors, np.array([[0, 7, 5, 7], [5, 0, 0, 9]], np.int64))
    assert found.lengths.tolist() == [2, 2]
    expected = [(vectors[0, 1] + vectors[0, 3]) / 2, vectors[0, 2], vectors[1, 0], vectors[1, 3]]
    assert torch.equal(found.vectors, torch.stack(expected))
    none = _merged(vectors, np.zeros((2, 4), np.int64))
    assert none.lengths.tolist() == [0, 0]
    frozen, updated = (
        learner(tiny_encoder, tmp_path / name, rank=rank) for name, rank in (("a", None), ("b", 2))
    )
    for side in ("query", "document"):
        kept, read = (each.states(range(9), side) for each in (frozen, updated))  # type: ignore[arg-type]
        np.testing.assert_allclose(kept[0], read[0].detach(), atol=1e-5)
        np.testing.assert_allclose(kept[1].vectors, read[1].vectors.detach(), atol=1e-3)


def test_gates_drop_words_of_documents_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    mine = learner(tiny_encoder, tmp_path)
    assert mine.facts()["words_kept"] == 1.0 and mine.facts()["sentence_share"] == pytest.approx(0.8)
    before, asked = mine.tokens(range(5), "document"), mine.tokens(range(5), "query")
    with torch.no_grad():
        mine.heads["stop_word_reducer.weight"].normal_(generator=torch.Generator().manual_seed(1))
        sums = before.vectors @ mine.heads["stop_word_reducer.weight"][0]
        mine.heads["stop_word_reducer.bias"].copy_(-sums.median())  # half of the words lie below
    after = mine.tokens(range(5), "document")
    assert 0 < len(after.vectors) < len(before.vectors)
    assert 0 < mine.facts()["words_kept"] < 1
    assert mine.tokens(range(5), "query").lengths.tolist() == asked.lengths.tolist()
    with torch.no_grad():
        mine.heads["stop_word_reducer.bias"].fill_(-100)
    assert mine.tokens(range(5), "document").lengths.tolist() == [0] * 5
    assert np.isfinite(float(mine.loss([0, 1, 2], 0).detach()))
    assert 0 <= mine.validate()["toy"] <= 1, "the sentence vectors remain"


def test_l1_closes_gates(tiny_encoder: Path, tmp_path: Path) -> None:
    free, bound = learner(tiny_encoder, tmp_path, gate_l1=0.0), learner(tiny_encoder, tmp_path, gate_l1=0.5)
    difference = (bound.loss([0, 1, 2, 3], 0) - free.loss([0, 1, 2, 3], 0)).item()
    assert difference == pytest.approx(0.5, abs=1e-5)
    slopes = []
    for each in (free, bound):
        each.loss([0, 1, 2, 3], 0).backward()
        slope = each.heads["stop_word_reducer.bias"].grad
        assert slope is not None
        slopes.append(float(slope))
    assert slopes[1] - slopes[0] == pytest.approx(0.5, abs=1e-4)


@WAYS
def test_the_same_seed_gives_the_same_model(tiny_encoder: Path, tmp_path: Path, way: dict[str, Any]) -> None:
    for name in ("one", "two"):
        fit(
            recipe(tiny_encoder, **way),
            toy_examples(),
            Fitting(tmp_path / name, tmp_path, Runtime("cpu", 1)),
        )
    for file in (HEADS, *([ADAPTER_WEIGHTS] if "rank" in way else [])):
        one, two = (file_sha256(tmp_path / name / file) for name in ("one", "two"))
        assert one == two


def test_a_teacher_is_learnt_from(tiny_encoder: Path, tmp_path: Path) -> None:
    examples = toy_examples()
    taught = [
        replace(each, scores=(0.0, 1.0, 2.0)) for each in examples.queries
    ]  # the relevant one is the worst
    told = replace(examples, queries=taught)
    plain = learner(tiny_encoder, tmp_path, told)
    mine = learner(tiny_encoder, tmp_path, told, distil=Distil(weight=3.0))
    rows = [0, 1, 2, 3]
    divergence = mine.loss(rows, 0) - plain.loss(rows, 0)
    assert divergence.item() > 0
    divergence.backward()
    for weight in (mine.head, mine.heads["score_merger"], mine.heads["compressor_retrieval.weight"]):
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0


def test_sentence_vectors_learn_from_the_teacher_too(tiny_encoder: Path, tmp_path: Path) -> None:
    """A teacher adds its divergence from the fused score and from that of the sentence vectors alone."""
    plain = toy_examples()
    told = replace(plain, queries=[replace(query, scores=(3.0, 1.0, 2.0)) for query in plain.queries])
    distil, rows = Distil(weight=3.0), [0, 1, 2, 3]
    mine, alone = learner(tiny_encoder, tmp_path, told, distil=distil), learner(tiny_encoder, tmp_path, told)
    drawn = Candidates.draw(mine.recipe, told, rows, 0)
    fused, whole = mine.judged(rows, drawn.documents)[0]
    both = mine._distilled(distil, fused, rows, drawn) + mine._distilled(distil, whole, rows, drawn)
    added = float(mine.loss(rows, 0).detach()) - float(alone.loss(rows, 0).detach())
    assert added == pytest.approx(float(both.detach()), rel=1e-4) and added > 0


def test_sentence_vectors_have_a_loss_of_their_own(tiny_encoder: Path, tmp_path: Path) -> None:
    """They learn even where the fused score makes no use of them."""
    mine = learner(tiny_encoder, tmp_path)
    mine.heads["score_merger"].data.fill_(-200)
    mine.loss([0, 1, 2, 3], 0).backward()
    slope = mine.heads["compressor_retrieval.weight"].grad
    assert slope is not None and slope.abs().sum() > 0


def test_gates_have_a_rate_of_their_own_and_matrices_alone_decay(tiny_encoder: Path, tmp_path: Path) -> None:
    mine = learner(tiny_encoder, tmp_path, gate_lr=0.5)
    groups = mine.groups(mine.recipe.training.model_copy(update={"lr": 0.1, "weight_decay": 0.3}))
    of = {id(each): (group["lr"], group["weight_decay"]) for group in groups for each in group["params"]}
    assert {name: of[id(each)] for name, each in mine.weights.items()} == {
        "head": (0.1, 0.3),
        "compressor.bias": (0.1, 0.0),
        "compressor_retrieval.weight": (0.1, 0.3),
        "compressor_retrieval.bias": (0.1, 0.0),
        "stop_word_reducer.weight": (0.5, 0.0),
        "stop_word_reducer.bias": (0.5, 0.0),
        "score_merger": (0.5, 0.0),
    }


@pytest.mark.parametrize("lost", [HEADS, ADAPTER, ADAPTER_WEIGHTS])
def test_a_missing_file_is_an_error(tiny_encoder: Path, tmp_path: Path, lost: str) -> None:
    shaken(tiny_encoder, tmp_path, rank=2)
    (tmp_path / "out" / lost).unlink()
    with pytest.raises(ModelError, match=r"no heads|updates .* are missing|has no weights"):
        opened(tmp_path / "out")


def test_heads_that_do_not_fit_are_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shaken(tiny_encoder, tmp_path)
    file = tmp_path / "out" / HEADS
    heads = load_file(file)
    for wrong in (
        {**heads, "compressor.weight": torch.zeros(8, 31)},
        {**heads, "compressor.bias": torch.zeros(0)},
        {**heads, "mini_compressor.bias": torch.zeros(1)},
        {name: each for name, each in heads.items() if name != "score_merger"},
        {**heads, "score_merger": torch.tensor([float("nan")])},
    ):
        save_file(wrong, file)
        with pytest.raises(ModelError, match="the heads do not fit"):
            opened(tmp_path / "out")
    file.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="the heads are damaged"):
        opened(tmp_path / "out")


def test_another_base_is_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_encoder, base)
    shaken(base, tmp_path)
    said = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
    (base / "new.json").write_text("{}")
    with pytest.raises(ModelError, match="trained on another"):
        opened(tmp_path / "out")
    (tmp_path / "out" / DESCRIPTION).write_text(json.dumps(said | {"base": None}))
    with pytest.raises(ModelError, match="name no base model"):
        opened(tmp_path / "out")


def test_texts_are_read_as_in_training(tiny_encoder: Path, tmp_path: Path) -> None:
    trained = learner(tiny_encoder, tmp_path, max_length=6, query_prompt="green blue ")
    (tmp_path / "out").mkdir()
    trained.save(tmp_path / "out", "out", {})
    model, text = opened(tmp_path / "out"), "one two three four five six seven eight"
    assert len(model.tokens([text], "document").vectors) == 4
    asked = model.tokens(["cat"], "query").vectors
    plain = open_encoder(resolve(str(tmp_path / "out")), device="cpu", prompts={"query": ""})
    assert (len(asked), len(plain.tokens(["cat"], "query").vectors)) == (3, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reduce": "words", "similarity": "dot"}, "words makes no use of similarity"),
        ({"reduce": "words", "objective": "xtr"}, "words makes no use of objective: xtr"),
        ({"gate_l1": 0.2}, "without reduce there is no use of gate_l1"),
    ],
)
def test_options_without_a_use_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MultiVectorOptions(**options)
