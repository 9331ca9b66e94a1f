"""Quality of the attention rerankers over BM25's first 20, each also with shuffled input, in three steps, on one machine or two.

    python eval/bench/rerank_quality.py lists  --collection SCIFACT NFCORPUS --work W    # BM25; needs Java, no GPU
    python eval/bench/rerank_quality.py score  --work W --model smollm2                  # torch and transformers; a GPU helps
    python eval/bench/rerank_quality.py report --work W                                  # nDCG@10, with intervals

Heads are found on the training split alone; how many queries and which method is written with the scores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rerank import open_state

DEPTH = 20
TRAINING = 200
TOP = 16
WORDS = 200
RESAMPLES = 10_000
METHODS = ("qrhead-ndcg", "core")
DRAWS = 3
SMOLLM2 = (30, 9)
"""Layers and heads, of runs that do not say of which model they are."""
DEPTHS = (5, 10)
"""Lists of so many documents besides, for ``icr``: what the length of a list does."""


def lists(work: Path, collections: list[Path]) -> None:
    """Retrieve the candidates of the test queries, and the lists on which heads are found."""
    from irkit.api.heads import Detection, judged_lists
    from irkit.api.workspace import Workspace
    from irkit.data.spec import LocalSpec
    from irkit.pipeline.registry import make_stage

    workspace = Workspace(root=work, store_root=work / "store")
    for path in collections:
        test = workspace.open(LocalSpec(path=str(path), split="test"))
        train = workspace.open(LocalSpec(path=str(path), split="train"))
        found = workspace.searcher(make_stage("bm25", k=DEPTH), test)(test.queries)
        learnt = judged_lists(train, workspace, Detection(queries=TRAINING, depth=DEPTH))
        asked = [
            {"qid": qid, "query": text, "codes": codes.tolist(), "scores": scores.tolist()}
            for qid, text, (codes, scores) in zip(test.queries.qid, test.queries.text, found, strict=True)
        ]
        training = [
            {"query": each.query, "codes": each.docs.tolist(), "gains": each.gains.tolist()}
            for each in learnt
        ]
        needed = sorted({code for part in (asked, training) for each in part for code in each["codes"]})
        documents = {code: [test.docs.title(code), test.docs.body(code)] for code in needed}
        qrels = [[qid, *map(_plain, test.qrels[row])] for row, qid in enumerate(test.queries.qid)]
        record = {"asked": asked, "training": training, "documents": documents, "qrels": qrels}
        with gzip.open(work / f"{path.name}.lists.json.gz", "wt", encoding="utf-8") as file:
            json.dump(record, file)
        print(
            f"{path.name}: {len(asked)} test queries, {len(training)} training queries, {len(documents)} documents"
        )


def _plain(values: Any) -> list[int]:
    return [int(value) for value in values]


class Docs:
    """The documents of the lists, by code."""

    def __init__(self, documents: dict[str, list[str]]) -> None:
        self._parts = {int(code): parts for code, parts in documents.items()}

    def __len__(self) -> int:
        return len(self._parts)

    def title(self, code: int) -> str:
        return self._parts[int(code)][0]

    def body(self, code: int) -> str:
        return self._parts[int(code)][1]

    def text(self, code: int) -> str:
        return " ".join(part for part in self._parts[int(code)] if part)


def score(work: Path, name: str, device: str | None, folder: Path | None) -> None:
    """Find heads, and rerank every list with every method."""
    from irkit.core.queries import Queries
    from irkit.core.rankings import Rankings
    from irkit.models.lm.model import CausalLM
    from irkit.models.resolve import ResolvedModel, resolve
    from irkit.pipeline.stage import Batch

    resolved = ResolvedModel(name, folder, "given", "unknown", str(folder)) if folder else resolve(name)
    model = CausalLM(resolved, device=device)
    for path in sorted(work.glob("*.lists.json.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            record = json.load(file)
        docs = Docs(record["documents"])
        asked = record["asked"]
        queries = Queries(tuple(each["qid"] for each in asked), tuple(each["query"] for each in asked))
        upstream = Rankings.from_lists([each["codes"] for each in asked], [each["scores"] for each in asked])
        file = work / path.name.replace(".lists.json.gz", ".runs.json")
        out: dict[str, Any] = {"heads": {}, "runs": {}, "seconds": {}}
        if file.exists():  # what is there is not computed again
            out = json.loads(file.read_text(encoding="utf-8"))
        out["shape"] = [model.layers, model.heads]
        for method in METHODS:
            if method not in out["heads"]:
                out["heads"][method] = find_heads(model, docs, record["training"], method)
                file.write_text(json.dumps(out), encoding="utf-8")
        for label, stage in methods(out):
            if label in out["runs"]:
                continue
            started = time.perf_counter()
            found = stage.run(Batch(queries, (upstream,)), open_state(stage, model, docs))
            out["seconds"][label] = time.perf_counter() - started
            out["runs"][label] = [[codes.tolist(), scores.tolist()] for codes, scores in found]
            print(f"{path.name} {label}: {out['seconds'][label]:.1f} s", flush=True)
            file.write_text(json.dumps(out), encoding="utf-8")  # a run that is stopped goes on from here


def methods(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every method, as it is and with shuffled input, for the heads that were found and the model's ``shape``."""
    from irkit.stages.rerank.blockrank import BlockRank
    from irkit.stages.rerank.icr import Icr

    for shuffle in (None, 0, 1):
        options: dict[str, Any] = {"words": WORDS, "shuffle": shuffle, "depth": DEPTH}
        after = {None: "", 0: " (shuffled)", 1: " (shuffled otherwise)"}[shuffle]
        yield f"icr, all heads{after}", Icr(**options)
        for method, heads in found["heads"].items():
            yield f"icr, {len(heads)} heads by {method}{after}", Icr(**options, heads=tuple(heads))
        if shuffle == 1:
            continue
        yield f"icr, all heads, calibrate: false{after}", Icr(**options, calibrate=False)
        yield f"icr, all heads, order: given{after}", Icr(**options, order="given")
        for depth in DEPTHS:
            yield f"icr, all heads, first {depth} alone{after}", Icr(**{**options, "depth": depth})
        if shuffle == 0:
            for draw in range(DRAWS):
                heads = random_heads(draw, *found.get("shape", SMOLLM2))
                yield f"icr, {TOP} random heads, draw {draw}{after}", Icr(**options, heads=heads)
        yield f"blockrank, released layout{after}", BlockRank(**options)
        yield f"blockrank, query-free layout{after}", BlockRank(**options, layout="query-free")


