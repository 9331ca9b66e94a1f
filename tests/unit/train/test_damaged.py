"""Scratch files that were cut or garbled since they were written: what can be made again is, and never taken for what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from irkit.train.vectors import kept

ARRAYS: dict[str, NDArray[Any]] = {
    "ids": np.arange(5),
    "none": np.zeros((0, 3), np.float32),
    "vectors": np.full((2, 3), 0.5),
}


def flipped(raw: bytes) -> bytes:
    """Change the last byte, a number's: safetensors reads it without a word."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:5],
        lambda raw: raw[:-1],
        lambda raw: bytes(len(raw)),
        lambda raw: raw[:-16] + bytes(16),
        flipped,
    ],
    ids=["empty", "half a header", "cut", "zeros", "zeros at its end", "a bit"],
)
def test_damaged_arrays_are_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    made = []

    def make() -> dict[str, NDArray[Any]]:
        made.append(1)
        return ARRAYS

    kept(tmp_path, {}, make)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    path.write_bytes(damage(raw))
    for times in (2, 2):  # made once more, then read again
        found = kept(tmp_path, {}, make)
        assert len(made) == times and list(tmp_path.iterdir()) == [path] and path.read_bytes() == raw
        for name, each in ARRAYS.items():
            np.testing.assert_array_equal(found[name], each, strict=True)


def test_arrays_under_other_names_or_shapes_are_other_arrays(tmp_path: Path) -> None:
    kept(tmp_path, {}, lambda: ARRAYS)
    (path,) = tmp_path.iterdir()
    written, (said,) = load_file(path), {_metadata(path)}
    shaped, renamed = (
        {**written, "vectors": np.full((3, 2), 0.5)},
        dict(zip(["a", "none", "vectors"], written.values(), strict=True)),
    )
    for other in (shaped, renamed):
        save_file(other, path, {"digest": said})
        found = kept(tmp_path, {}, lambda: ARRAYS)
        assert found.keys() == ARRAYS.keys() and found["vectors"].shape == (2, 3)


def _metadata(path: Path) -> str:
    with safe_open(path, "np") as file:
        return str(file.metadata()["digest"])
