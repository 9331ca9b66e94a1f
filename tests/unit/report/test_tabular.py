"""CSV and Parquet: every number comes back, and no name is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.report import tabular
from irkit.report.pairs import families
from irkit.report.results import PerQuery, Results, Score
from irkit.report.scores import score_tables
from irkit.report.tabular import (
    PER_QUERY_CSV,
    PER_QUERY_PARQUET,
    SCORE_COLUMNS,
    guarded,
    per_query_csv,
    scores_csv,
    write_per_query,
    write_scores,
)

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "'=1", "\r=1", '=cmd|"/c calc"!A0']  # noqa: RUF001


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def plain(cell: str) -> str:
    return cell.removeprefix("'")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text(text: str) -> None:
    assert guarded(text) == f"'{text}"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back(text: str) -> None:
    assert plain(guarded(text)) == text
    assert not guarded(text).lstrip("'").startswith(("=", "+", "-", "@")) or guarded(text).startswith("'")


def test_the_scores_come_back(results: Results, per_query: list[PerQuery], tmp_path: Path) -> None:
    text = write_scores(results, tmp_path, per_query).read_bytes().decode("utf-8")
    assert text == scores_csv(results, per_query)
    assert text.splitlines()[0] == ",".join(SCORE_COLUMNS)
    assert text.count("\r\n") == text.count("\n")  # as RFC 4180 has it
    found = rows(text)
    by_place = {(row["collection"], row["pipeline"], row["metric"]): row for row in found}
    assert len(by_place) == len(found) == sum(len(t.rows) * len(t.metrics) for t in score_tables(results))
    for score in results.scores:
        row = by_place[score.collection, score.pipeline, score.metric]
        assert float(row["value"]) == score.value  # to the last digit
        assert row["kind"] == "collection"
    tested = [(family, pair) for family in families(results, per_query) for pair in family.pairs]
    assert tested
    for family, pair in tested:
        row = by_place[family.collection, pair.ours, family.metric]
        assert float(row["p_value"]) == pair.p_value
        assert (int(row["wins"]), int(row["ties"]), int(row["losses"])) == (pair.wins, pair.ties, pair.losses)
        assert (float(row["interval_low"]), float(row["interval_high"])) == pair.interval
        assert row["significant"] == str(pair.significant).lower()
        if row["difference"]:  # the scores that the fixture leaves out have none
            assert float(row["difference"]) == pytest.approx(pair.mean, abs=1e-6)
    for row in found:
        if row["kind"] == "mean" or row["pipeline"] == results.baseline:
            assert row["p_value"] == row["wins"] == ""
    for item in results.expected:
        row = by_place[item.collection, item.pipeline, item.metric]
        assert (float(row["expected"]), row["status"]) == (item.expected, item.status)


def test_the_values_per_query_come_back(results: Results, per_query: list[PerQuery]) -> None:
    judged = {name: [0.5] * len(per_query[0].qid) for name in per_query[0].values}
    some = [per_query[0].model_copy(update={"judged": judged, "judged_at": 10}), *per_query[1:]]
    found = rows(per_query_csv(results, some))
    assert len(found) == sum(len(each.qid) * len(each.values) for each in some)
    by_place = {(row["collection"], row["pipeline"], row["qid"]): row for row in found}
    for each in some:
        for pipeline, metrics in each.values.items():
            for metric, values in metrics.items():
                for qid, value in zip(each.qid, values, strict=True):
                    assert float(by_place[each.collection, pipeline, qid][metric]) == value
    assert {row["judged@10"] for row in found if row["collection"] == some[0].collection} == {"0.5"}
    assert {row["judged@10"] for row in found if row["collection"] != some[0].collection} == {""}


def test_hostile_names(make: Callable[..., Results]) -> None:
    names = [*FORMULAS, 'quote " comma , line\r\nend', "null \0", "\u202eevil", "bad \ud800"]
    results = make(
        metrics=["m"], pipelines={"a": []}, baseline=None, controls={}, expected=[], experiment="=x", collections=[],
        scores=[Score(collection=name, pipeline="a", metric="m", value=0.5) for name in names],
    )  # fmt: skip
    one = PerQuery(collection="=c", qid=names, values={"a": {"m": [0.25] * len(names)}})
    expected = [name.replace("\ud800", "\N{REPLACEMENT CHARACTER}") for name in names]
    members = [row for row in rows(scores_csv(results)) if row["kind"] == "collection"]
    assert [plain(row["collection"]) for row in members] == expected
    found = rows(per_query_csv(results, [one]))
    assert [plain(row["qid"]) for row in found] == expected
    assert {row["collection"] for row in found} == {"'=c"}
    for row in found:
        assert not row["qid"].startswith(("=", "+", "-", "@", "\t", "\r", " ="))


def test_parquet_where_pyarrow_is(
    results: Results, per_query: list[PerQuery], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / PER_QUERY_CSV).write_text("of an earlier run")
    path = write_per_query(results, tmp_path, per_query)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] == [PER_QUERY_PARQUET]
    table = parquet.read_table(path)
    assert table.schema.metadata[b"experiment"].decode() == results.experiment
    found, written = table.to_pylist(), rows(per_query_csv(results, per_query))
    assert len(found) == len(written)
    for ours, theirs in zip(found, written, strict=True):
        assert ours["qid"] == plain(theirs["qid"])
        assert all(ours[metric] == float(theirs[metric]) for metric in results.metrics)
    monkeypatch.setattr(tabular, "find_spec", lambda name: None)
    path = write_per_query(results, tmp_path, per_query)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] == [PER_QUERY_CSV]
    assert path.read_bytes().decode("utf-8") == per_query_csv(results, per_query)


def test_parquet_holds_names_as_they_are(make: Callable[..., Results], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    one = PerQuery(collection="=c", qid=FORMULAS, values={"a": {"m": [0.25] * len(FORMULAS)}})
    table = parquet.read_table(write_per_query(make(metrics=["m"]), tmp_path, [one]))
    assert table.column("qid").to_pylist() == FORMULAS
