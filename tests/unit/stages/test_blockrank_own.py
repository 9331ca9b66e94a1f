"""Tests of the options that a trained model decides: in the stage, in its key, and in an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adapting import adapt, describe
from blockranking import DOCS, QUERY, models, ranked, scored, stage
from tiny_lm import tiny_lm

from irkit.core.errors import ConfigError, ModelError
from irkit.models import catalogue as listing
from irkit.models import resolve
from irkit.pipeline.context import Context, Silent
from irkit.stages.rerank.blockrank import BlockRank
from irkit.stages.rerank.blockrank_options import Decided
from irkit.stages.rerank.icr import Icr

OWN = {
    "layout": "query-free",
    "signal": "question",
    "lowercase": True,
    "layer": 1,
    "words": 4,
    "block_tokens": 60,
    "query_position": 300,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models(tmp_path_factory.mktemp("models"))()


@pytest.fixture
def shipped(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what makes the model ``irkit/tiny`` with such options."""
    monkeypatch.setattr(listing, "SHIPPED", tmp_path / "shipped")

    def make(options: Mapping[str, Any] = OWN) -> Path:
        from transformers import AutoModelForCausalLM

        folder = tmp_path / "shipped" / "tiny"
        adapt(folder, AutoModelForCausalLM.from_pretrained(base), str(base))
        describe(folder, "blockrank", (str(base), resolve(str(base)).fingerprint), options)
        listing._shipped.cache_clear()
        return folder

    return make


def test_the_options_are_the_models_own(
    shipped: Callable[..., Path], base: Path, make_context: Callable[..., Context]
) -> None:
    folder, context, docs = shipped(), make_context(DOCS), [0, 2, 4, 7]
    own = BlockRank(model="irkit/tiny", dtype="float32")
    state = own.prepare(context)
    assert state.heads == {1: (0, 1, 2, 3)}
    assert (state.decided.query_position, state.decided.words, state.decided.block_tokens) == (300, 4, 60)
    assert context.notes["trained"] == (
        "layout query-free, signal question, lowercase True, layer 1, block_tokens 60, query_position 300, words 4"
    )
    assert context.notes["base"] == str(base)
    assert "trained_for" not in context.notes
    given = BlockRank(model="irkit/tiny", dtype="float32", **OWN)
    assert scored(own, context, docs) == scored(given, context, docs)
    for option, value in {"layout": "released", "layer": 2, "words": 1, "block_tokens": 45}.items():
        other = BlockRank(model="irkit/tiny", dtype="float32", **{option: value})
        rest = BlockRank(model="irkit/tiny", dtype="float32", **{**OWN, option: value})
        assert scored(other, context, docs) == scored(rest, context, docs) != scored(own, context, docs)
    assert own.explain(QUERY, ranked(docs)[0], state, 1)[0].pieces
    plain = scored(stage(base, **OWN), context, docs)
    assert plain != pytest.approx(scored(given, context, docs), rel=1e-3)  # the updates are in it
    assert scored(stage(folder), context, docs) == scored(own, context, docs)


def test_the_key_says_what_the_model_decides(
    shipped: Callable[..., Path], base: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(DOCS)
    shipped()
    before = BlockRank(model="irkit/tiny").identity(context)
    assert before["own"] == OWN
    assert BlockRank(model="irkit/tiny", layer=1, words=7).identity(context)["own"] == {
        name: value for name, value in OWN.items() if name not in ("layer", "words")
    }
    assert "layer" not in BlockRank(model="irkit/tiny", heads=["1-0"]).identity(context)["own"]
    shipped({**OWN, "layer": 2})
    assert BlockRank(model="irkit/tiny").identity(context)["own"]["layer"] == 2
    shipped({"words": None, "query_position": None})
    assert BlockRank(model="irkit/tiny").identity(context)["own"] == {"words": None}
    assert "own" not in BlockRank(model=str(base)).identity(context)


def test_without_a_trained_model_everything_is_as_it_was(
    base: Path, make_context: Callable[..., Context]
) -> None:
    """The options of stored results, which must go on being found, and their values."""
    meant = stage(base).meaning()
    assert {name: meant[name] for name in OWN} == {
        "layout": "released",
        "signal": "answer",
        "lowercase": False,
        "layer": None,
        "words": 300,
        "block_tokens": 512,
        "query_position": None,
    }
    assert set(meant) == {
        *OWN,
        "model",
        "depth",
        "shuffle",
        "dtype",
        "trust_remote_code",
        "heads",
        "stable_ids",
    }
    assert stage(base, words=None).meaning()["words"] is None
    context = make_context(DOCS)
    explicit = stage(base, layout="released", words=300, block_tokens=512)
    assert scored(stage(base), context, [0, 2, 7]) == scored(explicit, context, [0, 2, 7])
    assert explicit.meaning() == meant
    again = BlockRank(**stage(base).model_dump(mode="json"))
    assert again == stage(base)
    assert again.decided(context.workspace) == stage(base).decided(context.workspace)


def test_documents_are_kept_in_the_layout_that_the_model_decides(
    shipped: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    shipped()
    context = make_context(DOCS)
    kept = BlockRank(model="irkit/tiny", dtype="float32", cache_gb=0.01)
    assert kept.faults(context.workspace) == []
    assert kept.prepare(context).kept is not None
    shipped({"layout": "released"})
    with pytest.raises(ConfigError, match="in layout query-free only"):
        kept.prepare(context)
    assert [option for option, _ in kept.faults(context.workspace)] == ["cache_gb"]
    free = BlockRank(model="irkit/tiny", cache_gb=0.01, layout="query-free")
    assert free.faults(context.workspace) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layer": -1}, "says of layer"),
        ({"layout": "sideways"}, "says of layout"),
        ({"words": "x"}, "of words"),
    ],
)
def test_a_model_that_says_what_is_no_option(
    shipped: Callable[..., Path], make_context: Callable[..., Context], options: dict[str, Any], told: str
) -> None:
    shipped(options)
    with pytest.raises(ModelError, match=told):
        BlockRank(model="irkit/tiny").identity(make_context(DOCS))


