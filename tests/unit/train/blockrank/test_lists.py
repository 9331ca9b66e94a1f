"""Lists put together from tokens: what the tokeniser makes of the whole, whatever the text, and the prompt that the stage reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.models.lm.model import CausalLM
from irkit.models.lm.segments import Segments
from irkit.stages.rerank.blockrank_prompt import Question, encode_documents
from irkit.train.blockrank.lists import Batch, Blocks, ListTokens, packed

TEXTS = [
    "a wing",
    "",
    "(x)",
    "日本語 🎉",
    "<|end|> <s>",
    "7 8",
    "- ",
    "e\u0301",
    "wing \u00a0 lift " * 30,
    "_",
    "'s",
    "\u200b",
    "|",
    "ID: 3",
]
LABELS = [0, 3, 9, 10, 19, 127]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return open_tiny(tiny_lm(tmp_path_factory.mktemp("lm") / "tiny"))


@pytest.fixture(scope="module")
def smollm() -> Any:
    """SmolLM2's tokeniser, where the model is on this machine."""
    from transformers import AutoTokenizer

    from irkit.models.resolve import find

    folder = find("smollm2")
    if folder is None or not (folder / "tokenizer.json").is_file():
        folder = _converted()
    made = CausalLM.__new__(CausalLM)
    made.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    return made


def _converted() -> Path:
    from irkit.core.errors import IrkitError
    from irkit.models.lm.loading import converted
    from irkit.models.resolve import resolve

    try:
        return converted(resolve("smollm2"))
    except IrkitError as error:
        pytest.skip(f"no SmolLM2 here: {error}")


def question(limit: int = 200, lead: int = 4) -> Question:
    return Question("q", np.arange(lead), np.arange(6), (4, 6), None, limit)


def compared(model: CausalLM, texts: list[str], labels: list[int], limit: int) -> None:
    own = Blocks(model, texts.__getitem__, range(min(3, len(texts))))
    for shift in range(2):
        numbers = list(range(len(texts)))
        these = [labels[(number + shift) % len(labels)] for number in numbers]
        own.read(numbers, these)
        expected, _ = encode_documents(model, these, texts, question(limit))
        for found, right in zip(own.of(numbers, these, question(limit)), expected, strict=True):
            assert found.tolist() == right.tolist()


@pytest.mark.parametrize("limit", [500, 60, 45])
def test_blocks_are_those_of_the_tokeniser(model: CausalLM, limit: int) -> None:
    compared(model, TEXTS[:8] if limit < 500 else TEXTS, LABELS, limit) if limit != 60 else compared(
        model, TEXTS[8:9], LABELS, limit
    )


@given(
    st.lists(st.text(max_size=30).map(str.strip), min_size=1, max_size=6),
    st.lists(st.integers(0, 5000), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_blocks_of_any_text_are_those_of_the_tokeniser(
    model: CausalLM, texts: list[str], labels: list[int]
) -> None:
    compared(model, texts, labels, 500)


@pytest.mark.model
@given(
    st.lists(st.text(max_size=30).map(str.strip), min_size=1, max_size=6),
    st.lists(st.integers(0, 5000), min_size=1),
)
@settings(max_examples=100, deadline=None)
def test_blocks_of_any_text_are_those_of_smollm(
    smollm: CausalLM, texts: list[str], labels: list[int]
) -> None:
    compared(smollm, texts + TEXTS, labels, 500)


def test_a_tokeniser_that_joins_over_words_is_asked_for_every_block(model: CausalLM) -> None:
    """One token for a digit and what follows it: with it no two blocks of a document have the same content."""

    class Odd:
        def encode(self, texts: list[str]) -> list[np.ndarray]:
            return [np.array([*map(ord, text[:-1]), 7000 + hash(text) % 999]) for text in texts]

    texts = ["one", "two", "three"]
    own = Blocks(Odd(), texts.__getitem__, [0, 1, 2])  # type: ignore[arg-type]
    own.read([0, 1, 2], [4, 5, 6])
    assert [each.tolist() for each in own.of([0, 1, 2], [4, 5, 6], question())] == [
        each.tolist()
        for each in Odd().encode(
            [f"\nID: {n} | CONTENT: {t} | END ID: {n}" for n, t in zip((4, 5, 6), texts, strict=True)]
        )
    ]


def test_a_document_is_tokenised_once(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Blocks(model, TEXTS.__getitem__, [0, 1])
    own.read([0, 2], [3, 9])
    asked: list[str] = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda texts: asked.extend(texts) or encode(texts))
    own.read([0, 2], [9, 3])
    assert asked == []
    own.read([0, 5], [9, 3])
    assert len(asked) == 1


def test_too_little_of_a_document_is_refused(model: CausalLM) -> None:
    own = Blocks(model, TEXTS.__getitem__, [0, 1])
    own.read([8], [3])
    with pytest.raises(ModelError, match="too few to read"):
        own.of([8], [3], question(25))


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_packed_lists_are_the_prompts_of_the_stage(sizes: list[list[int]]) -> None:
    rng = np.random.default_rng(0)
    lists = [
        ListTokens(
            question(lead=int(rng.integers(1, 6))),
            [rng.integers(0, 99, size) for size in own],
            np.arange(len(own)) < 1,
            np.full(len(own), np.nan),
        )
        for own in sizes
    ]
    segments, reads = packed(lists, [np.array(own) for own in sizes])
    prompts = [each.question.prompt(each.blocks) for each in lists]
    expected, moved = Segments.pack([prompt for prompt, _ in prompts])
    for name in ("ids", "positions", "bounds", "context"):
        assert np.array_equal(getattr(segments, name), getattr(expected, name)), name
    assert reads == [read.moved(by) for (_, read), by in zip(prompts, moved, strict=True)]
    batch = Batch.of(lists)
    for row, own in enumerate(sizes):
        assert batch.owner[row, : sum(own)].tolist() == np.repeat(np.arange(len(own)), own).tolist()
        assert (
            batch.there[row].sum() == len(own)
            and not (batch.owner[row, sum(own) :] < batch.there.shape[1]).any()
        )
    assert [each.size for each in lists] == [len(prompt.ids) for prompt, _ in prompts]
