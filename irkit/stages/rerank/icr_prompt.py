"""The prompt of in-context reranking: documents first, the query last, and the query "N/A" beside it.

::

    {prefix} Here are some paragraphs:{SEP}[1] {document}{SEP}[2] {document}...{SEP}{instruction}{SEP}Query: {query}{suffix}

Prefix and suffix are those of the model's chat template, with the system turn that it writes by default, where it has one. The
blank behind the prefix is left out where that ends in white space, as the paper's own prefixes do not. Every part is tokenised
once, behind a full stop and with the separator before it, and the full stop's token is dropped: so its tokens are those that it has
in the whole prompt, for byte-level and sentence-piece tokenisers alike, its span is exact, and the work grows with the length of
the prompt and not with its square.

Three segments share one forward pass: template and documents; the query; and "N/A", which sees the same documents from the same
positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.core.text import well_formed
from irkit.models.lm.model import CausalLM
from irkit.models.lm.packing import Prompt
from irkit.models.lm.segments import Ints, Read, Segments
from irkit.stages.rerank.language import shortened

INTRODUCTION = "Here are some paragraphs:"
INSTRUCTIONS = {
    "qa": "Please answer the following question based on the information in the paragraphs above.",
    "general": "Please find information that are relevant to the following query in the paragraphs above.",
}
"""The paper's two, word for word."""
NOTHING = "N/A"
"""The query that calibrates."""

_STOP = "."
_LEAST = 8
"""Tokens of a document, its number not counted, below which a prompt is refused rather than cut."""


