"""Toy stages and a toy collection: small enough to check by hand, and they write down every call they get.

The log is a file named by $TOY_LOG, so that calls in other processes are counted too.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from irkit.core.explanation import Explanation
from irkit.core.fingerprint import fingerprint
from irkit.core.queries import Queries
from irkit.core.rankings import CodeArray, Rankings, ScoreArray, offsets_of
from irkit.data.collection import Collection, EvalPolicy, Qrels
from irkit.data.docstore import DocStore
from irkit.pipeline import stage
from irkit.pipeline.context import Context
from irkit.pipeline.registry import make_stage, register
from irkit.pipeline.stage import EXECUTION, Batch, QueryStage, Reranker, Retriever
from irkit.store import Build, Recipe

LOG = "TOY_LOG"

Tokens = list[frozenset[str]]


def python_path() -> str:
    """Return a PYTHONPATH with which other processes find this module, and what this process was told to find."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))


def log(event: str, name: str, n: int = 0) -> None:
    """Write down one call: one short append, so that lines of several processes do not mix."""
    if path := os.environ.get(LOG):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{event} {name} {n}\n")


def calls(event: str, name: str | None = None) -> int:
    """Return how often something was called."""
    return len(_lines(event, name))


def queries_run(name: str) -> int:
    """Return how many queries a stage was run on, in all processes."""
    return sum(_lines("run", name))


def _lines(event: str, name: str | None) -> list[int]:
    path = Path(os.environ[LOG])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [line.split() for line in lines]
    return [int(n) for what, who, n in found if what == event and name in (None, who)]


def tokens_of(docs: DocStore) -> Tokens:
    return [frozenset(text.lower().split()) for text in docs]


class Toy(Retriever):
    """Scores a document by the number of words it shares with the query. Ties abound."""

    scale: float = Field(1.0, gt=0, allow_inf_nan=False, description="Multiplies every score.")
    style: Literal["plain", "squared"] = "plain"
    threads: int = Field(1, description="Changes nothing.", json_schema_extra=dict(EXECUTION))

    def prepare(self, context: Context) -> Tokens:
        log("prepare", self.name)
        return tokens_of(context.collection.docs)

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        log("run", self.name, len(queries))
        docs, scores = [], []
        for text in queries.text:
            words = set(text.lower().split())
            score = np.array([len(words & each) for each in state], dtype=np.float32) * np.float32(self.scale)
            hits = np.flatnonzero(score > 0)
            docs.append(hits)
            scores.append(score[hits] ** 2 if self.style == "squared" else score[hits])
        return Rankings.from_lists(docs, scores).top(depth)


class Slow(Toy):
    """Takes its time for every query, and is stored two queries at a time."""

    chunk: ClassVar[int] = 2

    delay: float = Field(0.0, ge=0, json_schema_extra=dict(EXECUTION))

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        time.sleep(self.delay * len(queries))
        return super().search(queries, depth, state)


class Indexed(Retriever):
    """Builds an index, shard by shard, before it retrieves."""

    delay: float = Field(0.0, ge=0, json_schema_extra=dict(EXECUTION))

    def artifacts(self, context: Context) -> list[Recipe]:
        return [Recipe("toy-index", {"docs": context.collection.docs_fingerprint})]

    def prepare(self, context: Context) -> Tokens:
        def write(build: Build) -> Mapping[str, Any]:
            def shard(code: int) -> Path:
                def make(path: Path) -> None:
                    time.sleep(self.delay)
                    log("shard", self.name)
                    path.write_text(context.collection.docs.text(code).lower(), encoding="utf-8")

                return build.shard(str(code), make)

            texts = [shard(code).read_text(encoding="utf-8") for code in range(len(context.collection.docs))]
            build.path("index.txt").write_text("\n".join(texts), encoding="utf-8")
            return {"documents": len(texts)}

        (recipe,) = self.artifacts(context)
        lines = context.artifact(recipe, write).file("index.txt").read_text(encoding="utf-8").split("\n")
        return [frozenset(line.split()) for line in lines]

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        return Toy.search(self, queries, depth, state)  # type: ignore[arg-type]

    scale: float = 1.0
    style: Literal["plain", "squared"] = "plain"


