"""What a pipeline's ranking says of a query's documents: which relevant ones it finds, and its negatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from irkit.train.sources.options import Negatives


class Mined(NamedTuple):
    """Codes of a query's documents.

    Attributes:
        positives: relevant ones to learn from; first those that were found, best first.
        negatives: best first.
        ahead: of each positive that was found, how many of the negatives are ranked before it.
        also: the other relevant ones.
    """

    positives: list[int]
    negatives: list[int]
    ahead: list[int]
    also: list[int]


def mined(
    ranking: Sequence[int],
    relevant: Sequence[int],
    options: Negatives,
    fit: Callable[[list[int]], list[int]],
) -> Mined:
    """Part a ranking.

    Args:
        ranking: codes, best first.
        relevant: codes.
        options: which to take.
        fit: leaves out what can be no negative.
    """
    near, own = ranking[: options.depth], set(relevant)
    found = [code for code in near if code in own]
    rest = [code for code in relevant if code not in set(found)]
    negatives = fit([code for code in near[options.skip :] if code not in own])[: options.keep]
    rank = {code: place for place, code in enumerate(near)}
    ahead = [sum(rank[other] < rank[code] for other in negatives) for code in found]
    if options.positives == "found":
        return Mined(found, negatives, ahead, rest)
    return Mined(found + rest, negatives, ahead, [])
