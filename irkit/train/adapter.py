"""``kind: adapter``: a low-rank residual of frozen vectors, x' = x + U V x (:mod:`irkit.models.adapter`), by InfoNCE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from pydantic import BaseModel, PositiveInt

from irkit.core.errors import ConfigError
from irkit.core.flow import flow
from irkit.train.bi_encoder import BiEncoderOptions, identity, is_cosine, open_bi_encoder
from irkit.train.examples import Examples
from irkit.train.kinds import Kind, find_model
from irkit.train.learner import Contrastive, Surroundings
from irkit.train.recipe import Recipe, Training
from irkit.train.vectors import document_vectors, frozen_vectors

if TYPE_CHECKING:
    import torch

    from irkit.models.resolve import ResolvedModel


class AdapterOptions(BiEncoderOptions):
    """The options of an adapter."""

    rank: PositiveInt = 32
    """Of U V; at most the dimension of the vectors."""
    side: Literal["query", "both"] = "query"
    """Whose vectors are adapted; with ``both``, each side has its own residual, and documents need not be encoded anew."""


class AdapterKind(Kind):
    """Low-rank adapters of frozen bi-encoders."""

    Options = AdapterOptions

    @classmethod
    def open(cls, recipe: Recipe, examples: Examples, place: Surroundings) -> AdapterLearner:
        """Encode the texts, or find their vectors in the scratch folder, and make an untrained adapter."""
        options = cast(AdapterOptions, recipe.options)
        encoder, model = open_bi_encoder(options, place)
        cosine, key = is_cosine(options, encoder), identity(options, model)
        texts = [query.text for query in examples.queries]
        asked = frozen_vectors(encoder, texts, "query", cosine, place, key)
        found = document_vectors(encoder, options, examples.documents, place, key)
        return AdapterLearner(recipe, examples, model, asked, found, cosine, place.device)

    @classmethod
    def reads(cls, options: BaseModel, place: Surroundings) -> str:
        """Return the fingerprint of the encoder."""
        return find_model(cast(AdapterOptions, options).model, place).fingerprint


class AdapterLearner(Contrastive):
    """U and V of one side or both. U is zero at first, so that training starts from the vectors as they are."""

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        model: ResolvedModel,
        asked: Any,
        found: Any,
        cosine: bool,
        device: str,
    ) -> None:
        """Take the vectors of queries and documents, ``float32[n, dim]``.

        Raises:
            ConfigError: when the rank is more than their dimension.
        """
        import torch

        super().__init__(recipe, examples)
        self.options = cast(AdapterOptions, recipe.options)
        self.model, self.cosine = model, cosine
        dim, rank = asked.shape[1], self.options.rank
        if rank > dim:
            hint = f"take at most {dim}"
            raise ConfigError.of(
                f"rank {rank} is more than the vectors' {dim} dimensions", where="options.rank", hint=hint
            )
        self._asked, self._found = (torch.from_numpy(each).to(device) for each in (asked, found))
        random = torch.Generator().manual_seed(recipe.seed)
        sides = ("query", "document") if self.options.side == "both" else ("query",)
        self.weights: dict[str, torch.nn.Parameter] = {}
        for side in sides:
            first = torch.randn(rank, dim, generator=random) / dim**0.5
            self.weights[f"{side}.U"] = torch.nn.Parameter(torch.zeros(dim, rank, device=device))
            self.weights[f"{side}.V"] = torch.nn.Parameter(first.to(device))

    def queries(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the adapted vectors of queries."""
        return self._adapted("query", self._asked[list(rows)])

    def documents(self, numbers: Sequence[int]) -> torch.Tensor:
        """Return the vectors of documents, adapted where both sides are."""
        return self._adapted("document", self._found[list(numbers)])

    def _adapted(self, side: str, vectors: torch.Tensor) -> torch.Tensor:
        if f"{side}.U" not in self.weights:
            return vectors
        return vectors + vectors @ self.weights[f"{side}.V"].T @ self.weights[f"{side}.U"].T

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return all weights as one group."""
        return [
            {"params": list(self.weights.values()), "lr": training.lr, "weight_decay": training.weight_decay}
        ]

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write the adapter's folder, as the stage ``adapter`` takes it."""
        from irkit.models.adapter import Adapter, LowRank

        def side(which: str) -> LowRank:
            u, v = (self.weights[f"{which}.{part}"].detach().cpu().numpy() for part in "UV")
            return LowRank(np.ascontiguousarray(u), np.ascontiguousarray(v))

        document = side("document") if "document.U" in self.weights else None
        similarity = "cosine" if self.cosine else "dot"
        Adapter(side("query"), document, self.model.name, self.model.fingerprint, similarity, trained).save(
            folder
        )

    def usage(self, name: str) -> str:
        """Return the steps of a pipeline that use the adapter."""
        model = self.model.name
        return f"- adapter: {flow({'path': name, 'model': model})}\n- dense: {flow({'model': model})}"

    def facts(self) -> dict[str, Any]:
        """Return how large the residual is beside the vectors it is added to, on average over the held-out queries."""
        import torch

        with torch.inference_mode():
            rows = self.examples.held.tolist()
            before, after = self._asked[rows], self.queries(rows)
            moved = (after - before).norm(dim=1) / before.norm(dim=1).clamp_min(1e-12)
        return {
            "parameters": sum(each.numel() for each in self.weights.values()),
            "relative_change": float(moved.mean()),
        }
