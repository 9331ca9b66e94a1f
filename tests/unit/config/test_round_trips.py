"""Whatever an experiment holds: YAML and Python make the same of it, and what cannot be read is refused with a message."""

from __future__ import annotations

from typing import Any

import pytest
from experiments import GOOD, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import toy

from irkit.config.experiment import Experiment, read_experiment
from irkit.config.yaml import Located
from irkit.core.errors import IrkitError
from irkit.data.spec import LocalSpec
from irkit.pipeline.graph import Pipeline, Step, fuse
from irkit.pipeline.registry import make_stage

pytestmark = pytest.mark.usefixtures("toy_stages")


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
