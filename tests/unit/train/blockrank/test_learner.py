"""Training attention rerankers: what is learned is what the stage reads, and it can be killed, split and drawn again."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from adapting import adapt
from blockranking import scored
from safetensors.torch import load_file
from tiny_lm import tiny_lm
from toy_training import Killing

from irkit.config.yaml import Located
from irkit.core.errors import ConfigError, ModelError
from irkit.pipeline.context import Context, Runtime
from irkit.stages.rerank.blockrank import BlockRank
from irkit.stages.rerank.blockrank_prompt import FAR
from irkit.train.blockrank.learner import BlockRankLearner
from irkit.train.examples import Example, Examples
from irkit.train.fit import Fitting, fit
from irkit.train.learner import Surroundings, expected_ndcg, ndcg
from irkit.train.recipe import Recipe, read_recipe

WORDS = [f"W{number}" for number in range(50)]
FULL = {"rank": None}


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "tiny", max_position_embeddings=FAR + 4096)


@cache
def examples(scores: bool = False) -> Examples:
    """A query has three words of its document, and of no other as many."""
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(WORDS, 7, replace=False)) for _ in range(40)]
    documents[7], documents[8] = "", "日本語 🎉 (x)   y"
    queries = []
    for i in range(32):
        others = rng.permutation([j for j in range(40) if j != i])[:9]
        asked = " ".join(rng.choice(documents[i].split() or ["nothing"], 3))
        told = (2.0, *np.linspace(1, -1, 8), np.nan) if scores else None
        queries.append(Example(asked, (i,), tuple(map(int, others)), "toy", held=i % 4 == 0, scores=told))
    return Examples(documents, queries, {}, {"sources": []})


def recipe(lm: Path, **changes: Any) -> Recipe:
    data: dict[str, Any] = {
        "name": "toy",
        "kind": "blockrank",
        "data": ["irkit/limit-synthetic"],
        "negatives": {"pipeline": ["bm25"]},
        "validation": {"every": 5, "patience": 50},
        "training": {
            "steps": 7,
            "epochs": 2,
            "batch": 4,
            "group": 4,
            "lr": 0.01,
            "checkpoint": 3,
            "temperature": 0.05,
        },
        "options": {
            "model": str(lm),
            "layer": 2,
            "rank": 4,
            "words": 5,
            "block_tokens": 120,
            "query_position": 400,
        },
    }
    if "distil" in changes.get("options", {}):
        data["teacher"] = {"pipeline": ["bm25"]}
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return read_recipe(Located(data, "recipe"))


def learner(lm: Path, tmp_path: Path, given: Examples | None = None, **changes: Any) -> BlockRankLearner:
    place = Surroundings("cpu", tmp_path, tmp_path)
    return BlockRankLearner(recipe(lm, **changes), given or examples(), place)


def trained(
    lm: Path, folder: Path, given: Examples | None = None, progress: Any = None, **changes: Any
) -> Any:
    more = {"progress": progress} if progress else {}
    how = Fitting(folder, folder.parent, Runtime("cpu", 1), **more)
    return fit(recipe(lm, **changes), given or examples(), how)[""]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("*.safetensors")
    return dict(load_file(path))


def alike(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(each, other[name]) for name, each in one.items())


def kept(lm: Path, folder: Path, **more: Any) -> Any:
    """Train with held-out scores that grow as B does, from zero: what is kept are trained weights, not the first ones."""

    def length(own: BlockRankLearner) -> dict[str, float]:
        return {"toy": sum(float(each.norm()) for name, each in own.state().items() if "lora_B" in name)}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BlockRankLearner, "validate", length)
        return trained(lm, folder, **more)


@pytest.fixture(scope="module")
def whole(lm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the recipe as it is makes, and the report of it."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, kept(lm, folder)


@pytest.mark.parametrize(
    "options",
    [
        {},
        FULL,
        {"layout": "query-free"},
        {**FULL, "layout": "query-free"},
        {"query_position": None},
        {"signal": "question", "lowercase": True},
        {"signal": "question", "layout": "query-free"},
    ],
)
def test_the_stage_scores_as_was_learned(
    lm: Path, tmp_path: Path, make_context: Callable[..., Context], options: dict[str, Any]
) -> None:
    """Weights far from the first ones, saved and merged by the stage: the same scores of the held-out lists, and the same nDCG."""
    own = learner(lm, tmp_path, options=options)
    random, folder = torch.Generator().manual_seed(4), tmp_path / "out"
    moved = {k: each + 0.05 * torch.randn(each.shape, generator=random) for k, each in own.state().items()}
    own.load({name: each.half().float() for name, each in moved.items()})
    folder.mkdir()
    own.save(folder, "models/out", {})
    codes = np.random.default_rng(3).permutation(40)
    if options.get("layout"):  # the stage shows documents under their codes
        own._maker._ids = lambda documents, draws: codes[documents].tolist()  # type: ignore[method-assign]
    context = make_context([examples().documents[number] for number in np.argsort(codes)])
    fitting = {"words": 5, "block_tokens": 120, "layer": 2, "layout": options.get("layout", "released")}
    position = options.get("query_position", 400)
    fitting |= {name: options[name] for name in ("signal", "lowercase") if name in options}
    stage = BlockRank(model=str(folder), dtype="float32", depth=None, query_position=position, **fitting)
    state = stage.prepare(context)
    rows, ndcg = examples().held.tolist(), []
    for lists, batch in own._maker.held(rows, 3):
        with torch.no_grad():
            found = own.scores(batch.to("cpu"))
        for each, mine in zip(lists, found, strict=True):
            row = next(r for r in rows if examples().queries[r].text == each.question.name)
            order = own._maker._held(row).documents
            found_by_code = scored(stage, context, codes[order], each.question.name, state)
            theirs = {number: found_by_code[codes[number]] for number in order}
            np.testing.assert_allclose(mine[: len(order)], [theirs[n] for n in order], rtol=2e-4, atol=1e-6)
            ndcg.append(
                1 / np.log2(2 + sum(theirs[n] > theirs[row] for n in order))
            )  # a query's document has its number
    assert own.validate() == {"toy": pytest.approx(np.mean(ndcg))}


def test_the_options_are_the_stages_defaults(lm: Path, whole: tuple[Path, Any]) -> None:
    said = json.loads((whole[0] / "irkit_model.json").read_text())
    assert said["options"] == {
        "layout": "released", "signal": "answer", "lowercase": False, "layer": 2, "words": 5,
        "block_tokens": 120, "query_position": 400,
    }  # fmt: skip
    assert said["kind"] == "blockrank" and said["base"]["model"] == str(lm)
    peft = json.loads((whole[0] / "adapter_config.json").read_text())
    assert peft["base_model_name_or_path"] == str(lm)
    assert {each.dtype for each in weights(whole[0]).values()} == {torch.float16}


@pytest.mark.parametrize("options", [{}, FULL])
def test_the_loss_falls(lm: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """On the lists of one step, drawn anew each time."""
    own = learner(lm, tmp_path, options=options)
    optimizer = torch.optim.AdamW(own.weights.values(), lr=0.01 if options == {} else 0.001)
    losses = []
    for _ in range(8):
        loss = own.loss([1, 2, 3, 5, 6, 7], 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_what_is_trained_is_reported(whole: tuple[Path, dict[str, Any]]) -> None:
    facts = whole[1]["facts"]["trained"]
    assert facts["layer"] == 2 and facts["parameters"] == sum(map(torch.numel, weights(whole[0]).values()))


def test_a_killed_training_gives_the_same_weights(
    lm: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        kept(lm, tmp_path / "killed", progress=Killing(5))
    assert kept(lm, tmp_path / "killed")["losses"] == whole[1]["losses"]
    assert alike(whole[0], tmp_path / "killed") and whole[1]["validation"]["best_step"] > 5
    kept(lm, tmp_path / "other", seed=1)
    assert not alike(whole[0], tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "passes", "checkpoints"),
    [({"batch_tokens": 1}, 4, 0), ({"batch_tokens": 1200}, 2, 0), ({"checkpointing": True}, 1, 2)],
)
def test_passes_and_checkpoints_change_nothing(
    lm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    passes: int,
    checkpoints: int,
) -> None:
    """A layer below the one that is read is a checkpoint."""
    found = []
    for options, calls in ((change, (passes, checkpoints)), ({}, (1, 0))):
        own = learner(lm, tmp_path, examples(True), options={"distil": {"weight": 0.5}, **options})
        shares, checkpoint = Mock(wraps=own.reader.shares), Mock(wraps=torch.utils.checkpoint.checkpoint)
        with monkeypatch.context() as patched:
            patched.setattr(own.reader, "shares", shares)
            patched.setattr("torch.utils.checkpoint.checkpoint", checkpoint)
            loss = own.loss([1, 2, 3, 5], 0)
        assert (shares.call_count, checkpoint.call_count) == calls
        (2 * loss).backward()
        found.append((loss.detach(), {name: each.grad for name, each in own.weights.items()}))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=0)
    for name, each in found[0][1].items():
        assert float((each - found[1][1][name]).norm()) <= 1e-4 * float(each.norm()), name
    assert any(each.any() for each in found[0][1].values())


def test_a_teacher_adds_to_the_loss(lm: Path, tmp_path: Path) -> None:
    plain = learner(lm, tmp_path, examples(True)).loss([1, 2, 3], 0)
    both = [
        learner(lm, tmp_path, examples(True), options={"distil": {"weight": weight}}).loss([1, 2, 3], 0)
        - plain
        for weight in (1.0, 2.0)
    ]
    assert float(both[0].detach()) > 0.01
    assert float(both[1].detach()) == pytest.approx(2 * float(both[0].detach()), rel=1e-3)


def test_matrices_alone_decay(lm: Path, tmp_path: Path) -> None:
    own = learner(lm, tmp_path, options=FULL, training={"weight_decay": 0.3})
    groups = own.groups(own.recipe.training)
    decays = {id(each): group["weight_decay"] for group in groups for each in group["params"]}
    expected = {id(each): 0.0 if each.ndim == 1 else 0.3 for each in own.weights.values()}
    assert decays == expected and {*decays.values()} == {0.0, 0.3}


def test_the_layer_is_that_behind_the_first_half(lm: Path, tmp_path: Path) -> None:
    assert learner(lm, tmp_path, options={"layer": None}).layer == 2
    own = learner(lm, tmp_path, options={"layer": 0})
    assert {name.split(".")[-3] for name in own.weights} == {"q_proj", "k_proj"}


def test_a_whole_model_is_cut(lm: Path, tmp_path: Path) -> None:
    trained(lm, tmp_path / "out", options=FULL, training={"steps": 1})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_hidden_layers"] == 3
    assert not any(".layers.3." in name for name in weights(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "irkit_model.json").read_text())["base"] is None


def test_usage_names_the_folder(lm: Path, tmp_path: Path) -> None:
    import yaml

    (first, second) = yaml.safe_load(learner(lm, tmp_path).usage("models/mine"))
    assert set(first) == {"bm25"} and second == {"blockrank": {"model": "models/mine", "depth": 4}}


def test_what_cannot_be_learned_is_refused(lm: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one document"):
        learner(lm, tmp_path, training={"group": 1})
    with pytest.raises(ConfigError, match="no layer 4"):
        learner(lm, tmp_path, options={"layer": 4})
    with pytest.raises(ConfigError, match="no scores of a teacher"):
        learner(lm, tmp_path, options={"distil": {}})
    with pytest.raises(ModelError, match="too few to read"):
        learner(lm, tmp_path, options={"block_tokens": 20}).loss([1, 2], 0)


def test_a_look_tells_how_far_it_is(lm: Path, tmp_path: Path) -> None:
    own, told = learner(lm, tmp_path, training={"batch": 3}), []
    own.looked = told.append
    own.validate()
    assert told == [3, 3, 2]


def test_an_adapter_gets_no_updates_of_its_own(lm: Path, tmp_path: Path) -> None:
    """The stage could not load them; all weights together it could."""
    from transformers import AutoModelForCausalLM

    adapt(tmp_path / "adapter", AutoModelForCausalLM.from_pretrained(lm), str(lm))
    model = {"model": str(tmp_path / "adapter")}
    with pytest.raises(ModelError, match=f"is an adapter itself(?s:.)*train on {lm}"):
        learner(lm, tmp_path, options=model)
    learner(lm, tmp_path, options={**model, **FULL})


def test_a_list_without_negatives_is_not_looked_at(lm: Path, tmp_path: Path) -> None:
    """It scores 1 whatever the model."""
    alone = Example("x", (3,), task="alone", held=True)
    given = Examples(examples().documents, [*examples().queries, alone], {}, {"sources": []})
    assert learner(lm, tmp_path, given).validate() == learner(lm, tmp_path).validate()
    bare = [Example(each.text, each.positives, held=each.held) for each in examples().queries]
    with pytest.raises(ConfigError, match="no held-out query has a negative"):
        learner(lm, tmp_path, Examples(examples().documents, bare, {}, {"sources": []}))


def test_the_report_tells_what_a_random_order_scores(lm: Path, whole: tuple[Path, Any]) -> None:
    """Of four documents, one is relevant: each place is as likely."""
    chance = np.mean(1 / np.log2([2, 3, 4, 5]))
    assert whole[1]["validation"]["chance"] == {"toy": pytest.approx(chance)}
    said = (whole[0] / "README.md").read_text()
    assert "| source | chance | before | after |" in said and f"| toy | {chance:.4f} | " in said


@pytest.mark.parametrize(("count", "relevant", "k"), [(4, 1, 10), (5, 2, 3), (6, 5, 4), (3, 3, 10)])
def test_chance_is_the_mean_over_all_orders(count: int, relevant: int, k: int) -> None:
    orders = np.array(list(permutations(range(count))), np.float64)
    values = ndcg(orders, [frozenset(range(relevant))] * len(orders), range(count), k)
    assert expected_ndcg(count, relevant, k) == pytest.approx(values.mean())
