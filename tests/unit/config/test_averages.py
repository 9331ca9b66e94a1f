"""The keys ``averages`` and ``reference``."""

from __future__ import annotations

from pathlib import Path

import pytest

from irkit.config.experiment import Experiment, read_experiment
from irkit.config.yaml import parse_yaml
from irkit.core.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("toy_stages")

HEAD = """\
name: mine
collections: [beir/scifact/test, beir/nq, beir/cqadupstack/tex, beir/cqadupstack/gis]
metrics: [ndcg@10]
pipelines: {one: toy, two: [toy: {k: 3}]}
"""


def read(text: str, base: Path | None = None) -> Experiment:
    return read_experiment(parse_yaml(HEAD + text, "mine.yaml"), base=base)


def problems(text: str, base: Path | None = None) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(text, base)
    return [(p.where or "", p.message, p.hint or "") for p in caught.value.problems]


def test_members_by_whole_and_short_names_and_a_set_as_one() -> None:
    experiment = read("averages: {some: [scifact, cqadupstack], every: all, one: [beir/nq]}\n")
    forums = ("beir/cqadupstack/tex", "beir/cqadupstack/gis")
    assert experiment.averages == {
        "some": {"beir/scifact/test": ("beir/scifact/test",), "beir/cqadupstack": forums},
        "every": {
            "beir/scifact/test": ("beir/scifact/test",),
            "beir/nq": ("beir/nq",),
            "beir/cqadupstack": forums,
        },
        "one": {"beir/nq": ("beir/nq",)},
    }


def test_they_are_written_as_they_read() -> None:
    text = (
        "averages: {every: all}\nreference: {one: anserini-bm25-flat, two: [limit-bm25, anserini-bge-base]}\n"
    )
    experiment = read(text)
    for full in (False, True):
        assert read_experiment(parse_yaml(experiment.to_yaml(full=full), "again")) == experiment
    assert experiment.reference == {
        "one": ("anserini-bm25-flat",),
        "two": ("limit-bm25", "anserini-bge-base"),
    }
    assert read("").averages == {} == read("").reference


def test_faults_of_averages_come_at_once_with_their_lines() -> None:
    text = """\
averages:
  a: [scifct, beir]
  b: []
  c: scifact
  d: [nq, beir/nq]
  e: [cqadupstack, tex]
"""
    found = problems(text)
    assert [where for where, _, _ in found] == [f"mine.yaml:{line}" for line in (6, 6, 7, 8, 9, 10)]
    said = [message for _, message, _ in found]
    assert "no collection 'scifct'" in said[0] and found[0][2] == "did you mean 'scifact'?"
    assert "may be any of 4" in said[1]
    assert "is a list of collections, or: all" in said[2] and said[3] == said[2].replace("'b'", "'c'")
    assert "'beir/nq' stands in the average 'd' twice" in said[4]
    assert "by itself and in 'beir/cqadupstack'" in said[5]
    assert "maps names to lists" in problems("averages: [scifact]\n")[0][1]


def test_faults_of_references(tmp_path: Path) -> None:
    found = problems("reference: {oen: anserini-bm25-flat, two: [anserini-bm25-flt]}\n", tmp_path)
    assert ("no pipeline 'oen'" in found[0][1], found[0][2]) == (True, "did you mean 'one'?")
    assert "no published scores 'anserini-bm25-flt'" in found[1][1]
    assert found[1][2] == "did you mean 'anserini-bm25-flat'?"
    assert "maps pipelines" in problems("reference: anserini-bm25-flat\n")[0][1]


def test_a_workspace_has_published_scores_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "eval" / "reference"
    folder.mkdir(parents=True)
    (folder / "ours.json").write_text(
        '{"name": "ours", "title": "t", "decimals": 4, '
        '"source": {"url": "u", "citation": "c", "version": "v", "date": "d"}}'
    )
    assert read("reference: {one: ours}\n", tmp_path).reference == {"one": ("ours",)}
    (folder / "bad.json").write_text('{"name": "bad"}')
    ((where, message, hint),) = problems("reference: {one: ours}\n", tmp_path)
    assert where == "mine.yaml:5" and "bad.json: title" in message and "published scores has" in hint


def test_what_names_a_collection_with_a_problem_has_none_itself() -> None:
    def missing(_: object) -> None:
        raise DataError.of("no judgements for the split 'tset'", hint="did you mean 'test'?")

    text = HEAD.replace("[beir/scifact/test, ", "[{path: my, split: tset}, ").replace("beir/nq, ", "")
    text = text.replace("beir/cqadupstack/tex, beir/cqadupstack/gis", "{path: own, splt: dev}")
    text += "averages: {a: [my/test, own/test], b: [xyz]}\nexpected: {my/test: {one: {ndcg@10: 0.5}}}\n"
    with pytest.raises(ConfigError) as caught:
        read_experiment(parse_yaml(text, "mine.yaml"), missing)
    said = [problem.message for problem in caught.value.problems]
    assert len(said) == 3
    assert "the split 'tset'" in said[0] and "unknown option 'splt'" in said[1] and "'xyz'" in said[2]
