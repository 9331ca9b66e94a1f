"""What a training shows while it runs: its steps, and the held-out queries that it looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_training import Killing, toy_examples, toy_recipe

from irkit.pipeline.context import Runtime, Silent
from irkit.train.fit import Fitting, fit
from irkit.train.learner import Contrastive
from irkit.train.recipe import Recipe

HELD = len(toy_examples().held)
STEPS, LOOKS = "training toy", "held-out queries, training toy"


class Watching(Silent):
    """Progress that notes what it is told: of each task its total, and where it stood from the beginning on."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.stood: dict[str, list[int]] = {}

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Any]:
        self.totals[label], self.stood[label] = total, [done]
        yield lambda n: self.stood[label].append(self.stood[label][-1] + n)


def recipe(model: Path) -> Recipe:
    training = {"epochs": 2, "steps": 9, "batch": 8, "checkpoint": 3}
    return toy_recipe(options={"model": str(model), "rank": 8}, training=training)


def trained(model: Path, folder: Path, progress: Any) -> Any:
    how = Fitting(folder, folder.parent, Runtime("cpu", 1), progress=progress)
    return fit(recipe(model), toy_examples(), how)[""]


def test_looks_are_shown_from_before_the_first_step_to_the_end(tiny_encoder: Path, tmp_path: Path) -> None:
    shown = Watching()
    looks = list(trained(tiny_encoder, tmp_path / "out", shown)["looks"])
    assert looks == ["0", "5", "9"]
    assert (shown.totals[LOOKS], shown.totals[STEPS]) == (3 * HELD, 9)
    assert shown.stood[LOOKS][-1] == 3 * HELD and shown.stood[STEPS] == list(range(10))


def test_a_resumed_training_goes_on_where_it_stood(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_encoder, tmp_path / "out", Killing(7))
    shown = Watching()
    trained(tiny_encoder, tmp_path / "out", shown)
    assert shown.stood[LOOKS][0] == 2 * HELD and shown.stood[LOOKS][-1] == shown.totals[LOOKS]
    assert shown.stood[STEPS][0] == 6


def test_a_learner_may_tell_of_a_look_on_its_way(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Contrastive.validate

    def told(learner: Contrastive) -> dict[str, float]:
        learner.looked(2)
        learner.looked(1)
        return whole(learner)

    monkeypatch.setattr(Contrastive, "validate", told)
    shown = Watching()
    trained(tiny_encoder, tmp_path / "out", shown)
    assert shown.stood[LOOKS][:5] == [0, 2, 3, HELD, HELD + 2]
    assert shown.stood[LOOKS][-1] == shown.totals[LOOKS]
