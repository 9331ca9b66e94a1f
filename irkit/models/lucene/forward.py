"""A forward index: each document's terms and their counts, which Lucene's inverted index does not give.

Pseudo-relevance feedback reads the terms of a few documents a query. They are cut by the analyser of the BM25 index, over the
same "title body" texts, so that document frequencies and counts here are Lucene's.
"""

from __future__ import annotations

import mmap
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import StoreError
from irkit.core.rankings import IntArray, offsets_of
from irkit.data.docstore import DocStore, Strings
from irkit.models.lucene.analysis import AnalyzerName
from irkit.models.lucene.java import anserini_version
from irkit.models.lucene.terms import TermCutter
from irkit.store import Artifact, Build, Recipe

Ids = NDArray[np.int32]
Counts = NDArray[np.int32]

SHORT, LONG, LETTERS, DIGITS, PLAIN = 1, 2, 4, 8, 16
"""Bits of a term's kind: fewer than 2 characters, more than 20 (as Java counts them); only a-z, only 0-9, only a-z and 0-9."""

_BATCH = 500
_SMALL = 1 << 16
_PATTERNS = (
    (LETTERS, re.compile(r"[a-z]+")),
    (DIGITS, re.compile(r"[0-9]+")),
    (PLAIN, re.compile(r"[a-z0-9]+")),
)


