"""The page: true, self-contained, safe against any text in the results, sound HTML and readable colours."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import made_up
import pytest
from islands import islands

from irkit.core.errors import IrkitError
from irkit.report import format as fmt
from irkit.report.build import render, write_report
from irkit.report.details import save_details
from irkit.report.efficiency import save_efficiency
from irkit.report.results import PerQuery, Results, save_results

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "</style></title><b>&amp;",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd",
    "x" * 300,
    "\U0001f600 emoji",
]
_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Reads a page, checks that its tags nest, and keeps its elements: (tag, attributes, text inside)."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {[self.elements[i][0] for i in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in <{tag}>"
        self.elements.append((tag, dict(attrs), []))
        if tag not in _VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self.elements[self._open.pop()][0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def all(self, tag: str, css_class: str | None = None) -> Iterator[tuple[dict[str, str | None], str]]:
        for name, attrs, text in self.elements:
            if name == tag and (css_class is None or css_class in (attrs.get("class") or "").split()):
                yield attrs, " ".join("".join(text).split())


@pytest.fixture
def page(results: Results, per_query: list[PerQuery]) -> Page:
    return Page(render(results, per_query))


@pytest.fixture
def hostile(results: Results) -> tuple[str, Page]:
    """A page every text of which is hostile."""
    one, two, many = HOSTILE[0], HOSTILE[1], " ".join(HOSTILE)
    score, stage, collection, expectation = (
        results.scores[0],
        results.stages[0],
        results.collections[0],
        results.expected[0],
    )
    evil = results.model_copy(
        update={
            "experiment": many,
            "description": many,
            "metrics": [two],
            "pipelines": {name: [{"bm25": {name: name}}] for name in HOSTILE},
            "baseline": one,
            "scores": [
                score.model_copy(update={"collection": many, "pipeline": name, "metric": two})
                for name in HOSTILE
            ],
            "stages": [
                stage.model_copy(
                    update={
                        "collection": many,
                        "pipeline": n,
                        "stage": n,
                        "label": n,
                        "notes": {n: n},
                        "node": "n",
                    }
                )
                for n in HOSTILE
            ],
            "collections": [
                collection.model_copy(
                    update={
                        "name": many,
                        "fingerprint": many,
                        "policy": {one: many},
                        "warnings": {many: (1, many)},
                    }
                )
            ],
            "expected": [expectation.model_copy(update={"collection": many, "pipeline": one, "metric": two})],
            "provenance": results.provenance.model_copy(
                update={
                    **dict.fromkeys(("command", "created", "irkit", "python", "platform"), many),
                    "packages": {many: many},
                    "git": {"commit": many, "branch": many, "dirty": True},
                }
            ),
        }
    )
    values = {name: {two: [0.1 * i]} for i, name in enumerate(HOSTILE)}
    html = render(evil, [PerQuery(collection=many, qid=[one], values=values)])
    return html, Page(html)


def test_every_hostile_text_is_escaped(hostile: tuple[str, Page]) -> None:
    html, page = hostile
    for text in HOSTILE[:4]:
        assert text not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert [attrs for attrs, _ in page.all("script") if "type" not in attrs] == [{}]
    assert {attrs.get("type") for attrs, _ in page.all("script")} == {None, "application/octet-stream"}
    assert not list(page.all("img"))
    assert not list(page.all("b", None)) or all("best" in (a.get("class") or "") for a, _ in page.all("b"))
    assert not [attrs for _, attrs, _ in page.elements if any(name.startswith("on") for name in attrs)]
    assert not [attrs for _, attrs, _ in page.elements if "style" in attrs]


def test_hostile_text_is_shown_as_it_is(hostile: tuple[str, Page]) -> None:
    _, page = hostile
    (heading,) = page.all("h1")
    assert heading[1] == " ".join(" ".join(HOSTILE).split())


def test_the_page_loads_nothing(results: Results, per_query: list[PerQuery]) -> None:
    html = render(results, per_query)
    page = Page(html)
    for _, attrs, _ in page.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster", "xlink:href"):
            assert (attrs.get(name) or "#")[0] == "#" or attrs[name] == "data:,"
    ((_, style),) = page.all("style")
    assert set(re.findall(r"url\(([^)]*)\)", style)) == {"#hatch"}
    assert "@import" not in style
    assert set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\"\s]*", html)) <= {
        "http://www.w3.org/2000/svg"
    }  # a name of SVG, no address
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\b\s*\(", html)


def test_the_policy_admits_only_the_pages_own_script_and_style(page: Page) -> None:
    (policy,) = [
        a["content"] for a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (text,) = [
            "".join(text) for name, attrs, text in page.elements if name == tag and "type" not in attrs
        ]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_document_is_sound(page: Page) -> None:
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs, _ in page.elements:
        for name in ("aria-labelledby", "data-copy"):
            assert name not in attrs or attrs[name] in ids
        if (attrs.get("href") or "").startswith("#"):
            assert (attrs["href"] or "")[1:] in ids
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(attrs.get("scope") for attrs, _ in page.all("th"))
    assert len(list(page.all("caption"))) == len(list(page.all("table")))
    assert ("html", "en") in [(tag, attrs.get("lang")) for tag, attrs, _ in page.elements]


def test_the_leaderboard_is_there_without_the_script(page: Page, results: Results) -> None:
    values = [attrs["data-value"] for attrs, _ in page.all("td") if "data-value" in attrs]
    first = [score for score in results.scores if score.metric == results.metrics[0]]
    assert len(values) == 9  # three pipelines, two collections and their mean
    assert {float(value or 0) for value in values} >= {score.value for score in first}
    sorts = [attrs["data-sort"] for attrs, _ in page.all("th") if "data-sort" in attrs]
    assert sorts == ["text", "number", "number", "number"]


def test_best_is_marked_by_an_element_and_in_words(page: Page, results: Results) -> None:
    marked = [text for _, text in page.all("b", "best")]
    metric = results.metrics[0]
    tops = [
        f"{max(s.value for s in results.scores if (s.collection, s.metric) == (c.name, metric)):.4f} (best)"
        for c in results.collections
    ]
    assert set(tops) <= set(marked)
    assert len(marked) == 3


def test_a_dash_has_its_reason(make: Callable[..., Results]) -> None:
    results = make(metrics=["recall@100"], expected=[])
    page = Page(
        render(
            results.model_copy(update={"scores": [s for s in results.scores if s.metric == "recall@100"]}), []
        )
    )
    dashes = [text for _, text in page.all("span", "none")]
    assert f"{fmt.DASH} (the run gave no value of this metric)" in dashes


def test_expected_values_are_judged_as_the_data_says(page: Page) -> None:
    badges = [(attrs["class"], text) for attrs, text in page.all("span", "badge")]
    assert badges == [("badge match", "✓ match"), ("badge off", "✗ off")]
    assert any("1 of 2 expected values is off" in text for _, text in page.all("p", "notice"))


def test_provenance_is_complete(page: Page, results: Results) -> None:
    p = results.provenance
    assert p.command in [text for _, text in page.all("pre")]
    facts = dict(zip([t for _, t in page.all("dt")], [t for _, t in page.all("dd")], strict=True))
    assert facts["Repository"] == f"commit {p.git['commit']}, branch main, with uncommitted changes"  # type: ignore[index]
    assert facts["torch"] == p.packages["torch"]
    assert facts["Finished"] == "14 March 2026, 15:09 UTC"


def test_pipelines_are_shown_as_yaml_that_reads_back(page: Page, results: Results) -> None:
    from ruamel.yaml import YAML

    (text,) = ["".join(t) for tag, attrs, t in page.elements if attrs.get("id") == "yaml"]
    assert YAML(typ="safe").load(text) == {"pipelines": results.pipelines}


def test_warnings_of_a_collection_are_shown(page: Page) -> None:
    assert "empty document text: 3 times, first at corpus.jsonl:812 (4983)" in [
        text for _, text in page.all("li")
    ]


@pytest.mark.parametrize("git", [None, {"error": "git did not answer"}, {}])
def test_an_empty_experiment_says_so(make: Callable[..., Results], git: dict[str, str] | None) -> None:
    results = make(
        description="",
        metrics=[],
        pipelines={},
        baseline=None,
        scores=[],
        stages=[],
        collections=[],
        expected=[],
    )
    results = results.model_copy(update={"provenance": results.provenance.model_copy(update={"git": git})})
    text = " ".join(t for _, t in Page(render(results, [])).all("main"))
    for phrase in ("hold no scores", "describe no collection"):
        assert phrase in text


def test_write_report(tmp_path: Path, results: Results, per_query: list[PerQuery]) -> None:
    save_results(results, per_query, tmp_path)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render(results, per_query)
    assert write_report(tmp_path, (results, per_query), []).read_text(encoding="utf-8") == render(
        results, per_query, tested=[]
    )
    (tmp_path / "results.json").unlink()
    with pytest.raises(IrkitError, match="no such file"):
        write_report(tmp_path)


def test_write_report_takes_what_stands_beside_the_results(tmp_path: Path) -> None:
    made = made_up.experiment(queries=10, looked_into=4)
    save_details(made.results, made.funnels, made.details, tmp_path)
    save_results(made.results, made.per_query, tmp_path)
    save_efficiency(made.efficiency, tmp_path)
    found = islands(write_report(tmp_path).read_text(encoding="utf-8"))
    assert len(found["main"]["funnels"]) == len(made.funnels)
    assert len(found["main"]["efficiency"]["pipelines"]) == len(made.efficiency.pipelines)
    assert [query["qid"] for query in found["details-1"]["queries"]] == ["q0", "q1", "q2", "q3"]
    (tmp_path / "efficiency.json").write_text("{", encoding="utf-8")
    with pytest.raises(IrkitError, match="damaged"):
        write_report(tmp_path)


def _luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1])
def test_contrast(page: Page, theme: int) -> None:
    ((_, style),) = page.all("style")
    colours = {
        name: (light, dark)[theme]
        for name, light, dark in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)
    }

    def contrast(one: str, two: str) -> float:
        low, high = sorted((_luminance(colours[one]), _luminance(colours[two])))
        return (high + 0.05) / (low + 0.05)

    for name in ("ink", "muted", "accent", "lost", "match", "off"):
        assert contrast(name, "paper") >= 4.5, name
    assert contrast("ink", "wash") >= 4.5
    assert contrast("soft", "paper") >= 3, "the lighter part of a bar"
