"""Quality of a trained attention reranker over the first 20 of BM25 and of MaxSim, on shuffled input, on one machine or two.

    python eval/bench/trained_reranker.py lists  --collection SCIFACT NFCORPUS CRANFIELD --work W   # needs Java, no GPU
    python eval/bench/trained_reranker.py score  --work W --model irkit/smollm2-blockrank           # a GPU helps
    python eval/bench/trained_reranker.py report --work W

A row is a first stage, its candidates reranked, and the reciprocal rank fusion of both; beside them the best order that these
candidates allow. Differences are to the first stage: 95 % intervals by bootstrap over queries, p by the randomisation test.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rerank import open_state
from rerank_quality import DEPTH, Docs

from irkit.core.rankings import Rankings, offsets_of
from irkit.data.collection import Qrels

FIRSTS = ("bm25", "maxsim")
SEEDS = (0, 1)
"""Of the orders in which the model gets the candidates."""
RRF = 60


def lists(work: Path, collections: list[Path], store: Path) -> None:
    """Retrieve the candidates of the test queries by every first stage."""
    from irkit.api.workspace import Workspace
    from irkit.data.spec import LocalSpec
    from irkit.pipeline.registry import make_stage

    workspace = Workspace(root=work, store_root=store)
    for path in collections:
        test = workspace.open(LocalSpec(path=str(path), split="test"))
        firsts: dict[str, Any] = {}
        for name in FIRSTS:
            found = workspace.searcher(make_stage(name, k=DEPTH), test)(test.queries)
            firsts[name] = [[codes.tolist(), scores.tolist()] for codes, scores in found]
        needed = sorted({code for run in firsts.values() for codes, _ in run for code in codes})
        record = {
            "qids": list(test.queries.qid),
            "queries": list(test.queries.text),
            "firsts": firsts,
            "documents": {code: [test.docs.title(code), test.docs.body(code)] for code in needed},
            "qrels": [[values.tolist() for values in test.qrels[row]] for row in range(len(test.queries))],
        }
        with gzip.open(work / f"{path.name}.lists.json.gz", "wt", encoding="utf-8") as file:
            json.dump(record, file)
        print(f"{path.name}: {len(test.queries)} queries, {len(needed)} documents", flush=True)


def score(work: Path, models: list[str], device: str | None) -> None:
    """Rerank every list with every model; what an earlier call scored is kept."""
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
            record = _opened(path)
            file = work / path.name.replace(".lists.json.gz", ".scores.json")
            out: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            queries = Queries(tuple(record["qids"]), tuple(record["queries"]))
            for first, run in record["firsts"].items():
                upstream = Rankings.from_lists(*map(list, zip(*run, strict=True)))
                for seed in SEEDS:
                    label = f"{name} | {first} | {seed}"
                    if label in out:
                        continue
                    stage = make_stage("blockrank", model=name, shuffle=seed, depth=DEPTH, **kept)
                    started = time.perf_counter()
                    state = open_state(stage, model, Docs(record["documents"]))
                    found = stage.run(Batch(queries, (upstream,)), state)
                    out[label] = [[codes.tolist(), scores.tolist()] for codes, scores in found]
                    print(f"{path.name} {label}: {time.perf_counter() - started:.1f} s", flush=True)
                    file.write_text(json.dumps(out), encoding="utf-8")


def _opened(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        record: dict[str, Any] = json.load(file)
    return record


def fused(*runs: list[Any]) -> list[Any]:
    """Return reciprocal rank fusion, 1 / (60 + rank) summed."""
    out = []
    for lists_of_query in zip(*runs, strict=True):
        total: dict[int, float] = {}
        for codes, _ in lists_of_query:
            for rank, code in enumerate(codes, 1):
                total[code] = total.get(code, 0.0) + 1 / (RRF + rank)
        out.append([list(total), list(total.values())])
    return out


def report(work: Path) -> None:
    """Print a table a first stage: nDCG@10, the mean over the orders of input."""
    from irkit.evaluate.metrics import evaluate
    from irkit.evaluate.significance import randomisation_test

    rng = np.random.default_rng(0)
    for first in FIRSTS:
        print(
            f"\n| {first}'s first {DEPTH} | model | {first} | reranked | less {first} | RRF | less {first} | best |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for path in sorted(work.glob("*.scores.json")):
            record = _opened(work / path.name.replace(".scores.json", ".lists.json.gz"))
            found = json.loads(path.read_text(encoding="utf-8"))
            docs, gains = zip(*record["qrels"], strict=True)
            flat = [np.concatenate([np.array(each, np.int32) for each in part]) for part in (docs, gains)]
            qrels = Qrels(offsets_of([len(each) for each in docs]), *flat)

            def values(run: list[Any], qrels: Qrels = qrels) -> np.ndarray:
                given = Rankings.from_lists(*map(list, zip(*run, strict=True)))
                return np.asarray(evaluate(given, qrels, ["ndcg@10"])["ndcg@10"])

            def less(mine: np.ndarray, base: np.ndarray) -> str:
                other = mine - base
                drawn = other[rng.integers(0, len(other), (10_000, len(other)))].mean(axis=1)
                low, high = np.percentile(drawn, [2.5, 97.5])
                p = randomisation_test(other)
                return f"{other.mean():+.4f} ({low:+.3f} to {high:+.3f}, p {p:.1g})"

            run = record["firsts"][first]
            base = values(run)
            ideal = []
            for (codes, _), (good, worth) in zip(run, record["qrels"], strict=True):
                gain = dict(zip(good, worth, strict=True))
                ideal.append([codes, [float(gain.get(code, 0)) for code in codes]])
            most = values(ideal).mean()
            for name in dict.fromkeys(label.split(" | ")[0] for label in found):
                runs = [found[f"{name} | {first} | {seed}"] for seed in SEEDS]
                mine = np.mean([values(each) for each in runs], axis=0)
                both = np.mean([values(fused(run, each)) for each in runs], axis=0)
                cells = (
                    f"{base.mean():.4f} | {mine.mean():.4f} | {less(mine, base)}"
                    f" | {both.mean():.4f} | {less(both, base)} | {most:.4f}"
                )
                print(f"| {path.name.removesuffix('.scores.json')} ({len(base)}) | {name} | {cells} |")


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
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.step == "lists":
        lists(options.work, options.collection, options.store or options.work / "store")
    elif options.step == "score":
        score(options.work, options.model, options.device)
    else:
        report(options.work)


if __name__ == "__main__":
    main()
