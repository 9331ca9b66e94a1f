"""BM25 on real collections meets what Anserini and LIMIT's authors published."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import pytrec_eval

from irkit.api import Workspace, run
from irkit.config.experiment import Experiment
from irkit.data.published import published
from irkit.data.spec import LocalSpec
from irkit.pipeline.registry import make_stage

pytestmark = [pytest.mark.java, pytest.mark.slow]
NAMES = {"scifact": "beir/scifact/test", "nfcorpus": "beir/nfcorpus/test", "limit-small": "irkit/limit-small"}


def ascending(run_file: Path, qrels_file: Path) -> float:
    """nDCG@10 of a run file whose documents of equal score stand by ascending id, as Anserini's do."""
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for line in run_file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            qid, _, docno, _, score, _ = line.split()
            found[qid].append((-float(score), docno))
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    for line in qrels_file.read_text(encoding="utf-8").splitlines()[1:]:
        qid, docno, gain = line.split("\t")
        qrels[qid][docno] = int(gain)
    ordered = {
        qid: {docno: 1.0 / place for place, (_, docno) in enumerate(sorted(rows), 1)}
        for qid, rows in found.items()
    }
    values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(ordered)
    return sum(value["ndcg_cut_10"] for value in values.values()) / len(qrels)


def test_bm25_matches_what_was_published(test_data: Path, tmp_path: Path) -> None:
    if not all((test_data / name).is_dir() for name in NAMES):
        pytest.skip(f"{', '.join(NAMES)} are not among the test collections")
    experiment = Experiment.of(
        "published",
        collections=[LocalSpec(path=str(test_data / folder), name=name) for folder, name in NAMES.items()],
        pipelines={"bm25": make_stage("bm25", k=1000)},
        metrics=["ndcg@10", "recall@100", "recall@1000", "recall@2", "recall@10"],
        averages={"both": ["scifact", "nfcorpus"]},
        reference={"bm25": ["anserini-bm25-flat", "limit-bm25"]},
        tolerance=0,
    )
    results, folder = run(experiment, Workspace(tmp_path))
    found = {(s.collection, s.metric): s.status for s in results.reference}
    told = {(s.collection, s.metric) for s in results.reference if s.reason}
    beir = [("beir/scifact/test", m) for m in ("ndcg@10", "recall@100", "recall@1000")]
    beir += [("beir/nfcorpus/test", m) for m in ("ndcg@10", "recall@100", "recall@1000")]
    limit = [("irkit/limit-small", m) for m in ("recall@2", "recall@10")]
    assert found == dict.fromkeys([*beir, *limit], "match")
    ties = [("beir/nfcorpus/test", "ndcg@10"), ("beir/nfcorpus/test", "recall@1000"), limit[0]]
    assert told == set(ties), "SciFact meets every number to its last digit"
    assert {s.reason for s in results.reference if s.reason} == {"but for ties"}
    theirs = published()["anserini-bm25-flat"].scores
    for name in ("scifact", "nfcorpus"):  # to the last digit, once ties are in Anserini's order
        run_file = folder / "runs" / NAMES[name].replace("/", "%2F") / "bm25.trec"
        value = ascending(run_file, test_data / name / "qrels" / "test.tsv")
        assert round(value, 4) == theirs[NAMES[name]]["ndcg@10"]
