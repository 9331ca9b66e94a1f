"""ColBERTer's heads on a bi-encoder (arXiv 2203.13088, section 3): whole words, gates that drop them, sentence vectors.

The transformer is frozen, or gets LoRA along with the heads. Of a frozen one are kept the means of the vectors of each whole
word's pieces, and the bi-encoder's sentence vectors: the compressors are linear, so they may as well come after the mean.

The authors train with Margin-MSE against a teacher. Here the fused score and the sentence vectors alone each get the softmax
cross-entropy of the other objectives, and the divergence from a teacher where there is one; the gates get the authors' L1.

``objective: match`` learns from no label, but to keep what the stage ``colberter`` finds with the bi-encoder alone: what each word
of a query meets among a document's whole words in all dimensions, without stop words, and the products of sentence vectors. There a
word's vector is brought to length 1 before its gate, and a query's words are gated too, as those which they are to match.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.core.flow import flow
from irkit.models.trained import describe
from irkit.train.multivector.late_interaction import Texts, max_sim, mean_of_best
from irkit.train.multivector.learner import TokenLearner, principal
from irkit.train.recipe import Training

if TYPE_CHECKING:
    import torch

    from irkit.models.encoder import Side

Late: TypeAlias = "Callable[[Texts, Texts], torch.Tensor]"

_SHARE = 0.8
"""Of the sentence vectors in the score, at first: what the stage takes for a model that learnt none."""
SAMPLE = 1024
"""Documents that the first compressor of sentence vectors is the PCA of."""


class WordHeads(TokenLearner):
    """ColBERTer's ``compressor`` (the head, with a bias), ``stop_word_reducer``, ``compressor_retrieval`` and ``score_merger``.

    The compressors start as PCAs, scaled so that the mean square of their vectors' lengths is 1, the gates at 1, the weight of the
    sentence vectors at 0.8.
    """

    @property
    def unit(self) -> bool:
        """Whether words have length 1 before their gates, which queries' words have too: what they are to match has it."""
        return self.options.objective == "match"

    @abstractmethod
    def states(self, numbers: Sequence[int], side: Side) -> tuple[torch.Tensor, Texts]:
        """Return what is compressed: sentence vectors, ``[n, dim]``, and the means of whole words' pieces, ``float32``."""

    def first(self) -> torch.Tensor:
        """Return the compressor's first weights, and make the other heads."""
        import torch

        device, dim = self.place.device, self.options.dim
        words = super().first().to(device)
        some = range(min(SAMPLE, len(self.examples.documents)))
        with torch.inference_mode():
            parts = [self.states(some[i : i + 64], "document") for i in range(0, len(some), 64)]
        sentences, found = torch.cat([part for part, _ in parts]), Texts.joined([part for _, part in parts])
        wide = torch.nn.functional.normalize(sentences, dim=1).cpu().double().numpy()
        size = min(self.options.sentence_dim, sentences.shape[1])
        retrieval = principal(wide.T @ wide, size).to(device)
        heads = {
            "compressor.bias": torch.zeros(dim),
            "stop_word_reducer.weight": torch.zeros(1, dim),
            "stop_word_reducer.bias": torch.ones(1),
            "compressor_retrieval.weight": _scaled(retrieval, sentences),
            "compressor_retrieval.bias": torch.zeros(size),
            "score_merger": torch.tensor([_SHARE]).logit(),
        }
        self.heads = {name: torch.nn.Parameter(each.to(device)) for name, each in heads.items()}
        return _scaled(words, found.vectors)

    def hidden(self, numbers: Sequence[int], side: Side) -> Texts:
        """Return the means of whole words' pieces."""
        return self.states(numbers, side)[1]

    def tokens(self, numbers: Sequence[int], side: Side) -> Texts:
        """Return word vectors, of documents those alone that their gates let through."""
        return self.reduced(numbers, side)[1]

    def judged(
        self, rows: Sequence[int], numbers: Sequence[int]
    ) -> tuple[list[torch.Tensor], torch.Tensor | float]:
        """Return the fused scores and those of the sentence vectors, and L1 of the gates."""
        of_query, asked, _ = self.reduced(rows, "query")
        of_document, found, gates = self.reduced(numbers, "document")
        whole, words = of_query @ of_document.T, _words(max_sim, asked, found)
        return [self._fused(whole, words), whole], self.l1(gates)

    def l1(self, gates: torch.Tensor) -> torch.Tensor:
        """Return what open gates cost: ``gate_l1`` times their mean, 0 without any."""
        return self.options.gate_l1 * gates.sum() / max(1, len(gates))

    def encoded(self, numbers: Sequence[int], side: Side) -> tuple[torch.Tensor, Texts]:
        """Return sentence vectors and words."""
        return self.reduced(numbers, side)[:2]

    def ranked(self, asked: tuple[torch.Tensor, Texts], found: tuple[torch.Tensor, Texts]) -> torch.Tensor:
        """Return the fused scores."""
        return self._fused(asked[0] @ found[0].T, _words(mean_of_best, asked[1], found[1]))

    def reduced(self, numbers: Sequence[int], side: Side) -> tuple[torch.Tensor, Texts, torch.Tensor]:
        """Return sentence vectors, ``[n, sentence_dim]``, words, and the gates of all words, ``[T]``; 1 for queries unless
        :attr:`unit`.
        """
        import torch

        whole, words, gates = self.through(*self.states(numbers, side), side)
        stay = gates > 0
        owner = torch.repeat_interleave(torch.arange(len(words), device=stay.device), words.lengths)
        lengths = torch.zeros_like(words.lengths).index_add(0, owner, stay.to(torch.int64))
        return whole, Texts(words.vectors[stay], lengths), gates

    def through(
        self, sentences: torch.Tensor, states: Texts, side: Side
    ) -> tuple[torch.Tensor, Texts, torch.Tensor]:
        """Return what :meth:`reduced` does, with the words that the gates drop: as zeros."""
        import torch

        heads = self.heads
        whole = sentences @ heads["compressor_retrieval.weight"].T + heads["compressor_retrieval.bias"]
        vectors = states.vectors @ self.head.T + heads["compressor.bias"]
        gates = torch.relu(vectors @ heads["stop_word_reducer.weight"][0] + heads["stop_word_reducer.bias"])
        if self.unit:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        elif side == "query":
            return whole, Texts(vectors, states.lengths), vectors.new_ones(len(vectors))
        return whole, Texts(vectors * gates[:, None], states.lengths), gates

    def _fused(self, whole: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return sigma(w) s + (1 - sigma(w)) r."""
        share = self.heads["score_merger"].sigmoid()
        return share * whole + (1 - share) * words

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the weights of all heads. Gates and the score's weight have a learning rate of their own; they and biases do
        not decay.
        """
        own = ("stop_word_reducer.weight", "stop_word_reducer.bias", "score_merger")
        biases = ("compressor.bias", "compressor_retrieval.bias")
        named = (
            (("compressor_retrieval.weight",), training.lr, training.weight_decay),
            (biases, training.lr, 0.0),
            (own, self.options.gate_lr, 0.0),
        )
        return super().groups(training) + [
            {"params": [self.heads[name] for name in names], "lr": lr, "weight_decay": decay}
            for names, lr, decay in named
        ]

    @property
    def weights(self) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """All heads."""
        return {**super().weights, **self.heads}

    def facts(self) -> dict[str, Any]:
        """Return also the share of the pool's words that the gates let through, and the weight of the sentence vectors."""
        import torch

        with torch.inference_mode():
            gates = [self.reduced(self.pool[places].tolist(), "document")[2] > 0 for places in self._blocks()]
        kept = float(torch.cat(gates).float().mean())
        share = float(self.heads["score_merger"].detach().sigmoid())
        return {**super().facts(), "words_kept": kept, "sentence_share": share}

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write the heads and what they go on top of."""
        from safetensors.torch import save_file

        from irkit.models.colberter_trained import HEADS

        weights = {"compressor.weight": self.head, **self.heads}
        save_file({k: each.detach().cpu().contiguous() for k, each in weights.items()}, folder / HEADS)
        named = ("dim", "sentence_dim", "rank", "max_length", "query_prompt", "document_prompt")
        told = {name: getattr(self.options, name) for name in named}
        options = {name: value for name, value in told.items() if value is not None}
        if self.unit:
            options["normalise"] = True
        describe(folder, "colberter", (self.model.name, self.model.fingerprint), options)

    def usage(self, name: str) -> str:
        """Return the step of a pipeline that uses the model."""
        return f"- colberter: {flow({'model': name})}"


def _words(mean: Late, asked: Texts, found: Texts) -> torch.Tensor:
    """Return ``[Q, D]``: the sum over a query's words of the best product with a word of the document; 0 where that has none."""
    if not len(found.vectors):
        return asked.vectors.new_zeros(len(asked), len(found))
    return mean(asked, found) * asked.lengths[:, None]


def _scaled(weight: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Scale a projection so that the mean square of what it makes of vectors is 1 a vector."""
    found = vectors @ weight.T
    return weight / found.square().sum(dim=1).mean().sqrt()
