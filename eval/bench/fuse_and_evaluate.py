"""Fusion against a pandas group-by, evaluation against ranx from dicts: same input, same process, same values.

    python eval/bench/fuse_and_evaluate.py [--queries 1000] [--depth 1000] [--repeat 5]

Prints a Markdown table. Every time is the best of ``--repeat`` after one unmeasured call, so nothing that is
compiled or imported counts. The peers get their input in the form that they want (frames, dicts), and making it is
not counted. What ranx does to turn dicts into its own arrays is counted: whoever holds dicts pays for it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd
import ranx

from irkit.core.fusion import fuse
from irkit.core.rankings import Rankings, offsets_of
from irkit.data.collection import Qrels
from irkit.evaluate import evaluate, means

T = TypeVar("T")
METRICS = ["ndcg@10", "map", "recall@100", "mrr@10", "precision@10"]


def best(repeat: int, work: Callable[[], T]) -> tuple[float, T]:
    result = work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def make_run(rng: np.random.Generator, n_queries: int, depth: int, n_docs: int) -> Rankings:
    """A run without ties within a query, as ranx cannot be told how to break one."""
    docs = [rng.choice(n_docs, depth, replace=False) for _ in range(n_queries)]
    scores = [rng.permutation(10 * depth)[:depth] / 8 for _ in range(n_queries)]
    return Rankings.from_lists(docs, scores)


def frame(run: Rankings) -> pd.DataFrame:
    return pd.DataFrame(
        {"query": run.query, "doc": run.doc, "score": run.score.astype(np.float64), "rank": run.rank}
    )


def pandas_rrf(frames: list[pd.DataFrame]) -> pd.DataFrame:
    both = pd.concat([f.assign(part=1 / (61.0 + f["rank"])) for f in frames])
    fused = both.groupby(["query", "doc"], sort=False, as_index=False)["part"].sum()
    fused["part"] = fused["part"].astype(np.float32)
    return fused.sort_values(["query", "part", "doc"], ascending=[True, False, False])


def pandas_min_max(frames: list[pd.DataFrame]) -> pd.DataFrame:
    parts = []
    for f in frames:
        group = f.groupby("query", sort=False)["score"]
        low, high = group.transform("min"), group.transform("max")
        parts.append(f.assign(part=(f["score"] - low) / (high - low)))
    fused = pd.concat(parts).groupby(["query", "doc"], sort=False, as_index=False)["part"].sum()
    fused["part"] = fused["part"].astype(np.float32)
    return fused.sort_values(["query", "part", "doc"], ascending=[True, False, False])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in (("--queries", 1000), ("--depth", 1000), ("--docs", 100_000), ("--repeat", 5)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    a, b = (make_run(rng, options.queries, options.depth, options.docs) for _ in range(2))
    frames = [frame(a), frame(b)]
    rows = []

    for label, ours, theirs in (
        ("RRF", lambda: fuse([a, b], "rrf"), lambda: pandas_rrf(frames)),
        ("min-max CombSUM", lambda: fuse([a, b], "combsum", norm="min-max"), lambda: pandas_min_max(frames)),
    ):
        slow, expected = best(max(1, options.repeat // 2), theirs)
        fast, got = best(options.repeat, ours)
        same = np.array_equal(got.doc, expected["doc"]) and np.array_equal(got.score, expected["part"])
        rows.append((f"fuse 2 runs, {label}", "pandas group-by", slow, fast, same))

    docs = [rng.choice(a[q][0], 20, replace=False) for q in range(options.queries)]
    gains = rng.integers(0, 4, (options.queries, 20))
    order = [np.argsort(d) for d in docs]
    qrels = Qrels(
        offsets_of([20] * options.queries),
        np.concatenate([d[o] for d, o in zip(docs, order, strict=True)]).astype(np.int32),
        np.concatenate([g[o] for g, o in zip(gains, order, strict=True)]).astype(np.int32),
    )
    truth = {
        f"q{q}": {f"d{doc}": int(gain) for doc, gain in zip(docs[q], gains[q], strict=True)}
        for q in range(options.queries)
    }
    run = {
        f"q{q}": {f"d{doc}": score for doc, score in zip(doc.tolist(), score.tolist(), strict=True)}
        for q, (doc, score) in enumerate(a)
    }
    fast, values = best(options.repeat, lambda: evaluate(a, qrels, METRICS))
    ours = means(values)
    for label, work in (
        ("ranx.evaluate(dict, dict)", lambda: ranx.evaluate(truth, run, METRICS)),
        (
            "ranx.evaluate(Qrels(dict), Run(dict))",
            lambda: ranx.evaluate(ranx.Qrels(truth), ranx.Run(run), METRICS),
        ),
    ):
        slow, theirs = best(max(1, options.repeat // 2), work)
        same = all(abs(ours[m] - theirs[m]) < 1e-12 for m in METRICS)
        rows.append((f"evaluate {len(METRICS)} metrics", label, slow, fast, same))

    print(
        f"{options.queries} queries, {options.depth} hits each, {options.docs} documents; best of {options.repeat}\n"
    )
    print("| work | peer | peer, s | irkit, s | times faster | same values |\n|---|---|---|---|---|---|")
    for work, peer, slow, fast, same in rows:
        print(
            f"| {work} | {peer} | {slow:.3f} | {fast:.4f} | {slow / fast:.1f} | {'yes' if same else 'NO'} |"
        )
    if not all(same for *_, same in rows):
        raise SystemExit("the values differ")


if __name__ == "__main__":
    main()
