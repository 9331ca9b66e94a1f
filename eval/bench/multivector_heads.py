"""Trained heads for token vectors against PCA and the vectors as they are: exact MaxSim, XTR at 5 % of the tokens, token retrieval.

    irkit train pipelines/train/multivector.yaml -o H
    python eval/bench/multivector_heads.py --collection SCIFACT NFCORPUS CRANFIELD LIMIT --heads H/contrastive H/xtr --work W

A row is one way to make token vectors; everything runs through the stages as they are shipped. Columns: nDCG@10 of `maxsim` over
all documents, and its difference to PCA of as many dimensions (PCA-64 where there is none), with the p-value of the paired t-test
(Holm over a collection's rows that have one); nDCG@10 of `xtr` with as many lists as keep the tokens that a query touches within
5 % of all, and that share; token-retrieval recall: over the queries, the mean share of relevant documents of which at least one
token is among the k' = 1000 that some query token retrieves, exactly; and bytes that a document takes, in float16.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.api.workspace import Workspace
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.data.spec import LocalSpec
from irkit.evaluate.metrics import evaluate
from irkit.evaluate.significance import holm, t_test
from irkit.models.ragged import Ragged
from irkit.pipeline.context import Runtime
from irkit.report.pairs import TIE
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.multivector.xtr import Xtr
from irkit.train.multivector.retrieval import token_recall

METRIC = "ndcg@10"
SHARE = 0.05
"""Of the tokens, which `xtr` may touch."""
NPROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
K_PRIME = 1000
DEPTH = 1000


@dataclass(frozen=True)
class Way:
    """A way to make token vectors: its name, the stages' options, and the name of the way that it is compared with."""

    name: str
    options: dict[str, Any]
    against: str | None = None


@dataclass(frozen=True)
class Row:
    """What there is to say of one way on one collection."""

    way: Way
    dim: int
    exact: NDArray[np.float64]
    xtr: float
    touched: float
    recall: float
    size: float


def ways(model: str, heads: list[str]) -> list[Way]:
    """Return the ways, those first that others are compared with."""
    found = [Way(f"PCA-{dim}", {"model": model, "tokens": {"dim": dim}}) for dim in (64, 128)]
    found.append(Way("as they are", {"model": model}, "PCA-64"))
    return [*found, *(Way(head, {"model": head}, "PCA-64") for head in heads)]


def look(way: Way, collection: Collection, workspace: Workspace) -> Row:
    """Measure one way on one collection. Queries are encoded once."""
    from irkit.stages.multivector.ivf_search import Work
    from irkit.stages.multivector.token_search import Formula

    stage, queries = MaxSim(**way.options), collection.queries
    state = stage.prepare(workspace.context(collection))
    tokens = state.tokens
    asked = stage.asked_tokens(state.encoder, tokens, queries)
    exact = ndcg(state.scorer.search(asked, DEPTH).without(queries.exclude), collection)
    index = Xtr(**way.options).prepare(workspace.context(collection)).index
    best, touched = float("nan"), float("nan")
    for nprobe in NPROBES:
        work, threads = Work(), workspace.runtime.threads
        found = index.search(  # type: ignore[call-arg]
            asked, DEPTH, nprobe=nprobe, reach=None, formula=Formula(), threads=threads, work=work
        )
        if work.touched > SHARE and nprobe > NPROBES[0]:
            break
        best, touched = float(ndcg(found.without(queries.exclude), collection).mean()), work.touched
        if touched > SHARE:
            break  # one list is more than that already: the share says so
    size = float(tokens.offsets[-1]) * tokens.dim * 2 / len(tokens)
    retrieved = recall(asked, tokens, collection, state.encoder.device)
    return Row(way, tokens.dim, exact, best, touched, retrieved, size)


def recall(asked: Ragged, tokens: Tokens, collection: Collection, device: str) -> float:
    """Return the mean share of a query's relevant documents of which a token is retrieved."""
    judged = [collection.qrels[number] for number in range(len(asked))]
    relevant = [codes[gains > 0] for codes, gains in judged]
    return float(np.nanmean(token_recall(asked, tokens, relevant, K_PRIME, device)))


def ndcg(found: Rankings, collection: Collection) -> NDArray[np.float64]:
    (values,) = evaluate(found, collection.qrels, [METRIC]).values()
    return np.asarray(values)


def table(name: str, rows: list[Row]) -> None:
    """Print the rows of a collection as Markdown."""
    exact = {row.way.name: row.exact for row in rows}
    same = {64: "PCA-64", 128: "PCA-128"}
    pairs = [(row, same.get(row.dim, "PCA-64")) for row in rows if row.way.against]
    deltas = {row.way.name: row.exact - exact[base] for row, base in pairs}
    settled = {key: np.where(np.abs(each) <= TIE, 0.0, each) for key, each in deltas.items()}
    ps = dict(zip(settled, holm([t_test(each) for each in settled.values()]), strict=True))
    print(
        f"\n| {name} | dim | nDCG@10, exact | to PCA | p (Holm) | `xtr` | touched | recall | bytes a document |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        key = row.way.name
        p = ps.get(key)
        cells = [
            key,
            str(row.dim),
            f"{row.exact.mean():.4f}",
            f"{deltas[key].mean():+.4f}" if key in deltas else "",
            "" if p is None else f"{p:.4f}",
            f"{row.xtr:.4f}",
            f"{row.touched:.1%}",
            f"{row.recall:.4f}",
            f"{row.size:,.0f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def opened(
    doc: str | None, trained: str, model: str
) -> tuple[argparse.Namespace, Iterator[tuple[str, Collection, Workspace]]]:
    """Return the options of the command line, and each of its collections with its name and the workspace.

    Args:
        doc: what the script does.
        trained: the option that names trained folders.
        model: what the option ``--model`` is for.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", nargs="+", required=True, type=Path, help="BEIR folders")
    parser.add_argument("--split", default="test")
    parser.add_argument(trained, nargs="*", default=[], help="trained folders, or names such as irkit/...")
    parser.add_argument("--model", default="minilm", help=model)
    parser.add_argument(
        "--work", required=True, type=Path, help="its folder indexes/ keeps what was computed"
    )
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    def collections() -> Iterator[tuple[str, Collection, Workspace]]:
        options.work.mkdir(parents=True, exist_ok=True)
        runtime = Runtime(options.device, options.threads)
        workspace = Workspace(root=Path.cwd(), store_root=options.work / "indexes", runtime=runtime)
        for path in options.collection:
            spec = LocalSpec(path=str(path), split=options.split, name=path.name)
            yield path.name, workspace.open(spec), workspace

    return options, collections()


def main() -> None:
    options, collections = opened(__doc__, "--heads", "what PCA and the last row start from")
    for name, collection, workspace in collections:
        table(name, [look(way, collection, workspace) for way in ways(options.model, options.heads)])


if __name__ == "__main__":
    main()
