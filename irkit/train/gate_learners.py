"""The learners of ``kind: lexsembridge``: a gate over a frozen encoder, and an encoder that is trained, with a gate or without."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from irkit.core.flow import flow
from irkit.models.resolve import ResolvedModel
from irkit.train.bi_encoder import identity, is_cosine, with_dropout
from irkit.train.examples import Examples
from irkit.train.learner import Contrastive, Surroundings
from irkit.train.recipe import Recipe, Training
from irkit.train.tokenised import Tokenised
from irkit.train.vectors import document_vectors, frozen_tokens

if TYPE_CHECKING:
    import torch

    from irkit.models.encoder import Encoder, Side
    from irkit.models.lexsembridge import Gate
    from irkit.train.lexsembridge import LexSemBridgeOptions


class GateLearner(Contrastive):
    """What the frozen and the trained encoder's learners share."""

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        place: Surroundings,
        encoder: Encoder,
        model: ResolvedModel,
        gate: Gate | None,
    ) -> None:
        super().__init__(recipe, examples)
        self.options = cast("LexSemBridgeOptions", recipe.options)
        self.place, self.encoder, self.model, self.gate = place, encoder, model, gate
        self.cosine = is_cosine(self.options, encoder)
        self.rarity = self._rarity() if self.options.statistics == "idf" else None
        self.sides: tuple[Side, ...] = ("query", "document") if self.options.side == "both" else ("query",)

    def _rarity(self) -> Any:
        """Return each token's rarity among the documents of the examples, ``float32[vocabulary]``."""
        import torch

        from irkit.stages.vocabulary import count_tokens, rarity

        assert self.gate is not None  # noqa: S101 - the options say that idf is the gate's
        documents = self.examples.documents
        counts = np.zeros(self.gate.spec.vocabulary, np.uint32)
        for start in range(0, len(documents), 1024):
            ids, held = count_tokens(self.encoder.loaded.tokenizer, documents[start : start + 1024])
            counts[ids] += held
        return torch.from_numpy(rarity(counts, len(documents))).to(self.place.device)

    def compared(self, vectors: torch.Tensor) -> torch.Tensor:
        """Bring vectors to length 1 where they are compared by their cosine."""
        import torch

        return torch.nn.functional.normalize(vectors, dim=-1) if self.cosine else vectors

    def gated(self, side: Side, features: Mapping[str, Any], hidden: Any, pooled: Any) -> torch.Tensor:
        """Return vectors through the gate, where this side has one."""
        if self.gate is None or side not in self.sides:
            return self.compared(pooled)
        rare = self.rarity[features["input_ids"]] if self.rarity is not None else None
        return self.compared(self.gate(features, hidden, pooled, rare))

    def gate_group(self, training: Training) -> list[dict[str, Any]]:
        """Return the gate's weights as a group, where there is a gate."""
        if self.gate is None:
            return []
        return [
            {"params": list(self.gate.parameters()), "lr": training.lr, "weight_decay": training.weight_decay}
        ]

    def facts(self) -> dict[str, Any]:
        """Return sigma of the gate's logits and the cosine between modulated and plain vectors, over the held-out queries."""
        import torch

        if self.gate is None:
            return {}
        sigmas, cosines = [], []
        rows = self.examples.held.tolist()
        with torch.inference_mode():
            for start in range(0, len(rows), 128):
                features, hidden, pooled = self.inside(rows[start : start + 128])
                rare = self.rarity[features["input_ids"]] if self.rarity is not None else None
                sigmas.append(self.gate.sigma(features, hidden, rare))
                after = self.gate(features, hidden, pooled, rare)
                cosines.append(torch.nn.functional.cosine_similarity(after, pooled.float(), dim=-1))
        sigma, cosine = torch.cat(sigmas), torch.cat(cosines)
        return {
            "sigma": {"mean": float(sigma.mean()), "max": float(sigma.max())},
            "cosine": {"mean": float(cosine.mean()), "min": float(cosine.min())},
            "gate_parameters": sum(each.numel() for each in self.gate.parameters()),
        }

    @abstractmethod
    def inside(self, rows: Sequence[int]) -> tuple[dict[str, Any], Any, Any]:
        """Return the features, hidden states and pooled vectors of queries."""


