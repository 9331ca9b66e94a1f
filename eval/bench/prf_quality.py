"""Pseudo-relevance feedback query by query: against the stage that it changes, and its gate against one that decides at random.

python eval/bench/prf_quality.py --collection SCIFACT NFCORPUS CRANFIELD VASWANI --work W
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from irkit.api.workspace import Workspace
from irkit.data.collection import Collection
from irkit.data.spec import LocalSpec
from irkit.evaluate.metrics import evaluate
from irkit.evaluate.significance import holm, t_test
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage
from irkit.report.pairs import TIE
from irkit.stages.query.gate import Gate

METRICS = ("ndcg@10", "ap", "recall@100")
DRAWS = 20_000
FEEDBACK = {
    "rm3": ("bm25", "rm3", {}),
    "rocchio": ("bm25", "rocchio", {}),
    "average": ("dense", "vector-prf", {"method": "average"}),
    "vector rocchio": ("dense", "vector-prf", {}),
}
"""name: (the stage that is changed, the feedback stage, its options)."""
GATES = {"average": Gate(least=0.85)}
"""Others than the default one, which suits a small step."""


def pipeline(name: str, *, gated: bool) -> Pipeline:
    base, stage, options = FEEDBACK[name]
    more = {"gate": GATES.get(name, Gate())} if gated else {}
    first = make_stage(base, k=1000)
    return first >> make_stage(stage, **options, **more) >> first


def measure(path: Path, split: str, workspace: Workspace) -> None:
    """Print the table of one collection."""
    spec = LocalSpec(path=str(path), split=split, name=f"{path.name}-{split}")
    rankings = {base: workspace.rankings(make_stage(base, k=1000), spec) for base in ("bm25", "dense")}
    collection = rankings["bm25"][0]
    values = {base: _values(found, collection) for base, (_, found) in rankings.items()}
    rows = []
    for name, (base, _, _) in FEEDBACK.items():
        for gated in (False, True):
            found = _values(workspace.rankings(pipeline(name, gated=gated), spec)[1], collection)
            deltas = {metric: _settled(found[metric] - values[base][metric]) for metric in METRICS}
            rows.append((name, base, gated, found, deltas))
    ps = holm([t_test(deltas[METRICS[0]]) for *_, deltas in rows])
    print(
        f"\n| {path.name}, {split} | nDCG@10 | to its base | won / tied / lost | p (Holm) | MAP | R@100 | through | random gate |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for base in ("bm25", "dense"):
        means = [f"{values[base][metric].mean():.4f}" for metric in METRICS]
        print(f"| {base} | {means[0]} | | | | {means[1]} | {means[2]} | | |")
        for (name, of, gated, found, deltas), p in zip(rows, ps, strict=True):
            if of != base:
                continue
            delta = deltas[METRICS[0]]
            won, lost = int((delta > 0).sum()), int((delta < 0).sum())
            cells = [
                f"{name}{', gated' if gated else ''}",
                f"{found[METRICS[0]].mean():.4f}",
                f"{delta.mean():+.4f}",
                f"{won} / {len(delta) - won - lost} / {lost}",
                "-" if p is None else f"{p:.4f}",
                *(f"{deltas[metric].mean():+.4f}" for metric in METRICS[1:]),
            ]
            if gated:
                ungated = next(row[4][METRICS[0]] for row in rows if row[:3] == (name, of, False))
                through = GATES.get(name, Gate()).trusts(rankings[of][1])[collection.judged]
                cells += [f"{through.mean():.0%}", _random(ungated, int(through.sum()), delta.mean())]
            else:
                cells += ["", ""]
            print(f"| {' | '.join(cells)} |", flush=True)


def _random(deltas: np.ndarray, count: int, gated: float) -> str:
    """Return the mean gain of gates that let ``count`` queries through at random, and how often such a one gains as much."""
    rng = np.random.default_rng(0)
    gains = np.array([rng.choice(deltas, count, replace=False).sum() for _ in range(DRAWS)]) / len(deltas)
    return f"{gains.mean():+.4f} ({(gains >= gated - TIE).mean():.2f})"


def _values(found: object, collection: Collection) -> dict[str, np.ndarray]:
    values = evaluate(found, collection.qrels, list(METRICS))  # type: ignore[arg-type]
    return dict(zip(METRICS, (np.asarray(each) for each in values.values()), strict=True))


def _settled(delta: np.ndarray) -> np.ndarray:
    return np.where(np.abs(delta) <= TIE, 0.0, delta)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--collection", nargs="+", required=True, type=Path, help="BEIR folders")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--work", required=True, type=Path, help="its folder indexes/ keeps what was computed"
    )
    options = parser.parse_args()
    workspace = Workspace(root=options.work, store_root=options.work / "indexes")
    for path in options.collection:
        measure(path, options.split, workspace)


if __name__ == "__main__":
    main()
