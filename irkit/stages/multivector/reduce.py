"""Reducing a collection's token vectors: fewer tokens, fewer dimensions, fewer bytes a number.

The order is: drop tokens (stop words, or those with little attention), project, merge the pieces of words, pool similar
tokens, code. What has to be learnt (projection, codec) is learnt from a sample of documents. Each document's
result depends on that document and the sample alone, to the last bit, so shards, threads and restarts change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.core.rankings import offsets_of
from irkit.pipeline.context import Context
from irkit.stages.encoding import SHARD, document_shards
from irkit.stages.multivector.codec import Codec, check_unit, load_codec, to_float16, train_codec
from irkit.stages.multivector.columns import concatenate, concatenate_offsets, write
from irkit.stages.multivector.encoded import Source, TokenBlock, known
from irkit.stages.multivector.grid import are_unit, on_grid
from irkit.stages.multivector.pooling import merge_words, pool_tokens
from irkit.stages.multivector.projection import Projection
from irkit.stages.multivector.pruning import most_attended, without_stop_words
from irkit.stages.multivector.tokens import greatest_norm
from irkit.store import Build

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder
    from irkit.stages.multivector.options import TokenOptions

REDUCTION = 3
"""Counts up when the same options come to give other bytes, also with a change to the list of stop words."""

_SEED = 0
_CENTROIDS = 1 << 27
"""Coordinates in the sample for residual codes: a quarter of a gigabyte in float16; a million tokens of 128 dimensions."""
_SCALES = 1 << 25
"""Coordinates in the sample for anything less."""


@dataclass(frozen=True)
class Reduction:
    """How the tokens of a document are reduced, except for the codec.

    Attributes:
        options: what was asked for.
        unit: whether the encoder's vectors have length 1; then all vectors made from them are brought to length 1 too.
        projection: to fewer dimensions, or None.
    """

    options: TokenOptions
    unit: bool
    projection: Projection | None

    @property
    def keeps_words(self) -> bool:
        """Whether every vector is that of one word, and the store says of which: four bytes a vector."""
        return self.options.words and self.options.pool == 1

    def __call__(
        self, block: TokenBlock
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint32] | None]:
        """Return offsets ``int64[n + 1]``, vectors ``float32[T', dim]`` and words ``uint32[T']`` of the same documents.

        None with tokens loses all. The words are those of merged tokens; None without merging, and for pooled tokens.
        """
        block = self._pruned(block)
        vectors = self.projection(block.vectors) if self.projection else block.vectors.astype(np.float32)
        if not (self.options.words or self.options.pool > 1):
            return block.offsets, vectors, None
        parts, names = [np.zeros((0, vectors.shape[1]), np.float32)], [np.zeros(0, np.uint32)]
        for start, stop in zip(block.offsets[:-1], block.offsets[1:], strict=True):
            part = vectors[start:stop]
            if self.options.words and len(part):
                part, words = merge_words(part, known(block.words)[start:stop], self.unit)
                names.append(words)
            if self.options.pool > 1 and len(part):
                # a bag of words has no [CLS] in front
                part = pool_tokens(part, self.options.pool, self.unit, 0 if self.options.words else 1)
            parts.append(part)
        offsets = offsets_of([len(part) for part in parts[1:]])
        return offsets, np.concatenate(parts), np.concatenate(names) if self.keeps_words else None

    def _pruned(self, block: TokenBlock) -> TokenBlock:
        if self.options.prune is None:
            return block
        stay = [np.zeros(0, np.bool_)]
        for start, stop in zip(block.offsets[:-1], block.offsets[1:], strict=True):
            if self.options.prune == "stop-words":
                stay.append(without_stop_words(known(block.words)[start:stop]))
            else:
                stay.append(most_attended(known(block.salience)[start:stop], self.options.keep))
        kept = np.concatenate(stay)
        words = None if block.words is None else block.words[kept]
        return TokenBlock(offsets_of([part.sum() for part in stay[1:]]), block.vectors[kept], words, None)


def check_options(options: TokenOptions, token_dim: int, where: str) -> None:
    """Refuse what the encoder cannot give.

    Raises:
        ConfigError: when more dimensions are asked for than there are.
    """
    if options.dim is not None and options.dim > token_dim:
        hint = f"set tokens.dim to at most {token_dim}, or leave it out"
        message = f"tokens.dim is {options.dim}, and the encoder's token vectors have {token_dim} dimensions"
        raise ConfigError.of(message, where=where, hint=hint)


def check_encoder(options: TokenOptions, encoder: TextEncoder) -> None:
    """Refuse now, by encoding one word, what would be found out after hours of encoding.

    Raises:
        ConfigError: for residual codes of vectors that are not of unit length.
        ModelError: when words are needed and the tokeniser knows none.
    """
    words = options.words or options.prune == "stop-words"
    residual = options.codec.startswith("residual")
    if words or residual:
        made = encoder.tokens(["word"], "document", words=words)
        if residual:
            check_unit(made.vectors, encoder.name)


def build_store(
    build: Build, context: Context, options: TokenOptions, source: Source, token_dim: int
) -> dict[str, Any]:
    """Reduce and code the tokens of a collection; return the counts.

    Writes ``offsets.npy``, the codec's columns, ``words.npy`` of merged tokens, ``codec/`` and, where there is one,
    ``projection.npy``. What was learnt is a shard, and so are the codes of every 512 documents: an interrupted build goes on
    where it was.

    Raises:
        ConfigError: for residual codes of vectors that are not of unit length.
        ModelError: when words are needed and the tokeniser knows none.
    """
    learnt = build.shard("learnt", lambda path: _learn(path, build, context, options, source, token_dim))
    reduction, codec = _load(learnt, options, options.dim or token_dim)

    def write(codes: range, path: Path) -> None:
        block = source.read(codes)
        offsets, vectors, words = reduction(block)
        path.mkdir()
        columns = codec.encode(vectors)
        np.save(path / "counts.npy", _counts(block, words), allow_pickle=False)
        np.save(path / "offsets.npy", offsets, allow_pickle=False)
        np.save(path / "longest.npy", greatest_norm(codec.decode(*columns)), allow_pickle=False)
        for name, column in zip(codec.layout, columns, strict=True):
            np.save(path / f"{name}.npy", column, allow_pickle=False)
        if words is not None:
            np.save(path / "words.npy", words, allow_pickle=False)

    shards = document_shards(context, build, "reducing tokens", write)
    offsets = concatenate_offsets([shard / "offsets.npy" for shard in shards], build.path("offsets.npy"))
    for name, (dtype, row) in codec.layout.items():
        concatenate([shard / f"{name}.npy" for shard in shards], build.path(f"{name}.npy"), dtype, row)
    if reduction.keeps_words:
        concatenate([shard / "words.npy" for shard in shards], build.path("words.npy"), np.uint32)
    codec.save(build.path("codec"))
    if reduction.projection:
        reduction.projection.save(build.path("projection.npy"))
    longest = [float(np.load(shard / "longest.npy", allow_pickle=False)) for shard in shards]
    counts = sum(
        (np.load(shard / "counts.npy", allow_pickle=False) for shard in shards), np.zeros(4, np.int64)
    )
    named = dict(zip(("encoded", "pieces", "words_before", "words_after"), counts.tolist(), strict=True))
    return {
        **context.notes,
        "documents": len(offsets) - 1,
        "tokens": int(offsets[-1]),
        **(named if reduction.keeps_words else {"encoded": named["encoded"]}),
        "dim": codec.dim,
        "codec": options.codec,
        "unit": reduction.unit,
        "projected": reduction.projection is not None,
        "longest": max([1.0, *longest]),
        "bytes_per_token": sum(np.dtype(dtype).itemsize * prod(row) for dtype, row in codec.layout.values()),
    }


def _counts(block: TokenBlock, words: NDArray[np.uint32] | None) -> NDArray[np.int64]:
    """Count the tokens of documents, ``int64[4]``: all; with ``words``, what they were reduced to, also the word pieces among them,
    the different words of each document summed up, and those that are left.
    """
    if block.words is None or words is None:
        return np.array([len(block.vectors), 0, 0, 0])
    doc = np.repeat(np.arange(len(block.offsets) - 1), np.diff(block.offsets))
    pieces = (doc << 32 | block.words)[block.words > 0]  # special tokens are no pieces
    return np.array([len(block.vectors), len(pieces), len(np.unique(pieces)), np.count_nonzero(words)])


# -- learning ----------------------------------------------------------------------------------------------


def _learn(
    path: Path, build: Build, context: Context, options: TokenOptions, source: Source, token_dim: int
) -> None:
    """Learn the projection and the codec from a sample, and write ``unit.npy``, ``projection.npy`` and ``codec/``.

    The sample: documents in a random order that the seed fixes, in groups of 512, until there are enough tokens. It is read
    twice, and its reduced form lies in a file: in memory is a group at a time.
    """
    count = len(context.collection.docs)
    order = np.random.Generator(np.random.PCG64(_SEED)).permutation(count)
    groups = [np.sort(order[start : start + SHARD]) for start in range(0, count, SHARD)]
    budget = (_CENTROIDS if options.codec.startswith("residual") else _SCALES) // (options.dim or token_dim)

    def sample() -> Iterator[TokenBlock]:
        seen = 0
        for number, codes in enumerate(groups):
            if seen >= budget:
                return
            block = _remembered(build, f"sample-{number:06d}", source, codes)
            seen += len(block.vectors)
            yield block

    unit, moment = True, np.zeros((token_dim, token_dim))
    for block in sample():
        unit = unit and are_unit(block.vectors)
        if options.dim:
            wide = on_grid(block.vectors)
            moment += wide.T @ wide
    projection = Projection.of_moment(moment, options.dim, unit) if options.dim else None
    reduction = Reduction(options, unit, projection)
    documents = 0

    def reduced() -> Iterator[NDArray[np.float16]]:
        nonlocal documents
        for block in sample() if options.codec != "float16" else ():
            documents += len(block.offsets) - 1
            yield to_float16(reduction(block)[1])

    path.mkdir()
    kept = path / "sample.npy"
    vectors = write(kept, reduced(), np.float16, (options.dim or token_dim,))
    codec = train_codec(options.codec, vectors, len(vectors) * count // max(1, documents))
    kept.unlink()
    np.save(path / "unit.npy", unit, allow_pickle=False)
    if projection:
        projection.save(path / "projection.npy")
    codec.save(path / "codec")


def _load(learnt: Path, options: TokenOptions, dim: int) -> tuple[Reduction, Codec]:
    unit = bool(np.load(learnt / "unit.npy", allow_pickle=False))
    file = learnt / "projection.npy"
    projection = Projection(np.load(file, allow_pickle=False), unit) if file.exists() else None
    return Reduction(options, unit, projection), load_codec(options.codec, learnt / "codec", dim)


def _remembered(build: Build, name: str, source: Source, codes: NDArray[np.int64]) -> TokenBlock:
    """Read some documents; what is costly to read is kept for the second time as a shard."""
    if not source.costly:
        return source.read(codes)
    return TokenBlock.load(build.shard(name, lambda path: source.read(codes).save(path)))
