"""Collections of token vectors for measuring speed and memory: any size, the same every time, never in memory as a whole.

``random``: unit vectors in random directions. Nothing can be found in them; they are for memory and disk.

``spliced``: a document is three passages of 20 consecutive token vectors of real documents, each vector moved a
little, so that no passage repeats exactly; the queries are the real ones of the same collections. So clusters, scores
and the work that an index has to do are those of text, and an index is not measured on the noise of random vectors.
The larger the corpus, the more near copies of a real token it holds (``copies``), and near copies make clusters denser
than new text would. Where sizes are compared, ``copies`` is therefore given: a smaller corpus then uses so much less of
the real documents that every size has as many copies of a token.

A vector depends on its document's number alone. The real documents are encoded once by irkit (``minilm``'s raw
tokens), brought from 384 to 128 dimensions by one PCA over all of them, and kept in the work folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.core.queries import Queries
from irkit.data.collection import Collection, EvalPolicy, Qrels
from irkit.data.docstore import DocStore
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.models.ragged import Ragged
from irkit.pipeline.context import Context, Runtime
from irkit.stages.multivector.maxsim import MaxSim
from irkit.store import Store

TOKENS = 60
"""Tokens of a document."""
DIM = 128
PASSAGE = 20
NOISE = 0.25
"""Length of the vector that is added to every real one (of length 1) before it is brought to length 1 again: a cosine of 0.97."""

Halves = NDArray[np.float16]


class Source(Protocol):
    """Makes the tokens of documents, and has queries to search them with."""

    name: str
    queries: Ragged

    def document(self, number: int) -> NDArray[np.float32]:
        """Return the tokens of one document, ``float32[TOKENS, DIM]``, of length 1."""
        ...


class Random:
    """Unit vectors in random directions."""

    name = "random"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        vectors = _unit(rng.standard_normal((64 * 16, DIM), dtype=np.float32))
        self.queries = Ragged(np.arange(0, 64 * 16 + 1, 16), vectors)

    def document(self, number: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([1, number])
        return _unit(rng.standard_normal((TOKENS, DIM), dtype=np.float32))


class Spliced:
    """Passages of real documents, each moved a little."""

    def __init__(self, folder: Path, documents: int = 0, copies: float | None = None) -> None:
        self._bank = np.load(folder / "tokens.npy", mmap_mode="r", allow_pickle=False)
        self._starts = np.load(folder / "passages.npy", allow_pickle=False)
        self.name = "spliced" if copies is None else f"spliced-{copies:.2f}"
        if copies is not None:
            share = min(1.0, self.copies(documents) / copies)
            self._starts = _some(self._starts, round(share * len(self._starts)))
        self.queries = Ragged(np.load(folder / "qoffsets.npy"), np.load(folder / "qtokens.npy"))

    def copies(self, documents: int) -> float:
        """Return how often a corpus of so many documents holds a token of those it is made from, on average."""
        used = np.zeros(len(self._bank), bool)
        for place in range(PASSAGE):
            used[self._starts + place] = True
        return documents * TOKENS / int(used.sum())

    def document(self, number: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([2, number])
        starts = self._starts[rng.integers(0, len(self._starts), TOKENS // PASSAGE)]
        vectors = np.concatenate([self._bank[start : start + PASSAGE] for start in starts]).astype(np.float32)
        vectors += rng.standard_normal(vectors.shape, dtype=np.float32) * np.float32(NOISE / DIM**0.5)
        return _unit(vectors)


def open_source(
    kind: Literal["random", "spliced"],
    work: Path,
    collections: Sequence[Path],
    documents: int = 0,
    copies: float | None = None,
) -> Source:
    """Open a source; for ``spliced``, encode the collections where the work folder lacks them.

    Args:
        kind: of corpus.
        work: the work folder.
        collections: BEIR folders.
        documents: with ``copies``, the size of the corpus.
        copies: how often ``spliced`` holds each real token that it uses, about; it uses all of them unless given.
    """
    return Random() if kind == "random" else Spliced(make_bank(work, collections), documents, copies)


def make_bank(work: Path, collections: Sequence[Path]) -> Path:
    """Encode BEIR folders and put their passages and queries into ``work/bank``; return that folder."""
    folder = work / "bank"
    names = [path.name for path in collections]
    done = folder / "done.json"
    if done.exists() and json.loads(done.read_text()) == names:
        return folder
    if not collections:
        raise SystemExit("give the BEIR folders whose texts make the corpus: --collection PATH ...")
    encoded = [encode(path, work) for path in collections]
    sample = np.concatenate([part["tokens"][::8] for part in encoded]).astype(np.float32)
    _, vectors = np.linalg.eigh(sample.T @ sample)
    axes = np.ascontiguousarray(vectors[:, ::-1][:, :DIM])
    folder.mkdir(parents=True, exist_ok=True)
    passages, bank, row = [], [], 0
    for part in encoded:
        offsets, tokens = part["offsets"], part["tokens"]
        bank += [
            _unit(tokens[at : at + (1 << 16)].astype(np.float32) @ axes).astype(np.float16)
            for at in range(0, len(tokens), 1 << 16)
        ]
        for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            passages.append(np.arange(row + start, row + stop - PASSAGE + 1, PASSAGE // 2))
        row += len(tokens)
    np.save(folder / "tokens.npy", np.concatenate(bank))
    np.save(folder / "passages.npy", np.concatenate(passages).astype(np.int64))
    lengths = np.concatenate([np.diff(part["qoffsets"]) for part in encoded])
    queries = np.concatenate([part["qtokens"] for part in encoded]).astype(np.float32)
    np.save(folder / "qoffsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    np.save(folder / "qtokens.npy", _unit(queries @ axes))
    done.write_text(json.dumps(names))
    return folder


def encode(path: Path, work: Path) -> dict[str, NDArray[np.float16]]:
    """Encode one BEIR folder with irkit, once; return ``offsets``, ``tokens``, ``qoffsets`` and ``qtokens``."""
    folder, names = work / "encoded" / path.name, ("offsets", "tokens", "qoffsets", "qtokens")
    if not (folder / "qtokens.npy").exists():
        print(f"encoding {path.name}, once: minutes", flush=True)
        store = Store(work / "store")
        context = Context(open_collection(LocalSpec(path=str(path)), store, base=Path.cwd()), store)
        stage = MaxSim()
        encoder = stage.load_encoder(context)
        tokens = stage.open_tokens(context, encoder)
        queries = stage.query_tokens(encoder, tokens, context.collection.queries.text)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "offsets.npy", tokens.offsets)
        np.save(folder / "tokens.npy", tokens.span(0, int(tokens.offsets[-1])))
        np.save(folder / "qoffsets.npy", queries.offsets)
        np.save(folder / "qtokens.npy", queries.vectors.astype(np.float16))
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}


@dataclass(frozen=True)
class Encoder:
    """What stages take for an encoder: it "encodes" the text "17" as the tokens of the source's document 17, or its query 17."""

    source: Source
    name: str = "corpus"
    device: str = "cpu"
    multi_vector: bool = True
    similarity: Literal["cosine", "dot"] = "dot"
    dim: int = DIM
    token_dim: int = DIM

    def vectors(self, texts: Sequence[str], side: str) -> NDArray[np.float32]:
        """Refuse: there are token vectors only."""
        raise TypeError("the corpus has token vectors only")

    def tokens(self, texts: Sequence[str], side: str, *, words: bool = False, **_asked: bool) -> Ragged:
        """Return the tokens of documents or queries by their number."""
        if words:
            raise ModelError.of("a corpus of vectors has no words", where=self.name, hint="")
        if side == "query":
            parts = [self.source.queries[int(text)] for text in texts]
        else:
            parts = [
                self.source.document(int(text) if text.isdigit() else 0) for text in texts
            ]  # "word": a trial
        lengths = np.array([len(part) for part in parts], np.int64)
        return Ragged(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.concatenate([_nothing(), *parts])
        )


