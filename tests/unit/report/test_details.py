"""``details.json``: written, read, refused; and the bytes that it may take."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from irkit.core.errors import ReportError
from irkit.report.budget import Costs, costs_of, fitted
from irkit.report.details import (
    DETAILS,
    Details,
    DetailsFile,
    Funnel,
    FunnelStep,
    Hits,
    QueryDetails,
    Text,
    load_details,
    mentioned,
    save_details,
)
from irkit.report.lost import lost_rows
from irkit.report.results import Provenance, Results


def _results(created: str = "2026-01-01T00:00:00+00:00") -> Results:
    provenance = Provenance(
        command="irkit run", created=created, irkit="1", python="3", platform="x", cpus=1, packages={}
    )
    return Results(
        experiment="mine",
        metrics=["mrr"],
        pipelines={"one": []},
        scores=[],
        stages=[],
        collections=[],
        provenance=provenance,
        seconds=1.0,
    )


def _details(name: str = "c", queries: int = 5, size: int = 40) -> Details:
    """Each query has a document of its own, and one in common with the query before."""
    words = random.Random(f"{name}{queries}")
    texts = ["".join(words.choices("abcdefghijklmnop ", k=size)) for _ in range(queries + 1)]
    return Details(
        collection=name,
        documents=[Text(docno=f"d{number}", text=text) for number, text in enumerate(texts)],
        queries=[
            QueryDetails(
                qid=f"q{number}",
                text="x",
                relevant=[],
                hits={"one": Hits(docs=[number, number + 1], scores=[2.0, 1.0], gains=[1, None])},
            )
            for number in range(queries)
        ],
        chosen="all",
    )


_FUNNEL = Funnel(
    collection="c",
    pipeline="one",
    k=10,
    total=3,
    missed=1,
    queries=2,
    steps=[FunnelStep(stage="bm25", label="bm25", inputs=[], relevant=2, top=1, lost=0)],
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    written = save_details(_results(), [_FUNNEL], [_details()], folder)
    assert load_details(folder, _results()) == written
    assert (written.funnels, written.details) == ([_FUNNEL], [_details()])
    assert [path.name for path in folder.iterdir()] == [DETAILS]


def test_an_older_run_has_none(tmp_path: Path) -> None:
    assert load_details(tmp_path, _results()) == DetailsFile(
        experiment="mine", created=_results().provenance.created
    )


def _without(key: str) -> Any:
    return lambda data: {name: value for name, value in data.items() if name != key}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda data: {**data, "created": "yesterday"},
            r"another run \(mine, yesterday\) than results\.json",
        ),
        (lambda data: {**data, "experiment": "other"}, "another run"),
        (lambda data: {**data, "schema_version": 2}, "version 2"),
        (_without("created"), "created"),
        (lambda data: {**data, "funnels": [{}]}, r"funnels\.0"),
        (lambda data: {**data, "more": 1}, "more"),
        (lambda data: {**data, "details": [{**data["details"][0], "documents": []}]}, "document 1 of 0"),
        (lambda data: [data], "damaged"),
    ],
)
def test_what_is_damaged_or_of_another_run_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    save_details(_results(), [_FUNNEL], [_details()], tmp_path)
    path = tmp_path / DETAILS
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ReportError, match=said) as caught:
        load_details(tmp_path, _results())
    assert all(problem.hint and str(path) in (problem.where or "") for problem in caught.value.problems)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe"])
def test_what_is_no_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / DETAILS).write_bytes(text)
    with pytest.raises(ReportError, match="damaged"):
        load_details(tmp_path, _results())


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / DETAILS).mkdir()
    with pytest.raises(ReportError, match="cannot be read"):
        load_details(tmp_path, _results())


# -- the bytes ------------------------------------------------------------------------------------------------------------------


def _packed(details: list[Details]) -> int:
    return sum(len(zlib.compress(each.model_dump_json().encode(), 6)) for each in details)


def _sum(costs: Costs) -> int:
    return sum(costs.queries) + sum(costs.documents)


def test_costs_are_those_of_the_whole() -> None:
    """To within what it makes of a difference that documents stand beside their queries."""
    details = _details(queries=200, size=300)
    costs = costs_of(details)
    assert (len(costs.queries), len(costs.documents)) == (200, 201)
    whole = _sum(costs)
    assert whole == pytest.approx(_packed([details]), rel=0.05)
    half = fitted([details], [costs], whole // 2)
    assert whole // 2 == pytest.approx(_packed(half), rel=0.05)
    assert len(half[0].queries) == pytest.approx(100, abs=5)


def test_nothing_costs_nothing() -> None:
    empty = _details(queries=0).model_copy(update={"documents": []})
    assert costs_of(empty) == Costs(queries=[], documents=[])
    assert fitted([empty], [costs_of(empty)], 0) == [empty]
    assert fitted([], [], 0) == []


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 8), max_size=4), share=st.floats(0, 1.2), long=st.integers(0, 40))
def test_queries_are_kept_in_turn_while_they_fit(sizes: list[int], share: float, long: int) -> None:
    details = [_details(f"c{number}", size) for number, size in enumerate(sizes)]
    costs = [costs_of(each) for each in details]
    for number, each in enumerate(costs):  # one of each costs more than the others
        if each.queries:
            each.queries[(long + number) % len(each.queries)] += 50 * long
    limit = int(share * sum(map(_sum, costs)))
    kept = fitted(details, costs, limit)

    left, there = limit, [set[int]() for _ in details]
    expected: list[list[str]] = [[] for _ in details]
    for turn in range(max(sizes, default=0)):
        for place, whole in enumerate(details):
            if turn < len(whole.queries):
                query = whole.queries[turn]
                new = {doc for doc in mentioned(query) if doc not in there[place]}
                cost = costs[place].queries[turn] + sum(costs[place].documents[doc] for doc in new)
                if cost <= left:
                    left, there[place] = left - cost, there[place] | new
                    expected[place].append(query.qid)
    assert [[query.qid for query in each.queries] for each in kept] == expected
    for whole, part in zip(details, kept, strict=True):
        if len(part.queries) == len(whole.queries):
            assert part == whole
            continue
        assert (part.chosen, part.over_budget) == ("some", len(whole.queries) - len(part.queries))
        order = list(dict.fromkeys(doc for query in part.queries for doc in mentioned(query)))
        assert order == list(range(len(part.documents)))  # as they are mentioned, and no other
        names = {query.qid: _named(whole, query) for query in whole.queries}
        assert all(_named(part, query) == names[query.qid] for query in part.queries)


def _named(details: Details, query: QueryDetails) -> list[str]:
    return [details.documents[doc].docno for doc in mentioned(query)]


def test_one_long_query_keeps_no_other_away() -> None:
    details = [_details(name, 4, 200) for name in "abc"]
    long = (
        details[0]
        .queries[0]
        .model_copy(update={"text": "".join(random.Random(0).choices("abcdefghijklmnop", k=50_000))})
    )
    details[0] = details[0].model_copy(update={"queries": [long, *details[0].queries[1:]]})
    kept = fitted(details, [costs_of(each) for each in details], 10_000)
    assert [[query.qid for query in each.queries] for each in kept] == [
        ["q1", "q2", "q3"],
        *[["q0", "q1", "q2", "q3"]] * 2,
    ]
    assert [each.over_budget for each in kept] == [1, 0, 0]
    assert [text.docno for text in kept[0].documents] == ["d1", "d2", "d3", "d4"]
    assert kept[0].queries[0].hits["one"].docs == [0, 1]


def test_what_the_store_lost_is_told_in_the_table() -> None:
    first, second = lost_rows([_FUNNEL])
    assert first == ["one", "found by no first stage", "", "", "1 (33.3 %)"]
    assert second == ["one", "bm25", "2 (66.7 %)", "1 (33.3 %)", ""]
    step = _FUNNEL.steps[0].model_copy(update={"label": "rerank", "unknown": True})
    cut = FunnelStep(stage="cutoff", label="cut", inputs=[0], relevant=2, top=1, lost=0)
    funnel = _FUNNEL.model_copy(update={"steps": [step, cut], "left_out": ["bm25"]})
    rows = lost_rows([funnel])
    assert [row[1] for row in rows] == [
        "not found, or lost up to rerank",
        "rerank",
        "cut",
        "not known of bm25: its losses count with the stage after it",
    ]
    assert rows[1][4] == "" and rows[2][4] == "0 (0.0 %)"


def test_what_the_collection_lacks_is_told_apart_from_what_is_not_found() -> None:
    funnel = Funnel.model_validate({**_FUNNEL.model_dump(), "missed": 0, "outside": 1})
    first, second, third = lost_rows([funnel])
    assert first == ["one", "not in the collection", "", "", "1 (33.3 %)"]
    assert second == ["one", "found by no first stage", "", "", "0 (0.0 %)"]
    assert third[1] == "bm25"


def test_a_query_may_not_mention_a_document_that_is_not_there() -> None:
    whole = _details().model_dump()
    with pytest.raises(ValidationError, match="document 5 of 5"):
        Details.model_validate({**whole, "documents": whole["documents"][:5]})