class Rerank(Reranker):
    """Gives each candidate the share of its words that are in the query."""

    bonus: float = 0.0

    def prepare(self, context: Context) -> Tokens:
        log("prepare", self.name)
        return tokens_of(context.collection.docs)

    def run(self, batch: Batch, state: Tokens) -> Rankings:
        log("run", self.name, len(batch.queries))
        words = [set(text.lower().split()) for text in batch.queries.text]
        ranked = batch.rankings
        score = [
            len(words[q] & state[d]) / len(state[d]) + self.bonus
            for q, d in zip(ranked.query.tolist(), ranked.doc.tolist(), strict=True)
        ]
        return ranked.with_scores(score)


class Words(QueryStage):
    """Adds a word to every query, and columns of both sorts."""

    add: str = "b"

    def run(self, batch: Batch, state: Any) -> Queries:
        log("run", self.name, len(batch.queries))
        queries = batch.queries
        lengths = [len(text) for text in queries.text]
        changed = queries.with_text([f"{text} {self.add}" for text in queries.text])
        return changed.with_column("length", np.array(lengths, np.int32)).with_column(
            "words", [text.split() for text in queries.text]
        )


class Feedback(QueryStage):
    """Adds the words of each query's best document to the query, as relevance feedback does."""

    needs = "one"

    def prepare(self, context: Context) -> DocStore:
        return context.collection.docs

    def run(self, batch: Batch, state: DocStore) -> Queries:
        log("run", self.name, len(batch.queries))
        texts = [
            f"{text} {state.text(int(doc[0]))}" if len(doc) else text
            for text, (doc, _) in zip(batch.queries.text, batch.rankings, strict=True)
        ]
        return batch.queries.with_text(texts)


class Heavy(Retriever):
    """A stage whose model must not be loaded by a plan."""

    def prepare(self, context: Context) -> Any:
        raise AssertionError("the model was loaded")

    def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
        raise AssertionError("the stage was run")


class Look(Reranker):
    """Counts the query's words in a document, and shows them; the first candidate gets ``first`` more, wherever it came from."""

    explanations: int = Field(0, json_schema_extra=dict(EXECUTION))
    order_control: int | None = Field(None, json_schema_extra=dict(EXECUTION))
    shuffle: int | None = None
    first: float = 0.0
    bad: bool = Field(False, json_schema_extra=dict(EXECUTION))

    def prepare(self, context: Context) -> DocStore:
        log("prepare", self.name)
        return context.collection.docs

    def run(self, batch: Batch, state: DocStore) -> Rankings:
        log("run", self.name, len(batch.queries))
        scores = [
            [self._one(query, rankings, place, state).score for place in range(len(rankings[0]))]
            for query, rankings in zip(batch.queries.text, batch.rankings, strict=True)
        ]
        return batch.rankings.with_scores(np.array([each for row in scores for each in row], np.float32))

    def explain(
        self, query: str, rankings: tuple[CodeArray, ScoreArray], state: DocStore, top: int
    ) -> list[Explanation]:
        log("explain", self.name, len(rankings[0]))
        found = [self._one(query, rankings, place, state) for place in range(len(rankings[0]))]
        if self.bad:
            found = [replace(each, score=float("nan")) for each in found]
        return sorted(found, key=lambda each: (-each.score, -each.doc))[:top]

    def _one(
        self, query: str, rankings: tuple[CodeArray, ScoreArray], place: int, state: DocStore
    ) -> Explanation:
        words, code = set(query.lower().split()), int(rankings[0][place])
        pieces = re.findall(r"\s*\S+", state.text(code))
        weights = tuple(float(piece.strip().lower() in words) for piece in pieces)
        front = 0 if self.shuffle is None else (self.shuffle + 1) % len(rankings[0])
        extra = self.first if place == front else 0.0
        return Explanation(code, sum(weights) + extra, tuple(pieces), weights)


How = Literal[
    "nan", "raw nan", "infinite", "short", "long", "twice", "unknown", "negative", "unsorted", "offsets",
    "queries", "nothing", "excluded", "value error",
]  # fmt: skip


