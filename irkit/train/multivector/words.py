"""ColBERTer's heads over a frozen transformer (arXiv 2203.13088, section 3): whole words, gates that drop them, sentence vectors.

What is kept of the transformer are the means of the hidden states of each whole word's pieces, and the hidden state of [CLS]:
the compressors are linear, so they may as well come after the mean. The result is a folder in the published format of ColBERTer,
with the transformer's own weights in it.

The authors train with Margin-MSE against a teacher. Here the fused score and the sentence vectors alone each get the softmax
cross-entropy of the other objectives, and the fused one the divergence from a teacher where there is one; the gates get the
authors' L1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.train.bi_encoder import identity
from irkit.train.multivector.late_interaction import Texts, max_sim, mean_of_best
from irkit.train.multivector.learner import TokenLearner, principal
from irkit.train.multivector.tokens import TokenCache
from irkit.train.recipe import Training
from irkit.train.vectors import frozen_vectors

if TYPE_CHECKING:
    import torch

    from irkit.models.encoder import Side

Late: TypeAlias = "Callable[[Texts, Texts], torch.Tensor]"

_BACKBONE, _WEIGHTS = "backbone", "model.safetensors"
_SIDES: tuple[Side, ...] = ("query", "document")


class WordHeads(TokenLearner):
    """ColBERTer's ``compressor`` (the head, with a bias), ``stop_word_reducer``, ``compressor_retrieval`` and ``score_merger``.

    The compressors start as PCAs, scaled so that the mean square of their vectors' lengths is 1, the gates at 1, the weight of the
    sentence vectors at 1/2.
    """

    def prepare(self) -> None:
        """Read all texts with a ColBERTer that compresses nothing, or find what it read."""
        import torch

        from irkit.models.colberter import ColBERTer
        from irkit.models.resolve import resolve

        place, key = self.place, {**identity(self.options, self.model), "colberter": True}
        folder = place.scratch / "colberter"
        if not (folder / _WEIGHTS).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            self._write(folder, {}, tokens=-1, sentence=-1, gated=False)
        plain: Any = ColBERTer(
            resolve(str(folder), place.base),
            max_length=self.options.max_length,
            device=place.device,
            batch_size=self.options.batch_size,
        )
        texts = self.examples.texts()
        self._words = {
            side: TokenCache(plain, texts[side], side, place, key, special=True) for side in _SIDES
        }
        self._sentences = {
            side: torch.from_numpy(frozen_vectors(plain, texts[side], side, False, place, key)).to(
                place.device
            )
            for side in _SIDES
        }

    def first(self) -> torch.Tensor:
        """Return the compressor's first weights, and make the other heads."""
        import torch

        device, dim = self.place.device, self.options.dim
        words = super().first().to(device)
        sentences = self._sentences["document"]
        wide = torch.nn.functional.normalize(sentences, dim=1).cpu().double().numpy()
        retrieval = principal(wide.T @ wide, min(self.options.sentence_dim, sentences.shape[1])).to(device)
        some = self.hidden(range(min(256, len(self.examples.documents))), "document").vectors
        heads = {
            "compressor.bias": torch.zeros(dim),
            "stop_word_reducer.weight": torch.zeros(1, dim),
            "stop_word_reducer.bias": torch.ones(1),
            "compressor_retrieval.weight": _scaled(retrieval, sentences),
            "compressor_retrieval.bias": torch.zeros(len(retrieval)),
            "score_merger": torch.zeros(1),
        }
        self.heads = {name: torch.nn.Parameter(each.to(device)) for name, each in heads.items()}
        return _scaled(words, some)

    def hidden(self, numbers: Sequence[int], side: Side) -> Texts:
        """Return the mean hidden states of whole words."""
        import torch

        kept, device = self._words[side], self.place.device
        vectors = torch.from_numpy(kept.take(numbers)).to(device).float()
        return Texts(vectors, torch.from_numpy(kept.lengths[list(numbers)]).to(device))

    def lengths(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return how many unique words documents have."""
        return self._words["document"].lengths[list(numbers)]

    def tokens(self, numbers: Sequence[int], side: Side) -> Texts:
        """Return word vectors, of documents those alone that their gates let through."""
        return self._gated(numbers, side)[0]

    def judged(
        self, rows: Sequence[int], numbers: Sequence[int]
    ) -> tuple[list[torch.Tensor], torch.Tensor | float]:
        """Return the fused scores and those of the sentence vectors, and L1 of the gates."""
        found, gates = self._gated(numbers, "document")
        asked = self.tokens(rows, "query")
        whole = self.sentence(rows, "query") @ self.sentence(numbers, "document").T
        return [self._fused(whole, asked, found, max_sim), whole], self.options.gate_l1 * gates.mean()

    def encoded(self, numbers: Sequence[int], side: Side) -> tuple[torch.Tensor, Texts]:
        """Return sentence vectors and words."""
        return self.sentence(numbers, side), self.tokens(numbers, side)

    def ranked(self, asked: tuple[torch.Tensor, Texts], found: tuple[torch.Tensor, Texts]) -> torch.Tensor:
        """Return the fused scores."""
        return self._fused(asked[0] @ found[0].T, asked[1], found[1], mean_of_best)

    def sentence(self, numbers: Sequence[int], side: Side) -> torch.Tensor:
        """Return sentence vectors, ``[n, sentence_dim]``."""
        weight, bias = (self.heads[f"compressor_retrieval.{part}"] for part in ("weight", "bias"))
        return self._sentences[side][list(numbers)] @ weight.T + bias

    def _fused(self, whole: torch.Tensor, asked: Texts, found: Texts, mean: Late) -> torch.Tensor:
        """Return sigma(w) s + (1 - sigma(w)) r, r being the sum over a query's words."""
        share = self.heads["score_merger"].sigmoid()
        words = (
            mean(asked, found) * asked.lengths[:, None]
            if len(found.vectors)
            else whole.new_zeros(whole.shape)
        )
        return share * whole + (1 - share) * words

    def _gated(self, numbers: Sequence[int], side: Side) -> tuple[Texts, torch.Tensor]:
        """Return words, and all gates, ``[T]``; 1 for queries."""
        import torch

        states = self.hidden(numbers, side)
        vectors = states.vectors @ self.head.T + self.heads["compressor.bias"]
        if side == "query":
            return Texts(vectors, states.lengths), vectors.new_ones(len(vectors))
        weight, bias = (self.heads[f"stop_word_reducer.{part}"] for part in ("weight", "bias"))
        gates = torch.relu(vectors @ weight[0] + bias)
        stay = gates > 0
        owner = torch.repeat_interleave(torch.arange(len(states), device=stay.device), states.lengths)
        lengths = torch.zeros_like(states.lengths).index_add(0, owner, stay.to(torch.int64))
        return Texts((vectors * gates[:, None])[stay], lengths), gates

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the weights of all heads; biases and the score's weight do not decay."""
        names = [name for name in self.heads if name.endswith("weight")]
        own = {"params": [self.heads[name] for name in names], "lr": training.lr}
        rest = [each for name, each in self.heads.items() if name not in names]
        return [
            *super().groups(training),
            {**own, "weight_decay": training.weight_decay},
            {"params": rest, "lr": training.lr, "weight_decay": 0.0},
        ]

    @property
    def weights(self) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """All heads."""
        return {**super().weights, **self.heads}

    def facts(self) -> dict[str, Any]:
        """Return also the share of the pool's words that the gates let through, and the weight of the sentence vectors."""
        import torch

        with torch.inference_mode():
            gates = [self._gated(self.pool[places].tolist(), "document")[1] > 0 for places in self._blocks()]
        kept = float(torch.cat(gates).float().mean())
        share = float(self.heads["score_merger"].detach().sigmoid())
        return {**super().facts(), "words_kept": kept, "sentence_share": share}

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write a ColBERTer, the transformer included."""
        weights = {k: v.cpu() for k, v in self.state().items() if k != "head"}
        heads = {"compressor.weight": self.head.detach().cpu(), **weights}
        sentence = len(self.heads["compressor_retrieval.bias"])
        self._write(folder, heads, tokens=self.options.dim, sentence=sentence, gated=True)

    def usage(self, name: str) -> str:
        """Return the step of a pipeline that uses the model."""
        return f"- colberter: {{model: {name}}}"

    def _write(
        self, folder: Path, heads: Mapping[str, torch.Tensor], *, tokens: int, sentence: int, gated: bool
    ) -> None:
        from safetensors.torch import save_file

        loaded = self.encoder.loaded
        config = {
            "bert_model": _BACKBONE,
            "compression_dim": tokens,
            "retrieval_compression_dim": sentence,
            "second_compress_dim": -1,
            "use_contextualized_stopwords": gated,
            "aggregate_unique_ids": True,
            "compress_to_exact_mini_mode": False,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        loaded.transformers_model.config.save_pretrained(str(folder / _BACKBONE))
        loaded.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
        weights = {f"bert_model.{k}": v.cpu() for k, v in loaded.transformers_model.state_dict().items()}
        merger = {} if heads else {"score_merger": next(iter(weights.values())).new_zeros(1)}
        whole = {**weights, **merger, **heads}
        partial = folder / f"{_WEIGHTS}.partial"
        save_file({k: _short(v).contiguous() for k, v in whole.items()}, partial)
        partial.replace(folder / _WEIGHTS)


def _scaled(weight: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Scale a projection so that the mean square of what it makes of vectors is 1 a vector."""
    found = vectors @ weight.T
    return weight / found.square().sum(dim=1).mean().sqrt()


def _short(values: torch.Tensor) -> torch.Tensor:
    """Return float16 where that holds the same numbers: many checkpoints were made from such."""
    import torch

    half = values.to(torch.float16)
    return half if values.is_floating_point() and torch.equal(half.to(values.dtype), values) else values
