"""Scores of rankings against judgements: ranx's compiled metrics, fed so that they equal trec_eval's.

ranx sorts by score alone and hashes document ids, so by itself it leaves ties to chance. Here it never sees a
score or an id: it gets integer codes in the canonical order (score descending, docno descending), which is
trec_eval's, and judgements sorted by gain.

The rules, which are those of ``trec_eval -c``:

* Every query with a judgement counts; without hits, or without any relevant document, it scores 0. A query
  without judgements is left out.
* A document is relevant when its gain reaches the metric's level: the one it is written with, else the
  collection's (1 unless its policy says otherwise; nDCG always takes all positive gains). Lower gains, also
  negative ones, count 0.
* Judged documents that the collection lacks count in recall and in the ideal ranking: nobody can retrieve
  them, and that is a loss.
* nDCG is trec_eval's ``ndcg_cut``: gain / log2(rank + 1) over the same sum for the ideal order of all
  judgements.
* MRR and MAP with a cutoff are those of the ranking cut at k; the divisor of MAP stays the number of all
  relevant documents.

ranx differs from trec_eval in one metric that is offered here, bpref: it counts judgements below 0 as
non-relevant (trec_eval: not judged) and divides by 0 where no non-relevant document is judged. So bpref is
written out below.

ranx is compiled by numba on first use. Its plain (not its parallel) functions are called, one query at a
time: for seven metrics they compile in 8 s where the parallel ones take 17 s, and a call takes about 1
microsecond, so they are as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.compiled import prepare_cache
from irkit.core.errors import DataError, DependencyError
from irkit.core.metric import Metric, parse_metric
from irkit.core.rankings import CodeArray, IntArray, Rankings
from irkit.data.collection import Qrels

FloatArray: TypeAlias = NDArray[np.float64]
Kernel: TypeAlias = Callable[[FloatArray, FloatArray], float]

VERSION = 1
"""Raise it when the code below starts to give other values."""

_ANY_GAIN = -(2**31)
_GRADED = ("ndcg", "ndcg_burges")


def evaluation_identity() -> dict[str, Any]:
    """Return what decides the values besides their input, for fingerprints. Cheap: ranx is not imported."""
    return {"evaluation": VERSION, "ranx": version("ranx")}


def evaluate(
    rankings: Rankings,
    qrels: Qrels,
    metrics: Sequence[Metric | str],
    n_docs: int | None = None,
    *,
    exclude: Sequence[CodeArray] = (),
    relevance_level: int = 1,
) -> dict[str, FloatArray]:
    """Score rankings; nothing that is passed in is changed.

    Args:
        rankings: of Q queries.
        qrels: the judgements of the same Q queries.
        metrics: what to compute, as values or as text.
        n_docs: the number of documents of the collection; a hit beyond it is an error.
        exclude: for each query codes that are dropped before every cutoff, as the collection's policy
            demands.
        relevance_level: the policy's, for metrics that name no level.

    Returns:
        for the canonical text of each metric its value for every judged query, ``float64[J]``, in the order
        of ``judged_queries``.

    Raises:
        ConfigError: for a text that names no metric.
        DataError: when no query has a judgement.
        DependencyError: when the installed ranx lacks a function that is needed.
        ValueError: when rankings and judgements have different numbers of queries, or a hit is not in the
            collection.
    """
    if len(rankings) != len(qrels):
        raise ValueError(
            f"rankings of {len(rankings)} queries and judgements of {len(qrels)} do not belong together"
        )
    if n_docs is not None and len(rankings.doc) and rankings.doc.max() >= n_docs:
        raise ValueError(
            f"document code {rankings.doc.max()} was retrieved from a collection of {n_docs} documents"
        )
    wanted = [parse_metric(metric) if isinstance(metric, str) else metric for metric in metrics]
    judged = judged_queries(qrels)
    if not len(judged):
        raise DataError.of(
            "no query has a judgement, so there is nothing to evaluate", hint="choose a split that has qrels"
        )
    kernels = {str(metric): _kernel(metric, relevance_level) for metric in wanted}
    values = {name: np.zeros(len(judged)) for name in kernels}
    columns = [(kernel, values[name]) for name, kernel in kernels.items()]
    rankings = rankings.without(exclude)
    buffer = np.zeros((int(rankings.lengths.max()), 2))  # ranx never looks at a run's second column
    starts, stops = rankings.offsets[judged].tolist(), rankings.offsets[judged + 1].tolist()
    for row, (truth, start, stop) in enumerate(zip(_judgements(qrels, judged), starts, stops, strict=True)):
        run = buffer[: stop - start]
        run[:, 0] = rankings.doc[start:stop]
        for kernel, column in columns:
            column[row] = kernel(truth, run)
    return values


def means(values: Mapping[str, FloatArray]) -> dict[str, float]:
    """Return the mean of each metric over the judged queries."""
    return {name: float(array.mean()) for name, array in values.items()}


def judged_queries(qrels: Qrels) -> IntArray:
    """Return the numbers of the queries that have a judgement, ascending, ``int64[J]``."""
    return np.flatnonzero(np.diff(qrels.offsets))


def _judgements(qrels: Qrels, rows: IntArray) -> list[FloatArray]:
    """Return for each query (code, gain) rows by gain, descending: ranx takes them for the ideal ranking."""
    query = np.repeat(np.arange(len(qrels)), np.diff(qrels.offsets))
    order = np.lexsort((qrels.doc, -qrels.gain.astype(np.int64), query))
    table = np.empty((len(qrels.doc), 2))
    table[:, 0], table[:, 1] = qrels.doc[order], qrels.gain[order]
    bounds = zip(qrels.offsets[rows].tolist(), qrels.offsets[rows + 1].tolist(), strict=True)
    return [table[start:stop] for start, stop in bounds]


def _kernel(metric: Metric, usual: int) -> Kernel:
    """Return the function (judgements, run) -> value of a metric; ``usual`` is the level of one that names none."""
    k, level = metric.k or 0, metric.level or (1 if metric.name in _GRADED else usual)
    match metric.name:
        case "bpref":
            return partial(_bpref, level=level)
        case "ndcg" | "ndcg_burges":
            arguments: tuple[Any, ...] = (k, level, metric.name == "ndcg")
        case "r_precision":
            arguments = (level,)
        case "judged":
            arguments = (k, _ANY_GAIN)
        case _:
            arguments = (k, level)
    module, name = _RANX[metric.name]
    function = _ranx(module, name)
    return lambda truth, run: function(truth, run, *arguments)


_RANX = {
    "ndcg": ("ndcg", "_ndcg"),
    "ndcg_burges": ("ndcg", "_ndcg"),
    "map": ("average_precision", "_average_precision"),
    "mrr": ("reciprocal_rank", "_reciprocal_rank"),
    "recall": ("recall", "_recall"),
    "precision": ("precision", "_precision"),
    "judged": ("precision", "_precision"),
    "f1": ("f1", "_f1"),
    "success": ("hit_rate", "_hit_rate"),
    "r_precision": ("r_precision", "_r_precision"),
}


@cache
def _ranx(module: str, name: str) -> Callable[..., float]:
    prepare_cache()
    from importlib import import_module

    try:
        function: Callable[..., float] = getattr(import_module(f"ranx.metrics.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise DependencyError.of(
            f"ranx {version('ranx')} has no ranx.metrics.{module}.{name} ({error})",
            hint="pip install 'ranx>=0.3.20,<0.4'",
        ) from error
    return function


def _bpref(truth: FloatArray, run: FloatArray, *, level: int) -> float:
    """Binary preference as in trec_eval 9: the mean over the relevant documents of 1 - min(n, R) / min(N, R).

    n is the number of judged non-relevant documents (0 <= gain < level) ranked above; R and N are the numbers
    of all relevant and all non-relevant ones. A relevant document that was not retrieved adds 0. Source:
    Buckley and Voorhees, Retrieval Evaluation with Incomplete Information, SIGIR 2004; footnote on min(N, R)
    in trec_eval's m_bpref.c.
    """
    code, gain = truth[:, 0], truth[:, 1]
    relevant, bad = code[gain >= level], code[(gain >= 0) & (gain < level)]
    if not len(relevant):
        return 0.0
    above = np.cumsum(np.isin(run[:, 0], bad))[np.isin(run[:, 0], relevant)]
    bound = max(min(len(bad), len(relevant)), 1)  # without bad documents `above` is 0 throughout
    return float((1 - np.minimum(above, len(relevant)) / bound).sum() / len(relevant))
