"""What an interrupted training leaves, and what the next one makes of it and says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_training import Killing, toy_examples, toy_recipe

import irkit.train.loop
from irkit.core.errors import ConfigError
from irkit.pipeline.context import Progress, Runtime, Silent
from irkit.train.__main__ import main
from irkit.train.adapter import AdapterLearner
from irkit.train.fit import UNHELPED, Fitting, fit
from irkit.train.recipe import Recipe


class Heard(Silent):
    """Progress that notes what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def recipe(model: Path, **changes: Any) -> Recipe:
    given = {"training": {"epochs": 2, "steps": 9, "checkpoint": 100}, **changes}
    return toy_recipe(**{**given, "options": {"model": str(model), "rank": 8}})


def how(folder: Path, progress: Progress | None = None) -> Fitting:
    return Fitting(folder, folder.parent, Runtime("cpu", 1), progress=progress or Silent())


def killed(own: Recipe, folder: Path, after: int) -> list[str]:
    """Train until some steps are done; return the names of the checkpoints that are left."""
    with pytest.raises(KeyboardInterrupt):
        fit(own, toy_examples(), how(folder, Killing(after)))
    return sorted(path.name for path in how(folder).work.rglob("checkpoint-*"))


def test_every_look_is_kept(tiny_encoder: Path, tmp_path: Path) -> None:
    own = recipe(tiny_encoder)
    assert killed(own, tmp_path / "out", 1) == ["checkpoint-00000000"]
    assert killed(own, tmp_path / "out", 7) == ["checkpoint-00000005"]
    heard = Heard()
    fit(own, toy_examples(), how(tmp_path / "out", heard))
    assert "45 queries, 9 steps, 3 looks at 9 held-out queries; going on from step 5" in heard.said[0]
    assert len(heard.said) == 2 and "step 9: loss " in heard.said[1]


def test_a_checkpoint_is_never_older_than_so_many_seconds(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recipe(tiny_encoder)
    whole = fit(own, toy_examples(), how(tmp_path / "whole"))[""]
    monkeypatch.setattr(irkit.train.loop, "CHECKPOINT_SECONDS", 0.0)
    assert killed(own, tmp_path / "out", 3) == ["checkpoint-00000003"]
    resumed = fit(own, toy_examples(), how(tmp_path / "out"))[""]
    assert (resumed["looks"], resumed["losses"]) == (whole["looks"], whole["losses"])
    files = [tmp_path / name / "adapter.safetensors" for name in ("whole", "out")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_steps_of_another_recipe_are_not_thrown_away(tiny_encoder: Path, tmp_path: Path) -> None:
    assert killed(recipe(tiny_encoder), tmp_path / "out", 6) == ["checkpoint-00000005"]
    with pytest.raises(ConfigError, match=r"interrupted training is here, at step 5(?s:.*)or remove"):
        fit(recipe(tiny_encoder, seed=1), toy_examples(), how(tmp_path / "out"))
    assert list(how(tmp_path / "out").work.rglob("checkpoint-00000005"))
    fit(recipe(tiny_encoder), toy_examples(), how(tmp_path / "out"))


def test_a_look_of_another_recipe_is_made_anew(tiny_encoder: Path, tmp_path: Path) -> None:
    assert killed(recipe(tiny_encoder), tmp_path / "out", 1) == ["checkpoint-00000000"]
    heard = Heard()
    fit(recipe(tiny_encoder, seed=1), toy_examples(), how(tmp_path / "out", heard))
    assert "going on" not in heard.said[0] and "step 0: ndcg@10" in heard.said[1]


def test_what_is_left_is_said(tiny_encoder: Path, tmp_path: Path) -> None:
    place = how(tmp_path / "out")
    assert place.left().startswith("nothing was trained yet")
    place.work.mkdir()
    (place.work / "examples.json.gz").write_bytes(b"")
    assert place.left().startswith("there is no checkpoint yet")
    killed(recipe(tiny_encoder), tmp_path / "out", 1)
    assert place.left() == "the same command goes on from the last checkpoint"


def test_variants_are_trained_one_by_one(tiny_encoder: Path, tmp_path: Path) -> None:
    """Training one leaves the checkpoint of another where it is."""
    both = recipe(tiny_encoder, variants={"first": {"training": {"lr": 0.1}}, "second": {}})
    killed(both.only(["second"]), tmp_path / "out", 6)
    assert list(fit(both.only(["first"]), toy_examples(), how(tmp_path / "out"))) == ["first"]
    left = {path.name for path in how(tmp_path / "out").work.iterdir()}
    assert "second" in left and "first" not in left
    heard = Heard()
    assert list(fit(both, toy_examples(), how(tmp_path / "out", heard))) == ["first", "second"]
    assert "going on from step 5" in heard.said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_fewer_steps_than_between_two_looks_are_warned_of(tiny_encoder: Path, tmp_path: Path) -> None:
    heard = Heard()
    few = recipe(tiny_encoder, validation={"every": 10})
    fit(few, toy_examples(), how(tmp_path / "out", heard))
    assert "warning: 9 steps are fewer than validation.every, 10" in heard.said[0]


def test_untrained_weights_are_called_so(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, file = recipe(tiny_encoder), tmp_path / "e.json.gz"
    more = recipe(tiny_encoder, training={"epochs": 10})
    helped = fit(more, toy_examples(), how(tmp_path / "helped"))[""]
    assert helped["validation"]["best_step"] > 0 and "outcome" not in helped
    examples = toy_examples()
    type(examples)(examples.documents, examples.queries, own.to_data(), examples.origin).save(file)
    monkeypatch.setattr(AdapterLearner, "validate", lambda learner: {"toy": 0.5})
    assert main([str(file), "-o", str(tmp_path / "out"), "--device", "cpu", "--threads", "1"]) == 0
    shown = capsys.readouterr()
    assert UNHELPED in shown.out
    assert f"# {UNHELPED}\n" in (tmp_path / "out" / "README.md").read_text()
    looks = [line.partition(": ")[2] for line in shown.err.splitlines() if ": step " in line]
    assert looks[0] == "step 0: ndcg@10 of held-out queries 0.5000, the best so far"
    assert [line.split(":")[0] for line in looks] == ["step 0", "step 5", "step 9"]
    assert "the best" not in looks[1]


def test_fitting_alone_takes_a_variant_too(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, examples = recipe(tiny_encoder, variants={"a": {}, "b": {}}), toy_examples()
    file, out = tmp_path / "e.json.gz", tmp_path / "out"
    type(examples)(examples.documents, examples.queries, own.to_data(), examples.origin).save(file)
    words = [str(file), "-o", str(out), "--device", "cpu", "--threads", "1", "--only"]
    assert main([*words, "c"]) == 2 and "there is no variant 'c'" in capsys.readouterr().err
    assert main([*words, "b"]) == 0 and [path.name for path in out.iterdir()] == ["b"]

    def stop(learner: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(AdapterLearner, "validate", stop)
    assert main([*words, "a"]) == 130
    assert "interrupted; there is no checkpoint yet" in capsys.readouterr().err
