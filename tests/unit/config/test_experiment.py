"""Experiments from YAML: every problem at once with its line, and the round trip between YAML and Python."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irkit.config.experiment import Experiment, load_experiment, read_experiment
from irkit.config.yaml import parse_yaml
from irkit.core.errors import ConfigError, IrkitError
from irkit.data.spec import LocalSpec
from irkit.pipeline.graph import Pipeline, Step, fuse
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Stage

pytestmark = pytest.mark.usefixtures("toy_stages")

GOOD = """\
name: good
description: Two pipelines
collections:
  - irkit/limit-synthetic?n=12
  - {path: some/folder, split: dev}
metrics: [ndcg_cut_10, Recall@2]
pipelines:
  first:
    - toy: {k: 20}
    - toy-rerank
  second: toy
baseline: first
expected:
  irkit/limit-synthetic?n=12: {first: {ndcg@10: 0.5}}
"""


def read(text: str) -> Experiment:
    return read_experiment(parse_yaml(text, "f.yaml"))


def problems(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [(p.where or "", p.message, p.hint or "") for p in caught.value.problems]


def test_a_good_file() -> None:
    experiment = read(GOOD)
    assert experiment.name == "good"
    assert list(experiment.collections) == ["irkit/limit-synthetic?n=12", "folder/dev"]
    assert experiment.collections["folder/dev"] == LocalSpec(path="some/folder", split="dev")
    assert list(experiment.metrics) == ["ndcg@10", "recall@2"]
    assert experiment.pipelines["first"] == make_stage("toy", k=20) >> make_stage("toy-rerank")
    assert experiment.pipelines["second"] == Pipeline.of(make_stage("toy"))
    assert experiment.expected == {"irkit/limit-synthetic?n=12": {"first": {"ndcg@10": 0.5}}}


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
name: a/b
collection: [x]
collections: [irkit/limit-synthetic]
metrics: [ndcg@10, ndgc@10]
pipelines:
  one:
    - tyo: {k: 5}
    - toy-rerank
  two:
    - toy: {kk: 5,
        scale: 0}
  three:
    - toy-rerank
  four: [toy: {k: 1}, toy-words]
baseline: too
tolerance: 2
expected: {one: {map: 0.5}, to: {ndcg@10: 1.5}}
"""
    found = problems(text)
    assert [where for where, _, _ in found] == [
        f"f.yaml:{n}" for n in (1, 2, 4, 7, 10, 11, 13, 14, 15, 16, 17)
    ] + ["f.yaml:17"] * (len(found) - 11)
    hints = {where: hint for where, _, hint in found}
    assert hints["f.yaml:2"] == "did you mean 'collections'?"
    assert "ndcg" in hints["f.yaml:4"]
    assert hints["f.yaml:7"] == "did you mean 'toy'?"
    assert hints["f.yaml:10"] in ("did you mean 'k'?", "choose one of: k, scale, style, threads")
    assert hints["f.yaml:15"] == "did you mean 'two'?"
    messages = " | ".join(message for _, message, _ in found)
    for part in (
        "'a/b'",
        "'collection'",
        "'tyo'",
        "'kk'",
        "scale: ",
        "toy-rerank",
        "toy-words",
        "'too'",
        "not 2",
    ):
        assert part in messages, part
    assert "'map' is not among the experiment's metrics" in messages


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", "f.yaml", "an experiment is a mapping"),
        ("[a, b]", "f.yaml:1", "an experiment is a mapping"),
        ("just text", "f.yaml:1", "an experiment is a mapping"),
        (GOOD.replace("name: good", "name:"), "f.yaml:1", "'name' is missing or empty"),
        (GOOD.replace("name: good\n", ""), "f.yaml:1", "'name' is missing or empty"),
        (GOOD.replace("name: good", "name: 5"), "f.yaml:1", "5 cannot be the name of a folder"),
        (GOOD.replace("name: good", "name: ../x"), "f.yaml:1", "'../x' cannot be the name"),
        (GOOD.replace("Two pipelines", "[1]"), "f.yaml:2", "the description is text"),
        (GOOD.replace("  - {path: some/folder, split: dev}", "  - 5"), "f.yaml:5", "not 5"),
        (GOOD.replace("split: dev", "spilt: dev"), "f.yaml:5", "unknown option 'spilt'"),
        (GOOD.replace("{path: some/folder, split: dev}", "{split: dev}"), "f.yaml:5", "give 'path'"),
        (GOOD.replace("{path: some/folder, split: dev}", "irkit/limit-synthetic?n=12"), "f.yaml:5", "twice"),
        (GOOD.replace("[ndcg_cut_10, Recall@2]", "ndcg@10"), "f.yaml:6", "'metrics' is a list"),
        (GOOD.replace("[ndcg_cut_10, Recall@2]", "[ndcg@10, nDCG@10]"), "f.yaml:6", "twice"),
        (GOOD.replace("[ndcg_cut_10, Recall@2]", "[[1]]"), "f.yaml:6", "[1]"),
        (GOOD.replace("second: toy", "second: []"), "f.yaml:11", "has no stage"),
        (GOOD.replace("second: toy", "second:"), "f.yaml:11", "a pipeline is a list of stages, not None"),
        (GOOD.replace("second: toy", "second: 5"), "f.yaml:11", "not 5"),
        (GOOD.replace("second: toy", "a/b: toy"), "f.yaml:11", "'a/b' cannot be the name of a file"),
        (GOOD.replace("second: toy", "second: [5]"), "f.yaml:11", "a step is one stage's name"),
        (
            GOOD.replace("second: toy", "second: [{toy: 5}]"),
            "f.yaml:11",
            "the options of 'toy' are a mapping",
        ),
        (
            GOOD.replace("second: toy", "second: [{toy: {}, fuse: {}}]"),
            "f.yaml:11",
            "mapping of 2 keys (toy, fuse)",
        ),
        (
            GOOD.replace("second: toy", "second: [fuse]"),
            "f.yaml:11",
            "'fuse' needs a list of pipelines under 'of'",
        ),
        (GOOD.replace("second: toy", "second: [fuse: {of: toy}]"), "f.yaml:11", "needs a list of pipelines"),
        (GOOD.replace("second: toy", "second: [toy: {of: [toy]}]"), "f.yaml:11", "unknown option 'of'"),
        (GOOD.replace("second: toy", "second: [fuse: {of: [[toy], [tyo]]}]"), "f.yaml:11", "no stage 'tyo'"),
        (
            GOOD.replace("second: toy", "second: [fuse: {weights: [1], of: [toy, [toy]]}]"),
            "f.yaml:11",
            "1 weights",
        ),
        (GOOD.replace("k: 20", "k: many"), "f.yaml:9", "k: "),
        (GOOD.replace("k: 20", "threads: x"), "f.yaml:9", "threads: "),
        (GOOD.replace("k: 20", "style: plian"), "f.yaml:9", "style: "),
        (GOOD.replace("baseline: first", "baseline: [first]"), "f.yaml:12", "there is no pipeline ['first']"),
        (GOOD.replace("{ndcg@10: 0.5}", "0.5"), "f.yaml:14", "expected metrics with their values, not 0.5"),
        (
            GOOD.replace("{ndcg@10: 0.5}", "{ndcg@10: x}"),
            "f.yaml:14",
            "expected a number from 0 to 1, not 'x'",
        ),
        (
            GOOD.replace("{first: {ndcg@10: 0.5}}", "[]"),
            "f.yaml:14",
            "expected pipelines with their scores, not []",
        ),
        (GOOD.replace("n=12: {first", "n=13: {first"), "f.yaml:14", "there is no collection"),
        ("pipelines: [{a: 1}]\nbaseline: a\nexpected: {a: 1}", "f.yaml:1", "'pipelines' maps names to lists"),
        ("expected: 5\ntolerance:", "f.yaml:2", "expected a number from 0 to 1, not None"),
    ],
)
def test_refused(text: str, where: str, message: str) -> None:
    found = problems(text)
    assert any(place == where and message in what for place, what, _ in found), found


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: x\ndescription: caf\xe9\n")
    with pytest.raises(ConfigError, match="byte 0xe9 cannot be read") as caught:
        load_experiment(path)
    assert caught.value.problems[0].where == f"{path}:2"


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_experiment(tmp_path / name)
    assert caught.value.problems[0].where == str(tmp_path / name)


