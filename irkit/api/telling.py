"""Which queries of a collection tell most: a report has room for some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from irkit.report.pairs import TIE

Values = NDArray[np.float64]


def telling_rows(
    judged: Sequence[int],
    values: Mapping[str, Values],
    baseline: str | None,
    always: Iterable[int],
    count: int,
) -> list[int]:
    """Return the rows of the queries to look into, those that tell most first, each once.

    First come all of ``always``. Then each pipeline in its turn names the query that it lost most against the baseline, the
    one that it won most, the next that it lost, and so on; where there is no baseline, it is the queries on which pipelines
    differ most. As one more voice among them, so that they are not all about differences, come the queries whose mean over
    pipelines is worst. Of equal ones the first.

    Args:
        judged: the rows of the judged queries, ``J`` of them.
        values: of the first metric, by pipeline, for each judged query, ``float64[J]``.
        baseline: what wins and losses are against; a name that is not in ``values`` counts as none.
        always: rows that are among them, even if they are more than ``count``; any of the collection's.
        count: how many at most.
    """
    chosen = dict.fromkeys(always)
    voices = [(judged[place] for place in places) for places in _voices(values, baseline)]
    while voices and len(chosen) < count:
        for voice in list(voices):
            row = next((row for row in voice if row not in chosen), None)
            if row is None:
                voices.remove(voice)
            elif len(chosen) < count:
                chosen[row] = None
    return list(chosen)


def _voices(values: Mapping[str, Values], baseline: str | None) -> Iterator[list[int]]:
    """Yield lists of places among the judged queries, what matters most first; the last one has all places."""
    table = np.stack(list(values.values()))
    if baseline is not None and baseline in values:
        for pipeline, ours in values.items():
            if pipeline != baseline:
                yield _moved(ours - values[baseline])
    elif len(values) > 1:
        spread = table.max(axis=0) - table.min(axis=0)
        yield [place for place in np.argsort(-spread, kind="stable").tolist() if spread[place] > TIE]
    yield np.argsort(table.mean(axis=0), kind="stable").tolist()


def _moved(deltas: Values) -> list[int]:
    """Return the places that lost or won: the greatest loss, the greatest gain, the next loss, and so on."""
    losses = [place for place in np.argsort(deltas, kind="stable").tolist() if deltas[place] < -TIE]
    gains = [place for place in np.argsort(-deltas, kind="stable").tolist() if deltas[place] > TIE]
    return [place for place in chain.from_iterable(zip_longest(losses, gains)) if place is not None]
