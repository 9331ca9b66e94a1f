"""The key ``report`` of an experiment: what it means, what it refuses, and that it is written back."""

from __future__ import annotations

import pytest

from irkit.config.experiment import Experiment, read_experiment
from irkit.config.report import ReportOptions
from irkit.config.schema import experiment_schema
from irkit.config.yaml import parse_yaml
from irkit.core.errors import ConfigError

HEAD = "name: x\ncollections: [{path: data}]\nmetrics: [ndcg@10]\npipelines: {a: [bm25]}\n"


def _read(text: str) -> Experiment:
    return read_experiment(parse_yaml(HEAD + text, "x.yaml"))


def test_without_the_key_it_is_the_defaults() -> None:
    found = _read("").report
    assert found == ReportOptions() == _read("report:\n").report
    assert (found.queries, found.hits, found.characters, found.bytes) == (60, 10, 300, 2_000_000)
    assert "report" not in _read("").to_yaml(full=True)


def test_it_is_read_and_written_back() -> None:
    read = _read("report: {queries: 0, hits: 5, characters: 0, bytes: 100}\n")
    assert read.report == ReportOptions(queries=0, hits=5, characters=0, bytes=100)
    assert read_experiment(parse_yaml(read.to_yaml(), "y.yaml")) == read
    assert read_experiment(parse_yaml(read.to_yaml(full=True), "y.yaml")) == read


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("report: [60]", "is a mapping"),
        ("report: 60", "is a mapping"),
        ("report: {querys: 60}", "querys"),
        ("report: {queries: -1}", "queries"),
        ("report: {queries: many}", "queries"),
        ("report: {queries: 2.5}", "queries"),
        ("report: {queries: true}", "queries"),
        ("report: {queries: '60'}", "queries"),
        ("report: {hits: 0}", "hits"),
        ("report: {hits: 1001}", "hits"),
        ("report: {characters: -1}", "characters"),
        ("report: {bytes: 2000000001}", "bytes"),
        ("report: {1: 2}", "1|keywords"),
    ],
)
def test_what_is_refused(written: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        _read(f"{written}\nbaseline: nobody\n")
    assert len(caught.value.problems) == 2  # with the others of the file, each at its line
    assert all((problem.where or "").startswith("x.yaml:") for problem in caught.value.problems)


def test_editors_know_it() -> None:
    key = experiment_schema(own=True)["properties"]["report"]
    assert set(key["properties"]) == {"queries", "hits", "characters", "bytes"}
    assert key["additionalProperties"] is False
