"""Fixed-dimensional encodings (FDEs): one vector for many, whose dot product estimates MaxSim.

MUVERA (Dhulipala et al. 2024, "MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings", arXiv 2405.19504, section 2).
Each of R repetitions cuts the space into 2^k_sim partitions by random hyperplanes (SimHash). A query's block for a partition is
the sum of its tokens there, a document's their mean; an empty partition of a document takes the token whose partition differs
in the fewest bits, the first of several. Tokens are projected to d_proj random directions. The blocks of all partitions and
repetitions, one after the other, are the encoding, and

    MaxSim(q, d) ~ <query encoding, document encoding> / R.

Without projection (``d_proj`` None) the estimate never exceeds MaxSim (Lemma A.3). A partition's number is its bits as they are;
the reference code numbers them by Gray code, which only permutes the blocks, on both sides alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Floats = NDArray[np.float32]

_DOCUMENT_TILE, _QUERY_TILE = 512, 64
"""Tokens in one matrix product: as many as keep its result in the second-level cache; fewer for queries, which come one by one."""
_ALIGN = 16
"""Columns of the product are a multiple of it, so that each row begins on a cache line."""
MAX_TOKENS = 1 << 24
"""Tokens that one text may have: what the compiled kernel can count."""


class FdeConfig(BaseModel):
    """How token vectors become one vector. The defaults are the paper's 10240 dimensions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repetitions: PositiveInt = 20
    """Independent partitions of the space; quality and cost grow with it."""
    k_sim: int = Field(default=5, ge=0, le=12)
    """Random hyperplanes a repetition: 2^k_sim partitions. 0 for a single one."""
    d_proj: PositiveInt | None = 16
    """Coordinates of a partition; null for those of the tokens, unprojected."""
    projection: Literal["dense", "count-sketch"] = "dense"
    """How tokens are projected: by random signs over sqrt(d_proj) as in the paper, or by one sign a coordinate as in its authors'
    code (``AMS_SKETCH``)."""
    final_dim: PositiveInt | None = None
    """Reduce the encodings, of repetitions * 2^k_sim * d_proj dimensions, to so many by a count sketch."""
    fill_empty: bool = True
    """Give a document's empty partitions the nearest token, as the paper does. With minilm's tokens, false finds more of exact
    MaxSim's first documents among the candidates; estimates that are not reranked are sometimes better for it, sometimes worse.
    """
    seed: int = Field(default=42, ge=0)
    """Of the random hyperplanes and signs."""

    @model_validator(mode="after")
    def _final_dim_reduces(self) -> Self:
        if self.final_dim and self.d_proj and self.final_dim > (full := self.full_size(self.d_proj)):
            raise ValueError(
                f"final_dim: {self.final_dim} does not reduce the {full} dimensions of the encodings; "
                f"give at most {full}, or leave final_dim out"
            )
        return self

    def width(self, dim: int) -> int:
        """Return the coordinates of a partition, for tokens of ``dim`` dimensions."""
        return self.d_proj or dim

    def full_size(self, dim: int) -> int:
        """Return the dimensions of an encoding before ``final_dim``, for tokens of ``dim`` dimensions."""
        return self.repetitions * self.width(dim) << self.k_sim

    def size(self, dim: int) -> int:
        """Return the dimensions of an encoding, for tokens of ``dim`` dimensions."""
        return self.final_dim or self.full_size(dim)


@dataclass(frozen=True)
class Projections:
    """The random numbers of an encoder.

    Attributes:
        hyperplanes: ``float32[R, dim, k_sim]``, the normals.
        projections: ``float32[R, dim, d_proj]``, scaled; None for the identity.
    """

    hyperplanes: Floats
    projections: Floats | None = None

    @classmethod
    def draw(cls, config: FdeConfig, dim: int) -> Projections:
        """Draw them: every repetition has a stream of its own, so more repetitions leave the first ones as they were.

        The raw words of PCG64 are the same in every version of numpy; they become normal numbers by Box and Muller's formula,
        which leaves nothing to the library but a logarithm and a cosine in float64, rounded to float32.
        """
        hyperplanes = np.empty((config.repetitions, dim, config.k_sim), np.float32)
        width = config.d_proj
        projections = None if width is None else np.zeros((config.repetitions, dim, width), np.float32)
        for r in range(config.repetitions):
            words = np.random.PCG64([config.seed, 0, r])
            hyperplanes[r] = _normal(words, dim * config.k_sim).reshape(dim, config.k_sim)
            if projections is None or width is None:
                continue
            if config.projection == "dense":
                signs = _signs(words, dim * width).reshape(dim, width)
                projections[r] = signs / np.float32(np.sqrt(width))
            else:
                projections[r, np.arange(dim), _below(words, dim, width)] = _signs(words, dim)
        return cls(hyperplanes, projections)


