"""Tests of in-context reranking of whole lists: windows, depth, texts of every kind, explanations, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from icr_paper import ASKED, DOCS, close, icr, paper, run
from pydantic import ValidationError
from tiny_lm import tiny_lm

from irkit.core.errors import ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.lm.heads import Heads
from irkit.models.resolve import resolve
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.rerank.icr import Icr
from irkit.testing import check_stage


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_lm(tmp_path_factory.mktemp("lm") / "llama", layers=3))


def windowed(
    docs: int, window: int, stride: int, score: Callable[[Sequence[int]], dict[int, float]]
) -> list[int]:
    """The order of a list that windows slide over, plainly."""
    order, stop = list(range(docs)), docs
    while True:
        start = max(0, stop - window)
        scores = score(order[start:stop])
        order[start:stop] = sorted(order[start:stop], key=lambda code: -scores[code])
        if start == 0:
            return order
        stop -= stride


@pytest.mark.parametrize(("window", "stride"), [(2, None), (3, None), (4, 3), (6, 1), (7, None), (50, None)])
def test_windows(window: int, stride: int | None, llama: str, make_context: Callable[..., Context]) -> None:
    context = make_context([doc or f"flow {number}" for number, doc in enumerate(DOCS)])
    whole = icr(llama)

    def score(codes: Sequence[int]) -> dict[int, float]:
        return run(whole, context, [ASKED], codes)[0]

    order = windowed(len(DOCS), window, stride or max(window // 2, 1), score)
    (found,) = run(icr(llama, window=window, stride=stride), context, [ASKED])
    assert list(found) == order
    scores = list(found.values())
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == len(scores)
    if window >= len(DOCS):
        assert found == score(range(len(DOCS)))


def test_what_a_window_leaves_behind_keeps_its_distances(
    llama: str, make_context: Callable[..., Context]
) -> None:
    context = make_context(DOCS)
    (found,) = run(icr(llama, window=4, stride=3), context, [ASKED])
    (back,) = run(icr(llama), context, [ASKED], [3, 4, 5, 6])
    (promoted, *left) = back
    (front,) = run(icr(llama), context, [ASKED], [0, 1, 2, promoted])
    assert list(found) == [*front, *left]
    assert {code: found[code] for code in front} == front
    expected = [min(front.values()) - (back[promoted] - back[code]) for code in left]
    assert [found[code] for code in left] == pytest.approx(expected, rel=1e-5)


def test_tails_depth_and_shuffle(llama: str, make_context: Callable[..., Context]) -> None:
    context = make_context(DOCS)
    (found,) = run(icr(llama, depth=3), context, [ASKED])
    assert found.items() >= run(icr(llama), context, [ASKED], [0, 1, 2])[0].items()
    assert list(found)[3:] == [3, 4, 5, 6]
    assert np.diff(list(found.values())[2:]).tolist() == pytest.approx([-1] * 4, rel=1e-5)
    stage = icr(llama, shuffle=3)
    order = stage.given(len(DOCS), ASKED).tolist()
    assert order != sorted(order)
    (shuffled,) = run(stage, context, [ASKED])
    assert shuffled == run(icr(llama), context, [ASKED], order)[0]


hostile = st.sampled_from(
    ["", "\n", "<|end|><s>", "{0}", "\ud800", "[1] a\n\n[2] b", "北京", "\x00", "N/A", "heat " * 50]
)


@given(st.lists(hostile, min_size=1, max_size=6), hostile)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_has_a_finite_score(
    llama: str, make_context: Callable[..., Context], docs: list[str], query: str
) -> None:
    clean = [doc.encode("utf-8", "replace").decode() for doc in docs]  # what a collection holds
    (found,) = run(icr(llama), make_context(clean), [query])
    assert set(found) == set(range(len(docs))) and np.isfinite(list(found.values())).all()


def test_one_document_and_none(llama: str, make_context: Callable[..., Context]) -> None:
    context = make_context(DOCS)
    (found,) = run(icr(llama), context, [ASKED], [4])
    close(found, paper(Path(llama), ASKED, [DOCS[4]]), [4])
    assert run(icr(llama), context, [ASKED], []) == [{}]
    assert run(icr(llama, window=2), context, []) == []


def test_long_documents_are_cut_and_counted(llama: str, make_context: Callable[..., Context]) -> None:
    context = make_context(["wing " * 50_000, "heat", "drag " * 50_000])
    state_of = icr(llama, words=None).prepare(context)
    before = Rankings.from_lists([[0, 1, 2]], [[3, 2, 1]])
    for times in (1, 2):
        found = icr(llama, words=None).run(Batch(Queries.of(["heat"]), (before,)), state_of)
        assert np.isfinite(found.score).all() and context.counts["documents_cut"] == 2 * times
        icr(llama, words=None).explain("heat", before[0], state_of, 2)
        assert context.counts["documents_cut"] == 2 * times and "documents_cut" not in context.notes
    with pytest.raises(ModelError, match=r"icr, query '1': the model has 4096 positions"):
        run(icr(llama), context, ["heat " * 5000])


def test_an_explanation_adds_up(llama: str, make_context: Callable[..., Context]) -> None:
    context = make_context(DOCS)
    for options in ({}, {"depth": 4}, {"window": 3}, {"calibrate": False}, {"order": "given"}):
        stage = icr(llama, **options)
        (found,) = run(stage, context, [ASKED])
        candidates = np.arange(len(DOCS), dtype=np.int32), -np.arange(len(DOCS), dtype=np.float32)
        told = stage.explain(ASKED, candidates, stage.prepare(context), 3)
        assert [each.doc for each in told] == list(found)[:3]
        for rank, each in enumerate(told):
            number, text = "".join(each.pieces).split("]", 1)
            assert number.removeprefix("[").isdigit() and text.strip() == DOCS[each.doc]
            assert sum(each.weights) == pytest.approx(each.score)
            if "window" not in options or rank == 0:
                assert each.score == pytest.approx(found[each.doc], rel=1e-6)
        assert stage.explain(" ", candidates, stage.prepare(context), 3) == []


def test_equal_scores_are_explained_in_the_order_of_the_results(
    llama: str, make_context: Callable[..., Context]
) -> None:
    context, stage = make_context(DOCS), icr(llama)
    (found,) = run(stage, context, ["N/A"])
    candidates = np.arange(len(DOCS), dtype=np.int32), -np.arange(len(DOCS), dtype=np.float32)
    told = stage.explain("N/A", candidates, stage.prepare(context), 4)
    assert len(set(found.values())) == 1
    assert [each.doc for each in told] == list(found)[:4]


def test_heads_are_of_the_model_in_use(
    llama: str, make_context: Callable[..., Context], tmp_path: Path
) -> None:
    context = make_context(DOCS)
    there, own = context.collection, resolve(llama).fingerprint

    def noted(**facts: Any) -> str:
        Heads(((1, 2), (0, 0)), shape=(3, 4), **facts).save(tmp_path / "heads.json")
        icr(llama, heads=str(tmp_path / "heads.json")).prepare(context)
        return str(context.notes["heads"])

    plain = "2 in 2 of 3 layers"
    with pytest.raises(ModelError, match="found in another model of this shape, other") as error:
        noted(model="other", model_fingerprint="f" * 64)
    assert "irkit heads detect" in str(error.value.problems[0].hint)
    assert noted(model="other", model_fingerprint=own) == plain  # by whatever name
    assert noted(model="org/Llama") == plain  # the folder is called llama
    assert noted(model="org/Mistral-7B") == f"{plain}; found for org/Mistral-7B, used with {llama}"
    assert noted() == plain
    seen = f"{plain}; found on the queries of {there.name}, on which they are used here"
    assert noted(detection={"collection": there.name}) == seen
    assert noted(detection={"collection": "another name", "fingerprint": there.fingerprint}) == seen
    assert noted(detection={"collection": "other/train", "fingerprint": "0"}) == plain


def test_options_that_make_no_sense_are_refused(llama: str, make_context: Callable[..., Context]) -> None:
    for options, message in (
        ({"heads": ["1-1"], "layers": [0, 1]}, "heads or layers"),
        ({"layers": [2, 1]}, "lies behind"),
        ({"stride": 2}, "stride needs window"),
        ({"window": 4, "stride": 4}, "overlap"),
        ({"window": 1}, "window"),
        ({"instruction": "  "}, "instruction"),
    ):
        with pytest.raises(ValidationError, match=message):
            icr(llama, **options)
    context = make_context(DOCS)
    with pytest.raises(ModelError, match="3 layers, counted from 0; layer 3 is none"):
        icr(llama, layers=(1, 3)).prepare(context)
    with pytest.raises(ModelError, match="no head 1-4"):
        icr(llama, heads=["1-4"]).prepare(context)
    with pytest.raises(ModelError, match="no list of heads"):
        icr(llama, heads="nowhere.json").prepare(context)


def test_heads_are_part_of_the_identity(llama: str, make_context: Callable[..., Context]) -> None:
    context = make_context(DOCS)
    one, other = (icr(llama, heads=heads).identity(context) for heads in (["0-1"], ["0-2"]))
    assert one["model"] == other["model"] and one["heads"] != other["heads"]
    assert "heads" not in icr(llama).identity(context)


def test_attention_that_is_not_finite_is_refused(llama: str, make_context: Callable[..., Context]) -> None:
    stage = icr(llama)
    state = stage.prepare(make_context(DOCS))
    with torch.no_grad():
        next(state.model.model.parameters()).fill_(torch.nan)
    before = Rankings.from_lists([[0, 1]], [[2, 1]])
    with pytest.raises(ModelError, match="query '1': the attention is not finite"):
        stage.run(Batch(Queries.of([ASKED]), (before,)), state)


@pytest.mark.parametrize("options", [{}, {"window": 3, "depth": 4, "shuffle": 1}])
def test_contract(
    options: dict[str, Any], llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "icr" not in registry.stage_names():
        monkeypatch.setattr(registry, "_registered", dict(registry._registered))
        registry.register("icr")(Icr)
    monkeypatch.setattr(
        "os.cpu_count", lambda: 1
    )  # threads that wait for each other are slow on a busy machine
    check_stage(icr(llama, words=6, **options), tmp_path, other_execution={"batch_tokens": 64})


@pytest.mark.model
def test_a_real_model_finds_what_the_query_names(make_context: Callable[..., Context]) -> None:
    docs = [
        "Bread is baked from flour, water, salt and yeast.",
        "The Eiffel Tower in Paris was built in 1889 and is 330 metres high.",
        "Cats sleep for most of the day.",
        "A bicycle has two wheels and a chain.",
    ]
    stage = Icr()
    state = stage.prepare(make_context(docs))
    asked = "When was the Eiffel Tower built?"
    before = Rankings.from_lists([[0, 2, 1, 3]], [[4, 3, 2, 1]])
    found = stage.run(Batch(Queries.of([asked]), (before,)), state)
    assert found.doc[0] == 1
    (told,) = stage.explain(asked, before[0], state, 1)
    assert told.doc == 1 and "".join(told.pieces).endswith(docs[1])
    assert told.score == pytest.approx(found.score[0], rel=1e-6)
    best = sorted(zip(told.weights, told.pieces, strict=True))[-5:]
    assert {piece.strip() for _, piece in best} & {"Eiffel", "Tower", "built", "E", "iff", "el"}
