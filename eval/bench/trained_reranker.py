"""Quality of a trained attention reranker over the first 20 of BM25 and of MaxSim, on shuffled input, on one machine or two.

    python eval/bench/trained_reranker.py lists  --collection SCIFACT NFCORPUS CRANFIELD --work W   # needs Java, no GPU
    python eval/bench/trained_reranker.py score  --work W --model irkit/smollm2-blockrank           # a GPU helps
    python eval/bench/trained_reranker.py score  --work W --first bm25 --seeds 0 --shuffled-queries # a control
    python eval/bench/trained_reranker.py report --work W                                           # neither

Three tables: each first stage's candidates reranked, and fused with the first stage by reciprocal rank; these fusions against the
one of BM25 and MaxSim, for which nothing is trained; and of a collection with a training split the queries that share a relevant
document with it, and the others. MaxSim, the model's teacher, reranks BM25's candidates too. Differences have 95 % intervals by
bootstrap over queries, and p of the randomisation test, corrected after Holm for all tests of a table. What ties in a fusion is in
the order of its first ranking, the first stage.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from irkit.core.rankings import Rankings, offsets_of
from irkit.data.collection import Qrels

DEPTH = 20
FIRSTS = ("bm25", "maxsim")
SEEDS = (0, 1)
"""Of the orders in which the model gets the candidates."""
RRF = 60
UNTRAINED = "MaxSim, untrained"
Run = list[list[list[Any]]]
"""For each query the codes of documents, best first, and their scores."""


def lists(work: Path, collections: list[Path], store: Path) -> None:
    """Retrieve the candidates of the test queries by every first stage, and MaxSim's order of BM25's."""
    from irkit.api.workspace import Workspace
    from irkit.data.spec import LocalSpec
    from irkit.pipeline.graph import Pipeline
    from irkit.pipeline.registry import make_stage

    workspace = Workspace(root=work, store_root=store)
    for path in collections:
        test = workspace.open(LocalSpec(path=str(path), split="test"))

        def found(pipeline: Pipeline, test: Any = test) -> Run:
            rankings = workspace.searcher(pipeline, test)(test.queries)
            return [[codes.tolist(), scores.tolist()] for codes, scores in rankings]

        stages = {name: Pipeline.of(make_stage(name, k=DEPTH)) for name in FIRSTS}
        firsts = {name: found(stage) for name, stage in stages.items()}
        needed = sorted({code for run in firsts.values() for codes, _ in run for code in codes})
        learnt: set[int] = set()
        if (path / "qrels" / "train.tsv").exists():
            train = workspace.open(LocalSpec(path=str(path), split="train"))
            known = (train.qrels.gain > 0) & (train.qrels.doc < len(train.docs))
            learnt = set(train.qrels.doc[known].tolist())
        record = {
            "qids": list(test.queries.qid),
            "queries": list(test.queries.text),
            "firsts": firsts,
            "teacher": found(stages["bm25"] >> make_stage("maxsim")),
            "documents": {code: [test.docs.title(code), test.docs.body(code)] for code in needed},
            "qrels": [[values.tolist() for values in test.qrels[row]] for row in range(len(test.queries))],
            "learnt": sorted(learnt),
        }
        with gzip.open(work / f"{path.name}.lists.json.gz", "wt", encoding="utf-8") as file:
            json.dump(record, file)
        print(f"{path.name}: {len(test.queries)} queries, {len(needed)} documents", flush=True)


def score(
    work: Path, models: list[str], device: str | None, firsts: list[str], seeds: list[int], shuffled: bool
) -> None:
    """Rerank every list with every model; what an earlier call scored with the same weights is kept."""
    from rerank import open_state
    from rerank_quality import Docs

    from irkit.core.files import write_atomically
    from irkit.core.queries import Queries
    from irkit.models.lm.model import CausalLM
    from irkit.models.resolve import resolve
    from irkit.models.trained import read_trained
    from irkit.pipeline.registry import make_stage
    from irkit.pipeline.stage import Batch

    for name in models:
        resolved = resolve(name, Path.cwd())
        model = CausalLM(resolved, device=device)
        own = read_trained(resolved.path)
        free = own is not None and own.options.get("layout") == "query-free"
        kept = {"cache_gb": 4.0} if free else {}
        for path in sorted(work.glob("*.lists.json.gz")):
            record = opened(path)
            file = work / path.name.replace(".lists.json.gz", ".scores.json")
            out: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            texts = other_queries(record) if shuffled else record["queries"]
            queries = Queries(tuple(record["qids"]), tuple(texts))
            for first in firsts:
                upstream = rankings_of(record["firsts"][first])
                for seed in seeds:
                    label = (
                        f"{name} {resolved.fingerprint[:12]}{', other queries' * shuffled} | {first} | {seed}"
                    )
                    if label in out:
                        continue
                    stage = make_stage("blockrank", model=name, shuffle=seed, depth=DEPTH, **kept)
                    started = time.perf_counter()
                    state = open_state(stage, model, Docs(record["documents"]))
                    found = stage.run(Batch(queries, (upstream,)), state)
                    out[label] = [[codes.tolist(), scores.tolist()] for codes, scores in found]
                    print(f"{path.name} {label}: {time.perf_counter() - started:.1f} s", flush=True)
                    write_atomically(file, json.dumps(out))


def other_queries(record: dict[str, Any]) -> list[str]:
    """Return for each query the text of another that shares no relevant document with it.

    What a model still ranks well by these is what it remembers of the documents.
    """
    rng, texts = np.random.default_rng(0), record["queries"]
    good = [{doc for doc, gain in zip(*row, strict=True) if gain > 0} for row in record["qrels"]]
    return [texts[rng.choice([row for row in range(len(texts)) if row != own and not good[row] & good[own]])]
            for own in range(len(texts))]  # fmt: skip


def opened(path: Path) -> dict[str, Any]:
    """Read the lists of a collection."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        record: dict[str, Any] = json.load(file)
    return record


