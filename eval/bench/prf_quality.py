"""Pseudo-relevance feedback against the stage that it changes, query by query: from the results of ``pipelines/prf.yaml``.

python eval/bench/prf_quality.py eval/runs/prf
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from irkit.evaluate.significance import holm, t_test
from irkit.report.compare import TIE
from irkit.report.results import load_results

METRIC = "ndcg@10"
BASES = {"bm25": "bm25", "rm3": "bm25", "rocchio": "bm25", "dense": "dense"}
"""The pipeline that one whose name begins so is compared with."""


def base_of(pipeline: str) -> str:
    return BASES[pipeline.partition("-")[0]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    _, collections = load_results(parser.parse_args().folder)
    for each in collections:
        values = {name: np.array(metrics[METRIC]) for name, metrics in each.values.items()}
        deltas = {name: found - values[base_of(name)] for name, found in values.items()}
        compared = [name for name in values if name != base_of(name)]
        ps = dict(zip(compared, holm([t_test(_settled(deltas[name])) for name in compared]), strict=True))
        print(
            f"\n| {each.collection} | nDCG@10 | to its base | won / tied / lost | p (Holm) |\n|---|---|---|---|---|"
        )
        for name, found in values.items():
            if name not in ps:
                print(f"| {name} | {found.mean():.4f} | | | |")
                continue
            delta = deltas[name]
            won, lost = int((delta > TIE).sum()), int((delta < -TIE).sum())
            counts = f"{won} / {len(delta) - won - lost} / {lost}"
            print(f"| {name} | {found.mean():.4f} | {delta.mean():+.4f} | {counts} | {ps[name]:.4f} |")


def _settled(delta: np.ndarray) -> np.ndarray:
    return np.where(np.abs(delta) <= TIE, 0.0, delta)


if __name__ == "__main__":
    main()
