"""``irkit search --explain``: what the reranker looked at, with colours and without."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from rich.console import Console
from rich.text import Text

from irkit.cli.highlight import greatest_weight, highlighted, legend
from irkit.core.explanation import Explanation

pytestmark = pytest.mark.usefixtures("toy_stages")
Irkit = Callable[..., Any]
LOOK = ("--set", "pipelines.look=[{toy: {k: 5}}, {toy-look: {order_control: 1}}]")


def test_every_hit_shows_what_was_looked_at(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("search", experiment, "c", "d", "-k", "2", "--explain", *LOOK)
    assert (ended.code, ended.err) == (0, "")
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert lines == [
        "1 4.0000 d6",
        "c c c d",
        "looked at: c 3.0000, d 1.0000; 4.0000 in all; rank 1 before",
        "2 2.0000 d3",
        "b c d e",
        "looked at: c 1.0000, d 1.0000; 2.0000 in all; rank 2 before",
    ]


def test_the_last_pipeline_is_no_control(
    irkit: Irkit, experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("e\n"))
    ended = irkit("search", experiment, *LOOK)
    assert "look on data/test" in ended.err


def test_a_pipeline_that_cannot_explain(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("search", experiment, "c", "--explain", "-p", "one", *LOOK)
    assert ended.code == 2
    assert "pipeline 'one': the last stage, 'toy', cannot explain its scores" in ended.err
    assert "-p 'look'" in ended.err
    ended = irkit("search", experiment, "c", "--explain")
    assert "'toy-rerank', cannot explain" in ended.err
    assert "such as icr" in ended.err


def test_documents_cannot_steer_the_terminal(irkit: Irkit, experiment: Path) -> None:
    doc = {"_id": "y", "title": "[red]a", "text": "a\x00\x7f\x9b2J\x85\n\x1b]0;two\x07 [/] end"}
    Path("data/corpus.jsonl").write_text(json.dumps(doc) + "\n", encoding="utf-8")
    Path("data/qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ty\t1\n", encoding="utf-8")
    ended = irkit("search", experiment, "end", "--explain", *LOOK)
    assert ended.code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", ended.out)
    for piece in ("]0;two", "[/] end", "[red]a", "end 1.0000"):
        assert piece in ended.out


def rendered(explanation: Explanation, colours: str | None) -> str:
    console = Console(width=200, force_terminal=True, color_system=colours, highlight=False)  # type: ignore[arg-type]
    with console.capture() as capture:
        console.print(highlighted(explanation, 0.5))
    return capture.get().rstrip("\n")


SEEN = Explanation(0, 0.9, ("\n green", " te", "a\n\n", " is ", "bad", " "), (0.1, 0.5, 0.5, 0.0, -0.2, 9e-9))


def test_the_text_is_that_of_the_pieces_on_one_line() -> None:
    assert highlighted(SEEN, 0.5).plain == "green tea is bad"
    assert highlighted(Explanation(0, 0.0, (), ()), 0.0).plain == ""
    assert highlighted(Explanation(0, 0.0, ("tea",), (0.0,)), 0.0).plain == "tea"


def test_the_stronger_the_weight_the_stronger_the_colour() -> None:
    line = highlighted(SEEN, 0.5)
    spans = {line.plain[span.start : span.end].strip(): str(span.style) for span in line.spans}
    assert set(spans) == {"green", "te", "a", "bad"}
    assert spans["te"].startswith("bold black on rgb(255,200,0)")
    assert not spans["green"].startswith("bold")
    red, green, blue = map(int, re.findall(r"\d+", spans["bad"]))
    assert (red, green == blue) == (255, True)
    for colours in ("truecolor", "256", "standard"):
        assert "\x1b[" in rendered(SEEN, colours)


def test_without_colours_the_legend_tells() -> None:
    assert rendered(SEEN, None).replace("\x1b[1m", "").replace("\x1b[0m", "") == "green tea is bad"
    assert legend(SEEN).plain == "looked at: tea 1.0000, bad -0.2000, green 0.1000; 0.9000 in all"
    moved = Explanation(7, 0.9, ("tea",), (0.9,)).after(np.array([3, 9, 7], np.int32))
    assert legend(moved).plain == "looked at: tea 0.9000; 0.9000 in all; rank 3 before"
    assert legend(Explanation(0, 0.0, (), ())).plain == "looked at: nothing; 0.0000 in all"


def test_the_hits_of_a_query_share_a_scale(
    irkit: Irkit, experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strong = Explanation(0, 0.0, ("a", "b"), (0.25, -1.0))
    assert greatest_weight([SEEN, strong]) == 1.0
    assert greatest_weight([]) == 0.0
    explain, scales = toys.Look.explain, []

    def stronger_and_stronger(*args: Any) -> list[Explanation]:
        found = enumerate(explain(*args), start=1)
        return [replace(each, weights=tuple(rank * w for w in each.weights)) for rank, each in found]

    def seen(explanation: Explanation, greatest: float) -> Text:
        scales.append((greatest_weight([explanation]), greatest))
        return highlighted(explanation, greatest)

    monkeypatch.setattr(toys.Look, "explain", stronger_and_stronger)
    monkeypatch.setattr("irkit.cli.search.highlighted", seen)
    irkit("search", experiment, "c", "d", "-k", "3", "--explain", *LOOK)
    assert scales == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]
