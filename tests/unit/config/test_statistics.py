"""The key ``statistics`` of an experiment: what it means, what it refuses, and that it is written back."""

from __future__ import annotations

import pytest

from irkit.config.experiment import Experiment, read_experiment
from irkit.config.schema import experiment_schema
from irkit.config.statistics import Statistics
from irkit.config.yaml import parse_yaml
from irkit.core.errors import ConfigError

HEAD = "name: x\ncollections: [{path: data}]\nmetrics: [ndcg@10]\npipelines: {a: [bm25]}\n"


def _read(text: str) -> Experiment:
    return read_experiment(parse_yaml(HEAD + text, "x.yaml"))


def test_without_the_key_it_is_the_t_test_after_holm_against_the_baseline() -> None:
    found = _read("").statistics
    assert found == Statistics()
    assert (found.test, found.corrected, found.pairs, found.alpha) == ("t", "holm", "baseline", 0.05)
    assert "statistics" not in _read("").to_yaml(full=True)


def test_it_is_read_and_written_back() -> None:
    read = _read("statistics: {test: wilcoxon, correction: bonferroni, pairs: all, alpha: 0.01, seed: 7}\n")
    assert read.statistics == Statistics(
        test="wilcoxon", correction="bonferroni", pairs="all", alpha=0.01, seed=7
    )
    assert read_experiment(parse_yaml(read.to_yaml(), "y.yaml")) == read
    assert read_experiment(parse_yaml(read.to_yaml(full=True), "y.yaml")) == read


@pytest.mark.parametrize("test", ["tukey", "randomised-tukey"])
def test_tukey_corrects_by_itself(test: str) -> None:
    assert _read(f"statistics: {{test: {test}}}\n").statistics.corrected == "none"
    assert _read(f"statistics: {{test: {test}, correction: none}}\n").statistics.corrected == "none"
    with pytest.raises(ConfigError, match="corrects by itself"):
        _read(f"statistics: {{test: {test}, correction: holm}}\n")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("statistics: [t]", "is a mapping"),
        ("statistics: {tset: t}", "tset"),
        ("statistics: {test: sign}", "sign"),
        ("statistics: {correction: bh}", "bh"),
        ("statistics: {pairs: some}", "some"),
        ("statistics: {alpha: 1.0}", "alpha"),
        ("statistics: {resamples: 10}", "resamples"),
        ("statistics: {seed: -1}", "seed"),
        ("statistics: {1: t}", "1|keywords"),
    ],
)
def test_what_is_refused(written: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        _read(f"{written}\nbaseline: nobody\n")
    assert len(caught.value.problems) == 2  # with the others of the file, each at its line
    assert all((problem.where or "").startswith("x.yaml:") for problem in caught.value.problems)


def test_a_mistyped_word_of_a_choice_is_asked_back() -> None:
    with pytest.raises(ConfigError, match=r"not 'tukay'\n +did you mean 'tukey'\?"):
        _read("statistics: {test: tukay}\n")


def test_editors_know_it() -> None:
    key = experiment_schema(own=True)["properties"]["statistics"]
    assert "randomised-tukey" in key["properties"]["test"]["enum"]
    assert key["additionalProperties"] is False
