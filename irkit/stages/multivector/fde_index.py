"""Indexes over the encodings of documents: which documents may have the best MaxSim.

``flat`` keeps the encodings in float16 (20 KB a document at 10240 dimensions) and multiplies all of them, skipping the
partitions in which the query has no token: two thirds of them with twenty tokens. ``pq`` keeps 4 bits for every 8 coordinates
(640 bytes) and scans these by table look-ups in registers (Andre, Kermarrec and Le Scouarnec 2015; faiss's fast scan).
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.core.rankings import Rankings
from irkit.models.ragged import Ragged, groups
from irkit.pipeline.context import Context
from irkit.stages.faiss_index import faiss_identity
from irkit.stages.multivector.columns import write_header
from irkit.stages.multivector.fde import FdeConfig, FdeEncoder
from irkit.stages.multivector.threads import side_by_side
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.vector_index import best, faiss
from irkit.store import Build

FDE = 1
"""Of the encodings and their indexes in the store: counts up when documents come to be encoded or indexed otherwise."""

Kind = Literal["flat", "pq"]

_SHARD = 1 << 18
"""Tokens of a shard."""
_TOGETHER = 20 << 20
"""Bytes of the encodings, and at most of the tokens, of documents that are encoded together: 512 at 10240 dimensions."""
_ROWS = 64
"""Encodings that all queries of a group look at before the next ones."""
_GROUP = 32
"""Queries of a group."""
_SAMPLE = 4096
"""Documents, spread evenly over the collection, from which the quantiser learns."""
_COORDINATES, _BITS = 8, 4
"""Of the quantiser: coordinates that share a code, and its bits."""
_LEAST = 39 << _BITS
"""Documents below which faiss warns that the quantiser has too few to learn from."""
_LARGEST = 65504.0
"""The largest float16."""


def index_spec(kind: Kind) -> dict[str, Any]:
    """Return what decides an index besides the encodings."""
    if kind == "flat":
        return {"build": FDE, "index": kind}
    return {"build": FDE, "index": kind, "coordinates": _COORDINATES, "bits": _BITS, **faiss_identity()}


def check_documents(kind: Kind, documents: int) -> None:
    """Refuse an index that so many documents cannot have.

    Raises:
        ConfigError: when there are too few to train the quantiser.
    """
    if kind == "pq" and documents < _LEAST:
        hint = "use index: flat, which is exact and fast at this size"
        raise ConfigError.of(
            f"pq needs at least {_LEAST} documents, here are {documents}", where="index", hint=hint
        )


def check_size(kind: Kind, config: FdeConfig, dim: int) -> None:
    """Refuse options that do not fit tokens of ``dim`` dimensions.

    Raises:
        ConfigError: when ``final_dim`` does not reduce the encodings, or the quantiser cannot divide them.
    """
    full, size = config.full_size(dim), config.size(dim)
    if size > full:
        hint = f"give at most {full}, or leave final_dim out"
        raise ConfigError.of(
            f"final_dim: {size} does not reduce encodings of {full} dimensions", where="final_dim", hint=hint
        )
    if kind == "pq" and (misfit := pq_misfit(size)):
        message, hint = misfit
        raise ConfigError.of(message, where="index", hint=hint)


def pq_misfit(size: int) -> tuple[str, str] | None:
    """Return what is wrong with encodings of so many dimensions for the quantiser, and what to do; None where nothing is."""
    if size % _COORDINATES == 0:
        return None
    hint = f"choose d_proj or final_dim so that it is a multiple of {_COORDINATES}, or index: flat"
    return f"index: pq cannot divide encodings of {size} dimensions by {_COORDINATES}", hint


def build_fde(
    build: Build, context: Context, tokens: Tokens, encoder: FdeEncoder, kind: Kind, device: str
) -> Mapping[str, Any]:
    """Encode all documents and write ``encodings.npy`` (flat) or ``index.faiss`` (pq).

    Goes through the documents shard by shard, in memory that does not grow with their number; an interrupted build continues.
    The quantiser is trained by one thread with faiss's fixed seed.

    Raises:
        ConfigError: when float16 cannot hold the encodings, or the quantiser does not fit the documents.
        DependencyError: when pq needs faiss and it is missing.
    """
    check_documents(kind, len(tokens))
    check_size(kind, encoder.config, encoder.dim)
    documents = _documents(tokens, encoder, device)
    codec = _Halves(tokens, encoder) if kind == "flat" else _Quantiser(build, tokens, encoder, documents)
    ranges = list(groups(tokens.offsets, _SHARD, _SHARD))
    rows = max(1, _TOGETHER // (2 * encoder.dim))
    texts = max(1, _TOGETHER // (4 * encoder.config.full_size(encoder.dim)))
    names = [f"{first:010d}-{last:010d}" for first, last in ranges]
    done = sum(
        last - first for (first, last), name in zip(ranges, names, strict=True) if build.has_shard(name)
    )
    shards = []
    with context.progress.task(f"encoding documents ({kind})", len(tokens), done) as advance:
        for (first, last), name in zip(ranges, names, strict=True):
            fresh = not build.has_shard(name)

            def write(path: Path, first: int = first, last: int = last) -> None:
                with path.open("wb") as file:
                    for start, stop in groups(tokens.offsets[first : last + 1], rows, texts):
                        file.write(codec.encode(documents(first + start, first + stop)).data)

            shards.append(build.shard(name, write))
            if fresh:
                advance(last - first)
    codec.finish(build, shards)
    return {"documents": len(tokens), "dimensions": encoder.size, "index": kind}


class FdeIndex(ABC):
    """Finds the documents whose encodings have the greatest products with a query's."""

    def __init__(self, encoder: FdeEncoder) -> None:
        self._encoder = encoder

    def search(self, queries: Ragged, depth: int) -> Rankings:
        """Return the best ``depth`` documents of every query; the score is the product divided by the repetitions.

        A query's result does not depend on the other queries.
        """
        found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        for first in range(0, len(queries), _GROUP):
            offsets = queries.offsets[first : first + _GROUP + 1]
            asked = self._encoder.queries(offsets, queries.vectors[offsets[0] : offsets[-1]])
            found += self._search(asked / np.float32(self._encoder.config.repetitions), depth)
        return Rankings.from_lists([codes for codes, _ in found], [scores for _, scores in found])

    @abstractmethod
    def _search(
        self, asked: NDArray[np.float32], depth: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Return codes and scores, in canonical order, for every encoded query (``float32[Q, size]``)."""


class FlatFde(FdeIndex):
    """Looks at all documents."""

    def __init__(self, file: Path, encoder: FdeEncoder, threads: int) -> None:
        """Map ``encodings.npy``."""
        super().__init__(encoder)
        self._halves = np.load(file, mmap_mode="r", allow_pickle=False).view(np.uint16)
        self._threads = threads

    def _search(
        self, asked: NDArray[np.float32], depth: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        from irkit.stages.multivector.fde_cpu import scan

        total = len(self._halves)
        scores = np.empty((len(asked), total), np.float32)
        parts = [_occupied(query, self._encoder) for query in asked]

        def look(start: int) -> None:
            stop = min(start + _ROWS, total)
            for query, (begins, ends), out in zip(asked, parts, scores, strict=True):
                scan(self._halves[start:stop], query, begins, ends, out[start:stop])

        for _ in side_by_side([partial(look, start) for start in range(0, total, _ROWS)], self._threads):
            pass
        return [_top(row, depth) for row in scores]


class PqFde(FdeIndex):
    """Looks at the quantised encodings of all documents, by one thread; scores are those of the quantised encodings."""

    def __init__(self, file: Path, encoder: FdeEncoder) -> None:
        """Read ``index.faiss``.

        Raises:
            DependencyError: when faiss is missing.
        """
        super().__init__(encoder)
        self._module = faiss()
        self._index = self._module.read_index(str(file))

    def _search(
        self, asked: NDArray[np.float32], depth: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        depth = min(depth, self._index.ntotal)
        self._module.omp_set_num_threads(1)  # of the process: others set it too
        found = []
        for query in asked:  # one by one: faiss treats a batch otherwise
            scores, codes = self._index.search(query[None], depth)
            there = codes[0] >= 0
            found.append(best(codes[0][there], scores[0][there], depth))
        return found


class _Halves:
    """Encodings in float16."""

    def __init__(self, tokens: Tokens, encoder: FdeEncoder) -> None:
        sketched = (
            1.0 if encoder.config.final_dim is None else encoder.config.repetitions << encoder.config.k_sim
        )
        if tokens.longest * tokens.dim * sketched > _LARGEST * tokens.dim**0.5:
            hint = "normalise the token vectors, or use index: pq"
            raise ConfigError.of(
                "float16 cannot hold encodings of vectors this long", where="index", hint=hint
            )
        self._shape = (len(tokens), encoder.size)

    def encode(self, encodings: NDArray[np.float32]) -> NDArray[np.generic]:
        import torch

        halves: NDArray[np.generic] = torch.from_numpy(encodings).half().numpy()  # numpy rounds one by one
        return halves

    def finish(self, build: Build, shards: list[Path]) -> None:
        with build.path("encodings.npy").open("wb") as file:
            write_header(file, np.float16, self._shape)
            for shard in shards:
                with shard.open("rb") as part:
                    shutil.copyfileobj(part, file, 1 << 22)


class _Quantiser:
    """Product quantisation: the quantiser is trained once, and kept as a shard of its own."""

    def __init__(self, build: Build, tokens: Tokens, encoder: FdeEncoder, documents: Any) -> None:
        module, size, total = faiss(), encoder.size, len(tokens)

        def train(path: Path) -> None:
            module.omp_set_num_threads(1)
            rows = np.unique(np.linspace(0, total - 1, min(_SAMPLE, total)).astype(np.int64))
            index = module.IndexPQ(size, size // _COORDINATES, _BITS, module.METRIC_INNER_PRODUCT)
            index.train(np.concatenate([documents(int(row), int(row) + 1) for row in rows]))
            module.write_index(index, str(path))

        self._module, self._index = module, module.read_index(str(build.shard("quantiser", train)))

    def encode(self, encodings: NDArray[np.float32]) -> NDArray[np.generic]:
        self._module.omp_set_num_threads(1)
        codes: NDArray[np.generic] = self._index.sa_encode(encodings)
        return codes

    def finish(self, build: Build, shards: list[Path]) -> None:
        for shard in shards:
            self._index.add_sa_codes(np.fromfile(shard, np.uint8).reshape(-1, self._index.sa_code_size()))
        self._module.write_index(self._module.IndexPQFastScan(self._index), str(build.path("index.faiss")))


def _documents(tokens: Tokens, encoder: FdeEncoder, device: str) -> Any:
    """Return a function that encodes the documents ``first:last``, on the device. It reads tokens without mapping them."""
    offsets = tokens.offsets

    def read(first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        return offsets[first : last + 1], tokens.read(int(offsets[first]), int(offsets[last]))

    if device == "cpu":
        return lambda first, last: encoder.documents(*read(first, last))
    from irkit.stages.multivector.fde_torch import TorchDocuments

    there = TorchDocuments(encoder, device)
    return lambda first, last: there.documents(*read(first, last)).cpu().numpy()


def _occupied(query: NDArray[np.float32], encoder: FdeEncoder) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the blocks with a query's tokens begin and end; neighbours are joined."""
    width = encoder.width if encoder.sketch is None else len(query)
    there = np.concatenate([[False], query.reshape(-1, width).any(axis=1), [False]])
    edges = np.flatnonzero(there[1:] != there[:-1]) * width
    return edges[0::2].copy(), edges[1::2].copy()


def _top(scores: NDArray[np.float32], depth: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    total = len(scores)
    depth = min(depth, total)
    if depth == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    there = np.flatnonzero(scores >= np.partition(scores, total - depth)[total - depth])
    return best(there, scores[there], depth)
