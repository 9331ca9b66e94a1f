"""Building inverted lists of document tokens: every token as the nearest centroid and a residual code.

The layout is that of WARP (Scheerer et al. 2025, arXiv 2501.17788, section 4): tokens in the order of their centroids, so that
looking into a list reads one stretch of each file. Two things differ. A list is in the order of its documents. And
every token has one byte more, for the inverse norm of its decoded vector: WARP scores centroid + residual as it is, which is
up to a quarter too short or too long where codes are coarse.

Tokens are coded shard by shard, each sorted by centroid; then the shards are merged, a few lists at a time. Neither step holds
more than a fixed number of tokens in memory, and an interrupted build continues with the next shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.core.rankings import offsets_of
from irkit.models.ragged import groups
from irkit.pipeline.context import Progress, Silent
from irkit.stages.multivector.columns import Column, write, write_header
from irkit.stages.multivector.grid import are_unit
from irkit.stages.multivector.residual import ResidualCodec, train_residual
from irkit.stages.multivector.tokens import Tokens
from irkit.store import Build

LAYOUT = 3
"""Of the files below: counts up when they come to be made or written otherwise."""

_SHARD = 1 << 26
"""Coordinates in a shard: half a million tokens of 128 dimensions, some ten seconds of work, which is what a killed build loses."""
_BLOCK = 1 << 15
"""Tokens that are coded at a time."""
_MERGE = 1 << 25
"""Bytes of codes that are merged at a time."""
_SAMPLE = 1 << 27
"""Coordinates in the sample that centroids are learnt from: a quarter of a gigabyte in float16."""
_PER_LIST = 32
"""Tokens in the sample for each list, where there are so many."""
_PER_ROOT = 16
"""Lists for each unit of the square root of the number of tokens, as in PLAID (Santhanam et al. 2022, arXiv 2205.09707)."""
_FEWEST = 8
"""Lists are fewer where a collection has not so many tokens for each."""


def lists_for(tokens: int) -> int:
    """Return the default number of lists: 16 sqrt(tokens), and no more than a list for eight tokens.

    It is neither rounded nor capped, so a query's work, 16 sqrt(T) centroids and some lists of sqrt(T) / 16 tokens for each of its
    tokens, grows with the square root of the collection, while building compares T tokens with 16 sqrt(T) centroids.
    """
    return max(1, min(int(_PER_ROOT * np.sqrt(tokens)), tokens // _FEWEST))


@dataclass(frozen=True)
class IvfOptions:
    """What decides an index over given tokens.

    Attributes:
        nlist: lists, that is centroids; :func:`lists_for` unless given.
        bits: of the code of a dimension: 1, 2 or 4.
        seed: of k-means.
    """

    nlist: int | None = None
    bits: int = 4
    seed: int = 0


def build_ivf(
    build: Build, tokens: Tokens, options: IvfOptions, progress: Progress | None = None
) -> dict[str, Any]:
    """Write an index: ``codec/``, ``inverse.npy``, ``offsets.npy``, ``doc.npy`` and ``codes.npy``.

    ``inverse``: ``float32[256]``, what the last byte of a code stands for. ``offsets``: ``int64[nlist + 1]``, list c owns the
    tokens ``offsets[c]:offsets[c + 1]``. ``doc``: ``int32[T]``, each token's document, ascending within a list. ``codes``:
    ``uint8[T, row_bytes + 1]``, the packed residual code and the byte of the inverse norm.

    Args:
        build: the artifact under way.
        tokens: the documents, of unit length but for rounding; zero vectors may occur.
        options: lists and bits.
        progress: shows how far it is.

    Returns:
        what describes the index: counts, and bytes a token.

    Raises:
        ConfigError: when token vectors are not of unit length.
    """
    total = int(tokens.offsets[-1])
    nlist = min(options.nlist or lists_for(total), max(1, total))
    learnt = build.shard("codec", lambda path: _learn(path, tokens, nlist, options))
    codec = ResidualCodec.load(learnt / "codec")
    inverse = np.load(learnt / "inverse.npy", allow_pickle=False)
    shards = _code(build, tokens, codec, inverse, progress or Silent())
    codec.save(build.path("codec"))
    np.save(build.path("inverse.npy"), inverse, allow_pickle=False)
    offsets = _merge(shards, codec.nlist, codec.row_bytes + 1, build.path("doc.npy"), build.path("codes.npy"))
    np.save(build.path("offsets.npy"), offsets, allow_pickle=False)
    return {
        "documents": len(tokens),
        "tokens": total,
        "dim": tokens.dim,
        "nlist": codec.nlist,
        "bits": options.bits,
        "bytes_per_token": codec.row_bytes + 1 + 4,
        "longest_list": int(np.diff(offsets).max(initial=0)),
    }


def _code(
    build: Build, tokens: Tokens, codec: ResidualCodec, inverse: NDArray[np.float32], progress: Progress
) -> list[Path]:
    """Code the tokens shard by shard; of the shards that an interrupted build finished no vector is read."""
    parts = list(groups(tokens.offsets, max(1, _SHARD // tokens.dim)))
    names = [f"lists-{first:010d}-{last:010d}" for first, last in parts]
    fresh = [not build.has_shard(name) for name in names]
    done = sum(last - first for (first, last), new in zip(parts, fresh, strict=True) if not new)

    def write(path: Path, first: int, last: int) -> None:
        offsets = tokens.offsets[first : last + 1]
        vectors = tokens.read(int(offsets[0]), int(offsets[-1]))
        _Shard(vectors, offsets, first, codec, inverse).write(path)

    shards = []
    with progress.task("coding tokens", len(tokens), done) as advance:
        for (first, last), name, new in zip(parts, names, fresh, strict=True):
            shards.append(build.shard(name, partial(write, first=first, last=last)))
            if new:
                advance(last - first)
    return shards


def _learn(path: Path, tokens: Tokens, nlist: int, options: IvfOptions) -> None:
    """Learn centroids and buckets, and how far the norms of decoded vectors stray from 1."""
    count = min(nlist * _PER_LIST, max(nlist, _SAMPLE // tokens.dim))
    path.mkdir()
    kept = path / "sample.npy"
    sample = write(kept, _sample(tokens, count), np.float16, (tokens.dim,))
    codec = train_residual(sample, options.bits, nlist, options.seed)
    codec.save(path / "codec")
    ids, codes = codec.encode(sample[:: max(1, len(sample) // _BLOCK)])
    near = _inverse_norms(ids, codes, codec)
    low, high = (float(near.min()), float(near.max())) if len(near) else (1.0, 1.0)
    kept.unlink()
    np.save(path / "inverse.npy", np.linspace(low, high, 256, dtype=np.float32), allow_pickle=False)


def _sample(tokens: Tokens, count: int) -> Iterator[NDArray[np.float16]]:
    """Yield so many evenly spaced tokens, ``float16[n, dim]`` at a time. Everything is read once, in order: picking rows from a
    mapped file would keep its pages in memory.

    Raises:
        ConfigError: when vectors are not of unit length.
    """
    total = int(tokens.offsets[-1])
    count = min(count, total)
    rows = np.arange(count, dtype=np.int64) * total // max(1, count)
    for first, last, vectors in tokens.blocks(_BLOCK):
        start, stop = tokens.offsets[first], tokens.offsets[last]
        here = slice(*np.searchsorted(rows, [start, stop]))
        some = vectors[rows[here] - start]
        if not are_unit(some):
            raise ConfigError.of(
                "an index of residual codes keeps directions, and these token vectors are not of unit length",
                where="xtr: index",
                hint="take index: exact",
            )
        yield some


@dataclass(frozen=True)
class _Shard:
    """The tokens of some documents, by list, then by document.

    Attributes:
        vectors: of the tokens.
        offsets: of the documents, in the whole collection.
        first: the first document.
        codec: codes vectors.
        inverse: what the byte of the inverse norm stands for.
    """

    vectors: NDArray[np.float16]
    offsets: NDArray[np.int64]
    first: int
    codec: ResidualCodec
    inverse: NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Write ``bounds.npy``, ``doc.npy`` and ``codes.npy``."""
        count, width = len(self.vectors), self.codec.row_bytes + 1
        lists, rows = np.empty(count, np.int32), np.empty((count, width), np.uint8)
        step = float(self.inverse[-1] - self.inverse[0]) / 255 or 1.0
        for start in range(0, count, _BLOCK):
            here = slice(start, start + _BLOCK)
            ids, codes = self.codec.encode(self.vectors[here])
            lists[here], rows[here, :-1] = ids, codes
            near = _inverse_norms(ids, codes, self.codec)
            rows[here, -1] = np.clip(np.rint((near - self.inverse[0]) / step), 0, 255)
        order = np.argsort(lists, kind="stable")
        docs = np.arange(self.first, self.first + len(self.offsets) - 1, dtype=np.int32)
        sizes = np.bincount(lists, minlength=self.codec.nlist)
        path.mkdir()
        np.save(path / "bounds.npy", offsets_of(sizes), allow_pickle=False)
        np.save(path / "doc.npy", np.repeat(docs, np.diff(self.offsets))[order], allow_pickle=False)
        np.save(path / "codes.npy", rows[order], allow_pickle=False)