def rankings_of(run: Run) -> Rankings:
    return Rankings.from_lists(*map(list, zip(*run, strict=True)))


def fused(*runs: Run) -> Run:
    """Return reciprocal rank fusion, 1 / (60 + rank) summed; ties in the order of the first run.

    Documents that the first run lacks come behind those of the same sum that it has.
    """
    out = []
    for lists_of_query in zip(*runs, strict=True):
        total: dict[int, float] = {}
        for codes, _ in lists_of_query:
            for rank, code in enumerate(codes, 1):
                total[code] = total.get(code, 0.0) + 1 / (RRF + rank)
        order = sorted(total, key=total.__getitem__, reverse=True)  # stable
        out.append([order, list(range(len(order), 0, -1))])
    return out


@dataclass(frozen=True)
class Judged:
    """A collection's lists, and what its rankings are worth."""

    name: str
    record: dict[str, Any]
    found: dict[str, Run]

    @cached_property
    def qrels(self) -> Qrels:
        """The judgements of the queries."""
        docs, gains = zip(*self.record["qrels"], strict=True)
        flat = [np.concatenate([np.array(each, np.int32) for each in part]) for part in (docs, gains)]
        return Qrels(offsets_of([len(each) for each in docs]), *flat)

    @cached_property
    def shares(self) -> np.ndarray:
        """Whether a judged query shares a relevant document with a training query: ``bool[J]``."""
        from irkit.evaluate.metrics import judged_queries

        learnt = set(self.record.get("learnt", ()))
        rows = (zip(*self.record["qrels"][row], strict=True) for row in judged_queries(self.qrels))
        return np.array([any(gain > 0 and doc in learnt for doc, gain in row) for row in rows])

    def values(self, *runs: Run) -> np.ndarray:
        """Return nDCG@10 of the judged queries, the mean over the runs: ``float64[J]``."""
        from irkit.evaluate.metrics import evaluate

        each = [evaluate(rankings_of(run), self.qrels, ["ndcg@10"])["ndcg@10"] for run in runs]
        return np.asarray(np.mean(each, axis=0))

    def best(self, run: Run) -> np.ndarray:
        """Return nDCG@10 of the candidates in their best order."""
        ideal = []
        for (codes, _), row in zip(run, self.record["qrels"], strict=True):
            gain = dict(zip(*row, strict=True))
            ideal.append([codes, [float(gain.get(code, 0)) for code in codes]])
        return self.values(ideal)

    def models(self, firsts: Sequence[str] = FIRSTS) -> list[str]:
        """Return the models that scored the candidates of these first stages."""
        names = dict.fromkeys(label.split(" | ")[0] for label in self.found)
        return [name for name in names if all(self.orders(name, first) for first in firsts)]

    def orders(self, model: str, first: str) -> list[Run]:
        """Return what a model made of the candidates, a run for each order in which it got them."""
        return [run for label, run in self.found.items() if label.startswith(f"{model} | {first} | ")]

    def fusions(self, model: str, first: str) -> np.ndarray:
        """Return nDCG@10 of the fusions of a first stage and a model's runs, their mean."""
        return self.values(*(fused(self.record["firsts"][first], run) for run in self.orders(model, first)))

    @cached_property
    def untrained(self) -> np.ndarray:
        """nDCG@10 of the fusion of BM25 and MaxSim."""
        return self.values(fused(*(self.record["firsts"][name] for name in FIRSTS)))


