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
        ('{"schema_version": 1}', "version 1 of the format; this irkit reads version 2"),
        ('{"schema_version": 2, "experiment": 3}', "damaged: experiment"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / EFFICIENCY).write_text(text)
    with pytest.raises(ReportError, match=message) as caught:
        load_efficiency(tmp_path)
    assert caught.value.problems[0].hint == "remove the file, and measure again: irkit measure"


def test_only_what_belongs_to_the_results_is_current() -> None:
    measured = efficiency("same", "old", "gone", "longer", "shorter", "lost")
    ours = results(
        {
            "lost": ["", "lost-1"],  # the store has lost the first node's results since
            "new": ["new-0"],
            "old": ["old-0", "changed"],
            "same": ["same-0", "same-1"],
            "longer": ["longer-0", "longer-1", "longer-2"],
            "shorter": ["shorter-0"],  # the last stage was taken away
        }
    )
    found = current(measured, ours)
    assert [each.pipeline for each in found.efficiency.pipelines] == ["lost", "same"], "in the results' order"
    assert [(e.pipeline, e.position) for e in found.efficiency.stages] == [
        (name, place) for name in ("lost", "same") for place in (0, 1)
    ]
    assert found.outdated == [("c", "old"), ("c", "longer"), ("c", "shorter")]
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
    for change in (
        {"asked_device": "cuda"},
        {"threads": 1},
        {"queries": 5},
        {"machine": "another"},
        {"irkit": "0.2"},
        {"warmup": 0},
    ):
        assert merged(first, second.model_copy(update=change)).pipelines == second.pipelines


def test_other_devices_days_and_loads_stay_apart() -> None:
    first = efficiency(
        "a",
        device="H200",
        pipelines=[pipeline("a", device="H200", created="2026-01-02", command="first", load=0.5)],
    )
    other = efficiency("b", device="A100", pipelines=[pipeline("b", device="A100")])
    assert [each.pipeline for each in merged(first, other).pipelines] == ["b"], "two accelerators, two tables"
    cpu = efficiency("b", pipelines=[pipeline("b", created="2026-01-03", command="second", load=1.5)])
    both = merged(first, cpu)
    assert [(e.device, e.created, e.command, e.load) for e in both.pipelines] == [
        ("H200", "2026-01-02", "first", 0.5),
        ("cpu", "2026-01-03", "second", 1.5),
    ]
    assert both.sessions() == {"2026-01-02": "first", "2026-01-03": "second"}
    assert "Measured in 2 sessions, from 2026-01-02 to 2026-01-03." in legend(both)
    assert "sessions" not in legend(first)
    text = markdown(both)
    assert text.endswith("2026-01-02:\n\n    first\n\nMade with irkit 0.1 on 2026-01-03:\n\n    second\n")
    assert "| device |" in text and "| H200 |" in text and "| device |" not in markdown(first)


def test_what_figures_leave_out_is_marked() -> None:
    what = ["writing of texts by a language model"]
    ours = efficiency(
        stages=[stage("q2d", 0, "n", excludes=what, tokens={"prompt": 9.0}), stage("bm25", 0, "m")],
        pipelines=[
            pipeline("q2d", excludes=what, flops=2e9, flops_at_least=True),
            pipeline("bm25", flops=3e9),
        ],
    )
    (table,) = terminal_tables(ours)
    assert [str(cell) for cell in table.columns[0].cells] == ["q2d *", "bm25"]
    assert "* Without writing of texts by a language model, which a new query needs" in legend(ours)
    assert "* Without" not in legend(efficiency("a"))
    text = markdown(ours)
    assert "| q2d \\* | 2.00 |" in text and "| q2d \\* | s0 (k=5) |" in text and "| bm25 | s0 (k=5) |" in text
    assert "| \N{GREATER-THAN OR EQUAL TO}2.00 |" in text and "| 3.00 |" in text
    assert "other code does a part" in legend(ours) and "other code" not in legend(efficiency("a"))
    rows = list(csv.DictReader(io.StringIO(as_csv(ours))))
    assert [row["excludes"] for row in rows] == [*what * 2, "", ""]
    assert [row["flops_at_least"] for row in rows] == ["true", "", "false", ""]


def test_the_legend_says_what_was_run() -> None:
    def of(**changes: Any) -> str:
        return legend(efficiency(pipelines=[pipeline("a", latency=TIMES.model_copy(update=changes))]))

    assert "each of which had run before, after 2,000 runs of others" in of(warmed=2000)
    assert "of others, until their median changed by less than 5 %." in of(warmed=2000, steady=True)
    assert "of others, of some for 10 s although their times still changed." in of(warmed=9, steady=False)
    assert "no others run to warm up" in of(warmed=0)
    assert "p99 lies between the two slowest" in of(samples=100)
    assert "two slowest" not in of(samples=101)
    assert "the mean of 5 that are evenly spaced" in of()
    for drift, said in ((None, False), (1.2, False), (0.84, False), (1.21, True), (0.82, True)):
        assert ("did not keep its pace" in of(drift=drift)) is said


@pytest.mark.parametrize("width", [50, 80, 120])
def test_terminal_tables_are_no_wider_than_the_terminal(width: int) -> None:
    from rich.console import Console

    long = "a-pipeline-whose-name-is-much-longer-than-a-column"
    more: dict[str, Any] = {"flops": 1e13, "memory": 10**9, "device_memory": 10**9}
    tokens = {"prompt": 1812.5, "completion": 400.0}
    ours = efficiency(pipelines=[pipeline(long, tokens=tokens, **more), pipeline("b")])
    tables = terminal_tables(ours, width)
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in tables:
        console.print(table)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    heads = " ".join(str(column.header) for table in tables for column in table.columns[1:])
    assert heads == (
        "p50 ms p95 ms p99 ms queries/s size GFLOP memory device memory prompt tokens completion tokens"
    ), "every column once"
    text = "\n".join(lines)
    for cell in ("p95 ms", "10,000", "completion tokens", "1,810", "2.00 MB"):
        assert cell in text, cell
    for table in tables:
        with console.capture() as shown:
            console.print(table)
        body = shown.get().split("\N{BOX DRAWINGS LIGHT HORIZONTAL}")[-1]
        first_column = "".join(line[1:].split(" ")[0] for line in body.splitlines())
        assert first_column == long + "b", "the name is whole"
    assert len(terminal_tables(ours)) == 1


def test_tables(tmp_path: Path) -> None:
    noted = [stage("a*b", 0, "n", notes=["attention"], flops=2.5e9, cold_seconds=0.0001), stage("=1", 0, "m")]
    ours = efficiency(
        stages=noted,
        pipelines=[
            pipeline("a*b", flops=2.5e9, memory=3_000_000, tokens={"prompt": 12.0}, load=1.8, busy=True),
            pipeline("=1", throughput=None, bytes=0, device_memory=8_000_000, load=9.0),
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
    assert "busy: up to 1.8 processes" in legend(ours), "what is busy, the record says"
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