class FdeEncoder:
    """Encodes texts on the CPU. Equal token vectors give equal encodings, whatever other texts are encoded with them.

    The tokens of all texts go through one matrix product, in tiles of a fixed shape, so that each token's numbers are computed by
    the same instructions wherever it stands; what follows is done text by text. Another machine's product may differ in the last
    bits: then coordinates differ by some 1e-7, and a token closer than that to a hyperplane may change its partition.

    Attributes:
        config: the options.
        dim: dimensions of a token.
        size: dimensions of an encoding.
        projections: the random numbers.
    """

    def __init__(self, config: FdeConfig, dim: int, projections: Projections | None = None) -> None:
        """Make an encoder.

        Args:
            config: the options.
            dim: dimensions of a token.
            projections: the random numbers; drawn from ``config.seed`` unless given.

        Raises:
            ValueError: when the shapes of ``projections`` are not those of ``config`` and ``dim``.
        """
        self.config, self.dim, self.size = config, dim, config.size(dim)
        self.projections = projections or Projections.draw(config, dim)
        self.width = config.width(dim)
        self.matrix, self.step = _one_matrix(config, dim, self.projections)
        self.sketch = _final_sketch(config, dim)

    def documents(self, offsets: NDArray[np.int64], vectors: NDArray[Any]) -> Floats:
        """Encode documents: means, with empty partitions filled.

        Args:
            offsets: ``int64[N + 1]``; document ``i`` owns the rows ``offsets[i] - offsets[0]`` to ``offsets[i + 1] - offsets[0]``.
            vectors: ``float16[T, dim]`` or ``float32[T, dim]``, finite.

        Returns:
            ``float32[N, size]``; the row of a document without tokens is zero.

        Raises:
            ValueError: when offsets and vectors do not fit together, or a document has more than MAX_TOKENS tokens.
        """
        return self._encode(offsets, vectors, _DOCUMENT_TILE, True, self.config.fill_empty)

    def queries(self, offsets: NDArray[np.int64], vectors: NDArray[Any]) -> Floats:
        """Encode queries: sums, and empty partitions stay zero. Arguments and errors as for :meth:`documents`."""
        return self._encode(offsets, vectors, _QUERY_TILE, False, False)

    def _encode(
        self, offsets: NDArray[np.int64], vectors: NDArray[Any], tile: int, mean: bool, fill: bool
    ) -> Floats:
        from irkit.stages.multivector import fde_cpu

        ends = checked(offsets, vectors, self.dim)
        texts, total = len(ends) - 1, int(ends[-1])
        full = self.config.full_size(self.dim)
        out = np.zeros((texts, full), np.float32) if total == 0 else np.empty((texts, full), np.float32)
        longest = int(np.diff(ends).max(initial=0))
        product = aligned(longest + tile, self.matrix.shape[1])
        tokens = aligned(tile, self.dim)
        sides = product[:, self.matrix.shape[1] - self.config.repetitions * self.config.k_sim :]
        done = begin = have = (
            0  # texts encoded; the row of ``vectors`` that product[0] belongs to; rows in product
        )
        for row in range(0, total, tile):
            read = min(tile, total - row)
            load(vectors[row : row + read], tokens[:read])
            tokens[read:] = 0.0
            np.matmul(tokens, self.matrix, out=product[have : have + tile])
            have += read
            last = int(np.searchsorted(ends, begin + have, side="right")) - 1
            if last > done:
                part = ends[done : last + 1] - begin
                fde_cpu.encode(
                    sides, product, self.step, part, self.config.k_sim, self.width, mean, fill,
                    out[done:last],
                )  # fmt: skip
                rest = have - int(part[-1])  # the beginning of a text that ends in a later tile
                product[:rest] = product[have - rest : have].copy()
                begin, done, have = begin + have - rest, last, rest
        if self.sketch is None:
            return out
        reduced = np.empty((texts, self.size), np.float32)
        fde_cpu.sketch(out, *self.sketch, reduced)
        return reduced


