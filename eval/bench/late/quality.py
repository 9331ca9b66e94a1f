"""What no leaderboard shows: how many candidates hold exact MaxSim's first ten, and what each way to keep tokens costs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irkit.core.rankings import Rankings
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.evaluate import evaluate, means
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.muvera import Muvera
from irkit.stages.multivector.xtr import Xtr
from irkit.store import Store

TOKENS = {"dim": 128}
FDES: list[dict[str, Any]] = [
    {"repetitions": 20, "k_sim": 3, "d_proj": 8},
    {"repetitions": 20, "k_sim": 5, "d_proj": 8},
    {"repetitions": 20, "k_sim": 5, "d_proj": 16},
    {"repetitions": 40, "k_sim": 5, "d_proj": 16},
]
DEPTHS = (50, 100, 200, 400)
CODECS: list[dict[str, Any]] = [
    {},
    {"dim": 128},
    {"dim": 128, "codec": "int8"},
    {"dim": 128, "codec": "residual-4"},
    {"dim": 128, "codec": "residual-2"},
    {"dim": 128, "codec": "residual-1"},
    {"dim": 128, "pool": 2},
    {"dim": 128, "prune": "stop-words"},
]


def found_in(candidates: Rankings, exact: Rankings, depth: int, top: int = 10) -> float:
    """Return the share of the exact first documents that are among the first candidates."""
    hits = wanted = 0
    for (docs, _), (best, _) in zip(candidates, exact, strict=True):
        hits += len(np.intersect1d(docs[:depth], best[:top]))
        wanted += len(best[:top])
    return hits / max(1, wanted)


def ranked(stage: Any, context: Context) -> tuple[Rankings, Any]:
    """Run a first stage on all queries; return its rankings and its state."""
    state = stage.prepare(context)
    return stage.run(Batch(context.collection.queries), state), state


def collection(path: Path, scratch: Path) -> None:
    """Print the tables of one collection."""
    store = Store(scratch)
    context = Context(open_collection(LocalSpec(path=str(path)), store, base=Path.cwd()), store)
    qrels = context.collection.qrels
    exact, _ = ranked(MaxSim(tokens=TOKENS, k=100), context)
    print(
        f"\n### {path.name}: {len(context.collection.docs):,} documents, "
        f"{len(context.collection.queries)} queries, MiniLM, PCA-128\n"
    )
    print(
        f"| candidates of | coordinates | {' | '.join(f'top 10 in {depth}' for depth in DEPTHS)} | nDCG@10 |"
    )
    print(f"|---|---|{'---|' * len(DEPTHS)}---|")
    for options in FDES:
        stage = Muvera(tokens=TOKENS, **options, rerank=False, k=max(DEPTHS), candidates=max(DEPTHS))
        runs, _ = ranked(stage, context)
        size = options["repetitions"] * 2 ** options["k_sim"] * options["d_proj"]
        row(
            f"FDE ({options['repetitions']}, {options['k_sim']}, {options['d_proj']})",
            size,
            runs,
            exact,
            qrels,
        )
    for options in ({"bits": 4}, {"bits": 2}):
        runs, _ = ranked(Xtr(tokens=TOKENS, k=max(DEPTHS), **options), context)
        row(f"XTR, IVF, {options['bits']} bits", "-", runs, exact, qrels)
    print("\n| tokens kept | bytes a token | tokens | nDCG@10 of exact MaxSim |\n|---|---|---|---|")
    for options in CODECS:
        stage = MaxSim(tokens=options, k=100)
        runs, state = ranked(stage, context)
        size = store.get(stage.artifacts(context)[-1], lambda _build: {}).bytes
        count = int(state.tokens.offsets[-1])
        shown = " ".join(f"{name}={value}" for name, value in options.items()) or "as encoded"
        print(
            f"| {shown} | {size / count:.1f} | {count:,} | {means(evaluate(runs, qrels, ['ndcg@10']))['ndcg@10']:.4f} |"
        )


def row(name: str, size: Any, runs: Rankings, exact: Rankings, qrels: Any) -> None:
    """Print a row of the first table."""
    cells = " | ".join(f"{found_in(runs, exact, depth):.3f}" for depth in DEPTHS)
    print(
        f"| {name} | {size} | {cells} | {means(evaluate(runs, qrels, ['ndcg@10']))['ndcg@10']:.4f} |",
        flush=True,
    )


def main(work: Path, collections: Sequence[Path]) -> None:
    """Print the tables of every collection."""
    for path in collections:
        if work.exists():
            collection(path, work / "store")
        else:
            with tempfile.TemporaryDirectory() as scratch:
                collection(path, Path(scratch))
