"""Collections like BrowseComp-Plus and MultiHop-RAG: several gold documents, two sets of judgements over one corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irkit.api import Workspace, run
from irkit.config.experiment import Experiment
from irkit.data.open import open_collection
from irkit.pipeline.registry import make_stage
from irkit.store import Store

pytestmark = pytest.mark.usefixtures("toy_stages")

DOCS = {"d1": "alpha beta", "d2": "beta gamma", "d3": "gamma delta", "d4": "alpha delta", "d5": "omega"}
QUERIES = {"7": "alpha beta gamma", "8": "delta omega"}
EVIDENCE = {"7": ["d1", "d2", "d3"], "8": ["d3", "d4", "d5"]}
GOLD = {"7": ["d2"], "8": ["d5", "d4"]}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write the corpus as JSON Lines, the queries tab-separated, and two TREC files of judgements."""
    rows = [json.dumps({"docid": docno, "text": text}) for docno, text in DOCS.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "queries.tsv").write_text("".join(f"{qid}\t{text}\n" for qid, text in QUERIES.items()))
    for name, judged in (("evidence", EVIDENCE), ("gold", GOLD)):
        lines = [f"{qid} 0 {docno} 1\n" for qid, docnos in judged.items() for docno in docnos]
        (tmp_path / f"qrel_{name}.txt").write_text("".join(lines))
    return tmp_path


def collections() -> list[dict[str, str]]:
    common = {"docs": "corpus.jsonl", "queries": "queries.tsv"}
    return [
        {**common, "qrels": f"qrel_{name}.txt", "name": f"browsecomp/{name}"} for name in ("evidence", "gold")
    ]


def test_both_judgements_over_one_corpus_and_one_retrieval(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    workspace = Workspace(files)
    experiment = Experiment.of(
        "browsecomp",
        collections=collections(),
        pipelines={"toy": make_stage("toy", k=5)},
        metrics=["recall@2", "ndcg@10", "success@1"],
    )
    results, _ = run(experiment, workspace)
    asked = {"7": ["d2", "d1"], "8": ["d5", "d4"]}  # the best two by words in common, ties by id, descending
    for name, judged in (("evidence", EVIDENCE), ("gold", GOLD)):
        shares = [len(set(asked[qid]) & set(judged[qid])) / len(judged[qid]) for qid in QUERIES]
        assert results.value(f"browsecomp/{name}", "toy", "recall@2") == pytest.approx(sum(shares) / 2)
    kinds = [artifact.kind for artifact in workspace.store.artifacts()]
    assert kinds.count("docs") == 1 and kinds.count("rankings") == 1, "one corpus, searched once"


def test_queries_without_evidence_are_not_averaged_over(files: Path, store: Store) -> None:
    """MultiHop-RAG's null queries have no evidence at all."""
    with (files / "queries.tsv").open("a") as file:
        file.write("9\tnobody knows\n")
    from irkit.data.spec import LocalSpec

    opened = open_collection(LocalSpec(**collections()[0]), store, base=files)
    assert opened.queries.qid == ("7", "8", "9") and opened.judged.tolist() == [True, True, False]
