"""The permutations that a language model writes: how they are asked for, read, mended and counted.

The prompt is RankLLM's form of RankGPT's (Sun et al., 2023, "Is ChatGPT Good at Search?", arXiv 2304.09542): one message of the
user, with the query before and behind the numbered passages. RankLLM's message of the system before it ("You are RankLLM, ...")
is left out: not every template takes one. An answer is read as RankGPT reads it: its numbers in their order, of which the first
mention counts; passages that are not mentioned follow in the order in which they were given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NUMBER = re.compile(r"[0-9]+")
_FORM = re.compile(r"\s*\[[0-9]+\](\s*>\s*\[[0-9]+\])*\s*")
_MARKER = re.compile(r"\[([0-9]+)\]")

UNUSABLE = "unusable"
FAULTS = ("missing", "repeated", "out of range", "other text")
"""What can be wrong with an answer that is still of use."""


def opening(query: str, count: int) -> str:
    """Return what stands before the passages."""
    return (
        f"I will provide you with {count} passages, each indicated by a numerical identifier []. "
        f"Rank the passages based on their relevance to the search query: {query}.\n"
    )


def closing(query: str, count: int) -> str:
    """Return what stands behind the passages."""
    return (
        f"\n\nSearch Query: {query}.\n"
        f"Rank the {count} passages above based on their relevance to the search query. All the passages should be included "
        "and listed using identifiers, in descending order of relevance. The output format should be [] > [], e.g., [2] > [1]. "
        "Only respond with the ranking results, do not say any word or explain."
    )


def marker(number: int) -> str:
    """Return what stands before the passage with this number, from 1."""
    return f"\n[{number}]"


def unmarked(text: str) -> str:
    """Return a text in which nothing looks like a passage's identifier: [3] becomes (3)."""
    return _MARKER.sub(r"(\1)", text)


def windows(count: int, window: int, stride: int) -> list[tuple[int, int]]:
    """Return the first place and the last place + 1 of the windows over a list of ``count``, from the back to the front.

    The last one begins at the front, so every place is in one, also where ``count`` is no multiple of the stride.
    """
    found = []
    stop = count
    while stop > 0:
        start = max(0, stop - window)
        found.append((start, stop))
        if start == 0:
            break
        stop -= stride
    return found


@dataclass(frozen=True)
class Permutation:
    """What an answer says.

    Attributes:
        order: the places of the passages from 0, best first: all of them, each once.
        faults: those of :data:`FAULTS` that were mended, or ``unusable`` alone where no passage is named: then the order is the
            one that was given. None for an answer that is well formed.
    """

    order: tuple[int, ...]
    faults: frozenset[str]


def parse(text: str, count: int) -> Permutation:
    """Read an answer about ``count`` passages."""
    # a number of thousands of digits would be refused by int(), and none of more than nine is a passage's
    named = [int(digits) if len(digits) < 10 else 0 for digits in _NUMBER.findall(text)]
    first = tuple(dict.fromkeys(number - 1 for number in named if 1 <= number <= count))
    if not first:
        return Permutation(tuple(range(count)), frozenset({UNUSABLE}))
    there = set(first)
    faults = {
        "missing": len(first) < count,
        "repeated": len(set(named)) < len(named),
        "out of range": not all(1 <= number <= count for number in named),
        "other text": not _FORM.fullmatch(text),
    }
    rest = (place for place in range(count) if place not in there)
    return Permutation((*first, *rest), frozenset(fault for fault, found in faults.items() if found))


@dataclass
class Outputs:
    """How many answers were of which kind. One that was repaired counts under each of its faults."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("well-formed", "repaired", *FAULTS, UNUSABLE), 0)
    )

    def add(self, answer: Permutation) -> None:
        """Count an answer."""
        if not answer.faults:
            self.counts["well-formed"] += 1
            return
        if UNUSABLE not in answer.faults:
            self.counts["repaired"] += 1
        for fault in answer.faults:
            self.counts[fault] += 1
