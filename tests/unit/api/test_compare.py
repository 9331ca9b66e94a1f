"""Comparing run files: names, collections, and the results that come of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from irkit.api.compare import compare
from irkit.api.run_files import find_collections, name_runs
from irkit.core.errors import ConfigError, DataError
from irkit.data.collection import EvalPolicy
from irkit.report.results import load_results

QRELS = "q1 0 a 2\nq1 0 b 1\nq2 0 c 1\nq3 0 a 1\n"
GOOD = "q1 Q0 a 1 3 t\nq1 Q0 b 2 2 t\nq2 Q0 c 1 1 t\nq3 Q0 a 1 1 t\n"
POOR = "q1 Q0 b 1 3 u\nq1 Q0 z 2 2 u\nq2 Q0 a 1 2 u\nq2 Q0 c 2 1 u\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for task in ("one", "two"):
        folder = tmp_path / task
        (folder / "qrels").mkdir(parents=True)
        (folder / "qrels" / "test.tsv").write_text(QRELS)
        (folder / "good.trec").write_text(GOOD)
        (folder / "run.poor.txt.gz").write_bytes(gzip.compress(POOR.encode()))
    return tmp_path


def test_two_runs(here: Path) -> None:
    results, folder = compare(
        ["one/good.trec", "one/run.poor.txt.gz"], "one/qrels/test.tsv", metrics=["RR", "P@1"], output="out"
    )
    assert {(s.pipeline, s.metric): s.value for s in results.scores} == {
        ("good", "mrr"): 1.0,
        ("good", "precision@1"): 1.0,
        ("run.poor", "mrr"): 0.5,
        ("run.poor", "precision@1"): pytest.approx(1 / 3),
    }
    assert results.baseline == "good" and results.stages == [] and not results.from_store
    (info,) = results.collections
    assert (info.name, info.documents, info.judged_queries, info.judgements) == ("one/test", 4, 3, 4)
    assert info.warnings["judged query that a run lacks (it counts 0)"] == (1, "run.poor: 'q3'")
    (stage,) = results.pipelines["run.poor"]
    assert stage["run"]["file"] == "one/run.poor.txt.gz" and stage["run"]["tag"] == "u"
    assert len(stage["run"]["sha256"]) == 64
    again, (per_query,) = load_results(folder)
    assert again == results
    assert per_query.qid == ["q1", "q2", "q3"]
    assert per_query.values["run.poor"]["mrr"] == [1.0, 0.5, 0.0]
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "run.poor" in html and "all from the store" not in html and "judged query that a run lacks" in html
    assert "Against good" in (folder / "scores.md").read_text(encoding="utf-8")


def test_several_collections_and_their_mean(here: Path) -> None:
    (here / "two" / "run.poor.txt.gz").unlink()
    results, folder = compare(
        {"ours": "{}/good.trec", "theirs": "{}/run.poor.txt.gz"},
        str(here / "{}/qrels/test.tsv"),
        metrics=["mrr"],
        output="out",
    )
    assert [info.name for info in results.collections] == ["one", "two"]
    assert results.value("two", "ours", "mrr") == 1.0
    with pytest.raises(KeyError):
        results.value("two", "theirs", "mrr")
    kind = "run without a file for this collection"
    assert results.collections[1].warnings[kind] == (1, "theirs: two/run.poor.txt.gz")
    assert results.pipelines["theirs"][0]["run"]["sha256"].keys() == {"one"}
    assert "Mean over one, two" in (folder / "scores.md").read_text(encoding="utf-8")


def test_the_policy_counts_and_is_recorded(here: Path) -> None:
    def found(**options: object) -> tuple[float, dict[str, object], str]:
        results, _ = compare(
            ["one/good.trec"], "one/qrels/test.tsv", metrics=["map"], output="out", **options
        )  # type: ignore[arg-type]
        (info,) = results.collections
        return results.scores[0].value, info.policy, info.fingerprint

    usual, policy, print_ = found()
    assert (usual, policy["relevance_level"]) == (1.0, 1)
    level_2, policy_2, print_2 = found(policy=EvalPolicy(relevance_level=2))
    assert level_2 == pytest.approx(1 / 3) and policy_2["relevance_level"] == 2 and print_2 != print_
    html = Path("out/report.html").read_text(encoding="utf-8")
    assert "<bdi>relevance_level</bdi> <bdi>2</bdi>" in html
    assert found(ties="rank")[1]["ties"] == "rank"


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (["x/run.bm25.trec.gz"], ["run.bm25"]),
        (["x/a.txt", "b=x/a.txt"], ["a", "b"]),
        (["x-{}/a.run", "y-{}/a.run"], ["x/a", "y/a"]),
        (["run.beir-{}.bge.txt"], ["run.beir.bge"]),
        (["{}.trec"], ["{}.trec"]),
        ([".trec"], [".trec"]),
    ],
)
def test_names(runs: list[str], names: list[str]) -> None:
    assert list(name_runs(runs)) == names


def test_what_is_refused(here: Path) -> None:
    def refused(match: str, kind: type[Exception] = ConfigError, *runs: str, **options: object) -> None:
        with pytest.raises(kind, match=match):
            compare(runs or ("one/good.trec",), **{"qrels": "one/qrels/test.tsv", "output": "out", **options})  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="there is no run"):
        compare([], "one/qrels/test.tsv")
    refused("two runs are called 'a'", ConfigError, "a=one/good.trec", "a=two/good.trec")
    refused("no run is called 'god'", baseline="god")
    refused("unknown metric", metrics=["nope"])
    refused("there is no metric", metrics=[])
    refused("one path has {} and another has not", ConfigError, "{}/good.trec")
    refused("one path has {} and another has not", qrels="{}/qrels/test.tsv")
    refused("one path has {} and another has not", queries="{}/queries.jsonl")
    refused("no such file of judgements", DataError, "{}/good.trec", qrels="{}/none.tsv")
    refused("no run has a file for any", DataError, "{}/none.trec", qrels="{}/qrels/test.tsv")
    refused(
        "no file for any collection", DataError, "{}/good.trec", "{}/none.trec", qrels="{}/qrels/test.tsv"
    )
    refused("does not exist", DataError, "none.trec")
    refused("does not exist", DataError, qrels="none.tsv")
    Path("out").mkdir()
    Path("out/experiment.yaml").write_text("name: x")
    refused("holds the results of an experiment")
    assert [path.name for path in Path("out").iterdir()] == ["experiment.yaml"]


def test_a_pattern_means_one_name(here: Path) -> None:
    (here / "data" / "a" / "b").mkdir(parents=True)
    (here / "data" / "a" / "a").mkdir()
    for name in "ab":
        (here / "data" / "a" / name / "qrels.txt").write_text(QRELS)
    (here / "data" / "a" / "run").write_text(GOOD)
    (files,) = find_collections({"r": "data/{}/run"}, "data/{}/{}/qrels.txt", None, None)
    assert (files.name, files.qrels) == ("a", Path("data/a/a/qrels.txt"))


def test_hostile_names_are_harmless(here: Path) -> None:
    bad = '<script>alert(1)</script>"&\u202e'
    Path("x.trec").write_text(f"{bad} Q0 {bad} 1 1 {bad}\n", encoding="utf-8")
    Path("x.qrels").write_text(f"{bad}\t0\t{bad}\t1\n", encoding="utf-8")
    results, folder = compare({bad: "x.trec", "b": "x.trec"}, "x.qrels", output="out")
    assert results.scores[0].value == 1.0
    assert "<script>alert" not in (folder / "report.html").read_text(encoding="utf-8")
    assert json.loads((folder / "per_query.json").read_text(encoding="utf-8"))["collections"][0]["qid"] == [
        bad
    ]
