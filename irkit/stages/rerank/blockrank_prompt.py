"""BlockRank's prompt: an instruction, documents that do not see each other, and the question, each tokenised by itself.

The strings, the borders of the blocks and the positions are those of the released checkpoint
(``quicktensor/blockrank-msmarco-mistral-7b``), as the paper's authors feed it (github.com/nilesh2797/BlockRank): no special
token is added to a block, every document starts at the position behind the instruction, and the question at 16384. A
document that is too long loses words at the end of its content, never the ``END ID`` behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.lm.segments import Read, Segments

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM

Ints = NDArray[np.int64]
Signal = Literal["answer", "question"]
"""The tokens that are read: "[" and the one before it, the authors' choice; or all from the query's first to the "["."""

INSTRUCTION = (
    "You will be given a query and a list of documents. Each document will be formatted as "
    "ID: <id> | CONTENT: <content> | END ID: <id>. You need to read carefully and understand all of them and "
    "your goal is to find all document(s) from the list that can help answer the query."
)
FAR = 16384
"""The position of the question's first token; the paper says 8192, the checkpoint's code 16384."""
LEAST = 8
"""Tokens of a document's content without which reading it makes no sense."""

_QUESTION = "\u2063question\u2063"
_ANSWER = "\u2063answer\u2063"
_FINAL = "Final Answer: "
_SIGNAL = "["


