"""Texts that a model reads many times, tokenised once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from irkit.models.batching import Layout

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder, Side

_PART = 1024


class Tokenised:
    """What the tokeniser makes of texts, kept from the first time that a text is asked for.

    A trained encoder reads the same texts at every look and in every epoch, and beside an accelerator tokenising a batch takes
    about as long as training on it.
    """

    def __init__(self, encoder: Encoder, texts: Sequence[str], side: Side, most: int) -> None:
        """Keep nothing yet.

        Args:
            encoder: whose tokeniser and prompts.
            texts: all that may be asked for.
            side: theirs.
            most: tokens of a text, special ones included; never more than the model's own limit.
        """
        self._encoder, self._texts, self._side = encoder, texts, side
        own = encoder.loaded.max_seq_length
        self._most = min(most, own) if own else most
        self._layout = Layout.of(encoder.loaded)
        self._rows: dict[int, Mapping[str, Any]] = {}

    def batch(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the features of some texts, on the CPU, padded to the longest: those of :meth:`Encoder.features`."""
        missing = [number for number in dict.fromkeys(numbers) if number not in self._rows]
        for start in range(0, len(missing), _PART):
            self._keep(missing[start : start + _PART])
        rows = [self._rows[number] for number in numbers]
        return {key: self._joined(key, [row[key] for row in rows]) for key in rows[0]}

    def _keep(self, numbers: Sequence[int]) -> None:
        import torch

        features = self._features([self._texts[number] for number in numbers])
        mask = features["attention_mask"]
        for i, number in enumerate(numbers):
            length = int(mask[i].sum())
            span = slice(mask.shape[1] - length, None) if self._layout.left else slice(length)
            self._rows[number] = {
                # int32 and copies: a view would keep the padding of its whole part
                key: each[i, span].to(torch.int32, copy=True)
                if getattr(each, "shape", None) == mask.shape
                else each
                for key, each in features.items()
            }

    def _features(self, texts: Sequence[str]) -> dict[str, Any]:
        loaded = self._encoder.loaded
        own, loaded.max_seq_length = loaded.max_seq_length, self._most
        try:
            return self._encoder.features(texts, self._side)
        finally:
            loaded.max_seq_length = own

    def _joined(self, key: str, values: Sequence[Any]) -> Any:
        from torch.nn.utils.rnn import pad_sequence

        if getattr(values[0], "ndim", 0) != 1:
            return values[0]  # of the whole side, such as the length of its prompt
        fill = self._layout.pad if key == "input_ids" else 0
        side = "left" if self._layout.left else "right"
        return pad_sequence(list(values), True, fill, side).long()
