"""The two learners of ``kind: multivector``: a head over frozen token vectors, and a head over a transformer with LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from irkit.models.lora import Updates
from irkit.train.bi_encoder import identity, with_dropout
from irkit.train.multivector.late_interaction import Texts
from irkit.train.multivector.learner import TokenLearner
from irkit.train.multivector.tokens import TokenCache
from irkit.train.recipe import Training
from irkit.train.tokenised import Tokenised

if TYPE_CHECKING:
    import torch

    from irkit.models.encoder import Side

_PASS = 1 << 14
"""Tokens, padding included, that a transformer reads at a time on the CPU; four times as many on an accelerator, which would else
wait for its next kernel.
"""


class FrozenTokens(TokenLearner):
    """The head alone is trained, over token vectors that were worked out once."""

    def prepare(self) -> None:
        """Encode all texts, or find their token vectors."""
        key = identity(self.options, self.model)
        texts = self.examples.texts()
        self._kept = {
            side: TokenCache(self.encoder, texts[side], side, self.place, key, special=side == "document")
            for side in ("query", "document")
        }

    def hidden(self, numbers: Sequence[int], side: Side) -> Texts:
        """Return the kept vectors: hidden states divided by their length, which the head's own division makes no odds of."""
        import torch

        kept, device = self._kept[side], self.place.device
        vectors = torch.from_numpy(kept.take(numbers)).to(device).float()
        return Texts(vectors, torch.from_numpy(kept.lengths[list(numbers)]).to(device))

    def lengths(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return how many tokens documents have."""
        return self._kept["document"].lengths[list(numbers)]


class TrainedTokens(TokenLearner):
    """The transformer is trained too, through updates of low rank (LoRA)."""

    def prepare(self) -> None:
        """Put the updates in; they change nothing at first."""
        import torch

        options, rank = self.options, cast(int, self.options.rank)
        alpha, transformer = options.alpha or 2 * rank, self.encoder.loaded.transformers_model
        linear = [name for name, each in transformer.named_modules() if isinstance(each, torch.nn.Linear)]
        targets = [name for name in linear if "pooler" not in name]  # token vectors do not depend on it
        self.updates = Updates.inject(
            transformer,
            targets,
            rank,
            alpha,
            self.recipe.seed,
            task="FEATURE_EXTRACTION",
            dropout=options.dropout,
        )
        self.encoder.loaded.eval()
        limits: dict[Side, int] = {"query": options.query_tokens, "document": options.document_tokens}
        texts = self.examples.texts()
        self._tokenised = {side: Tokenised(self.encoder, texts[side], side, limits[side]) for side in limits}
        special = self.encoder.loaded.tokenizer.all_special_ids
        self._special = torch.tensor(special, device=self.place.device)

    def hidden(self, numbers: Sequence[int], side: Side) -> Texts:
        """Run the transformer."""
        import torch

        parts, order = [], []
        for rows, batch, result in self.passes(numbers, side):
            keep = batch["attention_mask"].bool()
            if side == "query":
                keep &= ~torch.isin(batch["input_ids"], self._special)
            parts.append(Texts.of(result["token_embeddings"].float(), keep))
            order += rows
        return Texts.joined(parts).take(np.argsort(order).tolist())

    def passes(
        self, numbers: Sequence[int], side: Side
    ) -> Iterator[tuple[list[int], dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
        """Run the encoder over texts of like length at a time; yield their places among the numbers, and what it read and gives."""
        import torch

        features = self._tokenised[side].batch(numbers)
        mask = features["attention_mask"]
        lengths = mask.sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        device = self.place.device
        for rows in _runs(lengths[order].tolist(), _PASS if device == "cpu" else 4 * _PASS):
            some = order[rows.start : rows.stop]
            columns = mask[some].any(dim=0)
            batch = {
                key: each[some][:, columns].to(device) if getattr(each, "shape", None) == mask.shape else each
                for key, each in features.items()
            }
            mixed = self.options.autocast == "bfloat16"
            with torch.autocast(device.partition(":")[0], torch.bfloat16) if mixed else nullcontext():
                result = self.encoder.loaded(dict(batch), task=side)
            yield some.tolist(), batch, result

    def lengths(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return the most tokens that documents can have, from their characters."""
        characters = np.array([len(self.examples.documents[number]) for number in numbers], np.int64)
        return np.minimum(characters // 2 + 2, self.options.document_tokens)

    def loss(self, rows: Sequence[int], step: int) -> torch.Tensor:
        """Return the objective over the batch, with dropout."""
        with with_dropout(self.encoder):
            return super().loss(rows, step)

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the updates' weights and the head's."""
        weights = list(self.updates.weights.values())
        own = {"params": weights, "lr": self.options.lora_lr, "weight_decay": training.weight_decay}
        return [own, *super().groups(training)]

    @property
    def weights(self) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """The head, and the updates by peft's names."""
        return {**super().weights, **self.updates.weights}

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write the head, and the updates in peft's own files, in float16."""
        super().save(folder, name, trained)
        self.updates.save(folder, self.model.name)


def _runs(lengths: Sequence[int], most: int) -> Iterator[range]:
    """Yield consecutive texts, by ascending length, that a transformer reads together: ``most`` tokens, or one text."""
    first = 0
    for i, length in enumerate(lengths):
        if i > first and (i + 1 - first) * length > most:
            yield range(first, i)
            first = i
    yield range(first, len(lengths))
