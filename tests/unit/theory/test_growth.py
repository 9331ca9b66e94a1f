"""The growth: read from runs, put in order, written as tables and as a chart."""

from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest

from irkit.core.errors import ReportError
from irkit.report.format import DASH
from irkit.report.results import CollectionInfo, Provenance, Results, Score, StageTime, save_results
from irkit.theory.growth import read_growth
from irkit.theory.growth_files import markdown, write_growth

METRICS = ["recall@2", "recall@100"]
SIZED = "irkit/limit-synthetic?n=46&docs={}"


def run(folder: Path, scores: dict[tuple[str, str], list[float]], cost: float = 1.0) -> Path:
    """Write a run of ``scores``: (collection, pipeline) -> a value for each of METRICS."""
    collections = list(dict.fromkeys(collection for collection, _ in scores))
    results = Results(
        experiment=folder.name,
        metrics=METRICS,
        pipelines={pipeline: [pipeline] for _, pipeline in scores},
        scores=[
            Score(collection=c, pipeline=p, metric=metric, value=value)
            for (c, p), values in scores.items()
            for metric, value in zip(METRICS, values, strict=False)
        ],
        stages=[
            StageTime(
                collection=c, pipeline=p, position=at, stage=stage, label=stage, seconds=3 * cost,
                prepare_seconds=5 * cost, queries=1000, cached_queries=0, artifact_bytes=1500 * (at + 1), timed_queries=timed,
                notes={"device": "cpu"} if at else {},
            )
            for (c, p) in scores
            for at, (stage, timed) in enumerate([("bm25", 1000), ("maxsim", None if p == "odd" else 500)])
        ],
        collections=[
            CollectionInfo(
                name=c, documents=int(c.rpartition("=")[2]) if "=" in c else 46, queries=1000, judged_queries=1000,
                judgements=2000, fingerprint="f", policy={},
            )
            for c in collections
        ],
        provenance=Provenance(
            command="irkit run", created="2026-01-01T00:00:00+00:00", irkit="0", python="3", platform="p", cpus=1, packages={}
        ),
        seconds=1.0,
    )  # fmt: skip
    folder.mkdir(parents=True)
    save_results(results, [], folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run(
        tmp_path / "runs" / "a",
        {
            (SIZED.format(10000), "fine"): [0.5, 0.75],
            (SIZED.format(46), "fine"): [1.0, 1.0],
            (SIZED.format(1000), "fine"): [0.9, 0.95],
            (SIZED.format(46), "odd"): [0.125, 1.0],
            (SIZED.format(1000), "odd"): [0.25],
            ("irkit/limit-small", "fine"): [0.9, 1.0],
            ("irkit/limit-synthetic?pattern=cycle&n=1000", "fine"): [0.8, 0.9],
        },
    )


def test_sizes_are_put_in_order_and_others_left_out(folder: Path) -> None:
    found = read_growth([folder], METRICS)
    assert found.sizes == [46, 1000, 10000] and found.pipelines == ["fine", "odd"]
    assert [row.scores for row in found.rows] == [
        (1.0, 1.0), (0.9, 0.95), (0.5, 0.75), (0.125, 1.0), (0.25, None),
    ]  # fmt: skip
    assert found.left_out == ("irkit/limit-small", "irkit/limit-synthetic?pattern=cycle&n=1000")
    assert "46 relevant documents among" in found.what
    row = found.at("fine", 1000)
    assert row is not None and (row.index_bytes, row.prepare_seconds, row.device) == (4500, 10.0, "cpu")
    assert row.query_ms == pytest.approx(1000 * (3 / 1000 + 3 / 500))
    odd = found.at("odd", 46)
    assert odd is not None and odd.query_ms is None  # one of its stages does not know
    assert found.at("odd", 10000) is None


def test_n_itself_may_grow(tmp_path: Path) -> None:
    name = "irkit/limit-synthetic?n={}"
    values = {(name.format(n), "one"): [1 / n, 1.0] for n in (50, 100, 200)}
    found = read_growth([run(tmp_path / "a", {**values, (SIZED.format(1000), "one"): [0, 0]})], METRICS)
    assert found.sizes == [50, 100, 200] and "each relevant to something" in found.what
    assert found.left_out == (SIZED.format(1000),)


def test_the_last_of_several_runs_counts(folder: Path, tmp_path: Path) -> None:
    again = run(
        tmp_path / "b",
        {(SIZED.format(1000), "fine"): [0.0, 0.0], (SIZED.format(50000), "new"): [0.5, 0.5]},
        7,
    )
    first, last = read_growth([again, folder], METRICS), read_growth([folder, again], METRICS)
    assert first.at("fine", 1000) != last.at("fine", 1000)
    row = last.at("fine", 1000)
    assert row is not None and row.scores == (0.0, 0.0) and row.prepare_seconds == 70
    assert last.pipelines == ["fine", "odd", "new"] and last.sizes == [46, 1000, 10000, 50000]


def test_files(folder: Path, tmp_path: Path) -> None:
    found = read_growth([folder], METRICS)
    paths = write_growth(found, tmp_path / "out")
    assert [path.name for path in paths] == ["growth.md", "growth.csv", "growth.svg"]
    text = markdown(found)
    assert "| recall@2 | 46 | 1,000 | 10,000 |" in text and "| `fine` | 1.0000 | 0.9000 | 0.5000 |" in text
    assert f"| `odd` | 0.1250 | 0.2500 | {DASH} |" in text and "4.50 kB" in text and "9.00 ms" in text
    assert "left out: `irkit/limit-small`" in text
    rows = list(csv.DictReader(paths[1].open()))
    assert len(rows) == len(found.rows)
    assert [row["recall@100"] for row in rows] == ["1.000000", "0.950000", "0.750000", "1.000000", ""]
    assert rows[1]["index_bytes"] == "4500" and rows[3]["query_ms"] == ""


def test_the_chart_shows_every_value_where_it_is(folder: Path, tmp_path: Path) -> None:
    hostile = run(tmp_path / "h", {(SIZED.format(46), "<b>&"): [0.5, 0.5]})
    path = write_growth(read_growth([folder, hostile], METRICS), tmp_path)[2]
    root = ElementTree.fromstring(path.read_text())
    spaces = {"s": "http://www.w3.org/2000/svg"}
    marks = [
        m
        for m in root.findall(".//s:path[s:title]", spaces)
        if "documents" in (m.findtext("s:title", "", spaces))
    ]
    said = {m.findtext("s:title", "", spaces): m.get("transform", "") for m in marks}
    assert len(marks) == 4 + 5 + 2  # no mark where there is no value
    places = {text: tuple(map(float, place[10:-1].split())) for text, place in said.items()}
    low, high = (
        places["odd, recall@2 of 46 documents: 0.1250"],
        places["fine, recall@2 of 46 documents: 1.0000"],
    )
    assert low[1] - high[1] == pytest.approx(260 * 0.875, abs=0.11)
    left, middle, right = (
        places[f"fine, recall@2 of {n} documents: {v}"][0]
        for n, v in (("46", "1.0000"), ("1,000", "0.9000"), ("10,000", "0.5000"))
    )
    assert left < middle < right and (middle - left) / (right - middle) == pytest.approx(
        1.337, abs=0.01
    )  # log10(1000/46)
    assert "<b>&" in [text.text for text in root.findall(".//s:text", spaces)]


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no score of ndcg@10"):
        read_growth([folder], ["ndcg@10"])
    with pytest.raises(ReportError, match="no such file"):
        read_growth([tmp_path / "none"], METRICS)
    single = run(
        tmp_path / "single", {(SIZED.format(46), "one"): [1.0, 1.0], ("beir/scifact", "one"): [1.0, 1.0]}
    )
    with pytest.raises(ReportError, match="no two collections are sizes"):
        read_growth([single], METRICS)
    other = run(tmp_path / "other", {("beir/scifact", "one"): [1.0, 1.0]})
    with pytest.raises(ReportError, match="no two collections are sizes"):
        read_growth([other], METRICS)
