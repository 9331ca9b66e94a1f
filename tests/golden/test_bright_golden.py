"""BRIGHT's published ReasonIR runs (GPT-4 chain-of-thought queries, top 100), evaluated from their files without a corpus."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from irkit.api.compare import compare
from irkit.report.results import Results

# nDCG@10 x 100 with the judgements as they were published, and as BRIGHT has since corrected them
PUBLISHED = {
    "biology": (43.4, 44.2),
    "earth-science": (43.0, 43.4),
    "economics": (32.7, 32.7),
    "psychology": (39.6, 39.6),
    "robotics": (20.8, 20.8),
    "stackoverflow": (30.7, 31.8),
    "sustainable-living": (27.3, 27.3),
    "leetcode": (31.7, 31.7),
    "pony": (19.6, 19.6),
    "aops": (7.4, 7.4),
    "theoremqa-questions": (33.9, 33.9),
    "theoremqa-theorems": (36.7, 36.7),
}
AVERAGE = 30.56
ANOTHER_ORDER = "query with ties in another order than by docno, descending"


def evaluated(data: Path, out: Path, qrels: str, **options: object) -> tuple[Results, dict[str, float]]:
    if not (data / "bright").is_dir():
        pytest.skip("bright is not among the test collections")
    results, _ = compare(
        [f"reasonir={data}/bright/{{}}/run.reasonir_gpt4cot_top100.trec.gz"],
        f"{data}/bright/{{}}/qrels/{qrels}.tsv",
        queries=f"{data}/bright/{{}}/queries.jsonl.gz",
        metrics=["ndcg@10"],
        output=out,
        **options,  # type: ignore[arg-type]
    )
    return results, {score.collection: 100 * score.value for score in results.scores}


@pytest.mark.parametrize("column", [0, 1])
def test_published_values(test_data: Path, tmp_path: Path, column: int) -> None:
    """The published values are those of the files' order: equal scores as they were ranked."""
    _, values = evaluated(test_data, tmp_path / "out", ("test", "test.fixed")[column], ties="rank")
    assert values == pytest.approx({task: pair[column] for task, pair in PUBLISHED.items()}, abs=0.0501)
    if column == 0:
        assert fmean(values.values()) == pytest.approx(AVERAGE, abs=0.005)


def test_trec_evals_ties_change_two_tasks(test_data: Path, tmp_path: Path) -> None:
    """By docno, as trec_eval does, all but stackoverflow are within 0.1, and the report says where ties have another order."""
    results, values = evaluated(test_data, tmp_path / "out", "test")
    gaps = {task: abs(values[task] - pair[0]) for task, pair in PUBLISHED.items()}
    assert max(gap for task, gap in gaps.items() if task != "stackoverflow") <= 0.1
    assert values["stackoverflow"] == pytest.approx(30.961, abs=0.001)  # pytrec_eval on the same lines
    told = {info.name: info.warnings.get(ANOTHER_ORDER, (0, ""))[0] for info in results.collections}
    assert told["stackoverflow"] == 86 and told["leetcode"] == 0


def test_without_the_exclusions_the_values_are_others(test_data: Path, tmp_path: Path) -> None:
    """The runs have been filtered already, so an excluded document put first shows that the queries' lists are obeyed."""
    folder = test_data / "bright" / "leetcode"
    if not folder.is_dir():
        pytest.skip("bright is not among the test collections")
    import gzip
    import json

    with gzip.open(folder / "queries.jsonl.gz", "rt") as file:
        queries = [json.loads(line) for line in file]
    with gzip.open(folder / "run.reasonir_gpt4cot_top100.trec.gz", "rt") as file:
        run = file.read()
    excluded = {q["_id"]: q["metadata"]["excluded_ids"] for q in queries}
    assert sum(map(len, excluded.values())) == 33_485
    spoiled = "".join(
        f"{qid} Q0 {docno} 1 {1000 - n} spoiled\n"
        for qid, ids in excluded.items()
        for n, docno in enumerate(ids)
    )
    have = {tuple(line.split()[:3:2]) for line in run.splitlines()}
    assert not have & {(qid, docno) for qid, ids in excluded.items() for docno in ids}
    (tmp_path / "spoiled.trec").write_text(run + spoiled)
    options = {"metrics": ["ndcg@10"], "output": tmp_path / "out"}
    runs = {"clean": folder / "run.reasonir_gpt4cot_top100.trec.gz", "spoiled": tmp_path / "spoiled.trec"}
    obeyed, _ = compare(
        runs,
        folder / "qrels" / "test.tsv",
        queries=folder / "queries.jsonl.gz",
        **options,  # type: ignore[arg-type]
    )
    assert obeyed.value("leetcode/test", "spoiled", "ndcg@10") == obeyed.value(
        "leetcode/test", "clean", "ndcg@10"
    )
    ignored, _ = compare(runs, folder / "qrels" / "test.tsv", **options)  # type: ignore[arg-type]
    assert ignored.value("leetcode/test", "spoiled", "ndcg@10") < 0.1
