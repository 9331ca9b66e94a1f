"""What the tests of lexical feedback share: a collection in which every rule about terms has a case, and a stage run on it."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from toys import toy_collection

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.forms import TOLD, terms_of
from irkit.stages.query.lexical import LexicalFeedback
from irkit.store import Store

Bag = Counter[str]
N = 80
COMMON = "everywhere"
ODD = ["x", "y", "z" * 21, "w" * 20, "qq", "1999", "42", "b2b", "naïve", "a-b"]
WORDS = [f"{a}{b}" for a in "bcdfghjklmnprst" for b in ("ado", "ine", "usk", "eph")]


def texts(seed: int = 0) -> list[str]:
    """Return 80 documents: three of them empty, one word in most of them, the others in few."""
    rng = random.Random(seed)
    made = []
    for row in range(N):
        rare = rng.choices(WORDS, k=rng.randint(2, 9)) + [ODD[row // 4 % len(ODD)]] * (row % 4 == 0)
        made.append("" if row % 30 == 7 else " ".join(rare + [COMMON] * rng.randint(0, 3)))
    return made


def context_of(folder: Path, documents: Sequence[str]) -> Context:
    """Return a context whose document ``i`` has the code ``i``."""
    docs = {f"d{row:04d}": text for row, text in enumerate(documents)}
    return Context(toy_collection(folder / "docs", docs, {"q": "bado"}, qrels={}), Store(folder / "store"))


def expand(
    stage: LexicalFeedback, context: Context, queries: Queries | Sequence[str], first: Rankings
) -> tuple[list[Mapping[str, float] | None], list[list[str]]]:
    """Return the weighted terms that a stage gives the queries, and what it tells."""
    asked = queries if isinstance(queries, Queries) else Queries.of(queries)
    made = stage.run(Batch(asked, (first,)), stage.prepare(context))
    return terms_of(made, stage.analyzer), [list(lines) for lines in made.columns[TOLD]]


def feedback(seed: int, queries: int, documents: int = 15) -> Rankings:
    """Return random documents with random scores above zero."""
    rng = np.random.default_rng(seed)
    docs = [rng.permutation(N)[:documents] for _ in range(queries)]
    return Rankings.from_lists(docs, [rng.uniform(1, 9, documents) for _ in docs])


def bags(documents: Sequence[str]) -> list[Bag]:
    """Return the documents' terms, as the analyzer ``whitespace`` cuts them."""
    return [Counter(text.split()) for text in documents]


def frequency(documents: Sequence[str]) -> Bag:
    """Return in how many documents each term is."""
    return Counter(term for bag in bags(documents) for term in bag)


def first_terms(weights: Mapping[str, float], n: int) -> dict[str, float]:
    """Return the best ``n``, ties by term."""
    return dict(sorted(weights.items(), key=lambda each: (-each[1], each[0]))[:n])


def unit(weights: Mapping[str, float], p: int) -> dict[str, float]:
    """Return weights scaled to the norm 1."""
    norm = sum(abs(w) ** p for w in weights.values()) ** (1 / p)
    return {term: w / norm for term, w in weights.items()} if norm else dict(weights)


def assert_weights(found: Mapping[str, float] | None, wanted: Mapping[str, float], where: Any = "") -> None:
    """Assert that terms and weights are the same, within single precision."""
    assert found is not None
    assert set(found) == set(wanted), where
    for term, weight in wanted.items():
        assert math.isclose(found[term], weight, rel_tol=1e-5, abs_tol=1e-7), (where, term)