class FrozenLearner(GateLearner):
    """The gate alone is trained; what it looks at was worked out before."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        import torch

        assert self.gate is not None  # noqa: S101 - the options refuse it
        key = identity(self.options, self.model)
        self._tokens: dict[str, dict[str, NDArray[Any]]] = {}
        texts = self.examples.texts()
        states = "none"
        if self.options.method == "llr":
            states = "first" if self.options.form == "paper" else "all"
        self._states = states
        for side in self.sides:
            self._tokens[side] = frozen_tokens(self.encoder, texts[side], side, states, self.place, key)
        if "document" not in self.sides:
            found = document_vectors(self.encoder, self.options, texts["document"], self.place, key)
            self._found = torch.from_numpy(found).to(self.place.device)

    def queries(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the modulated vectors of queries."""
        return self.gated("query", *self._of("query", rows))

    def documents(self, numbers: Sequence[int]) -> torch.Tensor:
        """Return the vectors of documents, modulated where both sides are."""
        if "document" in self.sides:
            return self.gated("document", *self._of("document", numbers))
        return self._found[list(numbers)]

    def inside(self, rows: Sequence[int]) -> tuple[dict[str, Any], Any, Any]:
        """Return the features, hidden states and pooled vectors of queries."""
        return self._of("query", rows)

    def _of(self, side: str, rows: Sequence[int]) -> tuple[dict[str, Any], Any, Any]:
        import torch

        kept, device = self._tokens[side], self.place.device
        spans = [slice(*kept["offsets"][row : row + 2].tolist()) for row in rows]
        lengths = [span.stop - span.start for span in spans]
        shape = (len(rows), max([1, *lengths]))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        pooled = torch.from_numpy(kept["pooled"][list(rows)]).to(device)
        hidden = None
        if self._states == "first":
            hidden = torch.from_numpy(kept["states"][list(rows)][:, None, :]).to(device)
        wide = np.zeros((*shape, kept["states"].shape[1]), np.float32) if self._states == "all" else None
        for i, (span, length) in enumerate(zip(spans, lengths, strict=True)):
            ids[i, :length], mask[i, :length] = kept["ids"][span], 1
            if wide is not None:
                wide[i, :length] = kept["states"][span]
        if wide is not None:
            hidden = torch.from_numpy(wide).to(device)
        features = {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }
        return features, hidden, pooled

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the gate's weights."""
        return self.gate_group(training)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the gate's weights."""
        return dict(self.gate.state_dict())  # type: ignore[union-attr]

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the gate's weights."""
        self.gate.load_state_dict(dict(state))  # type: ignore[union-attr]

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write the gate, as the stage ``lexsembridge`` takes it."""
        self.gate.write(folder, trained_on=trained)  # type: ignore[union-attr]

    def usage(self, name: str) -> str:
        """Return the steps of a pipeline that use the gate."""
        return _usage(name, self.model.name)


class UnfrozenLearner(GateLearner):
    """The encoder is trained, with a gate or without. Both sides share it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.encoder.loaded.float()
        texts = [query.text for query in self.examples.queries]
        self.tokens = {
            "query": Tokenised(self.encoder, texts, "query", self.options.query_tokens),
            "document": Tokenised(
                self.encoder, self.examples.documents, "document", self.options.document_tokens
            ),
        }

    def queries(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the vectors of queries."""
        return self.gated("query", *self.inside(rows))

    def documents(self, numbers: Sequence[int]) -> torch.Tensor:
        """Return the vectors of documents."""
        return self.gated("document", *self._pass(numbers, "document"))

    def inside(self, rows: Sequence[int]) -> tuple[dict[str, Any], Any, Any]:
        """Return the features, hidden states and pooled vectors of queries."""
        return self._pass(rows, "query")

    def loss(self, rows: Sequence[int], step: int) -> torch.Tensor:
        """Return InfoNCE over the batch, with dropout."""
        with with_dropout(self.encoder):
            return super().loss(rows, step)

    def _pass(self, numbers: Sequence[int], side: Side) -> tuple[dict[str, Any], Any, Any]:
        import torch

        features = self.tokens[side].batch(numbers)
        device = self.place.device
        there = {key: each.to(device) if hasattr(each, "to") else each for key, each in features.items()}
        mixed = self.options.autocast == "bfloat16"
        with torch.autocast(device.partition(":")[0], torch.bfloat16) if mixed else nullcontext():
            output = self.encoder.loaded(dict(there), task=side)
        return there, output["token_embeddings"].float(), output["sentence_embedding"].float()

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the encoder's weights and the gate's; biases and norms do not decay."""
        weights = [each for each in self.encoder.loaded.parameters() if each.requires_grad]
        rates = {"lr": self.options.encoder_lr}
        return [
            {
                "params": [each for each in weights if each.ndim > 1],
                "weight_decay": training.weight_decay,
                **rates,
            },
            {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0, **rates},
            *self.gate_group(training),
        ]

    def state(self) -> dict[str, torch.Tensor]:
        """Return the encoder's weights and the gate's."""
        parts = {"encoder": self.encoder.loaded, **({"gate": self.gate} if self.gate is not None else {})}
        return {
            f"{part}.{name}": each
            for part, module in parts.items()
            for name, each in module.state_dict().items()
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the encoder's weights and the gate's."""
        parts = {"encoder": self.encoder.loaded, **({"gate": self.gate} if self.gate is not None else {})}
        for part, module in parts.items():
            own = {
                name.removeprefix(f"{part}."): each
                for name, each in state.items()
                if name.startswith(f"{part}.")
            }
            module.load_state_dict(own)

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write the encoder to ``model/``, a SentenceTransformer, and the gate made for it beside that."""
        from irkit.models.digest import folder_fingerprint

        self.encoder.loaded.save_pretrained(str(folder / "model"), create_model_card=False)
        if self.gate is not None:
            spec = replace(
                self.gate.spec,
                model=f"{name}/model",
                fingerprint=folder_fingerprint(folder / "model"),
            )
            self.gate.write(folder, spec=spec, trained_on=trained)

    def usage(self, name: str) -> str:
        """Return the steps of a pipeline that use the encoder, and the gate where there is one."""
        return _usage(name if self.gate is not None else None, f"{name}/model")


def _usage(gate: str | None, model: str) -> str:
    """Return the steps of a pipeline that use an encoder, with a gate or without."""
    dense = f"- dense: {flow({'model': model})}"
    return f"- lexsembridge: {flow({'gate': gate, 'model': model})}\n{dense}" if gate else dense
