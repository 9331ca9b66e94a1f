"""Which documents belong together: the patterns of relevance of LIMIT (Weller et al. 2025, arXiv 2508.21038, section 5)."""

from __future__ import annotations

from itertools import combinations, islice
from math import comb
from typing import Literal, get_args

from irkit.data.draws import Draws

Pattern = Literal["dense", "random", "cycle", "disjoint"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)


def most_groups(pattern: Pattern, n: int, k: int) -> int:
    """Return how many different groups of ``k`` of ``n`` documents the pattern has."""
    if pattern == "cycle":
        return n if k < n else 1
    return n // k if pattern == "disjoint" else comb(n, k)


def groups(pattern: Pattern, n: int, k: int, count: int, draws: Draws) -> list[tuple[int, ...]]:
    """Return the first ``count`` groups of ``k`` of the documents 0..n-1.

    ``dense``: all combinations in lexicographic order; ``random``: combinations drawn without repetition; ``cycle``: every document
    with the k-1 after it; ``disjoint``: groups that share no document.

    Args:
        pattern: which groups.
        n: documents.
        k: documents of a group, at most ``n``.
        count: at most :func:`most_groups`.
        draws: what ``random`` draws from; the others draw nothing.
    """
    match pattern:
        case "dense":
            return list(islice(combinations(range(n), k), count))
        case "cycle":
            return [tuple((i + j) % n for j in range(k)) for i in range(count)]
        case "disjoint":
            return [tuple(range(i * k, i * k + k)) for i in range(count)]
        case "random":
            # where nearly all groups are wanted, drawing anew until they are new would take long: shuffle them
            if comb(n, k) <= 4 * count:
                return draws.sample(list(combinations(range(n), k)), count)
            drawn = dict[tuple[int, ...], None]()
            while len(drawn) < count:
                drawn[tuple(sorted(draws.sample(range(n), k)))] = None
            return list(drawn)
