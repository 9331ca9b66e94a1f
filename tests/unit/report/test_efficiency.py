"""What was measured: written, read, put beside results, and shown."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from irkit.core.errors import ReportError
from irkit.report.efficiency import (
    EFFICIENCY,
    Build,
    Efficiency,
    Latency,
    PipelineEfficiency,
    StageEfficiency,
    current,
    load_efficiency,
    merged,
    save_efficiency,
)
from irkit.report.efficiency_tables import (
    CSV_COLUMNS,
    legend,
    markdown,
    remarks,
    terminal_tables,
    write_tables,
)
from irkit.report.efficiency_tables import csv as as_csv
from irkit.report.results import CollectionInfo, Provenance, Results, StageTime

TIMES = Latency(samples=4, mean=2.5, p50=2.0, p95=4.5, p99=4.9)


def stage(pipeline: str, position: int, node: str, collection: str = "c", **more: Any) -> StageEfficiency:
    given: dict[str, Any] = {"cold_seconds": 1.5, "first_ms": 30, **more}
    return StageEfficiency(
        collection=collection,
        pipeline=pipeline,
        position=position,
        stage=f"s{position}",
        label=f"s{position} (k=5)",
        node=node,
        latency=TIMES,
        throughput=400.0,
        **given,
    )


def pipeline(name: str, collection: str = "c", **more: Any) -> PipelineEfficiency:
    given: dict[str, Any] = {"latency": TIMES, "throughput": 400.0, "bytes": 2_000_000, **more}
    return PipelineEfficiency(collection=collection, pipeline=name, **given)


def efficiency(*names: str, **more: Any) -> Efficiency:
    given: dict[str, Any] = {
        "experiment": "mine",
        "created": "2026-01-02T03:04:05+00:00",
        "command": "irkit measure mine.yaml",
        "irkit": "0.1",
        "machine": "a machine",
        "device": "cpu",
        "threads": 2,
        "queries": 4,
        "warmup": 1,
        "memory_by": "VmHWM",
        "isolated": True,
        "stages": [stage(name, place, f"{name}-{place}") for name in names for place in (0, 1)],
        "pipelines": [pipeline(name) for name in names],
        **more,
    }
    return Efficiency(**given)


def results(nodes: dict[str, list[str]], collection: str = "c") -> Results:
    times = [
        StageTime(
            collection=collection,
            pipeline=name,
            position=place,
            stage=f"s{place}",
            label="",
            seconds=1,
            prepare_seconds=0,
            queries=4,
            cached_queries=0,
            artifact_bytes=0,
            node=node,
        )
        for name, row in nodes.items()
        for place, node in enumerate(row)
        if node
    ]
    info = CollectionInfo(
        name=collection, documents=1, queries=4, judged_queries=4, judgements=4, fingerprint="", policy={}
    )
    made = Provenance(command="", created="", irkit="", python="", platform="", cpus=1, packages={})
    return Results(
        experiment="mine",
        metrics=["ndcg@10"],
        pipelines={name: [] for name in nodes},
        scores=[],
        stages=times,
        collections=[info],
        provenance=made,
        seconds=1,
    )


def test_it_reads_back(tmp_path: Path) -> None:
    assert load_efficiency(tmp_path) is None
    built = Build(kind="vectors", key="ab", bytes=7, seconds=None)
    ours = efficiency("a", stages=[stage("a", 0, "x", flops=1e9, tokens={"prompt": 3.5}, builds=[built])])
    save_efficiency(ours, tmp_path)
    assert load_efficiency(tmp_path) == ours


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ('{"schema_version": 2}', "version 2"),
        ('{"schema_version": 1, "experiment": 3}', "damaged: experiment"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / EFFICIENCY).write_text(text)
    with pytest.raises(ReportError, match=message) as caught:
        load_efficiency(tmp_path)
    assert caught.value.problems[0].hint == "remove the file, and measure again: irkit measure"


def test_only_what_belongs_to_the_results_is_current() -> None:
    measured = efficiency("same", "old", "gone", "longer", "lost")
    ours = results(
        {
            "lost": ["", "lost-1"],  # the store has lost the first node's results since
            "new": ["new-0"],
            "old": ["old-0", "changed"],
            "same": ["same-0", "same-1"],
            "longer": ["longer-0", "longer-1", "longer-2"],
        }
    )
    found = current(measured, ours)
    assert [each.pipeline for each in found.efficiency.pipelines] == ["lost", "same"], "in the results' order"
    assert [(e.pipeline, e.position) for e in found.efficiency.stages] == [
        (name, place) for name in ("lost", "same") for place in (0, 1)
    ]
    assert found.outdated == [("c", "old"), ("c", "longer")]
    other = current(measured, results({"same": ["same-0", "same-1"]}, collection="d"))
    assert (other.efficiency.pipelines, other.outdated) == ([], [])


def test_measurements_of_one_machine_add_up() -> None:
    first = efficiency("a", "b", device="cpu")
    gpu = [pipeline("b", bytes=5, device="H200")]
    second = efficiency("b", created="2026-01-03T00:00:00+00:00", pipelines=gpu)
    both = merged(first, second)
    assert [(each.pipeline, each.bytes) for each in both.pipelines] == [("a", 2_000_000), ("b", 5)]
    assert (both.created, both.device) == (second.created, "H200")
    assert [(each.pipeline, each.position) for each in both.stages] == [
        (name, place) for name in "ab" for place in (0, 1)
    ]
    assert merged(None, second) == second
    for change in ({"threads": 1}, {"queries": 5}, {"machine": "another"}, {"irkit": "0.2"}, {"warmup": 0}):
        assert merged(first, second.model_copy(update=change)).pipelines == second.pipelines


def test_tables(tmp_path: Path) -> None:
    noted = [stage("a*b", 0, "n", notes=["attention"], flops=2.5e9, cold_seconds=0.0001), stage("=1", 0, "m")]
    ours = efficiency(
        stages=noted,
        pipelines=[
            pipeline("a*b", flops=2.5e9, memory=3_000_000, tokens={"prompt": 12.0}, load=1.8),
            pipeline("=1", throughput=None, bytes=0, device_memory=8_000_000),
        ],
    )
    (table,) = terminal_tables(ours)
    heads = [str(column.header) for column in table.columns]
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    shown = dict(zip(heads, cells, strict=True))
    assert shown["pipeline"] == ["a*b", "=1"]
    assert (shown["p50 ms"], shown["p99 ms"]) == (["2.00", "2.00"], ["4.90", "4.90"])
    assert (shown["queries/s"], shown["size"]) == (["400", "–"], ["2.00 MB", "–"])  # noqa: RUF001
    assert (shown["GFLOP"], shown["memory"]) == (["2.50", "–"], ["3.00 MB", "–"])  # noqa: RUF001
    assert (shown["prompt tokens"], shown["device memory"]) == (["12.0", "–"], ["–", "8.00 MB"])  # noqa: RUF001
    assert remarks(ours) == ["s0 in a*b: attention"]
    assert "busy: up to 1.8 processes" in legend(ours)
    write_tables(ours, tmp_path)
    text = (tmp_path / "efficiency.md").read_text()
    assert text == markdown(ours)
    assert "| a\\*b | 2.00 | 4.50 | 4.90 | 400 | 2.00 MB | 2.50 | 3.00 MB |" in text
    assert "| a\\*b | s0 (k=5) | 0 | 30.0 | 2.00 |" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "efficiency.csv").read_text())))
    assert (tmp_path / "efficiency.csv").read_text().splitlines() == as_csv(ours).splitlines()
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["pipeline"], row["position"]) for row in rows] == [
        ("a*b", ""), ("a*b", "0"), ("'=1", ""), ("'=1", "0"),
    ]  # fmt: skip
    assert (rows[0]["p95_ms"], rows[0]["tokens"], rows[0]["bytes"]) == ("4.5", "prompt 12", "2000000")
    assert (rows[1]["notes"], rows[1]["flops"], rows[2]["queries_per_second"]) == (
        "attention",
        "2500000000.0",
        "",
    )


def test_a_remark_names_its_collections_where_it_is_not_true_of_all() -> None:
    stages = [
        *(stage(name, 0, "n", collection, notes=["everywhere"]) for name in "ba" for collection in "cd"),
        stage("a", 1, "n", "d", notes=["here"]),
    ]
    ours = efficiency(stages=stages, pipelines=[pipeline(name, c) for name in "ba" for c in "cd"])
    assert remarks(ours) == ["s0 in a, b: everywhere", "s1 in a on d: here"]
    assert [str(table.title) for table in terminal_tables(ours)] == ["c", "d"]
