"""Tests of BlockRank as a stage: its options, its prompt, long and hostile texts, errors and explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blockranking import DOCS, INSTRUCTION, QUERY, models, ranked, scored, stage
from pydantic import ValidationError

from irkit.core.errors import ConfigError, ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.lm.heads import Heads
from irkit.models.lm.kept import KeptDocuments
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.rerank.blockrank import BlockRank
from irkit.stages.rerank.blockrank_prompt import Frame, Question
from irkit.stages.rerank.blockrank_scores import Asked, groups
from irkit.testing import check_stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    return models(tmp_path_factory.mktemp("models"))


def test_the_layer_is_the_last_of_the_first_65_percent(
    folder: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    class Shape:
        heads = 2

        def __init__(self, layers: int) -> None:
            self.layers = layers

    model, context = stage(folder()), make_context(DOCS)
    layers = [next(iter(model._read_heads(Shape(count), context, None))) for count in (32, 30, 4, 1)]  # type: ignore[arg-type]
    assert layers == [20, 19, 2, 0]
    with pytest.raises(ConfigError, match="no layer 4: it has 4"):
        stage(folder(), layer=4).prepare(context)


def test_some_heads(folder: Callable[..., Path], make_context: Callable[..., Context]) -> None:
    context, docs = make_context(DOCS), [0, 2, 7]
    every = {layer: scored(stage(folder(), layer=layer), context, docs) for layer in (1, 2)}
    both = scored(
        stage(folder(), heads=[f"{layer}-{head}" for layer in (1, 2) for head in range(4)]), context, docs
    )
    assert both == pytest.approx({code: (every[1][code] + every[2][code]) / 2 for code in docs}, rel=1e-5)
    parts = [scored(stage(folder(), heads=[f"2-{head}"]), context, docs) for head in range(4)]
    assert every[2] == pytest.approx(
        {code: np.mean([part[code] for part in parts]) for code in docs}, rel=1e-5
    )
    identity = [stage(folder(), heads=heads).identity(context)["heads"] for heads in (["2-1"], ["2-0"])]
    assert identity[0] != identity[1]
    with pytest.raises(ModelError, match="no head 9-0"):
        stage(folder(), heads=["9-0"]).prepare(context)
    with pytest.raises(ValidationError, match="give one of them"):
        stage(folder(), heads=["2-0"], layer=2)


@pytest.mark.parametrize(("layout", "limit"), [("released", 0), ("query-free", 0), ("query-free", 1 << 26)])
def test_queries_share_passes_and_change_nothing(
    folder: Callable[..., Path],
    make_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    limit: int,
) -> None:
    context, model = make_context(DOCS), stage(folder(), layout=layout)
    texts = [QUERY, "N/A", "{0} %s {braces}\n\n", "日本語 🎉", "<|end|><s> N/A", QUERY]
    lists = [[0, 1, 2], [3], [], [5, 4, 7, 1], [6, 0], [2, 1, 0]]
    before = Rankings.from_lists(lists, [-np.arange(len(docs)) for docs in lists])
    batch = Batch(Queries.of(texts), (before,))
    state = model.prepare(context)
    found = model.run(batch, state)
    for row, docs in enumerate(lists):
        alone = model.run(Batch(batch.queries.take([row]), (before.take([row]),)), state)
        assert alone == found.take([row])
        assert sorted(found[row][0].tolist()) == sorted(docs)
        assert np.isfinite(found[row][1]).all()
        assert not docs or found[row][1].sum() == pytest.approx(1, abs=1e-6)
    assert found[1][1] == pytest.approx([1], abs=1e-6)
    state.model.device = "cpu:0"  # where queries share passes
    if layout == "query-free":
        state = replace(
            state,
            kept=KeptDocuments(state.model, state.frame.first(state.model, None), layers=3, limit=limit),
        )
    read, reads = state.model.read, []

    def counted(*given: Any, **options: Any) -> None:
        reads.append(len(options.get("reads", [])))
        read(*given, **options)

    monkeypatch.setattr(state.model, "read", counted)
    packed = model.run(batch, state)
    assert [each for each in reads if each] == [5], "one pass for all queries that have documents"
    for row in range(len(lists)):
        one, other = (
            dict(zip(*(part.tolist() for part in some[row]), strict=True)) for some in (found, packed)
        )
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_a_query_of_bytes_that_are_no_text_is_read(
    folder: Callable[..., Path], make_context: Callable[..., Context], layout: str
) -> None:
    model, context = stage(folder(), layout=layout), make_context(DOCS)
    before = Rankings.from_lists([[0, 2, 7]], [[3, 2, 1]])
    state = model.prepare(context)
    found, expected = (
        model.run(Batch(Queries.of([text]), (before,)), state) for text in ("a \udcff b", "a \ufffd b")
    )
    assert found == expected
    assert model.explain("a \udcff b", before[0], state, 3)


def test_the_end_of_the_ranking_stays(
    folder: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    context, docs = make_context(DOCS), [5, 0, 2, 7, 4, 6]
    found = scored(stage(folder(), depth=3), context, docs)
    assert list(found)[3:] == [7, 4, 6]
    assert {code: found[code] for code in docs[:3]} == scored(stage(folder()), context, docs[:3])
    assert np.diff([found[code] for code in (7, 4, 6)]) == pytest.approx([-1, -1])


@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_long_documents_are_cut_and_counted(
    folder: Callable[..., Path], make_context: Callable[..., Context], layout: str
) -> None:
    context = make_context(["wing " * 50_000, "lift " * 400, "drag"])
    model = stage(folder(), layout=layout, words=None, block_tokens=100, stable_ids=False)
    state = model.prepare(context)
    found = scored(model, context, [0, 1, 2], state=state)
    assert context.counts["documents_cut"] == 2
    model.explain("lift", ranked([0, 1, 2])[0], state, top=3)
    assert context.counts["documents_cut"] == 2
    # the prompt of the words that are left has the same tokens
    again = make_context(["wing " * 200, "lift " * 300, "drag"])
    assert scored(model, again, [0, 1, 2]) == found
    scored(model, context, [0, 2], state=state)
    assert context.counts["documents_cut"] == 3
    assert "documents_cut" not in context.notes
    free = stage(folder(), layout=layout, words=5, stable_ids=False)
    assert scored(free, context, [0, 2]) == scored(model, make_context(["wing " * 5, "", "drag"]), [0, 2])


@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_a_query_that_leaves_no_room_is_named(
    folder: Callable[..., Path], make_context: Callable[..., Context], layout: str
) -> None:
    model = stage(folder(), layout=layout)
    context = make_context(DOCS)
    with pytest.raises(ModelError, match="room for 0 tokens") as error:
        scored(model, context, [0], "shock " * 5000)
    assert error.value.problems[0].where == "query 1"
    with pytest.raises(ModelError, match="beyond the model's 4096 positions"):
        scored(stage(folder(), query_position=4090), context, [0])
    with pytest.raises(ModelError, match="too few to read anything"):
        scored(stage(folder(), query_position=100), context, [0])
    with pytest.raises(ModelError, match="room for 20 tokens"):
        scored(stage(folder(), block_tokens=20), context, [2])


def test_the_contract(folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "irkit.stages.rerank.language.use_threads", lambda _threads: None
    )  # one is faster here
    small = {"model": str(folder("llama", layers=2)), "dtype": "float32", "depth": 3, "words": 8}
    check_stage(BlockRank(**small), tmp_path, other_execution={"batch_tokens": 64})
    kept = BlockRank(**small, layout="query-free")
    check_stage(kept, tmp_path / "kept", other_execution={"cache_gb": 0.001, "batch_tokens": 64})


def test_documents_that_see_the_query_cannot_be_kept(
    folder: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    with pytest.raises(ValidationError, match="in layout query-free only"):
        stage(folder(), cache_gb=1, layout="released")
    left_open, context = stage(folder(), cache_gb=1), make_context(DOCS)
    for ask in (left_open.prepare, left_open.identity):
        with pytest.raises(ConfigError, match="cache_gb: documents can be kept in layout query-free only"):
            ask(context)
    ((option, problem),) = left_open.faults(context.workspace)
    assert (option, problem.hint) == ("cache_gb", "add layout: query-free, or leave cache_gb out")


@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_explanations_add_up_to_the_scores(
    folder: Callable[..., Path], make_context: Callable[..., Context], layout: str
) -> None:
    context, model = make_context(DOCS), stage(folder(), layout=layout, depth=6, shuffle=1)
    state = model.prepare(context)
    docs = [4, 0, 2, 5, 1, 3, 7]
    batch = Batch(Queries.of([QUERY]), (ranked(docs),))
    codes, scores = model.run(batch, state)[0]
    notes = dict(context.notes)
    found = model.explain(QUERY, ranked(docs)[0], state, top=4)
    assert [each.doc for each in found] == codes[:4].tolist()
    np.testing.assert_array_equal([each.score for each in found], scores[:4])
    for each in found:
        assert sum(each.weights) == pytest.approx(each.score, rel=1e-5)
        text = "".join(each.pieces)
        assert text.startswith("\nID: ") and f" | CONTENT: {DOCS[each.doc].strip()} | END ID: " in text
    assert context.notes == notes
    assert len(model.explain(QUERY, ranked(docs)[0], state, top=100)) == 6
    assert model.explain(QUERY, ranked([])[0], state, top=4) == []


def test_equal_scores_are_explained_in_the_order_of_the_results(
    folder: Callable[..., Path], make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, docs = stage(folder()), [4, 0, 2, 5]
    monkeypatch.setattr(Asked, "scores", lambda _self, _weights, lengths: np.zeros(len(lengths), np.float32))
    state = model.prepare(make_context(DOCS))
    codes, _ = model.run(Batch(Queries.of([QUERY]), (ranked(docs),)), state)[0]
    assert [each.doc for each in model.explain(QUERY, ranked(docs)[0], state, top=4)] == codes.tolist()


def test_heads_of_another_model_are_refused(
    folder: Callable[..., Path], make_context: Callable[..., Context], tmp_path: Path
) -> None:
    context = make_context(DOCS)
    Heads(((2, 0),), model="other", model_fingerprint="f" * 64).save(tmp_path / "heads.json")
    with pytest.raises(ModelError, match="found in another model of this shape, other"):
        stage(folder(), heads=str(tmp_path / "heads.json")).prepare(context)
    Heads(((2, 0),), model="org/other").save(tmp_path / "heads.json")
    stage(folder(), heads=str(tmp_path / "heads.json")).prepare(context)
    assert "; found for org/other, used with " in context.notes["heads"]


@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_a_blank_query_keeps_order_and_scores(
    folder: Callable[..., Path], make_context: Callable[..., Context], layout: str
) -> None:
    context, model = make_context(DOCS), stage(folder(), layout=layout, depth=3, shuffle=1)
    before = Rankings.from_lists([[4, 0, 2, 5]] * 3, [[9, 5, 5, 1]] * 3)
    state = model.prepare(context)
    found = model.run(Batch(Queries.of(["", QUERY, " \n"]), (before,)), state)
    assert found.take([0, 2]) == before.take([0, 2])
    assert found.take([1]) == model.run(Batch(Queries.of([QUERY]), (before.take([1]),)), state)
    assert found[1][1][:3].sum() == pytest.approx(1, abs=1e-6)
    assert model.explain(" ", before[0], state, top=3) == []


def test_the_checkpoints_prompt(folder: Callable[..., Path], make_context: Callable[..., Context]) -> None:
    """With the template of Mistral-7B-Instruct-v0.3, which the released checkpoint was trained from."""
    model = stage(folder()).prepare(make_context(DOCS)).model
    model.tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }}[/INST]"
        "{% else %} {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    frame = Frame.of(model)
    assert (frame.before, frame.between) == ("<s>[INST] ", "[/INST] Final Answer: ")
    first = model.tokenizer.decode(frame.first(model, "why?"))
    assert first == f"<s>[INST] {INSTRUCTION}\nQuery: why?\n\nDocuments:"
    last, (begin, end) = frame.last(model, "why?")
    assert model.tokenizer.decode(last) == (
        "\n\n====== Now let's start! ======\nWhich document is most relevant to answer the query? Print out the ID of the document."
        "\nQuery: why?\nThe following document(s) can help answer the query:[/INST] Final Answer: ["
    )
    assert (begin, end) == (len(last) - 2, len(last)) and model.tokenizer.decode(last[-1:]) == "["
    last, (begin, end) = frame.last(model, "why?", "question")
    assert model.tokenizer.decode(last[begin:end]).startswith(" why?\nThe following") and end == len(last)
    named, (begin, end) = frame.last(model, "why <|end|>?", "question")
    assert model.tokenizer.decode(named[begin:end]).lstrip().startswith("why <|end|>?\nThe following")
    assert model.tokenizer.convert_tokens_to_ids("<|end|>") not in named
    assert "why <|end|>?" in model.tokenizer.decode(named)
    model.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(ModelError, match="it drops a message"):
        Frame.of(model)
    model.tokenizer.chat_template = "{{ raise_exception('no assistant here') }}"
    with pytest.raises(ModelError, match="no assistant here"):
        Frame.of(model)
    model.tokenizer.chat_template = None
    assert (Frame.of(model).before, Frame.of(model).between) == ("<s>", "\nFinal Answer: ")


def test_a_shared_pass_that_does_not_fit_is_taken_apart(
    folder: Callable[..., Path], make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stage(folder(), layout="query-free")
    context = make_context(DOCS)
    before = Rankings.from_lists([[0, 1], [2, 3], [4]], [[2, 1], [2, 1], [1]])
    batch = Batch(Queries.of(["wing", "heat", "lift"]), (before,))
    state = model.prepare(context)
    expected = model.run(batch, state)
    kept = KeptDocuments(state.model, state.frame.first(state.model, None), layers=3, limit=1 << 26)
    state = replace(state, kept=kept)
    state.model.device = "cpu:0"
    read, passes = state.model.read, []

    def small(segments: Any, **options: Any) -> None:
        if options.get("reads"):
            passes.append(len(segments))
            if len(segments) > 1:
                raise torch.OutOfMemoryError("out of memory")
        read(segments, **options)

    monkeypatch.setattr(state.model, "read", small)
    found = model.run(batch, state)
    assert passes == [3, 1, 1, 1]
    np.testing.assert_allclose(found.score, expected.score, atol=1e-6)

    def full(*_given: Any, **_options: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(state.model, "read", full)
    with pytest.raises(ModelError, match="too little memory for the documents of this query") as error:
        model.run(batch, state)
    assert error.value.problems[0].where == "query 1"


def test_queries_share_passes_within_their_limits() -> None:
    def asked(documents: int, limit: int, tokens: int) -> Asked:
        codes = np.arange(documents, dtype=np.int32)
        block = np.zeros(tokens, np.int64)
        question = Question("q", block, block, (0, 2), None, limit)
        return Asked(codes, codes.astype(np.int64), list(range(documents)), question)

    some = [asked(2, 10, 5), asked(1, 10, 5), asked(9, 10, 5), asked(1, 10, 50), asked(1, 10, 5)]

    def sizes(*limits: int) -> list[int]:
        return [len(group) for group in groups(some, *limits)]

    assert sizes(1000, 1000) == [5]
    assert sizes(30, 1000) == [2, 1, 2]
    assert sizes(1000, 10) == [2, 1, 1, 1]
    assert sizes(0, 1000) == sizes(1000, 0) == [1] * 5
    assert list(groups([], 1, 1)) == []


@pytest.mark.model
def test_smollm2_reads_documents(make_context: Callable[..., Context]) -> None:
    context = make_context(["The wing lifts the aircraft.", "Bread is baked in an oven.", ""])
    for layout in ("released", "query-free"):
        model = BlockRank(layout=layout, dtype="float32", layer=6)
        found = scored(model, context, [0, 1, 2], "how does a wing lift an aircraft?")
        assert sum(found.values()) == pytest.approx(1, abs=1e-6)
        assert min(found.values()) > 0.01
