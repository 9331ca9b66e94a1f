"""The token vectors that a frozen encoder gives the texts of the examples: in files, made once, read text by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from irkit.core.files import partial_of, refusals_told
from irkit.core.fingerprint import fingerprint
from irkit.core.rankings import offsets_of
from irkit.train.learner import Surroundings

if TYPE_CHECKING:
    from irkit.models.encoder import Side
    from irkit.models.opening import TextEncoder

Number = TypeVar("Number", np.float16, np.uint32)

_PART = 512
"""Texts a file: what a killed run loses at most."""


class TokenCache:
    """Token vectors of texts, float16, too many to be held in memory: some gigabytes for ten thousand passages.

    Attributes:
        dim: of the vectors.
        lengths: ``int64[n]``, tokens of each text.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        texts: Sequence[str],
        side: Side,
        place: Surroundings,
        identity: Mapping[str, Any],
        *,
        special: bool,
        words: bool = False,
    ) -> None:
        """Encode what an earlier run did not.

        Args:
            encoder: whose token vectors.
            texts: the texts.
            side: theirs.
            place: where they are kept: in the scratch folder, until training is over.
            identity: of the model and its options.
            special: whether special tokens count.
            words: whether to keep along with the vectors of which words they are.
        """
        key = {"what": "token vectors", "side": side, "special": special, "texts": fingerprint(list(texts))}
        key |= {"words": True} if words else {}
        self._folder = place.scratch / "tokens" / fingerprint({**key, **identity})[:32]
        self._folder.mkdir(parents=True, exist_ok=True)
        self.dim = encoder.token_dim
        lengths = [np.zeros(0, np.int64)]
        with place.progress.task(f"tokens, {side} side", len(texts)) as advance:
            for part, start in enumerate(range(0, len(texts), _PART)):
                some = list(texts[start : start + _PART])
                if not self._is_whole(part, len(some), words):
                    made = encoder.tokens(some, side, special=special, words=words)
                    self._write(part, "vectors", made.vectors.astype(np.float16))
                    if made.words is not None:
                        self._write(part, "words", made.words)
                    self._write(
                        part, "lengths", np.diff(made.offsets)
                    )  # last: what a killed run leaves has none
                lengths.append(np.fromfile(self._file(part, "lengths"), np.int64))
                advance(len(some))
        self.lengths: NDArray[np.int64] = np.concatenate(lengths)
        self._starts = np.concatenate([np.zeros(0, np.int64), *(offsets_of(each)[:-1] for each in lengths)])

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, numbers: Sequence[int]) -> NDArray[np.float16]:
        """Return the vectors of some texts, one text after the other, ``float16[T, dim]``."""
        return self._read("vectors", np.float16, self.dim, numbers).reshape(-1, self.dim)

    def words(self, numbers: Sequence[int]) -> NDArray[np.uint32]:
        """Return which words they are, ``uint32[T]`` (see :mod:`irkit.models.words`), where that was kept."""
        return self._read("words", np.uint32, 1, numbers)

    def _read(self, what: str, dtype: type[Number], width: int, numbers: Sequence[int]) -> NDArray[Number]:
        size = np.dtype(dtype).itemsize * width
        parts = [np.zeros(0, dtype)]
        for number in numbers:
            file, count, start = self._file(number // _PART, what), self.lengths[number], self._starts[number]
            parts.append(np.fromfile(file, dtype, int(count) * width, offset=int(start) * size))
        return np.concatenate(parts)

    def _is_whole(self, part: int, texts: int, words: bool) -> bool:
        """Whether a part is there, and its files are as long as they say: a file that was cut since is written anew."""
        file = self._file(part, "lengths")
        lengths = np.fromfile(file, np.int64) if file.is_file() else np.zeros(0, np.int64)
        sizes = {"vectors": 2 * self.dim, **({"words": 4} if words else {})}
        files = {what: self._file(part, what) for what in sizes}
        return len(lengths) == texts and all(
            file.is_file() and file.stat().st_size == lengths.sum() * sizes[what]
            for what, file in files.items()
        )

    def _file(self, part: int, what: str) -> Path:
        return self._folder / f"{part:06d}.{what}"

    def _write(self, part: int, what: str, values: NDArray[Any]) -> None:
        path = self._file(part, what)
        with refusals_told(path), partial_of(path) as partial:
            values.tofile(partial)
