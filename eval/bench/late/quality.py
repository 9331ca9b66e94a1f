"""What no leaderboard shows: how many candidates hold exact MaxSim's first ten, and what each way to keep or search tokens costs.

The stages run as they are shipped, over collections whose tokens were encoded once by irkit (``corpus.py``). Beside MUVERA's
encodings stands a control without any of its ideas: one vector a document, the mean of its unit tokens, compared by the cosine.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from late.corpus import Encoder, encode, make_context
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.core.rankings import Rankings, offsets_of
from irkit.data.collection import Qrels
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.evaluate import evaluate, means
from irkit.models.encoder import unit
from irkit.models.ragged import Ragged
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.muvera import Muvera
from irkit.stages.multivector.xtr import Xtr
from irkit.stages.vector_index import best
from irkit.store import Store

TOP, RERANKED = 10, 100
DEPTHS = (50, 100, 200)
SEEDS = (42, 43, 44)
PCA = {"dim": 128}
CODECS: list[dict[str, Any]] = [
    {},
    PCA,
    {**PCA, "codec": "int8"},
    {**PCA, "codec": "residual-4"},
    {**PCA, "codec": "residual-2"},
    {**PCA, "codec": "residual-1"},
    {**PCA, "pool": 2},
]
XTRS: list[tuple[str, dict[str, Any]]] = [
    ("every token", {"index": "exact"}),
    ("IVF", {}),
    ("IVF, rerank 100", {"rerank": RERANKED}),
]


class Tokens:
    """The tokens of a BEIR folder, in the order of the documents' codes."""

    def __init__(self, path: Path, work: Path) -> None:
        arrays = encode(path, work)
        self.name = f"quality-{path.name}"
        self.offsets, self.tokens = np.asarray(arrays["offsets"]), arrays["tokens"]
        self.queries = Ragged(np.asarray(arrays["qoffsets"]), arrays["qtokens"].astype(np.float32))

    def document(self, number: int) -> NDArray[np.float32]:
        return self.tokens[self.offsets[number] : self.offsets[number + 1]].astype(np.float32)


@dataclass(frozen=True)
class Given(Encoder):
    """An encoder that reads them; its texts are numbers."""

    def tokens(self, texts: Sequence[str], side: str, *, words: bool = False, **_asked: bool) -> Ragged:
        if words:
            raise ModelError.of("vectors have no words", where=self.name, hint="")
        read = self.source.queries.__getitem__ if side == "query" else self.source.document
        parts = [read(int(text) if text.isdecimal() else 0) for text in texts]  # a store tries a word first
        none = np.zeros((0, self.token_dim), np.float32)
        return Ragged(offsets_of([len(part) for part in parts]), np.concatenate([none, *parts]))


class Bench:
    """One collection: its stages, its exact rankings, and rows of tables about others.

    Attributes:
        exact: rankings of exact MaxSim over the tokens as encoded, and over those of PCA-128.
    """

    def __init__(self, path: Path, work: Path, threads: int) -> None:
        self.source = Tokens(path, work)
        collection = open_collection(LocalSpec(path=str(path)), Store(work / "store"), base=Path.cwd())
        self.qrels: Qrels = collection.qrels
        sizes = len(collection.docs), len(collection.queries)
        if sizes != (len(self.source.offsets) - 1, len(self.source.queries)):
            raise SystemExit(f"{work / 'encoded' / path.name} holds another collection: remove it")
        self.dim = self.source.tokens.shape[1]
        self.context: Context = make_context(self.source, sizes[0], work, threads)
        whole, scored = self.run(MaxSim, k=max(DEPTHS))
        self._scorer = scored.scorer
        self.exact = (whole, self.run(MaxSim, k=max(DEPTHS), tokens=PCA)[0])
        self._goals = [self.ndcg(each) for each in self.exact]

    def stage(self, kind: Any, **options: Any) -> Any:
        """Make a stage whose model reads the tokens."""
        encoder = Given(self.source, dim=self.dim, token_dim=self.dim)

        class Bound(kind):  # type: ignore[misc, valid-type]
            def load_encoder(self, _context: Context) -> Encoder:
                return encoder

            def encoder_identity(self, _context: Context) -> dict[str, Any]:
                return {"corpus": encoder.source.name}

        return Bound(**options)

    def run(self, kind: Any, **options: Any) -> tuple[Rankings, Any]:
        """Run a first stage on all queries; return its rankings and its state."""
        stage = self.stage(kind, **options)
        state = stage.prepare(self.context)
        return stage.run(Batch(self.context.collection.queries), state), state

    def ndcg(self, runs: Rankings) -> float:
        """Return the mean nDCG@10."""
        return float(means(evaluate(runs.top(TOP), self.qrels, ["ndcg@10"]))["ndcg@10"])

    def scores(self, runs: Rankings) -> str:
        """Return cells: nDCG@10, and its differences to exact MaxSim's."""
        value = self.ndcg(runs)
        return " | ".join([f"{value:.4f}", *(f"{value - goal:+.4f}" for goal in self._goals)])

    def candidates(self, name: str, size: int | str, runs: Rankings) -> None:
        """Print a row of the first table."""
        first = runs.top(RERANKED)
        again = first.with_scores(self._scorer.rescore_all(self.source.queries, first))
        shares = " | ".join(f"{found_in(runs, self.exact[0], depth):.3f}" for depth in DEPTHS)
        print(f"| {name} | {size} | {shares} | {self.scores(runs)} | {self.scores(again)} |", flush=True)

    def means_of_tokens(self) -> Rankings:
        """Search by the cosine of the means of unit tokens, exactly."""
        docs = unit(np.stack([mean(self.source.document(n)) for n in range(len(self.source.offsets) - 1)]))
        asked = unit(np.stack([mean(self.source.queries[n]) for n in range(len(self.source.queries))]))
        codes = np.arange(len(docs))
        found = [best(codes, row, max(DEPTHS)) for row in asked @ docs.T]
        return Rankings.from_lists([docs for docs, _ in found], [scores for _, scores in found])


