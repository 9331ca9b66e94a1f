"""An encoder with a LexSemBridge gate behind it: texts become modulated vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irkit.core.errors import ModelError
from irkit.models.batching import Features
from irkit.models.encoder import Encoder, Side, Vectors
from irkit.models.lexsembridge import Gate, sigma
from irkit.models.lexsembridge_files import token_fingerprint

_ROWS = 8
"""Texts that the gate is worked out for at a time: always as many, so that the products always add up in the same order."""


@dataclass(frozen=True)
class Modulated:
    """The vectors of texts, modulated, and how much.

    Attributes:
        vectors: ``float32[n, dim]``, each as long as the encoder's own.
        plain: the encoder's own, ``float32[n, dim]``.
        sigma: the standard deviation of each text's logits over the dimensions, ``float32[n]``.
    """

    vectors: Vectors
    plain: Vectors
    sigma: NDArray[np.float32]

    @property
    def cosine(self) -> NDArray[np.float64]:
        """The cosine of each text's two vectors, ``float64[n]``; 1 for a zero vector, which no gate can move."""
        a, b = self.vectors.astype(np.float64), self.plain.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), 1.0)


class GatedEncoder:
    """Encodes texts and modulates their vectors. The gate works in float32, whatever the encoder does, and a text's result
    depends on that text alone, as far as the encoder's does (:mod:`irkit.models.batching`)."""

    def __init__(
        self, encoder: Encoder, gate: Gate, rarity: NDArray[np.float32] | None = None, where: str = "the gate"
    ) -> None:
        """Put a gate behind an encoder.

        Args:
            encoder: the loaded encoder.
            gate: the gate made for it; for CLR with its masked language model.
            rarity: for ``statistics: idf``, that of each token id, ``float32[vocabulary]``.
            where: the gate's name in error messages.

        Raises:
            ModelError: when the gate is for other vectors or another tokeniser.
        """
        spec, loaded = gate.spec, encoder.loaded
        hint = f"set model: {spec.model}, or train a gate for this model"
        if spec.dim != encoder.dim:
            message = (
                f"the gate modulates vectors of {spec.dim} dimensions, and the model's have {encoder.dim}"
            )
            raise ModelError.of(message, where=where, hint=hint)
        if token_fingerprint(loaded.tokenizer.get_vocab()) != spec.tokenizer:
            message = "the gate was made for another tokeniser than the model's"
            raise ModelError.of(message, where=where, hint=hint)
        if (spec.statistics == "idf") != (rarity is not None):
            raise ValueError("the rarity of the tokens goes with statistics: idf")
        self.gate = gate.to(encoder.device).eval()
        self._encoder = encoder
        self._rarity = None if rarity is None else torch.from_numpy(rarity).to(encoder.device)

    def modulate(self, texts: Sequence[str], side: Side = "query") -> Modulated:
        """Encode texts and modulate their vectors.

        Raises:
            ModelError: when a vector is not finite.
        """
        shape = (len(texts), self._encoder.dim)
        found = Modulated(
            np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)
        )
        for rows, result in self._encoder.passes(texts, side, self._then):
            found.vectors[rows] = result["vectors"].cpu().numpy()
            found.plain[rows] = result["plain"].cpu().numpy()
            found.sigma[rows] = result["sigma"].cpu().numpy()
        if not np.isfinite(found.vectors).all():
            hint = "float16 overflows in some models: set dtype: bfloat16 or float32"
            raise ModelError.of("the modulated vectors are not finite", where=self._encoder.name, hint=hint)
        return found

    def _then(self, features: Features, result: Features) -> Features:
        plain = result["sentence_embedding"].float()
        parts = [
            self._logits(features, result, range(start, min(start + _ROWS, len(plain))))
            for start in range(0, len(plain), _ROWS)
        ]
        logits = torch.cat(parts) if parts else torch.zeros_like(plain)
        return {"vectors": self.gate.modulated(plain, logits), "plain": plain, "sigma": sigma(logits)}

    def _logits(self, features: Features, result: Features, rows: range) -> Tensor:
        """Return the logits of some rows, worked out along with as many copies of the last one as it takes."""
        index = torch.tensor([*rows, *[rows[-1]] * (_ROWS - len(rows))], device=self._encoder.device)
        names = ("input_ids", "attention_mask", "token_type_ids")
        taken = {name: features[name][index] for name in names if name in features}
        rarity = None if self._rarity is None else self._rarity[taken["input_ids"]]
        return self.gate.logits(taken, result["token_embeddings"][index].float(), rarity)[: len(rows)]
