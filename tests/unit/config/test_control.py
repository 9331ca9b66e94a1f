"""Order controls: a pipeline that asks for one has it right behind it, in YAML as in Python, and it is written down once."""

from __future__ import annotations

import pytest
from experiments import read
from toys import toy

from irkit.config.control import controls, shuffled
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError
from irkit.pipeline.graph import Pipeline, fuse
from irkit.pipeline.registry import make_stage

pytestmark = pytest.mark.usefixtures("toy_stages")

TEXT = """\
name: x
collections: [irkit/limit-synthetic]
metrics: [map]
pipelines:
  plain: toy
  look: [toy: {k: 5}, toy-look: {order_control: 7, explanations: 2}]
  last: toy
baseline: plain
expected: {look: {map: 0.5}, look (shuffled): {map: 0.25}}
"""


def test_the_control_stands_behind_its_pipeline() -> None:
    experiment = read(TEXT)
    assert list(experiment.pipelines) == ["plain", "look", "look (shuffled)", "last"]
    expected = toy(k=5) >> make_stage("toy-look", shuffle=7)
    assert experiment.pipelines["look (shuffled)"] == expected
    assert experiment.pipelines["look"] == toy(k=5) >> make_stage("toy-look", order_control=7, explanations=2)
    assert experiment.controls == {"look (shuffled)": "look"}
    assert experiment.expected == {
        "irkit/limit-synthetic": {"look": {"map": 0.5}, "look (shuffled)": {"map": 0.25}}
    }


@pytest.mark.parametrize("full", [False, True])
def test_it_is_written_once_and_read_again(full: bool) -> None:
    experiment = read(TEXT)
    text = experiment.to_yaml(full=full)
    assert text.count("(shuffled)") == 1  # under expected
    again = read(text)
    assert again == experiment
    assert list(again.pipelines) == list(experiment.pipelines)


def test_python_makes_the_same() -> None:
    pipelines: dict[str, Pipeline] = {"look": toy(k=5) >> make_stage("toy-look", order_control=7)}
    rest = {"collections": ["irkit/limit-synthetic"], "metrics": ["map"]}
    made = Experiment.of("x", pipelines=pipelines, baseline="look (shuffled)", **rest)
    assert list(made.pipelines) == ["look", "look (shuffled)"]
    reordered = dict(reversed(made.pipelines.items()))
    again = Experiment.of("x", pipelines=reordered, baseline="look (shuffled)", **rest)
    assert again == made
    assert list(again.pipelines) == list(made.pipelines)


def test_a_stage_inside_a_fusion_is_found() -> None:
    look = toy(k=5) >> make_stage("toy-look", order_control=3)
    pipeline = fuse(toy(), look) >> make_stage("toy-look", order_control=4)
    expected = fuse(toy(), toy(k=5) >> make_stage("toy-look", shuffle=3)) >> make_stage("toy-look", shuffle=4)
    assert shuffled(pipeline) == expected
    assert shuffled(fuse(toy(), toy(k=2))) is None
    assert controls({"a": pipeline, "a (shuffled)": expected}) == {"a (shuffled)": "a"}
    assert controls({"a": pipeline, "a (shuffled)": pipeline}) == {}


def test_the_seed_nought_is_a_seed() -> None:
    found = shuffled(Pipeline.of(make_stage("toy-look", order_control=0)))
    assert found == Pipeline.of(make_stage("toy-look", shuffle=0))


def test_the_control_does_not_change_the_stages_own_results() -> None:
    plain, controlled = make_stage("toy-look"), make_stage("toy-look", order_control=1, explanations=2)
    assert plain.meaning() == controlled.meaning()
    assert make_stage("toy-look", shuffle=1).meaning() != plain.meaning()


def test_another_pipeline_may_not_have_its_name() -> None:
    text = TEXT.replace("  last: toy", "  look (shuffled): toy\n  last: toy")
    with pytest.raises(ConfigError, match="that of the order control of 'look'") as caught:
        read(text)
    assert [problem.where for problem in caught.value.problems] == ["f.yaml:7"]


def test_a_control_that_nobody_asked_for_cannot_be_named() -> None:
    with pytest.raises(ConfigError, match="there is no pipeline 'plain \\(shuffled\\)'"):
        read(TEXT.replace("look (shuffled)", "plain (shuffled)"))


@pytest.mark.parametrize(
    ("written", "seed"), [("true", 0), ("false", None), ("5", 5), ("0", 0), ("null", None)]
)
def test_rerankers_with_a_language_model_take_true_for_the_seed_nought(
    written: str, seed: int | None
) -> None:
    text = TEXT.replace(
        "toy-look: {order_control: 7, explanations: 2}", f"listwise: {{order_control: {written}}}"
    )
    text = text[: text.index("expected")]
    experiment = read(text)
    assert read(experiment.to_yaml()) == experiment
    control = experiment.pipelines.get("look (shuffled)")
    assert (control.steps[-1].stage.shuffle if control else None) == seed  # type: ignore[attr-defined]


def test_the_schema_admits_what_is_read() -> None:
    from irkit.stages.rerank.listwise import Listwise

    kinds = {each["type"] for each in Listwise.model_json_schema()["properties"]["order_control"]["anyOf"]}
    assert kinds == {"boolean", "integer", "null"}


def test_what_the_control_looked_at_is_not_shown() -> None:
    explained = make_stage("toy-look", explanations=2)
    asking = make_stage("toy-look", order_control=3, explanations=2)
    pipeline = fuse(toy() >> explained, toy() >> asking) >> explained
    found = shuffled(pipeline)
    plain = make_stage("toy-look")
    assert found == fuse(toy() >> plain, toy() >> make_stage("toy-look", shuffle=3)) >> plain
    assert shuffled(fuse(toy() >> explained, toy()) >> explained) is None