@dataclass(frozen=True, eq=False)
class IcrPrompt:
    """A prompt over D documents.

    Attributes:
        prompt: its segments; the read of the query, and that of "N/A" when it is calibrated.
        bounds: ``int64[D, 2]``, first and last + 1 token of each document, its number ``[i] `` included, among the tokens read. The
            separators between them belong to none.
        cut: how many documents were shortened so that the prompt fits.
        texts: of the documents with their numbers.
        ends: for each document where its tokens end in its text, ``int64[tokens]``, in characters.
    """

    prompt: Prompt
    bounds: NDArray[np.int64]
    cut: int
    texts: tuple[str, ...]
    ends: tuple[Ints, ...]

    def pieces(self, number: int) -> tuple[str, ...]:
        """Return the texts of a document's tokens; together they are what the model read of it.

        A character of several tokens goes to the first of them.
        """
        text, at, found = self.texts[number], 0, []
        for end in self.ends[number].tolist():
            found.append(text[at : max(at, end)])
            at = max(at, end)
        return tuple(found)


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of the prompt.

    Attributes:
        before: the tokens of the separator before it.
        ids: its tokens.
        ends: where each ends in its text, in characters.
    """

    before: Ints
    ids: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.before) + len(self.ids)


def make_prompt(
    model: CausalLM,
    query: str,
    passages: Sequence[str],
    *,
    instruction: str = "general",
    rows: Literal["suffix", "query"] = "suffix",
    calibrate: bool = True,
    where: str | None = None,
) -> IcrPrompt:
    """Make the prompt of one query and D >= 1 passages.

    Documents are shortened evenly where the prompt would be longer than the model has positions; the query and the template never
    are. White space around passages and the query is dropped, and nothing else is changed: names of special tokens in them are
    text.

    Args:
        model: whose template, tokens and positions are used.
        query: not blank.
        passages: in the order in which the model reads them.
        instruction: "qa", "general", or the text of another.
        rows: whose attention is read: "suffix", all from the instruction to the template's end (the paper), or "query", the query's
            tokens alone (Selective-ICR, arXiv 2602.22591).
        calibrate: whether "N/A" is read too.
        where: what errors call the query.

    Raises:
        ModelError: when the model has too few positions for the query and 8 tokens of each document.
    """
    template, between = model.template(), separator(model)
    texts = [
        f"[{number}] {well_formed(passage).strip()}".rstrip() for number, passage in enumerate(passages, 1)
    ]
    late = INSTRUCTIONS.get(instruction, instruction)
    asked = [well_formed(query).strip()] + [NOTHING] * calibrate
    questions = [f"{late}{between}Query: {text}" for text in asked]
    parts = _encode(model, [*texts, *questions], between)
    documents, tails = parts[: len(texts)], parts[len(texts) :]
    (suffix,) = _encode(model, [template.suffix], special=True)
    blank = " " if template.prefix.rstrip() == template.prefix else ""
    (start,) = model.encode([template.prefix + blank + INTRODUCTION], special=True)
    # the instruction's separator is the same before every query, and belongs to what both see
    fixed = len(start) + max(map(len, tails)) + len(suffix.ids)
    kept, cut = _fitted(model, texts, documents, fixed, where)

    length, bounds = len(start), np.zeros((len(kept), 2), np.int64)
    for number, part in enumerate(kept):
        bounds[number] = length + len(part.before), length + len(part)
        length += len(part)
    first, last = int(bounds[0, 0]), length
    shared = [start, *(ids for part in kept for ids in (part.before, part.ids)), tails[0].before]
    # the query's own tokens are those that reach beyond "Query: "; the last one before it where a tokeniser has none for the query
    own = [
        min(int(np.searchsorted(tail.ends, len(question) - len(text), "right")), len(tail.ids) - 1)
        for tail, question, text in zip(tails, questions, asked, strict=True)
    ]
    segments, starts = _segments(np.concatenate(shared), [np.concatenate([t.ids, suffix.ids]) for t in tails])
    reads = []
    for tail, at, begin in zip(tails, starts, own, strict=True):
        seen = (at + begin, at + len(tail.ids))
        if rows == "suffix":
            seen = (at, at + len(tail.ids) + len(suffix.ids))
        reads.append(Read(seen, (first, last)))
    return IcrPrompt(
        Prompt(segments, tuple(reads)),
        bounds - first,
        cut,
        tuple(texts),
        tuple(part.ends for part in kept),
    )


def _segments(shared: Ints, tails: Sequence[Ints]) -> tuple[Segments, list[int]]:
    """Return the segments of what all queries see and of the queries, and where each query starts.

    Equal queries are one segment: what the query "N/A" is given is, to the last bit, what it is calibrated by.
    """
    length = len(shared)
    parts: list[tuple[Ints, int, tuple[int, int]]] = [(shared, 0, (0, 0))]
    places: dict[bytes, int] = {}
    for ids in tails:
        if ids.tobytes() not in places:
            places[ids.tobytes()] = sum(len(part) for part, _, _ in parts)
            parts.append((ids, length, (0, length)))
    return Segments.of(parts), [places[ids.tobytes()] for ids in tails]


def separator(model: CausalLM) -> str:
    r"""Return what stands between the prompt's parts: two line ends, which stay tokens of their own whatever comes before them.

    Tokenisers such as Llama 3's join a full stop and the line ends after it; there a space comes first, as in the paper's prompts.
    """
    ids, ends = _raw(model, [_STOP + "\n\n"], special=False)[0]
    return "\n\n" if len(ids) > 1 and len(_STOP) in ends else " \n\n"


def _encode(model: CausalLM, texts: Sequence[str], before: str = "", *, special: bool = False) -> list[_Part]:
    """Return the tokens of parts of a prompt, each as it is behind a separator and other text."""
    start, parts = len(_STOP), []
    for ids, ends in _raw(model, [_STOP + before + text for text in texts], special=special):
        mine = ends > start + len(before)
        parts.append(_Part(ids[(ends > start) & ~mine], ids[mine], ends[mine] - start - len(before)))
    return parts


def _raw(model: CausalLM, texts: Sequence[str], *, special: bool) -> list[tuple[Ints, Ints]]:
    found = model.tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=not special,
        return_attention_mask=False,
        return_offsets_mapping=True,
    )
    return [
        (np.array(ids, np.int64), np.array(places, np.int64).reshape(-1, 2)[:, 1])
        for ids, places in zip(found["input_ids"], found["offset_mapping"], strict=True)
    ]


def _fitted(
    model: CausalLM, texts: Sequence[str], documents: Sequence[_Part], fixed: int, where: str | None
) -> tuple[list[_Part], int]:
    """Shorten the documents to what the model's positions leave."""
    if model.positions is None:
        return list(documents), 0
    fixed += sum(len(part.before) for part in documents)
    ids, cut = shortened([part.ids for part in documents], model.positions - fixed)
    for text, part, left in zip(texts, documents, ids, strict=True):
        number = int(np.searchsorted(part.ends, text.index("]") + 2, "right"))
        if len(left) < min(number + _LEAST, len(part.ids)):
            raise ModelError.of(
                f"the model has {model.positions} positions, of which query and template take {fixed}: too few for "
                f"{len(documents)} documents",
                where=where,
                hint="take fewer documents at a time (depth or window), a shorter query, or a model with more positions",
            )
    kept = [
        _Part(part.before, left, part.ends[: len(left)]) for left, part in zip(ids, documents, strict=True)
    ]
    return kept, cut