def random_heads(draw: int, layers: int, heads: int) -> tuple[str, ...]:
    """Return as many of a model's heads as are detected, drawn at random."""
    drawn = np.random.default_rng(draw).choice(layers * heads, TOP, replace=False)
    return tuple(f"{number // heads}-{number % heads}" for number in drawn.tolist())


def find_heads(model: Any, docs: Docs, training: list[dict[str, Any]], method: Any) -> list[str]:
    """Return the best heads, "layer-head", best first."""
    from irkit.stages.rerank.head_selection import Criterion, best
    from irkit.stages.rerank.head_values import JudgedList, Reading, head_values
    from irkit.stages.rerank.language import LanguageModelOptions

    given = [
        JudgedList(
            f"{number} of training",
            each["query"],
            np.array(each["codes"], np.int32),
            np.array(each["gains"], np.int64),
        )
        for number, each in enumerate(training)
    ]
    reading = Reading(LanguageModelOptions(words=WORDS))
    values, _ = head_values(given, docs, model, Criterion(method=method), reading)  # type: ignore[arg-type]
    return [f"{layer}-{head}" for layer, head in best(values, TOP)[0]]


def report(work: Path) -> None:
    """Print nDCG@10 of every run with 95 % intervals, by bootstrap over queries: of the value, and of the difference to BM25."""
    from irkit.core.rankings import Rankings, offsets_of
    from irkit.data.collection import Qrels
    from irkit.evaluate.metrics import evaluate

    for path in sorted(work.glob("*.runs.json")):
        runs = json.loads(path.read_text(encoding="utf-8"))
        with gzip.open(
            work / path.name.replace(".runs.json", ".lists.json.gz"), "rt", encoding="utf-8"
        ) as file:
            record = json.load(file)
        qrels = Qrels(
            offsets_of([len(docs) for _, docs, _ in record["qrels"]]),
            np.array([doc for _, docs, _ in record["qrels"] for doc in docs], np.int32),
            np.array([gain for _, _, gains in record["qrels"] for gain in gains], np.int32),
        )
        asked = record["asked"]
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, len(asked), (RESAMPLES, len(asked)))

        def values(docs: list[Any], scores: list[Any], qrels: Any = qrels) -> np.ndarray:
            return np.asarray(evaluate(Rankings.from_lists(docs, scores), qrels, ["ndcg@10"])["ndcg@10"])

        def interval(each: np.ndarray, drawn: np.ndarray = drawn) -> str:
            low, high = np.percentile(each[drawn].mean(axis=1), [2.5, 97.5])
            return f"{low:+.3f} to {high:+.3f}" if low < 0 else f"{low:.3f} to {high:.3f}"

        base = values([each["codes"] for each in asked], [each["scores"] for each in asked])

        def row(
            label: str, mine: np.ndarray, seconds: str = "-", base: np.ndarray = base, show: Any = interval
        ) -> None:
            less = mine - base
            print(
                f"| {label} | {mine.mean():.4f} | {show(mine)} | {less.mean():+.4f} | {show(less)} | {seconds} |"
            )

        print(
            f"\n### {path.name.removesuffix('.runs.json')}: {len(asked)} queries, BM25's first {DEPTH}, {WORDS} words a document\n"
        )
        print(
            "| reranker | nDCG@10 | 95 % interval | less BM25 | 95 % interval | seconds |\n|---|---|---|---|---|---|"
        )
        print(f"| none (BM25) | {base.mean():.4f} | {interval(base)} | - | - | - |")
        for depth in (DEPTH, *DEPTHS):
            chance = np.mean([values(*mixed(asked, depth, seed)) for seed in range(20)], axis=0)
            row(f"random order of the first {depth}", chance)
        for label, _ in methods(runs):
            if not runs["runs"].get(label):
                print(f"| {label} | not run | | | | |")
                continue
            docs, scores = zip(*runs["runs"][label], strict=True)
            row(label, values(list(docs), list(scores)), f"{runs['seconds'][label]:.0f}")
        print(
            "\nHeads: " + "; ".join(f"{method}: {' '.join(found)}" for method, found in runs["heads"].items())
        )


def mixed(asked: list[dict[str, Any]], depth: int, seed: int) -> tuple[list[list[int]], list[list[float]]]:
    """Return the lists with their first documents in random order, and scores that say so: what no reranker at all would do."""
    rng = np.random.default_rng(seed)
    docs = [[*rng.permutation(each["codes"][:depth]).tolist(), *each["codes"][depth:]] for each in asked]
    return docs, [np.arange(len(each), 0, -1.0).tolist() for each in docs]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["lists", "score", "report"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--collection", type=Path, nargs="*", default=[], help="BEIR folders with a training split"
    )
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--folder", type=Path, help="the model's folder, where no name is known for it")
    parser.add_argument("--device")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.step == "lists":
        lists(options.work, options.collection)
    elif options.step == "score":
        score(options.work, options.model, options.device, options.folder)
    else:
        report(options.work)


if __name__ == "__main__":
    main()
