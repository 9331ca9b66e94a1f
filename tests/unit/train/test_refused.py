"""What the operating system refuses while training is told with the file's name, and leaves nothing half written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from safetensors import SafetensorError
from toy_training import toy_examples, toy_recipe

from irkit.core import files
from irkit.core.errors import ModelError, ReportError
from irkit.pipeline.context import Runtime
from irkit.train.checkpoint import Standing, save_checkpoint
from irkit.train.fit import Fitting, fit
from irkit.train.learner import Surroundings
from irkit.train.multivector.tokens import TokenCache
from irkit.train.vectors import kept


def full(_tensors: Any, path: Any, *_args: Any, **_more: Any) -> None:
    """Do as safetensors does where the disk is full."""
    Path(path).write_bytes(b"half")
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"weights": {"w": torch.zeros(2)}}
    save_checkpoint(tmp_path, Standing(step=1), weights, "key")
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(ReportError, match="checkpoint-00000002: the disk is full"):
        save_checkpoint(tmp_path, Standing(step=2), weights, "key")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001"]


def test_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(ReportError, match=r"\.safetensors: the disk is full"):
        kept(tmp_path, {}, lambda: {"x": np.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_another_error_of_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_args: Any) -> None:
        raise SafetensorError("it is odd")

    monkeypatch.setattr(safetensors.numpy, "save_file", odd)
    with pytest.raises(ReportError, match="cannot be written: it is odd"):
        kept(tmp_path, {}, lambda: {"x": np.zeros(2)})


def test_token_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        token_dim = 2

        def tokens(self, texts: list[str], side: str, *, special: bool, words: bool) -> Any:
            from irkit.models.ragged import Ragged

            return Ragged(np.arange(len(texts) + 1), np.ones((len(texts), 2), np.float32))

    def refused(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    given: Any = (Fixed(), ["a", "b"], "query", Surroundings("cpu", tmp_path, tmp_path), {})
    monkeypatch.setattr(files.os, "fsync", refused)
    with pytest.raises(ReportError, match=r"000000\.vectors: the disk is full"):
        TokenCache(*given, special=False)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_trained(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import irkit.train.adapter

    def save(*_args: Any) -> None:
        full({}, tmp_path / "somewhere")

    monkeypatch.setattr(irkit.train.adapter.AdapterLearner, "save", save)
    recipe = toy_recipe(options={"model": str(tiny_encoder), "rank": 2}, training={"steps": 1})
    with pytest.raises(ModelError, match="No space left on device"):
        fit(recipe, toy_examples(), Fitting(tmp_path / "out", tmp_path, Runtime("cpu", 1)))
    assert not (tmp_path / "out").exists()
