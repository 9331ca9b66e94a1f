"""The score tables in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from irkit.config.statistics import Statistics
from irkit.report import format as fmt
from irkit.report.build import render
from irkit.report.details import Funnel, FunnelStep
from irkit.report.latex import latex
from irkit.report.pairs import families
from irkit.report.results import PerQuery, Results, Score
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
    assert text.count("a mean over collections carries no test.") == 1
    assert "carries no test" in text.split("## Mean over")[1]


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


def _wide(results: Results, per_query: list[PerQuery], width: int = 150) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        for table in terminal_tables(results, width, per_query):
            console.print(table)
    return capture.get()


def test_the_terminal_says_what_tests_say_of_the_first_metric(
    results: Results, per_query: list[PerQuery]
) -> None:
    (first, *_) = families(results, per_query)
    text = _wide(results, per_query)
    of_first, rest = text.split("irkit/limit-small", 1)
    for pair in first.pairs:
        counts = f"{pair.wins}/{pair.ties}/{pair.losses}"
        (line,) = [line for line in of_first.splitlines() if counts in line]
        assert line.strip().startswith(pair.ours)
        assert ("†" in line) is pair.significant
    told = " ".join(of_first.split())
    assert "†: below 0.05" in told and "on ndcg@10, against bm25" in told
    assert "won/tied/lost" not in rest.split("Mean over")[1]
    told = " ".join(_wide(results, per_query, 60).split())
    assert "won/tied/lost: queries" not in told and "†" not in told


def test_what_the_width_leaves_out_is_named(results: Results, per_query: list[PerQuery]) -> None:
    """The differences of later metrics go first, what tests say goes last; the legend is of what is shown."""
    texts = {
        width: " ".join(_wide(results, per_query, width).split("irkit/limit-small")[0].split())
        for width in (150, 80, 68, 60)
    }
    assert "not shown" not in texts[150] and "93/165/42" in texts[150]
    assert "<0.0001†" in texts[80] and "93/165/42" not in texts[80] and texts[80].count("+0.0") == 1
    assert f"+/{fmt.MINUS}: difference to bm25" in texts[80]
    left = "differences on recall@10, recall@100; won/tied/lost; scores.md has them"
    assert f"not shown at this width: {left}" in texts[80]
    assert "<0.0001†" in texts[68] and "+0.0" not in texts[68] and "difference to" not in texts[68]
    assert "not shown at this width: differences; won/tied/lost; scores.md has them" in texts[68]
    assert "†" not in texts[60]
    assert "not shown at this width: differences; p, won/tied/lost; scores.md has them" in texts[60]
    for width in texts:
        assert max(map(len, _wide(results, per_query, width).splitlines())) <= width


def test_who_is_better_than_none_is_said_so(make: Callable[..., Results], per_query: list[PerQuery]) -> None:
    alike = [
        each.model_copy(update={"values": dict.fromkeys(each.values, each.values["bm25"])})
        for each in per_query
    ]
    text = _wide(make(statistics=Statistics(pairs="all")), alike)
    assert text.split("irkit/limit-small")[0].count(" none") == 3


def test_the_command_of_results_from_several_runs_has_no_choice(make: Callable[..., Results]) -> None:
    made = make().provenance.model_copy(update={"command": "irkit run x.yaml -p two --set a=1 --only data"})
    for changes in ({"kept_pipelines": ["bm25"]}, {"kept": ["beir/scifact/test"]}):
        results = make(provenance=made, **changes)
        assert results.commands == ("irkit run x.yaml --set a=1", made.command)
        text = markdown(results)
        whole, last = text.index("    irkit run x.yaml --set a=1\n"), text.index(f"    {made.command}\n")
        assert whole < text.index("The last run of it") < last
        comment = latex(results).split("% In the preamble")[0]
        assert "%   irkit run x.yaml --set a=1\n" in comment and f"on a part: {made.command}\n" in comment
        page = render(results, [])
        assert ">irkit run x.yaml --set a=1<" in page and f">{made.command}<" in page
    part = make(provenance=made, left_out_pipelines=["bm25"])
    assert part.commands == (made.command, None) and "The last run" not in markdown(part)


def test_the_terminal_has_letters_for_all_pairs(
    make: Callable[..., Results], per_query: list[PerQuery]
) -> None:
    results = make(statistics=Statistics(pairs="all"))
    (first, *_) = families(results, per_query)
    lines = _wide(results, per_query).split("irkit/limit-small")[0].splitlines()
    for letter, name in zip("abc", results.pipelines, strict=True):
        (line,) = [line for line in lines if line.strip().startswith(f"{letter}: {name}")]
        beaten = [
            other
            for other, theirs in zip("abc", results.pipelines, strict=True)
            if any(p.better == name and {p.ours, p.other} == {name, theirs} for p in first.pairs)
        ]
        assert line.rstrip().endswith(" ".join(beaten))
    assert any(pair.significant for pair in first.pairs)


def test_where_relevant_documents_are_lost(results: Results) -> None:
    steps = [
        FunnelStep(stage="bm25", label="BM25 | x", inputs=[], relevant=80, top=40, lost=0),
        FunnelStep(stage="cutoff", label="cutoff", inputs=[0], relevant=60, top=40, lost=20),
    ]
    funnel = Funnel(
        collection="beir/scifact/test", pipeline="bm25", k=10, total=100, missed=20, queries=50, steps=steps
    )
    text = markdown(results, funnels=[funnel])
    assert "| bm25 | found by no first stage |  |  | 20 (20.0 %) |" in text
    assert r"| bm25 | BM25 \| x | 80 (80.0 %) | 40 (40.0 %) |  |" in text
    assert "| bm25 | cutoff | 60 (60.0 %) | 40 (40.0 %) | 20 (20.0 %) |" in text
    assert text.count("Where relevant documents are lost") == 1
    assert "are lost" not in markdown(results)
