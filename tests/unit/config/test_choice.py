"""Collections by short names."""

from __future__ import annotations

import pytest

from irkit.config.choice import UnclearError, choose, macro_sets
from irkit.data.collection import EvalPolicy
from irkit.data.spec import LocalSpec

NAMES = (
    "beir/scifact/test",
    "beir/nq",
    "bright/biology",
    "bright/biology-long",
    "beir/cqadupstack/android",
    "beir/cqadupstack/tex",
    "irkit/limit",
    "irkit/limit-small",
    "irkit/limit-synthetic?n=46&docs=1000",
    "irkit/limit-synthetic?n=46&docs=10000",
    "irkit/limit-synthetic?n=4&pattern=cycle",
)
SETS = {"beir/cqadupstack": ("beir/cqadupstack/android", "beir/cqadupstack/tex")}


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("beir/scifact/test", "beir/scifact/test"),
        ("scifact", "beir/scifact/test"),
        ("SciFact", "beir/scifact/test"),
        ("scifact/test", "beir/scifact/test"),
        ("nq", "beir/nq"),
        ("biology", "bright/biology"),
        ("biology-long", "bright/biology-long"),
        ("limit", "irkit/limit"),
        ("docs=1000", "irkit/limit-synthetic?n=46&docs=1000"),
        ("pattern=cycle", "irkit/limit-synthetic?n=4&pattern=cycle"),
        ("cycle", "irkit/limit-synthetic?n=4&pattern=cycle"),
        ("android", "beir/cqadupstack/android"),
        ("cqadupstack", "beir/cqadupstack"),
        ("beir/cqadupstack", "beir/cqadupstack"),
    ],
)
def test_what_a_name_stands_for(asked: str, meant: str) -> None:
    assert choose(asked, NAMES, SETS) == meant


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("beir", "'beir' may be any of 4 collections", "name one: beir/scifact/test, beir/nq, "),
        ("n=46", "'n=46' may be any of 2", "docs=1000, irkit/limit-synthetic"),
        ("t", "may be any of", ", ..."),
        ("beir/scifct/test", "no collection 'beir/scifct/test'", "did you mean 'beir/scifact/test'"),
        ("", "no collection ''", "choose one of"),
    ],
)
def test_what_is_unclear_is_refused(asked: str, message: str, hint: str) -> None:
    with pytest.raises(UnclearError) as caught:
        choose(asked, NAMES, SETS)
    assert message in str(caught.value) and hint in caught.value.hint


def test_macro_sets_come_from_policies() -> None:
    mine = LocalSpec(path="x", name="x", policy=EvalPolicy(macro="mine"))
    assert macro_sets({"beir/cqadupstack/tex": "beir/cqadupstack/tex", "beir/nq": "beir/nq", "x": mine}) == {
        "beir/cqadupstack": ("beir/cqadupstack/tex",),
        "mine": ("x",),
    }
