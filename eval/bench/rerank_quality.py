"""Quality of the attention rerankers over BM25's first 20, each also with shuffled input, in three steps, on one machine or two.

    python eval/bench/rerank_quality.py lists  --collection SCIFACT NFCORPUS --work W    # BM25; needs Java, no GPU
    python eval/bench/rerank_quality.py score  --work W --model smollm2                  # needs nothing but the model; a GPU helps
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
DEPTHS = (5, 10)
"""Lists of so many documents besides, for ``icr``: what the length of a list does."""


def lists(work: Path, collections: list[Path]) -> None:
    """Retrieve the candidates of the test queries, and the lists on which heads are found."""
    from irkit.api.heads import Detection, _lists
    from irkit.api.workspace import Workspace
    from irkit.data.spec import LocalSpec
    from irkit.pipeline.registry import make_stage

    workspace = Workspace(root=work, store_root=work / "store")
    for path in collections:
        test = workspace.open(LocalSpec(path=str(path), split="test"))
        train = workspace.open(LocalSpec(path=str(path), split="train"))
        found = workspace.searcher(make_stage("bm25", k=DEPTH), test)(test.queries)
        learnt = _lists(train, workspace, Detection(queries=TRAINING, depth=DEPTH))
        asked = [
            {"qid": qid, "query": text, "codes": codes.tolist(), "scores": scores.tolist()}
            for qid, text, (codes, scores) in zip(test.queries.qid, test.queries.text, found, strict=True)
        ]
        training = [
            {"query": train.queries.text[each.row], "codes": each.docs.tolist(), "gains": each.gains.tolist()}
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
        for method in METHODS:
            if method not in out["heads"]:
                out["heads"][method] = find_heads(model, docs, record["training"], method)
        for label, stage in methods(out["heads"]):
            if label in out["runs"]:
                continue
            started = time.perf_counter()
            found = stage.run(Batch(queries, (upstream,)), open_state(stage, model, docs))
            out["seconds"][label] = time.perf_counter() - started
            out["runs"][label] = [[codes.tolist(), scores.tolist()] for codes, scores in found]
            print(f"{path.name} {label}: {out['seconds'][label]:.1f} s", flush=True)
        file.write_text(json.dumps(out), encoding="utf-8")


def methods(heads: dict[str, list[str]]) -> Iterator[tuple[str, Any]]:
    """Yield every method, as it is and with shuffled input."""
    from irkit.stages.rerank.blockrank import BlockRank
    from irkit.stages.rerank.icr import Icr

    for shuffle in (None, 0, 1):
        options: dict[str, Any] = {"words": WORDS, "shuffle": shuffle, "depth": DEPTH}
        after = {None: "", 0: " (shuffled)", 1: " (shuffled otherwise)"}[shuffle]
        yield f"icr, all heads{after}", Icr(**options)
        for method, found in heads.items():
            yield f"icr, {len(found)} heads by {method}{after}", Icr(**options, heads=tuple(found))
        if shuffle == 1:
            continue
        for depth in DEPTHS:
            yield f"icr, all heads, first {depth} alone{after}", Icr(**{**options, "depth": depth})
        if shuffle == 0:
            for draw in range(DRAWS):
                yield f"icr, {TOP} random heads, draw {draw}{after}", Icr(**options, heads=random_heads(draw))
        yield f"blockrank, released layout{after}", BlockRank(**options)
        yield f"blockrank, query-free layout{after}", BlockRank(**options, layout="query-free")


def random_heads(draw: int) -> tuple[str, ...]:
    """Return as many heads of SmolLM2's 30 x 9 as are detected, drawn at random."""
    drawn = np.random.default_rng(draw).choice(270, TOP, replace=False)
    return tuple(f"{number // 9}-{number % 9}" for number in drawn.tolist())


def find_heads(model: Any, docs: Docs, training: list[dict[str, Any]], method: Any) -> list[str]:
    """Return the best heads, "layer-head", best first."""
    from irkit.models.lm.packing import read_prompts
    from irkit.stages.rerank.head_selection import Criterion, best
    from irkit.stages.rerank.icr_prompt import make_prompt
    from irkit.stages.rerank.language import LanguageModelOptions

    criterion, options = Criterion(method=method), LanguageModelOptions(words=WORDS)
    total = np.zeros((model.layers, model.heads))
    for each in training:
        passages = options.passages(docs, np.array(each["codes"], np.int32))  # type: ignore[arg-type]
        made = make_prompt(model, each["query"], passages, calibrate=criterion.calibrated)
        (found,) = read_prompts(model, [made.prompt], lambda _, made=made: criterion.collector(made.bounds))
        total += criterion(found.result(), np.array(each["gains"], np.int64))
    return [f"{layer}-{head}" for layer, head in best(total / len(training), TOP)[0]]


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
        for label, _ in methods(runs["heads"]):
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
