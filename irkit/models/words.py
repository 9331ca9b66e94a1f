"""From token ids to whole words, for any tokeniser whose vocabulary says which pieces begin a word.

Three families say so: WordPiece marks the pieces that continue a word (``##ing``), SentencePiece those that begin one
(``▁ing``), byte-level BPE those that follow a space (``Ġing``). On top of that, in every family, a piece made of
punctuation alone is a word of its own, as BERT's tokenisers have it, so ``word,`` is two words everywhere.

A word is named by a number of 32 bits, as ColBERTer's published code does (Hofstätter et al., arXiv 2203.13088): the
first four bytes, little-endian, of the SHA-256 of the lower-cased word in UTF-8. The word is what its pieces spell, so
whatever the tokeniser strips, such as accents, is not in it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError

Reading: TypeAlias = tuple[bool, bytes]
"""Of one piece: whether it begins a word, and the bytes that it contributes to the word."""

_REMEMBERED = 1 << 18
"""How many words of more than one piece are remembered: some 50 MB."""


class WordIds:
    """Names the whole words in sequences of token ids of one vocabulary.

    Everything that depends on the vocabulary alone is computed once, when it is made (about 0.1 s for 30,000 pieces).
    """

    def __init__(self, tokeniser: Any, name: str, markers: Iterable[str] = ()) -> None:
        """Read the vocabulary.

        Args:
            tokeniser: one of transformers.
            name: of the model, for the error message.
            markers: texts which, where they are tokens of their own, are no words: ColBERT's ``[Q]`` and ``[D]``.

        Raises:
            ModelError: when the vocabulary does not say where words begin.
        """
        pieces = _pieces(tokeniser)
        read = _reader(tokeniser, pieces, name)
        special = set(tokeniser.all_special_ids) | _added(tokeniser, {text.strip() for text in markers})
        readings = [(True, b"") if i in special else read(piece) for i, piece in enumerate(pieces)]
        self._bytes = [text for _, text in readings]
        alone = np.array([i in special or _is_punctuation(text) for i, (_, text) in enumerate(readings)])
        self._begins = np.array([begins for begins, _ in readings]) | alone
        self._ends = alone
        self._single = np.zeros(len(pieces), np.uint32)
        self._known = np.zeros(len(pieces), bool)
        self._several: dict[bytes, int] = {}

    def __call__(self, ids: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the word of every token, ``uint32``, of the shape of ``ids``, which is (texts, positions).

        0 stands for no word: special tokens, padding and the unknown token among them, and pieces of white space
        that stand alone.
        """
        if not ids.size:
            return np.zeros(ids.shape, np.uint32)
        begins = self._begins[ids]
        begins[:, 1:] |= self._ends[ids[:, :-1]]
        begins[:, 0] = True
        flat = np.ascontiguousarray(ids).ravel()
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=flat.size)
        first = flat[starts]
        self._learn(first)
        names = self._single[first]
        for word in np.flatnonzero(lengths > 1):
            names[word] = self._name_of(flat[starts[word] : starts[word] + lengths[word]])
        return np.repeat(names, lengths).reshape(ids.shape)

    def _learn(self, ids: NDArray[np.int64]) -> None:
        """Name the pieces that have not yet been a whole word."""
        for i in np.unique(ids[~self._known[ids]]):
            self._single[i] = word_id(self._bytes[i])
            self._known[i] = True

    def _name_of(self, ids: NDArray[np.int64]) -> int:
        key = ids.tobytes()
        found = self._several.get(key)
        if found is None:
            if len(self._several) >= _REMEMBERED:
                self._several.clear()
            found = self._several[key] = word_id(b"".join(self._bytes[i] for i in ids))
        return found


def word_id(word: bytes) -> int:
    """Return the number that names a word, given in UTF-8; 0 for one without any character.

    Bytes that are no UTF-8 become the replacement character: a word may be cut at the end of a text.
    """
    text = word.decode("utf-8", "replace").strip().lower()
    return int.from_bytes(sha256(text.encode()).digest()[:4], "little") or 1 if text else 0


def _pieces(tokeniser: Any) -> list[str]:
    vocabulary: dict[str, int] = tokeniser.get_vocab()
    pieces = [""] * (1 + max(vocabulary.values(), default=-1))
    for piece, i in vocabulary.items():
        pieces[i] = piece
    return pieces


def _reader(tokeniser: Any, pieces: list[str], name: str) -> Callable[[str], Reading]:
    """Return how to read a piece of this vocabulary."""
    model: Any = getattr(getattr(tokeniser, "backend_tokenizer", None), "model", None)
    family = type(model).__name__
    if family == "WordPiece":
        return _wordpiece(model.continuing_subword_prefix)
    marks = {mark: sum(piece.startswith(mark) for piece in pieces) for mark in ("▁", "Ġ")}
    if family in ("Unigram", "BPE") and any(marks.values()):
        return _sentencepiece if family == "Unigram" or marks["▁"] > marks["Ġ"] else _byte_level()
    hint = "whole words need a tokeniser of the WordPiece, SentencePiece or byte-level BPE family; leave words out"
    raise ModelError.of(
        f"the model's tokeniser does not say where words begin: {family}", where=name, hint=hint
    )


def _wordpiece(prefix: str) -> Callable[[str], Reading]:
    def read(piece: str) -> Reading:
        bare = piece.removeprefix(prefix)
        continues = piece.startswith(prefix) and bool(bare)  # "##" alone is two number signs
        return (False, bare.encode()) if continues else (True, piece.encode())

    return read


def _sentencepiece(piece: str) -> Reading:
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):  # a byte that no piece covers
        return False, bytes([int(piece[3:5], 16)])
    return piece.startswith("▁"), piece.replace("▁", " ").encode()


def _byte_level() -> Callable[[str], Reading]:
    """Return how to read the alphabet of byte-level BPE (GPT-2).

    Printable bytes stand for themselves, the others, in order, for the letters from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}

    def read(piece: str) -> Reading:
        if not all(letter in alphabet for letter in piece):  # an added token, in plain text
            return True, piece.encode()
        text = bytes(alphabet[letter] for letter in piece)
        return text[:1].isspace(), text

    return read


def _added(tokeniser: Any, markers: set[str]) -> set[int]:
    """Return the added tokens that are special, or one of these markers."""
    added: dict[int, Any] = tokeniser.added_tokens_decoder
    return {i for i, token in added.items() if token.special or token.content.strip() in markers}


def _is_punctuation(piece: bytes) -> bool:
    text = piece.decode("utf-8", "replace").strip()
    return bool(text) and all(_is_mark(letter) for letter in text)


def _is_mark(letter: str) -> bool:
    """Whether BERT's tokenisers split at the character: every ASCII symbol, and Unicode's punctuation."""
    return (letter.isascii() and not letter.isalnum()) or unicodedata.category(letter).startswith("P")
