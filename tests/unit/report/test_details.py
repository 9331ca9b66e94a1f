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
from irkit.report.budget import costs_of, fitted
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


def test_costs_are_those_of_the_whole() -> None:
    """To within what it makes of a difference that documents stand beside their queries."""
    details = _details(queries=200, size=300)
    costs = costs_of(details)
    assert len(costs) == 200 and costs == sorted(costs)
    assert costs[-1] == pytest.approx(_packed([details]), rel=0.05)
    assert costs[99] == pytest.approx(_packed(fitted([details], [costs], costs[99])), rel=0.05)


def test_nothing_costs_nothing() -> None:
    empty = _details(queries=0).model_copy(update={"documents": []})
    assert costs_of(empty) == []
    assert fitted([empty], [[]], 0) == [empty]
    assert fitted([], [], 0) == []


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 12), max_size=4), share=st.floats(0, 1.2))
def test_as_many_queries_as_fit_are_kept_of_each_collection(sizes: list[int], share: float) -> None:
    details = [_details(f"c{number}", size) for number, size in enumerate(sizes)]
    costs = [costs_of(each) for each in details]
    limit = int(share * sum(each[-1] for each in costs if each))
    kept = fitted(details, costs, limit)
    counts = [len(each.queries) for each in kept]
    most = max(counts, default=0)

    def cost(count: int) -> int:
        return sum(each[min(count, len(each)) - 1] for each in costs if each and count)

    assert counts == [min(most, size) for size in sizes]  # the same number of each that has so many
    assert cost(most) <= limit
    assert most == max(sizes, default=0) or cost(most + 1) > limit
    for whole, part in zip(details, kept, strict=True):
        assert part.queries == whole.queries[: len(part.queries)]
        used = {number for query in part.queries for number in mentioned(query)}
        if len(part.queries) < len(whole.queries):
            assert used == set(range(len(part.documents)))
            assert part.documents == whole.documents[: len(used)]
            assert (part.chosen, part.over_budget) == ("some", len(whole.queries) - len(part.queries))
        else:
            assert part == whole


def test_a_query_may_not_mention_a_document_that_is_not_there() -> None:
    whole = _details().model_dump()
    with pytest.raises(ValidationError, match="document 5 of 5"):
        Details.model_validate({**whole, "documents": whole["documents"][:5]})