@dataclass(frozen=True)
class Frame:
    """A model's chat template around the prompt.

    Attributes:
        before: what stands before the user's message.
        between: what stands between the user's message and the "[" with which the model begins its list, with "Final Answer: ".
        special: the names of special tokens.
    """

    before: str
    between: str
    special: tuple[str, ...]

    @classmethod
    def of(cls, model: CausalLM) -> Frame:
        """Take it from the model's tokeniser; a model without a template gets its first special token, where it has one.

        Raises:
            ModelError: when the template drops or refuses the messages.
        """
        tokenizer: Any = model.tokenizer
        special = tuple(
            str(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special
        )
        if not tokenizer.chat_template:
            return cls(tokenizer.bos_token or "", f"\n{_FINAL}", special)
        messages = [
            {"role": "user", "content": _QUESTION},
            {"role": "assistant", "content": f"{_FINAL}{_ANSWER}{_SIGNAL}"},
        ]
        try:
            text = model.render(messages)
        except Exception as error:  # a template may raise what it likes
            raise _unfit(model, str(error)) from error
        before, question, rest = text.partition(_QUESTION)
        between, answer, _ = rest.partition(_ANSWER)
        if not question or not answer:
            raise _unfit(model, "it drops a message")
        return cls(before.lstrip(), between, special)

    def first(self, model: CausalLM, query: str | None) -> Ints:
        """Return block 0: the instruction, and the query unless it is None."""
        if query is None:
            return model.encode([f"{self.before}{INSTRUCTION}\n\nDocuments:"], special=True)[0]
        return self._around(model, f"{self.before}{INSTRUCTION}\nQuery: ", query, "\n\nDocuments:")

    def last(self, model: CausalLM, query: str, signal: Signal = "answer") -> tuple[Ints, tuple[int, int]]:
        """Return the last block, and the first and the last + 1 of its tokens that are read."""
        before = (
            "\n\n====== Now let's start! ======\n"
            "Which document is most relevant to answer the query? Print out the ID of the document.\nQuery: "
        )
        after = f"\nThe following document(s) can help answer the query:{self.between}"
        asked = self._around(model, before, query, after)
        end = len(asked) + 1
        # the blank before the query may be part of its first token
        first = end - 2 if signal == "answer" else len(model.encode([before.rstrip()], special=True)[0])
        return np.concatenate([asked, model.encode([_SIGNAL])[0]]), (first, end)

    def _around(self, model: CausalLM, before: str, query: str, after: str) -> Ints:
        # one text, as the checkpoint knows it; but the name of a special token in a query must stay text
        if not any(name in query for name in self.special):
            return model.encode([before + query + after], special=True)[0]
        head, tail = model.encode([before, after], special=True)
        return np.concatenate([head, model.encode([query])[0], tail])


def _unfit(model: CausalLM, reason: str) -> ModelError:
    return ModelError.of(
        f"the chat template does not take a question and the beginning of an answer: {reason}",
        where=model.name,
        hint="take an instruction-tuned model whose template knows the roles user and assistant",
    )


@dataclass(frozen=True, eq=False)
class Question:
    """What a query adds to its documents.

    Attributes:
        name: of the query, for errors.
        first: ``int64[L0]``, block 0.
        last: ``int64[n]``, the last block.
        read: the first and the last + 1 of its tokens that are read; the last is the "[".
        start: the position of the last block's first token; None for right behind the longest document of the list.
        limit: the most tokens of a document's block.
    """

    name: str
    first: Ints
    last: Ints
    read: tuple[int, int]
    start: int | None
    limit: int

    @classmethod
    def of(
        cls,
        name: str,
        first: Ints,
        last: tuple[Ints, tuple[int, int]],
        *,
        positions: int | None,
        start: int | None,
        firm: bool,
        limit: int,
    ) -> Question:
        """Find its place among the model's positions.

        Args:
            name: of the query.
            first: block 0.
            last: the last block, and which of its tokens are read.
            positions: that the model has; None for any number.
            start: where the last block should start; None for right behind the documents.
            firm: whether it must start there. Otherwise it starts right behind the documents where the model has too few positions.
            limit: the most tokens of a document's block, where the positions allow it.

        Raises:
            ModelError: when the model has too few positions for the query.
        """
        block, read = last
        if positions is None:
            positions = 1 << 62
        if start is not None and start + len(block) > positions:
            if firm:
                message = f"a question of {len(block)} tokens at position {start} is beyond the model's {positions} positions"
                raise ModelError.of(message, where=name, hint="take a smaller query_position, or none")
            start = None
        room = (positions - len(block) if start is None else start) - len(first)
        return cls(name, first, block, read, start, min(limit, room))

    def reads(self, begin: int, documents: tuple[int, int]) -> Read:
        """Return the read of its signal tokens.

        Args:
            begin: which token of the prompt is the last block's first.
            documents: the first and the last + 1 of the documents' tokens.
        """
        return Read((begin + self.read[0], begin + self.read[1]), documents, over="documents")

    def begins(self, lengths: Sequence[int] | Ints) -> int:
        """Return the position of the last block, given the tokens of the documents."""
        return self.start if self.start is not None else len(self.first) + int(np.max(lengths))

    def prompt(self, blocks: Sequence[Ints]) -> tuple[Segments, Read]:
        """Return the whole prompt over these documents, and the read of its signal tokens."""
        lead, lengths = len(self.first), [len(block) for block in blocks]
        total = lead + sum(lengths)
        parts = [(self.first, 0, (0, 0))]
        parts += [(block, lead, (0, lead)) for block in blocks]
        parts += [(self.last, self.begins(lengths), (0, total))]
        return Segments.of(parts), self.reads(total, (lead, total))


def behind(asked: Sequence[tuple[Question, Ints]]) -> tuple[Segments, list[Read]]:
    """Return the last blocks of some questions behind what is already there, and the reads of their signal tokens.

    Args:
        asked: the questions with the lengths of their documents; their blocks 0 and documents are there, one list behind the other.
    """
    sizes = [len(question.first) + int(np.sum(lengths)) for question, lengths in asked]
    parts, reads, at, own = [], [], 0, sum(sizes)
    for (question, lengths), size in zip(asked, sizes, strict=True):
        parts.append((question.last, question.begins(lengths), (at, at + size)))
        reads.append(question.reads(own, (at + len(question.first), at + size)))
        at, own = at + size, own + len(question.last)
    return Segments.of(parts, past=sum(sizes)), reads


def sliding_window(model: CausalLM) -> int | None:
    """Return how many positions back the model's sliding layers see; None where it has none."""
    config = model.model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    return int(window) if window and (kinds is None or "sliding_attention" in kinds) else None


def document(label: int, text: str) -> str:
    """Return a document's block as text."""
    return f"\nID: {label} | CONTENT: {text} | END ID: {label}"


def encode_documents(
    model: CausalLM, labels: Sequence[int], texts: Sequence[str], question: Question
) -> tuple[list[Ints], list[bool]]:
    """Return the tokens of documents' blocks, and which of them were cut to the question's limit.

    Raises:
        ModelError: when fewer than 8 tokens of a document's content would be left.
    """
    blocks = model.encode([document(*each) for each in zip(labels, texts, strict=True)])
    cut = [len(block) > question.limit for block in blocks]
    for place in np.flatnonzero(cut).tolist():
        ids, places = model.encode_places(document(labels[place], texts[place]))
        blocks[place] = ids[left_of(labels[place], texts[place], places, question)]
    return blocks, cut


def left_of(label: int, text: str, places: Ints, question: Question) -> NDArray[np.bool_]:
    """Return which tokens of a document's block are left within the question's limit, ``bool[n]``.

    Args:
        label: the document's ID.
        text: the document's content.
        places: ``int64[n, 2]``, where the tokens of the block start and end, in characters.
        question: whose limit holds.

    Raises:
        ModelError: see :func:`encode_documents`.
    """
    left = np.ones(len(places), np.bool_)
    over = len(places) - question.limit
    if over <= 0:
        return left
    begin = len(f"\nID: {label} | CONTENT: ")
    content = np.flatnonzero((places[:, 1] > begin) & (places[:, 0] < begin + len(text)))
    if len(content) - over < min(LEAST, len(content)):
        message = (
            f"there is room for {max(question.limit, 0)} tokens of a document, too few to read anything of it"
        )
        hint = "shorten the query, raise block_tokens or query_position, or take a model with more positions"
        raise ModelError.of(message, where=question.name, hint=hint)
    left[content[len(content) - over :]] = False
    return left


def pieces(model: CausalLM, label: int, text: str, question: Question) -> tuple[str, ...]:
    """Return the texts of a document's tokens, as the model reads them; put together they are its block, cut where it was cut."""
    block = document(label, text)
    _, places = model.encode_places(block)
    # a piece ends where its token does and begins where the one before ended: several tokens of one character share it
    ends = np.maximum.accumulate(places[:, 1])
    ends[-1] = len(block)
    begins = np.concatenate([[0], ends[:-1]])
    left = left_of(label, text, places, question)
    return tuple(block[begin:end] for begin, end in zip(begins[left], ends[left], strict=True))
