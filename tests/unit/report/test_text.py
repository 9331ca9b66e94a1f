"""The score tables in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from irkit.report import format as fmt
from irkit.report.results import Results, Score
from irkit.report.text import markdown, terminal_tables, write_markdown


def _printed(results: Results) -> str:
    console = Console(width=120, color_system=None, force_terminal=False)
    with console.capture() as capture:
        for table in terminal_tables(results):
            console.print(table)
    return capture.get()


def test_terminal(results: Results) -> None:
    text = _printed(results)
    best = f"{results.value('beir/scifact/test', 'hybrid-maxsim', 'ndcg@10'):.4f}*"
    for piece in (
        best,
        "bm25 (baseline)",
        "Mean over",
        "*: best",
        "✓: as expected",
        "✗: not as expected",
        f"{fmt.DASH}: ",
    ):
        assert piece in text
    assert f"{results.value('beir/scifact/test', 'dense', 'ndcg@10'):.4f}*" not in text


def test_decimals_of_a_column_are_aligned(results: Results) -> None:
    lines = [line for line in _printed(results).split("Mean over")[0].splitlines() if "0." in line]
    first_table = lines[:3]
    assert len({line.index("0.") for line in first_table}) == 1


def test_markup_and_control_characters_in_names_do_nothing(make: Callable[..., Results]) -> None:
    name = "[red]x[/red]\x1b[31m"
    results = make(pipelines={name: []}, scores=[Score(collection="c", pipeline=name, metric="m", value=0.5)])
    text = _printed(results)
    assert "[red]x[/red]" in text
    assert "\x1b" not in text


def test_markdown_is_a_table_per_collection_and_mean(results: Results) -> None:
    text = markdown(results)
    best = results.value("irkit/limit-small", "hybrid-maxsim", "ndcg@10")
    assert text.count("| pipeline | ndcg@10 | recall@10 | recall@100 |") == 3
    assert f"| **{best:.4f}** (+" in text
    assert f"{fmt.DASH}: the run gave no value of this metric" in text
    assert f"    {results.provenance.command}" in text


def test_markdown_escapes_what_would_break_the_table(make: Callable[..., Results]) -> None:
    name = "a|b\n<b>*c*"
    text = markdown(
        make(
            pipelines={name: []},
            metrics=["m"],
            scores=[Score(collection="c", pipeline=name, metric="m", value=1)],
        )
    )
    assert r"| a\|b \<b\>\*c\* | 1.0000 |" in text


def test_write_markdown(tmp_path: Path, results: Results) -> None:
    assert write_markdown(results, tmp_path).read_text(encoding="utf-8") == markdown(results)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.md"]
