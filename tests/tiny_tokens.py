"""A token encoder for the tests of the token store, and what they look at."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tiny import WORDS

from irkit.core.errors import ModelError
from irkit.core.fingerprint import file_sha256
from irkit.core.rankings import Rankings
from irkit.models.ragged import Ragged
from irkit.models.words import word_id
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.multivector.options import LateInteraction
from irkit.stages.multivector.tokens import Tokens
from irkit.store import Recipe

DIM = 24


class FakeEncoder:
    """A token is a word; its vector and the attention that it receives depend on the word and its position."""

    name, device, multi_vector, dim, token_dim = "fake", "cpu", False, DIM, DIM

    def __init__(
        self, *, words: bool = True, length: float = 1.0, fail_at: int | None = None, odd: Sequence[str] = ()
    ) -> None:
        self.words, self.length, self.fail_at, self.odd = words, length, fail_at, odd
        self.encoded: list[str] = []

    def tokens(
        self,
        texts: Sequence[str],
        side: str,
        *,
        special: bool = True,
        words: bool = False,
        salience: bool = False,
    ) -> Ragged:
        if words and not self.words:
            raise ModelError.of("no words here", where=self.name)
        if list(texts) != ["word"]:  # asked to see whether there are words
            self.encoded += texts
        if self.fail_at is not None and len(self.encoded) > self.fail_at:
            raise KeyboardInterrupt
        pieces = [["_", *text.split()] if text else [] for text in texts]
        flat = [(i, piece) for each in pieces for i, piece in enumerate(each)]
        rows = [self._vector(i, piece) for i, piece in flat]
        if any(text in self.odd for text in texts):  # a text whose vectors are no longer of length 1
            lengths = [
                2.0 if text in self.odd else 1.0
                for text, each in zip(texts, pieces, strict=True)
                for _ in each
            ]
            rows = [row * length for row, length in zip(rows, lengths, strict=True)]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in pieces])]).astype(np.int64)
        names = np.array([0 if piece == "_" else word_id(piece.encode()) for _, piece in flat], np.uint32)
        attention = np.array([zlib.crc32(f"{i} {piece}".encode()) / 2**32 for i, piece in flat], np.float32)
        return Ragged(
            offsets,
            np.array(rows, np.float32).reshape(-1, DIM),
            names if words else None,
            attention if salience else None,
        )

    def _vector(self, place: int, piece: str) -> np.ndarray:
        of_word = np.random.default_rng(zlib.crc32(piece.encode())).normal(size=DIM) * np.linspace(
            3, 0.1, DIM
        )
        vector = of_word + 0.2 * np.random.default_rng(place).normal(size=DIM)
        return self.length * vector / np.linalg.norm(vector)


class Fake(LateInteraction):
    """A stage's options, without a real model."""

    def artifacts(self, context: Context) -> list[Recipe]:
        return self.token_recipes(context)

    def run(self, batch: Batch, state: Any) -> Rankings:
        raise AssertionError("a stage that is never run")

    def encoder_identity(self, context: Context) -> dict[str, Any]:
        return {"model": self.model}


def some_texts(n: int = 40) -> list[str]:
    rng = np.random.default_rng(0)
    words = [*WORDS, "the", "of", "and"]
    return [" ".join(rng.choice(words, rng.integers(0, 30))) for _ in range(n)]


TEXTS = some_texts()


def opened(
    context: Context, options: Mapping[str, Any], encoder: FakeEncoder | None = None, **more: Any
) -> Tokens:
    return Fake(tokens=options, **more).open_tokens(context, encoder or FakeEncoder())  # type: ignore[arg-type]


def documents(tokens: Tokens) -> list[np.ndarray]:
    return [tokens.span(a, b) for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


def digests(context: Context, kind: str) -> dict[str, str]:
    (artifact,) = (each for each in context.store.artifacts() if each.kind == kind)
    return {
        str(path.relative_to(artifact.path)): file_sha256(path)
        for path in sorted(artifact.path.rglob("*.npy"))
    }


def meta(context: Context, kind: str) -> Mapping[str, Any]:
    (artifact,) = (each for each in context.store.artifacts() if each.kind == kind)
    return artifact.meta


ALL = {"dim": 16, "prune": "stop-words", "words": True, "pool": 2, "codec": "residual-2"}
"""Every reduction at once."""
