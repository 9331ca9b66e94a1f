"""The two learners of ``reduce: words``: ColBERTer's heads over words of a frozen transformer, and over one with LoRA adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.train.bi_encoder import identity
from irkit.train.multivector.late_interaction import Pair, Texts
from irkit.train.multivector.learners import TrainedTokens
from irkit.train.multivector.tokens import TokenCache
from irkit.train.multivector.words import SAMPLE, WordHeads
from irkit.train.vectors import frozen_vectors

if TYPE_CHECKING:
    import torch

    from irkit.models.encoder import Side

_SIDES: tuple[Side, ...] = ("query", "document")


class FrozenWords(WordHeads):
    """The heads alone are trained, over words and sentence vectors that were worked out once."""

    def prepare(self) -> None:
        """Read all texts, or find what was read."""
        import torch

        from irkit.models.colberter_trained import WordEncoder

        place, key = self.place, identity(self.options, self.model)
        plain: Any = WordEncoder(self.encoder)
        texts = self.examples.texts()
        self._words = {
            side: TokenCache(plain, texts[side], side, place, key, special=True, words=True)
            for side in _SIDES
        }
        self._sentences = {
            side: torch.from_numpy(frozen_vectors(plain, texts[side], side, False, place, key)).to(
                place.device
            )
            for side in _SIDES
        }

    def states(self, numbers: Sequence[int], side: Side) -> tuple[torch.Tensor, Texts]:
        """Return what was kept."""
        import torch

        kept, device, chosen = self._words[side], self.place.device, list(numbers)
        vectors = torch.from_numpy(kept.take(chosen)).to(device).float()
        words = Texts(vectors, torch.from_numpy(kept.lengths[chosen]).to(device))
        return self._sentences[side][chosen], words

    def first(self) -> torch.Tensor:
        """Return the compressor's first weights. Gates that are to match start as the least squares of 0 for stop words and 1 for
        others.
        """
        import torch

        weights = super().first()
        if self.options.objective == "match":
            some = range(min(SAMPLE, len(self.examples.documents)))
            with torch.inference_mode():
                _, words = self.states(some, "document")
                # on the CPU: CUDA's solver takes no vectors that depend on each other
                vectors = (words.vectors @ weights.T).double().cpu()
                ones = vectors.new_ones(len(vectors), 1)
                wanted = self._content(some, "document", words)[:, None].double().cpu()
                *weight, bias = (
                    torch.linalg.lstsq(torch.cat([vectors, ones], 1), wanted).solution[:, 0].tolist()
                )
            for name, value in (("weight", [weight]), ("bias", [bias])):
                self.heads[f"stop_word_reducer.{name}"].data.copy_(torch.tensor(value))
        return weights

    def shortened(self, rows: Sequence[int], numbers: Sequence[int]) -> tuple[Pair, Pair, torch.Tensor]:
        """Return the words; wide vectors are of length 1, those of stop words 0, which nothing finds. What is added are L1 of the
        documents' gates, and the mean square error of the products of sentence vectors, less its mean over the documents, which
        changes no ranking: times the square of their weight in the score, where that of the words' errors is 1.
        """
        from torch.nn.functional import normalize

        pairs, sentences = [], []
        for side, some in zip(_SIDES, (rows, numbers), strict=True):
            wide, states = self.states(some, side)
            whole, words, gates = self.through(wide, states, side)  # documents come last: L1 is of theirs
            unit = normalize(states.vectors, dim=1) * self._content(some, side, states)[:, None]
            pairs.append(Pair(words, Texts(unit, states.lengths)))
            sentences.append((whole, wide))
        asked, found = pairs
        short, right = (a @ b.T for a, b in zip(*sentences, strict=True))
        errors = short - right
        share = self.heads["score_merger"].detach().sigmoid()
        squares = (errors - errors.mean(1, keepdim=True)).square().mean()
        return asked, found, (share / (1 - share)) ** 2 * squares + self.l1(gates)

    def _content(self, numbers: Sequence[int], side: Side, states: Texts) -> torch.Tensor:
        """Return which words the stage compares: ``bool[T]``, all but the stop words of texts that have others."""
        import torch

        from irkit.stages.multivector.pruning import without_stop_words

        ends = states.lengths.cumsum(0).tolist()[:-1]
        each = np.split(self._words[side].words(list(numbers)), ends)
        return torch.from_numpy(np.concatenate([without_stop_words(words) for words in each])).to(
            states.vectors.device
        )

    def lengths(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return how many unique words documents have."""
        return self._words["document"].lengths[list(numbers)]


class TrainedWords(WordHeads, TrainedTokens):
    """The transformer is trained too, through updates of low rank (LoRA)."""

    def prepare(self) -> None:
        """Put the updates in, and learn where the tokeniser begins words."""
        from irkit.models.words import WordIds

        super().prepare()
        self._word_ids = WordIds(self.encoder.loaded.tokenizer, self.encoder.name)

    def states(self, numbers: Sequence[int], side: Side) -> tuple[torch.Tensor, Texts]:
        """Run the transformer."""
        import torch

        from irkit.models.colberter_trained import sentences_of, unit_states, words_of

        sentences, words, order = [], [], []
        for rows, batch, result in self.passes(numbers, side):
            sentences.append(sentences_of(self.encoder, result))
            words.append(_merged(unit_states(result), words_of(self._word_ids, batch)))
            order += rows
        back = np.argsort(order).tolist()
        return torch.cat(sentences)[back], Texts.joined(words).take(back)

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write the heads, and the updates in peft's own files, in float16."""
        super().save(folder, name, trained)
        self.updates.save(folder, self.model.name)


def _merged(vectors: torch.Tensor, words: NDArray[np.int64]) -> Texts:
    """Average the vectors, ``[n, L, dim]``, of each text's unique words, in the order of their first occurrence; 0 is no word."""
    import torch

    texts, places = np.nonzero(words)
    keys = texts << 32 | words[texts, places]
    _, first, word = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    counts = np.bincount(rank[word], minlength=len(first))
    lengths = np.bincount(texts[np.sort(first)], minlength=len(words))

    def on(values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values).to(vectors.device)

    pieces = vectors[on(texts), on(places)]
    sums = pieces.new_zeros(len(first), pieces.shape[1]).index_add(0, on(rank[word]), pieces)
    return Texts(sums / on(counts)[:, None], on(lengths))
