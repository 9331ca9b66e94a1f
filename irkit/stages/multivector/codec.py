"""Codecs of token vectors: how rows become columns on disk, and columns float16 vectors again.

Every codec decodes to the same float16 everywhere, by one rounded multiplication or by the exact arithmetic of
:mod:`irkit.stages.multivector.grid`; the docstrings give the order of the steps, so that another device can repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.stages.multivector.columns import Rows
from irkit.stages.multivector.residual import (
    Columns,
    Layout,
    ResidualCodec,
    check_unit,
    default_nlist,
    train_residual,
)

__all__ = [
    "ByteCodec",
    "Codec",
    "FloatCodec",
    "ResidualCodec",
    "check_unit",
    "load_codec",
    "to_float16",
    "train_codec",
    "train_residual",
]


class Codec(Protocol):
    """How the rows of a token store become columns on disk, and how columns become float16 vectors again."""

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        ...

    @property
    def layout(self) -> Layout:
        """The columns, in the order of ``encode`` and ``decode``."""
        ...

    def encode(self, vectors: NDArray[Any]) -> Columns:
        """Return the columns of ``[n, dim]`` vectors."""
        ...

    def decode(self, *columns: NDArray[Any]) -> NDArray[np.float16]:
        """Return ``float16[n, dim]``."""
        ...

    def save(self, folder: Path) -> None:
        """Write what decoding needs into a new folder."""
        ...


@dataclass(frozen=True, eq=False)
class FloatCodec:
    """Vectors as they are, in float16."""

    dim: int

    @property
    def layout(self) -> Layout:
        """``tokens``."""
        return {"tokens": (np.float16, (self.dim,))}

    def encode(self, vectors: NDArray[Any]) -> Columns:
        """Round to float16; see :func:`to_float16`."""
        return (to_float16(np.asarray(vectors)),)

    def decode(self, *columns: NDArray[Any]) -> NDArray[np.float16]:
        """Return the column."""
        (tokens,) = columns
        return tokens

    def save(self, folder: Path) -> None:
        """Make an empty folder: there is nothing to know."""
        folder.mkdir(parents=True)


@dataclass(frozen=True, eq=False)
class ByteCodec:
    """A signed byte a dimension: ``decode`` is float32(code) * scales[d], rounded to the nearest float16.

    On MiniLM's tokens of SciFact (128 dimensions by PCA) a scale for each dimension errs as much as one for each token would
    (0.0102 and 0.0101 of a unit vector's length), and costs no bytes.

    Attributes:
        scales: ``float32[dim]``: the greatest coordinate in a sample is 127; a greater one is cut off there.
    """

    scales: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return len(self.scales)

    @property
    def layout(self) -> Layout:
        """``codes``."""
        return {"codes": (np.int8, (self.dim,))}

    def encode(self, vectors: NDArray[Any]) -> Columns:
        """Return ``int8[n, dim]``."""
        return (np.clip(np.rint(np.asarray(vectors, np.float32) / self.scales), -127, 127).astype(np.int8),)

    def decode(self, *columns: NDArray[Any]) -> NDArray[np.float16]:
        """Return ``float16[n, dim]``."""
        from irkit.stages.multivector.decoding import decode_bytes

        (codes,) = columns
        out = np.empty(codes.shape, np.uint16)
        decode_bytes(np.ascontiguousarray(codes), self.scales, out)
        return out.view(np.float16)

    def save(self, folder: Path) -> None:
        """Write ``scales.npy`` into a new folder."""
        folder.mkdir(parents=True)
        np.save(folder / "scales.npy", self.scales, allow_pickle=False)

    @classmethod
    def train(cls, sample: Rows) -> ByteCodec:
        """Take the scales from a sample ``[n, dim]``."""
        greatest = np.abs(sample[:]).max(axis=0, initial=0).astype(np.float64)
        return cls((np.where(greatest > 0, greatest, 1.0) / 127.0).astype(np.float32))


def to_float16(vectors: NDArray[Any], where: str | None = None) -> NDArray[np.float16]:
    """Round to float16.

    Raises:
        ModelError: when a number is too large for it.
    """
    with np.errstate(over="ignore"):
        halves: NDArray[np.float16] = vectors.astype(np.float16)
    if not np.isfinite(halves).all():
        hint = "take a model whose token vectors are normalised, or use this one in the stage dense"
        message = "token vectors are kept in float16, and this model gives numbers above 65,504"
        raise ModelError.of(message, where=where, hint=hint)
    return halves


def train_codec(name: str, sample: Rows, tokens: int) -> Codec:
    """Learn a codec.

    Args:
        name: ``float16``, ``int8``, or ``residual-`` and the bits.
        sample: ``[n, dim]``.
        tokens: how many tokens there are in all, or about.

    Raises:
        ConfigError: for residual codes of vectors that are not of unit length.
    """
    if name == "float16":
        return FloatCodec(sample.shape[1])
    if name == "int8":
        return ByteCodec.train(sample)
    return train_residual(sample, int(name.removeprefix("residual-")), default_nlist(tokens))


def load_codec(name: str, folder: Path, dim: int) -> Codec:
    """Read what a codec's ``save`` wrote."""
    if name == "float16":
        return FloatCodec(dim)
    if name == "int8":
        return ByteCodec(np.load(folder / "scales.npy", allow_pickle=False))
    return ResidualCodec.load(folder)
