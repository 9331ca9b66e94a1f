"""``--set``: what it changes, and what it answers when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from irkit.config.experiment import load_experiment
from irkit.config.override import override
from irkit.config.yaml import Located, parse_yaml
from irkit.core.errors import ConfigError

TEXT = """\
name: x
collections: [irkit/limit-synthetic?n=12]
metrics: [ndcg@10]
pipelines:
  toy:
    - toy: {k: 10}
  toy.v2:
    - toy
    - toy-rerank:
  both:
    - fuse:
        of:
          - [toy: {k: 5}]
          - [toy, toy-rerank: {bonus: 1.0}]
  twice: [toy-words, toy, toy-rerank, toy-rerank]
"""


def changed(*settings: str) -> Any:
    located = parse_yaml(TEXT, "f.yaml")
    for setting in settings:
        override(located, setting)
    return located.data


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("name=y", lambda d: d["name"] == "y"),
        ("name = y", lambda d: d["name"] == "y"),
        ("description=a=b", lambda d: d["description"] == "a=b"),
        ("pipelines.toy.toy.k=50", lambda d: d["pipelines"]["toy"] == [{"toy": {"k": 50}}]),
        ("pipelines.toy.0.toy.k=50", lambda d: d["pipelines"]["toy"] == [{"toy": {"k": 50}}]),
        (
            "pipelines.toy.toy.scale=1e-3",
            lambda d: d["pipelines"]["toy"] == [{"toy": {"k": 10, "scale": 0.001}}],
        ),
        ("pipelines.toy.toy={scale: 2}", lambda d: d["pipelines"]["toy"] == [{"toy": {"scale": 2}}]),
        ("pipelines.toy.v2.toy={k: 3}", lambda d: d["pipelines"]["toy.v2"][0] == {"toy": {"k": 3}}),
        ("pipelines.toy.v2.toy=toy-words", lambda d: d["pipelines"]["toy.v2"][0] == "toy-words"),
        ("collections.0={path: x}", lambda d: d["collections"] == [{"path": "x"}]),
        ("metrics.ndcg@10={path: x}", lambda d: d["metrics"] == [{"path": "x"}]),
        ("pipelines.toy.0=toy", lambda d: d["pipelines"]["toy"] == ["toy"]),
        ("pipelines.toy.v2.toy.k=7", lambda d: d["pipelines"]["toy.v2"][0] == {"toy": {"k": 7}}),
        (
            "pipelines.toy.v2.toy-rerank.bonus=2",
            lambda d: d["pipelines"]["toy.v2"][1] == {"toy-rerank": {"bonus": 2}},
        ),
        (
            "pipelines.both.fuse.of.1.toy-rerank.bonus=3",
            lambda d: d["pipelines"]["both"][0]["fuse"]["of"][1] == ["toy", {"toy-rerank": {"bonus": 3}}],
        ),
        (
            "pipelines.both.fuse.weights=[1, 2]",
            lambda d: d["pipelines"]["both"][0]["fuse"]["weights"] == [1, 2],
        ),
        (
            "pipelines.twice.2.toy-rerank.bonus=1",
            lambda d: d["pipelines"]["twice"][2] == {"toy-rerank": {"bonus": 1}},
        ),
        ("pipelines.new=[toy]", lambda d: d["pipelines"]["new"] == ["toy"]),
        ("metrics.0=map", lambda d: d["metrics"] == ["map"]),
        ("metrics.ndcg@10=map", lambda d: d["metrics"] == ["map"]),
        ("metrics=[map, p@5]", lambda d: d["metrics"] == ["map", "p@5"]),
        ("baseline=", lambda d: d["baseline"] is None),
    ],
)
def test_set(setting: str, expected: Any) -> None:
    data = changed(setting)
    assert expected(data), data


def test_later_settings_see_earlier_ones() -> None:
    data = changed("pipelines.new=[toy: {k: 1}]", "pipelines.new.toy.k=2")
    assert data["pipelines"]["new"] == [{"toy": {"k": 2}}]


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("name", "expected KEY.KEY=VALUE", "for example"),
        ("=5", "expected KEY.KEY=VALUE", "for example"),
        ("pipelines.tyo.toy.k=5", "there is no key 'tyo'", "did you mean 'toy'?"),
        ("pipelines.toy.bm25.k=5", "there is no item 'bm25'", "0 is 'toy'"),
        ("pipelines.toy.3.toy.k=5", "there is no item '3'", "0 is 'toy'"),
        ("pipelines.toy.²=5", "there is no item '²'", "0 is 'toy'"),
        (
            "pipelines.twice.toy-rerank.bonus=5",
            "2 items are named 'toy-rerank': use a number",
            "2 is 'toy-rerank', 3 is 'toy-rerank'",
        ),
        ("name.x=5", "is 'x' and has no keys", ""),
        ("name.x.y=5", "there is nothing below 'x'", ""),
        ("metrics.4=map", "there is no item '4'", "0 is "),
        ("name=[1", "not valid YAML", ""),
        ("name=!!python/name:os.system x", "python/name:os.system", ""),
    ],
)
def test_set_refused(setting: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(setting)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert (problem.where or "").startswith(f"--set {setting}")
    assert hint in (problem.hint or "")


def test_an_error_in_what_was_set_names_the_setting_and_others_their_lines(
    toy_stages: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT.replace("ndcg@10", "ndcg@x"), encoding="utf-8")
    settings = ["pipelines.toy.toy.k=-1", "pipelines.both=[fuse: {of: [[toy], [tyo]]}]"]
    with pytest.raises(ConfigError) as caught:
        load_experiment(path, settings)
    places = {problem.where for problem in caught.value.problems}
    assert places == {f"{path}:3", f"--set {settings[0]}", f"--set {settings[1]}"}


def test_settings_are_validated_like_the_file(toy_stages: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT, encoding="utf-8")
    experiment = load_experiment(path, ["pipelines.toy.toy.k=50", "tolerance=0.1"])
    assert experiment.pipelines["toy"].steps[0].stage.model_dump()["k"] == 50
    assert experiment.tolerance == 0.1


def test_nothing_can_be_set_below_an_empty_file() -> None:
    with pytest.raises(ConfigError, match="the file is None and has no keys"):
        override(Located(None, "f"), "a=1")
