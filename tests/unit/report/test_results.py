"""Results are saved whole, read back equal, and never mixed up or half-read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from irkit.core.errors import IrkitError
from irkit.report.results import PerQuery, Results, Score, load_results, save_results


def test_round_trip(tmp_path: Path, results: Results, per_query: list[PerQuery]) -> None:
    save_results(results, per_query, tmp_path / "new" / "run")
    assert load_results(tmp_path / "new" / "run") == (results, per_query)
    assert sorted(p.name for p in (tmp_path / "new" / "run").iterdir()) == ["per_query.json", "results.json"]


def test_the_file_is_stable_and_made_for_reading(
    tmp_path: Path, results: Results, per_query: list[PerQuery]
) -> None:
    save_results(results, per_query, tmp_path)
    first = (tmp_path / "results.json").read_bytes()
    save_results(results, per_query, tmp_path)
    assert (tmp_path / "results.json").read_bytes() == first
    data = json.loads(first)
    assert list(data)[:2] == ["schema_version", "experiment"]
    assert list(data["pipelines"]) == list(results.pipelines)
    assert set(data["scores"][0]) == {"collection", "pipeline", "metric", "value"}
    assert first.count(b"\n") > 100
    assert first.endswith(b"}\n")


def test_value_finds_a_score_or_says_which_is_missing(results: Results) -> None:
    score = results.scores[4]
    assert results.value(score.collection, score.pipeline, score.metric) == score.value
    with pytest.raises(KeyError, match="recall@100"):
        results.value("irkit/limit-small", "dense", "recall@100")


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Score(collection="c", pipeline="p", metric="m", value=float("nan"))


def test_values_per_query_must_be_aligned() -> None:
    with pytest.raises(ValidationError, match="1 values of 'm' for 2 queries"):
        PerQuery(collection="c", qid=["1", "2"], values={"p": {"m": [0.5]}})


def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(IrkitError, match="there is no such file") as caught:
        load_results(tmp_path / "nowhere")
    assert "run the experiment" in (caught.value.problems[0].hint or "")


@pytest.mark.parametrize("name", ["results.json", "per_query.json"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "[]", "damaged"),
        (lambda text: text.replace('"created"', '"createt"'), "created"),
        (
            lambda text: text.replace('"schema_version": 1', '"schema_version":1').replace(":1,", ":2,", 1),
            "version 2",
        ),
    ],
)
def test_damaged_files_and_other_versions_are_named(
    tmp_path: Path,
    results: Results,
    per_query: list[PerQuery],
    name: str,
    damage: Callable[[str], str],
    says: str,
) -> None:
    save_results(results, per_query, tmp_path)
    file = tmp_path / name
    file.write_text(damage(file.read_text()))
    with pytest.raises(IrkitError, match=says) as caught:
        load_results(tmp_path)
    problem = caught.value.problems[0]
    assert str(file) in (problem.where or "")
    assert problem.hint


def test_bytes_that_are_no_text_are_damage(tmp_path: Path, results: Results) -> None:
    save_results(results, [], tmp_path)
    (tmp_path / "results.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(IrkitError, match="damaged"):
        load_results(tmp_path)


def test_halves_of_two_runs_are_not_taken_for_one(
    tmp_path: Path, results: Results, per_query: list[PerQuery]
) -> None:
    save_results(results, per_query, tmp_path / "a")
    later = results.provenance.model_copy(update={"created": "2026-03-15T00:00:00+00:00"})
    save_results(results.model_copy(update={"provenance": later}), per_query, tmp_path / "b")
    (tmp_path / "b" / "per_query.json").replace(tmp_path / "a" / "per_query.json")
    with pytest.raises(IrkitError, match="belongs to another run"):
        load_results(tmp_path / "a")


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path, results: Results) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(IrkitError, match="cannot be written") as caught:
        save_results(results, [], tmp_path / "file" / "run")
    assert "folder" in (caught.value.problems[0].hint or "")