def checked(offsets: NDArray[np.int64], vectors: NDArray[Any], dim: int) -> NDArray[np.int64]:
    """Return the offsets, from 0 on.

    Raises:
        ValueError: see :meth:`FdeEncoder.documents`.
    """
    ends = np.asarray(offsets, np.int64) - int(offsets[0])
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"tokens of {dim} dimensions are expected, not an array of shape {vectors.shape}")
    if vectors.dtype not in (np.float16, np.float32):
        raise ValueError(f"tokens are float16 or float32, not {vectors.dtype}")
    if (np.diff(ends) < 0).any() or ends[-1] != len(vectors):
        raise ValueError(f"offsets that rise from 0 to {len(vectors)} are expected: they end at {ends[-1]}")
    if np.diff(ends).max(initial=0) > MAX_TOKENS:
        raise ValueError(f"a text has more than {MAX_TOKENS} tokens")
    return ends


def load(vectors: NDArray[Any], out: Floats) -> None:
    """Copy float16 or float32 numbers to float32, exactly."""
    if vectors.dtype == np.float32:
        out[:] = vectors
        return
    from irkit.stages.multivector.fde_lanes import widen

    widen(np.ascontiguousarray(vectors).view(np.uint16), out)


def aligned(rows: int, columns: int) -> Floats:
    """Return an uninitialised ``float32[rows, columns]`` that begins on a cache line."""
    memory = np.empty(rows * columns + _ALIGN, np.float32)
    first = -memory.ctypes.data // 4 % _ALIGN
    return memory[first : first + rows * columns].reshape(rows, columns)


def _one_matrix(config: FdeConfig, dim: int, drawn: Projections) -> tuple[Floats, int]:
    """Put all projections, then all hyperplanes into one matrix, ``float32[dim, columns]``.

    Returns:
        the matrix, and the columns from one repetition's projection to the next's. Bit j of repetition r is column ``j * R + r``
        of the last ``k_sim * R``.
    """
    repetitions, bits = config.repetitions, config.k_sim
    expected = (repetitions, dim, bits)
    if drawn.hyperplanes.shape != expected:
        raise ValueError(f"hyperplanes of shape {expected} are expected, not {drawn.hyperplanes.shape}")
    if drawn.projections is None:
        if config.d_proj is not None:
            raise ValueError(f"projections to {config.d_proj} dimensions are expected, not None")
        values, step = np.eye(dim, dtype=np.float32), 0  # a product with it is exact
    else:
        shape = (repetitions, dim, config.d_proj)
        if drawn.projections.shape != shape:
            raise ValueError(f"projections of shape {shape} are expected, not {drawn.projections.shape}")
        values, step = drawn.projections.transpose(1, 0, 2).reshape(dim, -1), config.width(dim)
    sides = drawn.hyperplanes.transpose(1, 2, 0).reshape(dim, -1)
    columns = values.shape[1] + sides.shape[1]
    matrix = aligned(dim, -(-columns // _ALIGN) * _ALIGN)
    matrix[:] = 0.0
    matrix[:, : values.shape[1]] = values
    matrix[:, matrix.shape[1] - sides.shape[1] :] = sides
    return matrix, step


def _final_sketch(config: FdeConfig, dim: int) -> tuple[NDArray[np.int64], Floats] | None:
    """Draw, for every coordinate of an encoding, its place and sign in the final count sketch; None where there is none."""
    if config.final_dim is None:
        return None
    full = config.full_size(dim)
    words = np.random.PCG64([config.seed, 1])
    return _below(words, full, config.final_dim), _signs(words, full)


def _normal(words: np.random.PCG64, n: int) -> Floats:
    """Return standard normal numbers (Box and Muller 1958)."""
    raw = words.random_raw(2 * n).astype(np.uint64) >> np.uint64(11)
    radius, angle = (raw.reshape(2, n) + 0.5) * 2.0**-53
    drawn: Floats = (np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)).astype(np.float32)
    return drawn


def _signs(words: np.random.PCG64, n: int) -> Floats:
    return np.where(words.random_raw(n) >> np.uint64(63), np.float32(1.0), np.float32(-1.0))


def _below(words: np.random.PCG64, n: int, limit: int) -> NDArray[np.int64]:
    """Return integers of 0..limit-1; the bias of the remainder, limit / 2^64, is nothing."""
    return (words.random_raw(n) % np.uint64(limit)).astype(np.int64)