def mean(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the tokens, each brought to length 1; zeros where there is none."""
    return unit(tokens).sum(axis=0) / max(1, len(tokens))


def found_in(candidates: Rankings, exact: Rankings, depth: int) -> float:
    """Return the share of the exact first documents that are among the first candidates."""
    hits = wanted = 0
    for (docs, _), (first, _) in zip(candidates, exact, strict=True):
        hits += len(np.intersect1d(docs[:depth], first[:TOP]))
        wanted += len(first[:TOP])
    return hits / max(1, wanted)


def candidates(bench: Bench, seeds: Sequence[int]) -> None:
    """Print how well one vector a document finds what MaxSim ranks first."""
    shares = " | ".join(f"top 10 in {depth}" for depth in DEPTHS)
    differences = f"- exact {bench.dim} d | - exact PCA-128"
    print(
        f"| candidates by | dimensions | {shares} | nDCG@10 | {differences} | {RERANKED} reranked | {differences} |"
    )
    print(f"|---|---|{'---|' * len(DEPTHS)}---|---|---|---|---|---|")
    bench.candidates("exact MaxSim", "-", bench.exact[0])
    bench.candidates("exact MaxSim, PCA-128", "-", bench.exact[1])
    bench.candidates("mean of the tokens, cosine (control)", bench.dim, bench.means_of_tokens())
    for fill in (True, False):
        for seed in seeds:
            options = {"fill_empty": fill, "seed": seed}
            runs, state = bench.run(Muvera, **options, rerank=False, k=max(DEPTHS))
            name = f"FDE, fill_empty {str(fill).lower()}, seed {seed}"
            bench.candidates(name, state.index._encoder.size, runs)


def codecs(bench: Bench) -> None:
    """Print what reducing the tokens costs exact MaxSim, and saves."""
    print(
        f"\n| tokens kept | bytes a token | tokens | nDCG@10 of exact MaxSim | - exact {bench.dim} d | - exact PCA-128 "
        f"| top 10 of {bench.dim} d | top 10 of PCA-128 |\n|---|---|---|---|---|---|---|---|"
    )
    for options in CODECS:
        runs, state = bench.run(MaxSim, tokens=options, k=TOP)
        recipe = bench.stage(MaxSim, tokens=options).artifacts(bench.context)[-1]
        artifact = bench.context.store.find(recipe)
        assert artifact
        count = int(state.tokens.offsets[-1])
        shown = " ".join(f"{name}={value}" for name, value in options.items()) or "as encoded"
        overlaps = " | ".join(f"{found_in(runs, each, TOP):.3f}" for each in bench.exact)
        print(
            f"| {shown} | {artifact.bytes / count:.1f} | {count:,} | {bench.scores(runs)} | {overlaps} |",
            flush=True,
        )


def xtrs(bench: Bench) -> None:
    """Print what XTR finds by looking at some tokens alone."""
    print(
        f"\n| XTR, PCA-128 | nDCG@10 | - exact {bench.dim} d | - exact PCA-128 | top 10 of PCA-128 | tokens scored | touched |"
        "\n|---|---|---|---|---|---|---|"
    )
    for name, options in XTRS:
        runs, state = bench.run(Xtr, tokens=PCA, k=RERANKED, **options)
        looked = "all | all" if "index" in options else f"{state.work.scored:.2%} | {state.work.touched:.2%}"
        print(
            f"| {name} | {bench.scores(runs)} | {found_in(runs, bench.exact[1], TOP):.3f} | {looked} |",
            flush=True,
        )


def collection(path: Path, work: Path, threads: int, seeds: Sequence[int]) -> None:
    """Print the tables of one collection."""
    started = time.perf_counter()
    bench = Bench(path, work, threads)
    docs, queries = len(bench.source.offsets) - 1, len(bench.source.queries)
    print(f"\n### {path.name}: {docs:,} documents, {queries} queries, MiniLM's tokens\n")
    candidates(bench, seeds)
    codecs(bench)
    xtrs(bench)
    print(f"\n{time.perf_counter() - started:.0f} s on {threads} threads", flush=True)


def main(work: Path, collections: Sequence[Path], *, threads: int | None = None, quick: bool = False) -> None:
    """Print the tables of every collection; of the first, with one seed, for ``quick``.

    Args:
        work: where the encoded tokens are kept (``encoded/NAME``); indexes are made anew in a folder that is removed.
        collections: BEIR folders.
        threads: all the machine has unless given.
        quick: look at less.
    """
    if not collections:
        raise SystemExit("give the BEIR folders to measure on: --collection PATH ...")
    encoded = work / "encoded"
    encoded.mkdir(parents=True, exist_ok=True)
    for path in collections[: 1 if quick else None]:
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            (Path(scratch) / "encoded").symlink_to(encoded, target_is_directory=True)
            collection(path, Path(scratch), threads or os.cpu_count() or 1, SEEDS[: 1 if quick else None])