class Bad(stage.Stage):
    """Returns what no stage may return, for the second query of a batch."""

    kind = "retriever"
    needs = "none"

    how: How

    def prepare(self, context: Context) -> int:
        return len(context.collection.docs)

    def run(self, batch: Batch, state: int) -> Any:
        n = len(batch.queries)
        doc = np.tile(np.array([1, 0], np.int32), n)
        score = np.tile(np.array([2.0, 1.0], np.float32), n)
        offsets = offsets_of([2] * n)
        match self.how:
            case "nan" | "raw nan":
                score[2] = np.nan
            case "infinite":
                score[2] = np.inf
            case "short":
                return Rankings.empty(n - 1)
            case "long":
                return Rankings.empty(n + 1)
            case "twice":
                doc[2:4] = 1
            case "unknown":
                doc[2] = state
            case "negative":
                doc[2] = -1
            case "unsorted":
                score[2:4] = 1.0, 2.0
            case "offsets":
                return Rankings(offsets, doc[:-1], score[:-1])
            case "queries":
                return batch.queries
            case "nothing":
                return None
            case "excluded":
                doc[2] = batch.queries.exclude[1][0]
            case "value error":
                raise ValueError("some other mistake")
        if self.how in ("nan", "infinite"):
            return Rankings.build(offsets, doc, score)
        return Rankings(offsets, doc, score)


STAGES: dict[str, type[stage.Stage]] = {
    "toy": Toy,
    "toy-slow": Slow,
    "toy-indexed": Indexed,
    "toy-rerank": Rerank,
    "toy-words": Words,
    "toy-feedback": Feedback,
    "toy-heavy": Heavy,
    "toy-look": Look,
    "toy-bad": Bad,
}


def register_all() -> None:
    """Register the toy stages in this process."""
    for name, cls in STAGES.items():
        register(name)(cls)


def toy(**options: Any) -> stage.Stage:
    """Make the stage ``toy``."""
    return make_stage("toy", **options)


DOCS = {
    "d1": "a b c",
    "d2": "a b",
    "d3": "b c d e",
    "d4": "d",
    "d5": "a e",
    "d6": "c c c d",
}
QUERIES = {"q1": "a b", "q2": "c d", "q3": "e", "q4": "zzz", "q5": "a b c d e"}


def toy_collection(
    folder: Path,
    docs: Mapping[str, str] = DOCS,
    queries: Mapping[str, str] = QUERIES,
    exclude: Mapping[str, Sequence[str]] | None = None,
    qrels: Mapping[str, Sequence[str]] | None = None,
) -> Collection:
    """Make a collection by hand, below ``folder``; by default the first document is relevant for every query."""
    folder.mkdir(parents=True, exist_ok=True)
    blob, bounds = b"", []
    for docno in sorted(docs, key=str.encode):
        start = len(blob)
        blob += docno.encode() + docs[docno].encode()
        title = start + len(docno.encode())
        bounds.append((start, title, title, len(blob)))
    (folder / "text.bin").write_bytes(blob)
    np.save(folder / "bounds.npy", np.array(bounds, np.int64).reshape(-1, 4), allow_pickle=False)
    store = DocStore(folder)
    excluded = [[store.code(docno) for docno in (exclude or {}).get(qid, ())] for qid in queries]
    rows = [sorted(code for code in row if code is not None) for row in excluded]
    asked = Queries(
        tuple(queries),
        tuple(queries.values()),
        tuple(np.array(row, np.int32) for row in rows) if exclude else (),
    )
    relevant = [sorted(store.code(d) or 0 for d in (qrels or {}).get(qid, ("d1",))) for qid in queries]
    codes = np.array([code for row in relevant for code in row], np.int32)
    judged = Qrels(offsets_of([len(row) for row in relevant]), codes, np.ones(len(codes), np.int32))
    content = store.content()
    whole = fingerprint([content, asked.keys(), list(queries), relevant])
    return Collection("toy", store, asked, judged, EvalPolicy(), content, whole)


def write_beir(folder: Path, docs: Mapping[str, str] = DOCS, queries: Mapping[str, str] = QUERIES) -> Path:
    """Write a toy collection as a BEIR folder, in which the first document is relevant for every query."""
    import json

    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, texts in (("corpus", docs), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = ["query-id\tcorpus-id\tscore", *(f"{qid}\t{next(iter(docs))}\t1" for qid in queries)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def overlap(docs: Mapping[str, str], text: str) -> Counter[str]:
    """What ``toy`` computes, said differently: the oracle."""
    words = set(text.lower().split())
    return Counter({d: n for d, body in docs.items() if (n := len(words & set(body.lower().split())))})
