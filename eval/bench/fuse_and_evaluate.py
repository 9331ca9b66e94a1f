"""Fusion against a pandas group-by and ranx, evaluation against ranx: same input, same process, same values.

    python eval/bench/fuse_and_evaluate.py [--queries 1000] [--depth 1000] [--repeat 5]

Prints a Markdown table. irkit and its peer are called in turns, ``--repeat`` times each, after one unmeasured call of
both, so nothing that is compiled or imported counts; every time is the median. Each peer has a row for the input that it
likes best (frames, ``Qrels`` and ``Run``), the making of which is not counted; ranx has another one for what it costs to
make those of dicts or of a frame: whoever holds these pays for it.
"""

from __future__ import annotations

import argparse
import statistics
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
U = TypeVar("U")
METRICS = ["ndcg@10", "map", "recall@100", "mrr@10", "precision@10"]


def in_turns(repeat: int, ours: Callable[[], T], theirs: Callable[[], U]) -> tuple[float, float, T, U]:
    """Return the median seconds of both, and what both returned."""
    got, expected = ours(), theirs()
    fast, slow = [], []
    for _ in range(repeat):
        start = time.perf_counter()
        got = ours()
        middle = time.perf_counter()
        expected = theirs()
        fast.append(middle - start)
        slow.append(time.perf_counter() - middle)
    return statistics.median(fast), statistics.median(slow), got, expected


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


def named(run: Rankings) -> pd.DataFrame:
    """The frame that ranx reads."""
    columns = {"q_id": [f"q{q}" for q in run.query], "doc_id": [f"d{d}" for d in run.doc]}
    ids = pd.DataFrame(columns, dtype=object)  # ranx refuses pandas' own type of strings
    return ids.assign(score=run.score.astype(np.float64))


def same_as_ranx(got: Rankings, expected: ranx.Run) -> bool:
    """Whether two runs give the same documents the same scores, rounded to float32."""
    theirs = expected.to_dict()
    for query, (docs, scores) in enumerate(got):
        wanted = theirs[f"q{query}"]
        if len(wanted) != len(docs):
            return False
        values = [wanted.get(f"d{doc}", np.nan) for doc in docs.tolist()]
        if not np.allclose(scores, values, rtol=1e-6, atol=1e-7):
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in (("--queries", 1000), ("--depth", 1000), ("--docs", 100_000), ("--repeat", 5)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    a, b = (make_run(rng, options.queries, options.depth, options.docs) for _ in range(2))
    frames = [frame(a), frame(b)]
    rows = []

    tables = [named(a), named(b)]
    runs = [ranx.Run.from_df(table) for table in tables]
    for label, ours, peer, method, norm in (
        ("RRF", lambda: fuse([a, b], "rrf"), pandas_rrf, "rrf", None),
        (
            "min-max CombSUM",
            lambda: fuse([a, b], "combsum", norm="min-max"),
            pandas_min_max,
            "sum",
            "min-max",
        ),
    ):
        fast, slow, got, expected = in_turns(options.repeat, ours, lambda peer=peer: peer(frames))
        same = np.array_equal(got.doc, expected["doc"]) and np.array_equal(got.score, expected["part"])
        rows.append((f"fuse 2 runs, {label}", "pandas group-by", slow, fast, same))
        setting = {"norm": norm, "method": method, "params": {"k": 60} if method == "rrf" else None}
        for name, work in (
            ("ranx.fuse, Runs made before", lambda s=setting: ranx.fuse(runs, **s)),
            (
                "ranx.fuse, Runs made of frames",
                lambda s=setting: ranx.fuse([ranx.Run.from_df(table) for table in tables], **s),
            ),
        ):
            fast, slow, got, fused = in_turns(options.repeat, ours, work)
            rows.append((f"fuse 2 runs, {label}", name, slow, fast, same_as_ranx(got, fused)))

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
    made = ranx.Qrels(truth), ranx.Run(run)
    for label, work in (
        ("ranx.evaluate(dict, dict)", lambda: ranx.evaluate(truth, run, METRICS)),
        (
            "ranx.evaluate(Qrels(dict), Run(dict))",
            lambda: ranx.evaluate(ranx.Qrels(truth), ranx.Run(run), METRICS),
        ),
        ("ranx.evaluate, Qrels and Run made before", lambda: ranx.evaluate(*made, METRICS)),
    ):
        fast, slow, values, theirs = in_turns(options.repeat, lambda: evaluate(a, qrels, METRICS), work)
        ours = means(values)
        same = all(abs(ours[m] - theirs[m]) < 1e-12 for m in METRICS)
        rows.append((f"evaluate {len(METRICS)} metrics", label, slow, fast, same))

    print(
        f"{options.queries} queries, {options.depth} hits each, {options.docs} documents; medians of {options.repeat} turns\n"
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