def test_icr_reads_such_a_model_and_says_what_it_is_for(
    shipped: Callable[..., Path], base: Path, make_context: Callable[..., Context]
) -> None:
    shipped()
    context = make_context(DOCS)
    icr, plain = (Icr(model=name, dtype="float32", depth=None) for name in ("irkit/tiny", str(base)))
    found, before = (scored(each, make_context(DOCS), [0, 2, 7]) for each in (icr, plain))  # type: ignore[arg-type]
    assert found.keys() == before.keys()
    assert found != before
    icr.prepare(context)
    assert context.notes["trained_for"].startswith("blockrank")
    assert "own" not in icr.identity(context)


def test_a_whole_trained_model_decides_too(tmp_path: Path, make_context: Callable[..., Context]) -> None:
    folder = describe(tiny_lm(tmp_path / "whole", layers=2), "blockrank", None, {"layer": 1, "words": 3})
    state = stage(folder).prepare(make_context(DOCS))
    assert (state.heads, state.decided.words) == ({1: (0, 1, 2, 3)}, 3)


class Saying(Silent):
    """What the user is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_the_user_is_told_once_of_what_is_against_the_training(
    shipped: Callable[..., Path], base: Path, make_context: Callable[..., Context]
) -> None:
    shipped()
    context = replace(make_context(DOCS), progress=(told := Saying()))
    good = ({}, {"layout": "query-free", "layer": 1}, {"words": 7}, {"heads": ["1-0"]})
    for options in good:
        BlockRank(model="irkit/tiny", dtype="float32", **options).prepare(context)  # type: ignore[arg-type]
    stage(base, layout="query-free", layer=0).prepare(context)
    assert told.said == [] and "not_as_trained" not in context.notes
    for _ in range(2):
        BlockRank(model="irkit/tiny", dtype="float32", layout="released", layer=0).prepare(context)
    assert context.notes["not_as_trained"] == "trained with layout query-free, layer 1"
    (said,) = told.said
    assert said.startswith(
        "warning: irkit/tiny was trained with layout query-free, layer 1: leave layout and"
    )
    for _ in range(2):
        Icr(model="irkit/tiny", dtype="float32").prepare(context)
    assert len(told.said) == 2 and "irkit/tiny was trained for blockrank: this stage" in told.said[1]
    BlockRank(model="irkit/tiny", dtype="float32", signal="answer", lowercase=False).prepare(context)
    assert "irkit/tiny was trained with signal question, lowercase True" in told.said[2]
    assert BlockRank(model="irkit/tiny", layer=0).identity(context)["own"] == {
        name: value for name, value in OWN.items() if name != "layer"
    }


def test_what_a_trained_model_does_not_say_it_learnt_as_irkit_has_it(
    shipped: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    shipped({"layer": 1})
    given = {"layout": "query-free", "signal": "question", "lowercase": "capitals", "layer": 1}
    learnt = {"layout": "released", "signal": "answer", "lowercase": False}
    assert BlockRank(model="irkit/tiny", **given).decided(tmp_path).against == learnt  # type: ignore[arg-type]
    assert stage(base, **given).decided(tmp_path).against == {}


@pytest.mark.parametrize("signal", ["answer", "question"])
def test_the_tokens_that_are_decided_are_read(
    base: Path, make_context: Callable[..., Context], signal: Any
) -> None:
    state = stage(base, signal=signal).prepare(make_context(DOCS))
    asked = state.decided.question("q", QUERY, state.model, state.frame)
    read = state.model.tokenizer.decode(asked.last[slice(*asked.read)].tolist()).lstrip()
    assert read.startswith(QUERY) if signal == "question" else QUERY not in read
    assert read.endswith("[")


@pytest.mark.parametrize(
    ("lowercase", "read"),
    [
        (False, ["WAVES IN A GUIDE", "Waves in a Guide", "HIV", "7 8 9 10"]),
        (True, ["waves in a guide", "waves in a guide", "hiv", "7 8 9 10"]),
        ("capitals", ["waves in a guide", "Waves in a Guide", "HIV", "7 8 9 10"]),
    ],
)
def test_the_case_that_is_read(lowercase: Any, read: list[str]) -> None:
    given = ["WAVES IN A GUIDE", "Waves in a Guide", "HIV", "7 8 9 10"]
    assert list(map(Decided(lowercase=lowercase).passage, given)) == read