def make_context(source: Source, documents: int, work: Path, threads: int = 1) -> Context:
    """Make the collection of the source's first documents: what stages run on. Its texts are the documents' numbers."""
    folder = work / "documents" / str(documents)
    if not (folder / "bounds.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        width = len(str(documents))
        blob, bounds = bytearray(), np.empty((documents, 4), np.int64)
        for number in range(documents):
            docno, text = f"{number:0{width}d}", str(number)
            bounds[number] = len(blob), len(blob) + width, len(blob) + width, len(blob) + width + len(text)
            blob += (docno + text).encode()
        (folder / "text.bin").write_bytes(bytes(blob))
        np.save(folder / "bounds.npy", bounds)
    texts = [str(number) for number in range(len(source.queries))]
    none = Qrels(np.zeros(len(texts) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
    key = f"{source.name}-{documents}"
    collection = Collection(key, DocStore(folder), Queries.of(texts), none, EvalPolicy(), key, key)
    return Context(collection, Store(work / "store"), Runtime("cpu", threads))


def _some(starts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return about so many passages, drawn in runs of 64: neighbours, which overlap, stay together as they are in the whole."""
    runs = np.array_split(starts, max(1, len(starts) // 64))
    order = np.random.default_rng(3).permutation(len(runs))
    return np.concatenate([runs[i] for i in order])[: max(1, count)]


def _nothing() -> NDArray[np.float32]:
    return np.zeros((0, DIM), np.float32)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