def report(work: Path) -> None:
    """Print the tables: nDCG@10, the mean over the orders of input."""
    files = sorted(work.glob("*.scores.json"))
    judged = [
        Judged(
            path.name.removesuffix(".scores.json"),
            opened(work / path.name.replace(".scores.json", ".lists.json.gz")),
            json.loads(path.read_text(encoding="utf-8")),
        )
        for path in files
    ]
    for first in FIRSTS:
        show([f"{first}'s first {DEPTH}", "by", first, "reranked", f"less {first}", "RRF", f"less {first}", "best"],
             [row for each in judged for row in reranked(each, first)])  # fmt: skip
    show(
        ["queries", "RRF(bm25, maxsim)", "by", *(f"RRF({first}, it), less that" for first in FIRSTS)],
        [row for each in judged for row in against_untrained(each)],
    )
    show(
        ["queries", "by", *(head for first in FIRSTS for head in (f"reranked, less {first}", f"RRF, less {first}"))],
        [row for each in judged for row in parts(each)],
    )  # fmt: skip


Cell = str | float | np.ndarray
"""Text, a value, or the differences of queries."""


def reranked(judged: Judged, first: str) -> list[list[Cell]]:
    """Return the rows of a collection's candidates of one first stage."""
    run = judged.record["firsts"][first]
    base, most = judged.values(run), float(judged.best(run).mean())
    by = {model: judged.orders(model, first) for model in judged.models([first])}
    if first == "bm25" and "teacher" in judged.record:
        by[UNTRAINED] = [judged.record["teacher"]]
    rows: list[list[Cell]] = []
    for model, runs in by.items():
        mine, both = judged.values(*runs), judged.values(*(fused(run, each) for each in runs))
        less = [float(mine.mean()), mine - base, float(both.mean()), both - base]
        rows.append([f"{judged.name} ({len(base)})", model, float(base.mean()), *less, most])
    return rows


def against_untrained(judged: Judged) -> list[list[Cell]]:
    """Return the rows of a collection's fusions against that of BM25 and MaxSim."""
    base = judged.untrained
    start: list[Cell] = [f"{judged.name} ({len(base)})", float(base.mean())]
    return [
        [*start, model, *(judged.fusions(model, first) - base for first in FIRSTS)]
        for model in judged.models()
    ]


def parts(judged: Judged) -> list[list[Cell]]:
    """Return the rows of the queries that share a relevant document with training queries, and of the others, if there are both."""
    halves = {"shared with train": judged.shares, "others": ~judged.shares}
    if not all(part.any() for part in halves.values()):
        return []
    rows: list[list[Cell]] = []
    for model in judged.models():
        less = []
        for first in FIRSTS:
            base = judged.values(judged.record["firsts"][first])
            less += [judged.values(*judged.orders(model, first)) - base, judged.fusions(model, first) - base]
        rows += [
            [f"{judged.name}, {what} ({part.sum()})", model, *(each[part] for each in less)]
            for what, part in halves.items()
        ]
    return rows


def show(heads: list[str], rows: list[list[Cell]]) -> None:
    """Print a Markdown table, with the p-values of its differences corrected after Holm."""
    from irkit.evaluate.significance import bootstrap_interval, holm, randomisation_test

    if not rows:
        return
    tests = [cell for row in rows for cell in row if isinstance(cell, np.ndarray)]
    corrected = iter(holm([randomisation_test(each) for each in tests]))

    def told(cell: Cell) -> str:
        if isinstance(cell, str):
            return cell
        if isinstance(cell, float):
            return f"{cell:.4f}"
        low, high = bootstrap_interval(cell) or (np.nan, np.nan)
        return f"{cell.mean():+.4f} ({low:+.3f} to {high:+.3f}, p {next(corrected):.1g})"

    print("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(map(told, row)) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["lists", "score", "report"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--collection", type=Path, nargs="*", default=[], help="BEIR folders")
    parser.add_argument("--store", type=Path, help="of indexes; below --work unless given")
    parser.add_argument("--model", nargs="*", default=["irkit/smollm2-blockrank"])
    parser.add_argument("--device")
    parser.add_argument("--first", nargs="*", choices=FIRSTS, default=FIRSTS, help="score only these")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="of the orders of input")
    parser.add_argument("--shuffled-queries", action="store_true", help="score with another query's text")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.step == "lists":
        lists(given.work, given.collection, given.store or given.work / "store")
    elif given.step == "score":
        score(given.work, given.model, given.device, given.first, given.seeds, given.shuffled_queries)
    else:
        report(given.work)


if __name__ == "__main__":
    main()