class ForwardIndex:
    """N documents as bags of terms. A term is its number in the order of Java's strings (by UTF-16 code units).

    Attributes:
        terms: the V terms, by number.
        df, cf: ``int32[V]``, ``int64[V]``: in how many documents a term is, and how often it occurs.
        kinds: ``uint8[V]``: the bits above.
        filled: how many documents have a term.

    Args:
        artifact: as :func:`build_forward` makes it.
        n: the number of documents.

    Raises:
        StoreError: when it is not of ``n`` documents.
    """

    def __init__(self, artifact: Artifact, n: int) -> None:
        def mapped(name: str) -> NDArray[Any]:
            return _mapped(artifact.file(f"{name}.npy"))

        self.offsets: IntArray = mapped("offsets")
        if len(self.offsets) != n + 1:
            message = f"the forward index has {len(self.offsets) - 1} documents, the collection {n}"
            raise StoreError.of(
                message, where=str(artifact.path), hint="remove it with: irkit store gc --broken"
            )
        self._ids, self._tf = mapped("ids"), mapped("tf")
        bounds = mapped("bounds")
        self.terms = Strings(_text(artifact.file("terms.bin")), bounds[:-1], bounds[1:])
        self.df: NDArray[np.int32] = mapped("df")
        self.cf: NDArray[np.int64] = mapped("cf")
        self.kinds: NDArray[np.uint8] = mapped("kinds")
        self.filled = int(np.count_nonzero(np.diff(self.offsets)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, code: int) -> tuple[Ids, Counts]:
        """Return the numbers of a document's terms, ascending, and their counts: ``int32[t]`` each."""
        start, stop = int(self.offsets[code]), int(self.offsets[code + 1])
        return self._ids[start:stop], self._tf[start:stop]

    def number(self, term: str) -> int | None:
        """Return the number of a term, None when no document has it."""
        found = bisect_left(range(len(self.terms)), _order(term), key=lambda row: _order(self.terms[row]))
        return found if found < len(self.terms) and self.terms[found] == term else None


def forward_recipe(docs_fingerprint: str, how: AnalyzerName) -> Recipe:
    """Return the recipe of the forward index over the "title body" of documents, cut by this analyser."""
    spec = {"docs": docs_fingerprint, "analyzer": how, "anserini": anserini_version(), "layout": 1}
    return Recipe("forward", spec)


def build_forward(
    build: Build,
    docs: DocStore,
    how: AnalyzerName,
    *,
    threads: int = 1,
    shard: int = 20_000,
    advance: Callable[[int], None] = lambda _n: None,
) -> Mapping[str, Any]:
    """Write the index: shards that an interrupted build finds again, with numbers of their own, then all under common numbers.

    Memory grows with the vocabulary, and otherwise with a shard.

    Args:
        build: where to write.
        docs: the documents.
        how: the analyser.
        threads: texts cut at the same time; they cannot change any result.
        shard: documents in a shard; it cannot change any result.
        advance: told how many more documents are done, those in shards found included.

    Returns:
        The manifest's meta.

    Raises:
        DependencyError: when Java is missing.
    """
    cutter: TermCutter | None = None

    def write(path: Path, codes: range) -> None:
        nonlocal cutter
        cutter = cutter or TermCutter(how, str(build.folder))
        _write_shard(path, docs, codes, partial(cutter.joined, threads=threads), advance)

    shards = []
    for first in range(0, len(docs), shard):
        codes = range(first, min(first + shard, len(docs)))
        name = f"{codes[0]}-{codes[-1]}"
        if build.has_shard(name):
            advance(len(codes))
        shards.append(build.shard(name, partial(write, codes=codes)))
    return _merge(build, shards)


# -- inside ------------------------------------------------------------------------------------------


def _order(term: str) -> bytes:
    """Return bytes that stand in the order of Java's ``String.compareTo``."""
    return term.encode("utf-16-be")


def _text(path: Path) -> mmap.mmap | bytes:
    """Map the vocabulary; an empty file cannot be mapped."""
    if not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _mapped(path: Path) -> NDArray[Any]:
    """Map a large array; read a small one, for an empty one cannot be mapped."""
    large = path.stat().st_size > _SMALL
    loaded: NDArray[Any] = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
    return loaded.view(np.ndarray)


def _write_shard(
    path: Path,
    docs: DocStore,
    codes: range,
    cut: Callable[[Sequence[str]], list[str]],
    advance: Callable[[int], None],
) -> None:
    """Write a shard: its terms as lines, and per document their numbers, counts, and how many there are."""
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    ids, tf, lengths = [], [], []
    for start in range(0, len(codes), _BATCH):
        some = codes[start : start + _BATCH]
        texts = cut(docs.texts(some))
        tokens = "".join(texts).split("\n")[:-1]
        rows = np.repeat(np.arange(len(some), dtype=np.int64), [text.count("\n") for text in texts])
        found = np.fromiter(map(numbers.__getitem__, tokens), np.int64, len(tokens))
        keys, counts = np.unique(rows << 32 | found, return_counts=True)
        ids.append((keys & 0xFFFFFFFF).astype(np.int32))
        tf.append(counts.astype(np.int32))
        lengths.append(np.bincount(keys >> 32, minlength=len(some)))
        advance(len(some))
    path.mkdir()
    (path / "terms.txt").write_bytes("".join(f"{term}\n" for term in numbers).encode())
    for name, parts in (("ids", ids), ("tf", tf), ("lengths", lengths)):
        np.save(path / f"{name}.npy", np.concatenate(parts))


def _merge(build: Build, shards: Sequence[Path]) -> Mapping[str, Any]:
    vocabulary = sorted(set().union(*map(_terms, shards)), key=_order)
    number = {term: row for row, term in enumerate(vocabulary)}
    lengths = [np.load(shard / "lengths.npy", allow_pickle=False) for shard in shards]
    offsets = offsets_of(np.concatenate(lengths) if lengths else [])
    df, cf = np.zeros(len(vocabulary), np.int32), np.zeros(len(vocabulary), np.int64)
    build.path("").mkdir(parents=True, exist_ok=True)
    with build.path("ids.npy").open("wb") as ids_file, build.path("tf.npy").open("wb") as tf_file:
        for file in (ids_file, tf_file):
            shape = {"descr": "<i4", "fortran_order": False, "shape": (int(offsets[-1]),)}
            np.lib.format.write_array_header_1_0(file, shape)
        for shard, sizes in zip(shards, lengths, strict=True):
            ids, tf = _renumbered(shard, sizes, number)
            df += np.bincount(ids, minlength=len(df)).astype(np.int32)
            np.add.at(cf, ids, tf)
            ids_file.write(ids.tobytes())
            tf_file.write(tf.tobytes())
    encoded = [term.encode() for term in vocabulary]
    build.path("terms.bin").write_bytes(b"".join(encoded))
    for name, array in (
        ("offsets", offsets),
        ("bounds", offsets_of([len(each) for each in encoded])),
        ("df", df),
        ("cf", cf),
        ("kinds", np.fromiter(map(_kind, vocabulary), np.uint8, len(vocabulary))),
    ):
        np.save(build.path(f"{name}.npy"), array)
    return {"documents": len(offsets) - 1, "terms": len(vocabulary), "postings": int(offsets[-1])}


def _terms(shard: Path) -> Iterator[str]:
    return iter((shard / "terms.txt").read_bytes().decode().split("\n")[:-1])


def _renumbered(shard: Path, sizes: IntArray, number: Mapping[str, int]) -> tuple[Ids, Counts]:
    """Return a shard's numbers, made common and put in order within each document, and their counts."""
    common = np.fromiter((number[term] for term in _terms(shard)), np.int64)
    ids = common[np.load(shard / "ids.npy", allow_pickle=False)]
    order = np.argsort(np.repeat(np.arange(len(sizes), dtype=np.int64), sizes) << 32 | ids)
    tf = np.load(shard / "tf.npy", allow_pickle=False)[order]
    return ids[order].astype("<i4"), tf.astype("<i4")


def _kind(term: str) -> int:
    length = len(_order(term)) // 2
    kind = SHORT * (length < 2) | LONG * (length > 20)
    for bit, pattern in _PATTERNS:
        if pattern.fullmatch(term):
            kind |= bit
    return kind
