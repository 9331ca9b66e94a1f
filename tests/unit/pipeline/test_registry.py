from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from toys import Toy

from irkit.core.errors import ConfigError
from irkit.pipeline import registry
from irkit.pipeline.registry import make_stage, register, stage_class, stage_names


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Installed stages, as a plug-in package would offer them."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [e for e in found if e.group == group])
    registry._entries.cache_clear()
    yield found
    registry._entries.cache_clear()


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, registry.GROUP)


def test_a_registered_stage_is_made_by_its_name(toy_stages: object) -> None:
    assert make_stage("toy", k=3) == Toy(k=3)
    assert "toy" in stage_names()
    assert stage_names() == sorted(stage_names())


def test_toys_do_not_leak_into_other_tests() -> None:
    assert "toy" not in stage_names()


def test_irkits_own_stages_are_there() -> None:
    assert {"bm25", "dense", "fuse", "cutoff", "filter", "maxsim", "cross-encoder"} <= set(stage_names())


def test_an_unknown_stage_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="there is no stage 'bm52'") as caught:
        stage_class("bm52")
    assert caught.value.problems[0].hint == "did you mean 'bm25'?"


@pytest.mark.parametrize(
    ("name", "stage", "method"),
    [
        ("query2doc", "reformulate", "query2doc"),
        ("GenQR_Ensemble", "reformulate", "genqr-ensemble"),
        ("mugi", "reformulate", "mugi"),
        ("average", "vector-prf", "average"),
        ("ance-prf", "vector-prf", "ance-prf"),
        ("rrf", "fuse", "rrf"),
        ("clr", "lexsembridge", "clr"),
    ],
)
def test_a_published_method_is_answered_with_its_stage(name: str, stage: str, method: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no stage '{name}'") as caught:
        stage_class(name)
    assert caught.value.problems[0].hint == f"it is a method of {stage}: - {stage}: {{method: {method}}}"


def test_an_installed_name_cannot_be_taken() -> None:
    with pytest.raises(ConfigError, match="installed already"):
        register("bm25")(Toy)


def test_an_unknown_option_is_refused(toy_stages: object) -> None:
    with pytest.raises(ConfigError, match="kk"):
        make_stage("toy", kk=3)


def test_a_plug_in_is_found_through_its_entry_point(entries: list[EntryPoint]) -> None:
    entries.append(entry("theirs", "toys:Slow"))
    assert stage_names() == ["theirs", *[n for n in stage_names() if n != "theirs"]][:1]
    assert make_stage("theirs").name == "theirs"


def test_two_packages_may_not_offer_one_name(entries: list[EntryPoint]) -> None:
    entries += [entry("theirs", "toys:Toy"), entry("theirs", "toys:Slow")]
    with pytest.raises(ConfigError, match="two packages offer a stage named 'theirs'") as caught:
        stage_names()
    assert "pip uninstall" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("toys:NoSuch", "cannot be imported.*NoSuch"),
        ("no_such_module:Toy", "cannot be imported.*no_such_module"),
        ("toys:DOCS", "is not a Stage class"),
        ("toys:DocStore", "is not a Stage class"),
    ],
)
def test_a_broken_plug_in_is_named(entries: list[EntryPoint], value: str, message: str) -> None:
    entries.append(entry("theirs", value))
    with pytest.raises(ConfigError, match=message):
        stage_class("theirs")