def _inverse_norms(ids: NDArray[Any], codes: NDArray[np.uint8], codec: ResidualCodec) -> NDArray[np.float32]:
    from irkit.stages.multivector.ivf_kernels import inverse_norms

    out = np.empty(len(ids), np.float32)
    wide = codec.centroids.astype(np.float32)
    inverse_norms(ids.astype(np.int64), codes, wide, codec.weights, codec.bits, out)
    return out


def _merge(shards: list[Path], nlist: int, width: int, docs: Path, codes: Path) -> NDArray[np.int64]:
    """Write the lists of all shards, each list in the order of the shards; return the offsets of the lists."""
    bounds = [Column(shard / "bounds.npy") for shard in shards]
    sizes = np.zeros(nlist, np.int64)
    for each in bounds:
        sizes += np.diff(each.read(0, nlist + 1))
    offsets = offsets_of(sizes)
    with docs.open("wb") as doc_file, codes.open("wb") as code_file:
        write_header(doc_file, np.int32, (int(offsets[-1]),))
        write_header(code_file, np.uint8, (int(offsets[-1]), width))
        for first, last in groups(offsets, max(1, _MERGE // width)):
            if last == first + 1:  # perhaps a very long list: there is nothing to sort
                for shard, each in zip(shards, bounds, strict=True):
                    start, stop = each.read(first, last + 1)
                    Column(shard / "doc.npy").read(start, stop).tofile(doc_file)
                    Column(shard / "codes.npy").read(start, stop).tofile(code_file)
                continue
            here = [each.read(first, last + 1) for each in bounds]
            lists = np.concatenate([np.repeat(np.arange(last - first), np.diff(part)) for part in here])
            order = np.argsort(lists, kind="stable")
            for name, file in (("doc.npy", doc_file), ("codes.npy", code_file)):
                parts = [
                    Column(shard / name).read(int(part[0]), int(part[-1]))
                    for shard, part in zip(shards, here, strict=True)
                ]
                np.concatenate(parts)[order].tofile(file)
    return offsets