def test_expected_scores_may_leave_out_the_only_collection() -> None:
    text = GOOD.replace("  - {path: some/folder, split: dev}\n", "")
    short = text.replace("irkit/limit-synthetic?n=12: {first: {ndcg@10: 0.5}}", "first: {ndcg_cut_10: 0.5}")
    assert short != text
    assert read(short).expected == read(text).expected


def test_an_experiment_made_in_python_is_validated_like_a_file() -> None:
    made = Experiment.of(
        "x", collections=["irkit/limit-synthetic"], metrics=["map"], pipelines={"p": make_stage("toy", k=3)}
    )
    assert made.pipelines == {"p": Pipeline.of(make_stage("toy", k=3))}
    with pytest.raises(ConfigError, match="experiment 'x': 'toy-rerank' needs rankings"):
        Experiment.of(
            "x",
            collections=["irkit/limit-synthetic"],
            metrics=["map"],
            pipelines={"p": make_stage("toy-rerank")},
        )


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        ({"pth": "some/folder"}, "unknown option 'pth'"),
        ({"path": 5}, "path: Input should be a valid string, not 5"),
        ({5: "some/folder"}, "keywords must be strings"),
        (Path("some/folder"), "a collection is an id or a mapping with 'path', not "),
        (None, "a collection is an id or a mapping with 'path', not None"),
    ],
)
def test_a_collection_in_python_is_refused_like_one_in_a_file(collection: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Experiment.of("x", collections=[collection], metrics=["map"], pipelines={"p": make_stage("toy")})
    assert any(problem.message.startswith(message) for problem in caught.value.problems), caught.value
    assert {problem.where for problem in caught.value.problems} == {"experiment 'x'"}


def test_a_collection_in_python_may_be_a_mapping() -> None:
    def made(collection: Any) -> Experiment:
        return Experiment.of(
            "x", collections=[collection], metrics=["map"], pipelines={"p": make_stage("toy")}
        )

    spec = {"path": "some/folder", "split": "dev", "policy": {"drop_self": True}}
    assert made(spec) == made(LocalSpec(**spec))
    assert list(made(MappingProxyType(spec)).collections) == ["folder/dev"]


def test_a_file_may_be_named_by_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_experiment(str(path)) == load_experiment(path) == read(GOOD)


# Round trips


def options(strategies: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


counts = st.integers(1, 10**9)
positive = st.floats(min_value=1e-6, max_value=1e6)
RETRIEVERS = {
    "toy": options(
        {"k": counts, "scale": positive, "style": st.sampled_from(["plain", "squared"]), "threads": counts}
    ),
    "bm25": options({"k": counts, "k1": positive, "b": st.floats(0, 1), "query_side": st.booleans()}),
}
RERANKERS = {
    "toy-rerank": options({"bonus": st.floats(-1e9, 1e9)}),
    "cutoff": st.fixed_dictionaries({"k": counts}),
    "filter": st.fixed_dictionaries({"exclude": st.lists(st.text(max_size=5), min_size=1, max_size=3)}),
}
WORDS = {"toy-words": options({"add": st.text(max_size=8)})}
FUSIONS = st.one_of(
    options({"rrf_k": positive, "k": counts, "depth": counts}),
    st.fixed_dictionaries(
        {"method": st.sampled_from(["combsum", "combmnz", "combmax"])},
        optional={"norm": st.sampled_from(["min-max", "z-score", "none"]), "k": counts},
    ),
)


def stages(kinds: dict[str, st.SearchStrategy[dict[str, Any]]]) -> st.SearchStrategy[Step]:
    return st.one_of(
        [drawn.map(lambda o, name=name: Step(make_stage(name, **o))) for name, drawn in kinds.items()]
    )


@st.composite
def sequences(draw: st.DrawFn, start: st.SearchStrategy[Step]) -> Pipeline:
    queries = draw(st.lists(stages(WORDS), max_size=1))
    return Pipeline((*queries, draw(start), *draw(st.lists(stages(RERANKERS), max_size=2))))


@st.composite
def fusions(draw: st.DrawFn, inner: st.SearchStrategy[Pipeline]) -> Step:
    branches = tuple(draw(st.lists(inner, min_size=2, max_size=3)))
    fused = draw(FUSIONS)
    if draw(st.booleans()):
        fused["weights"] = [1.0, *(draw(positive) for _ in branches[1:])]
    return Step(make_stage("fuse", **fused), branches)


pipelines = st.recursive(sequences(stages(RETRIEVERS)), lambda inner: sequences(fusions(inner)), max_leaves=5)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._+()-]{0,12}", fullmatch=True)
quickly = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@given(
    name=names,
    description=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
    pipelines=st.dictionaries(names, pipelines, min_size=1, max_size=3),
    metrics=st.lists(st.sampled_from(["ndcg@10", "map", "recall@2", "mrr@10"]), min_size=1, unique=True),
    collection=st.one_of(
        st.just("irkit/limit-synthetic?n=12"),
        st.builds(LocalSpec, path=names, split=names, name=st.none() | names),
    ),
    tolerance=st.floats(0, 1),
    expected=st.floats(0, 1),
)
@quickly
def test_an_experiment_survives_yaml(
    name: str,
    description: str,
    pipelines: dict[str, Pipeline],
    metrics: list[str],
    collection: Any,
    tolerance: float,
    expected: float,
) -> None:
    first = next(iter(pipelines))
    experiment = Experiment.of(
        name,
        collections=[collection],
        pipelines=pipelines,
        metrics=metrics,
        description=description,
        baseline=first,
        tolerance=tolerance,
        expected={first: {metrics[0]: expected}},
    )
    assert experiment.pipelines == pipelines
    again = read(experiment.to_yaml())
    assert again == experiment
    assert {key: p.graph() for key, p in again.pipelines.items()} == {
        key: p.graph() for key, p in pipelines.items()
    }


@given(tolerance=st.floats(0, 1))
@quickly
def test_a_tolerance_survives_without_expected_scores(tolerance: float) -> None:
    experiment = read(
        f"{GOOD}tolerance: {tolerance!r}\n".replace(
            "irkit/limit-synthetic?n=12: {first: {ndcg@10: 0.5}}", "{}"
        )
    )
    assert read(experiment.to_yaml()) == experiment


def test_a_collection_may_have_the_name_of_a_pipeline() -> None:
    experiment = Experiment.of(
        "x",
        collections=[LocalSpec(path="f", name="p")],
        metrics=["map"],
        pipelines={"p": make_stage("toy")},
        expected={"p": {"p": {"map": 0.5}}},
    )
    assert experiment.expected == {"p": {"p": {"map": 0.5}}}
    assert read(experiment.to_yaml()) == experiment


def test_python_and_yaml_make_the_same_graph() -> None:
    def toy(**options: Any) -> Stage:
        return make_stage("toy", **options)

    text = """\
name: x
collections: [irkit/limit-synthetic]
metrics: [map]
pipelines:
  sequence: [toy: {k: 5}, toy-rerank, cutoff: {k: 2}]
  sum:
    - fuse: {of: [[toy: {k: 1}], [toy: {k: 2}, toy-rerank], toy: {k: 3}]}
  weighted:
    - fuse: {weights: [2, 1], of: [[toy: {k: 1}], [toy: {k: 2}]]}
  feedback: [toy: {k: 10}, toy-feedback, toy]
  empty branch: [toy, {fuse: {method: combsum, norm: none, of: [[], [toy-rerank]]}}]
"""
    rerank = make_stage("toy-rerank")
    python: dict[str, Pipeline] = {
        "sequence": (toy(k=5) >> rerank) % 2,
        "sum": Pipeline.of(toy(k=1) + (toy(k=2) >> rerank) + toy(k=3)),
        "weighted": Pipeline.of(2 * toy(k=1) + toy(k=2)),
        "feedback": toy(k=10) >> make_stage("toy-feedback") >> toy(),
        "empty branch": toy() >> fuse(Pipeline(()), rerank, method="combsum", norm="none"),
    }
    experiment = read(text)
    assert dict(experiment.pipelines) == python
    for name, pipeline in experiment.pipelines.items():
        assert pipeline.graph() == python[name].graph()


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "collections", "metrics", "pipelines", "baseline", "expected", "tolerance",
                         "description", "toy", "fuse", "of", "k", "weights", "path", "policy", "p"]), inner, max_size=5),
    max_leaves=25,
))  # fmt: skip
@settings(quickly, max_examples=150)
def test_whatever_the_data_it_is_read_or_refused_with_a_message(data: Any) -> None:
    from irkit.config.yaml import Located

    base = {
        "name": "x",
        "collections": ["irkit/limit-synthetic"],
        "metrics": ["map"],
        "pipelines": {"p": ["toy"]},
    }
    try:
        read_experiment(Located({**base, **data} if isinstance(data, dict) else data, "f.yaml"))
    except IrkitError as error:
        assert all(problem.message for problem in error.problems)
