"""Evaluation policies on the real ids of ArguAna, Quora and BRIGHT; the documents are made up, the ids are not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from irkit.core.rankings import Rankings
from irkit.data.collection import Collection, EvalPolicy
from irkit.data.open import open_collection
from irkit.data.policies import policy_of
from irkit.data.spec import LocalSpec
from irkit.evaluate.metrics import evaluate
from irkit.store import Store


def opened(source: Path, tmp_path: Path, policy: EvalPolicy, *, with_queries: bool = True) -> Collection:
    """A collection of real queries, judgements and exclusions whose documents are all ids they name."""
    if not source.is_dir():
        pytest.skip(f"{source.name} is not among the test collections")
    with gzip.open(source / "queries.jsonl.gz", "rt", encoding="utf-8") as file:
        queries = [json.loads(line) for line in file]
    qrels = next(path for path in sorted((source / "qrels").iterdir()) if path.name.startswith("test.tsv"))
    text = gzip.decompress(qrels.read_bytes()) if qrels.suffix == ".gz" else qrels.read_bytes()
    ids = {line.split("\t")[1] for line in text.decode().splitlines()[1:]}
    for query in queries:
        ids |= {query["_id"]} if with_queries else set()
        ids |= set(query.get("metadata", {}).get("excluded_ids", ())) - {"N/A"}
    corpus = tmp_path / "docs.tsv"
    corpus.write_text("".join(f"{docno}\tdocument {n}\n" for n, docno in enumerate(sorted(ids))), "utf-8")
    spec = LocalSpec(
        docs=str(corpus), queries=str(source / "queries.jsonl.gz"), qrels=str(qrels), policy=policy
    )
    return open_collection(spec, Store(tmp_path / "store"), base=tmp_path)


def spoiled(collection: Collection, first: list[list[int]]) -> Rankings:
    """For each query: ``first``, then its relevant documents."""
    docs = []
    for row, codes in enumerate(first):
        judged, gain = collection.qrels[row]
        relevant = judged[gain > 0].tolist()
        docs.append([*(code for code in codes if code not in relevant), *relevant])
    return Rankings.from_lists(docs, [list(range(len(found), 0, -1)) for found in docs])


def scores(collection: Collection, rankings: Rankings) -> dict[str, float]:
    metrics = ["ndcg@10", "success@1", "mrr@10"]
    found = evaluate(
        rankings, collection.qrels, metrics, len(collection.docs), exclude=collection.queries.exclude
    )
    return {name: float(values.mean()) for name, values in found.items()}


@pytest.mark.parametrize(("name", "queries"), [("arguana", 1406), ("quora", 10_000)])
def test_a_query_never_finds_itself(test_data: Path, tmp_path: Path, name: str, queries: int) -> None:
    source, policy = test_data / "beir-meta" / name, policy_of(f"beir/{name}/test")
    assert policy.drop_self
    collection = opened(source, tmp_path, policy)
    own = [[collection.docs.code(qid)] for qid in collection.queries.qid]
    assert collection.judged.sum() == queries
    assert [codes.tolist() for codes in collection.queries.exclude] == own
    rankings = spoiled(collection, own)  # type: ignore[arg-type]
    assert scores(collection, rankings) == {"ndcg@10": 1.0, "success@1": 1.0, "mrr@10": 1.0}
    plain = opened(source, tmp_path, EvalPolicy())
    assert scores(plain, rankings)["success@1"] == 0
    assert (
        plain.fingerprint != collection.fingerprint and plain.docs_fingerprint == collection.docs_fingerprint
    )


@pytest.mark.parametrize(("task", "excluded"), [("leetcode", 33_485), ("theoremqa-questions", 606_523)])
def test_brights_excluded_ids(test_data: Path, tmp_path: Path, task: str, excluded: int) -> None:
    collection = opened(test_data / "bright" / task, tmp_path, EvalPolicy(), with_queries=False)
    lists = collection.queries.exclude
    with gzip.open(test_data / "bright" / task / "queries.jsonl.gz", "rt", encoding="utf-8") as file:
        named = [json.loads(line)["metadata"]["excluded_ids"] for line in file]
    assert sum(map(len, named)) == excluded
    assert [len(codes) for codes in lists] == [len(set(names)) for names in named]
    assert all((np.diff(codes) > 0).all() for codes in lists)
    for row, (codes, names) in enumerate(zip(lists, named, strict=True)):
        judged, gain = collection.qrels[row]
        assert not set(codes.tolist()) & set(judged[gain > 0].tolist()), (
            "a relevant document is never excluded"
        )
        assert {collection.docs.docno(int(code)) for code in codes[:3]} <= set(names)
    rankings = spoiled(collection, [codes[:150].tolist() for codes in lists])
    assert scores(collection, rankings) == {"ndcg@10": 1.0, "success@1": 1.0, "mrr@10": 1.0}
    bare = evaluate(rankings, collection.qrels, ["success@1"])["success@1"]
    assert bare.mean() == np.mean(
        [not len(codes) for codes, q in zip(lists, collection.judged, strict=True) if q]
    )


def test_a_query_that_the_run_lacks_counts_0(test_data: Path, tmp_path: Path) -> None:
    """A run of every other query has half the score; BEIR's own script would still say 1."""
    collection = opened(test_data / "beir-meta" / "arguana", tmp_path, policy_of("beir/arguana"))
    full = spoiled(collection, [[] for _ in collection.queries.qid])
    docs = [[] if row % 2 else codes.tolist() for row, (codes, _) in enumerate(full)]
    half = Rankings.from_lists(docs, [list(range(len(found), 0, -1)) for found in docs])
    assert scores(collection, half)["ndcg@10"] == 0.5
