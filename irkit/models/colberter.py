"""ColBERTer: one [CLS] vector a text to find candidates, one small vector a unique whole word to refine them.

Hofstätter, Khattab, Althammer, Sertkan, Hanbury (2022), "Introducing Neural Bag of Whole-Words with ColBERTer",
arXiv 2203.13088, section 3. In the order of the released model:

1. the language model gives a vector a word piece; ``compressor_retrieval`` makes the sentence vector of that of [CLS];
2. ``compressor`` reduces all of them, and the pieces of a unique whole word are averaged, wherever it stands;
3. documents only: the gate ``g = ReLU(stop_word_reducer(v))`` scales a word, ``v <- g v``, and drops it when ``g`` is 0;
4. the Uni variant: ``mini_compressor`` reduces a word to one number.

Of what was published nothing is normalised (of irkit's own heads, :mod:`irkit.models.colberter_trained` says what is); vectors are
compared by the dot product. Score = ``s <cls_q, cls_d> + (1 - s) MaxSim`` with
``s = sigmoid(score_merger)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError, ModelError
from irkit.core.rankings import offsets_of
from irkit.models.batching import Features, Layout, Runner
from irkit.models.colberter_files import load_module, load_tokeniser, read_config
from irkit.models.device import pick_device
from irkit.models.encoder import Side, Vectors
from irkit.models.loading import Dtype
from irkit.models.ragged import Ragged
from irkit.models.resolve import ResolvedModel
from irkit.models.words import word_id

LENGTHS: dict[Side, int] = {"query": 30, "document": 200}
"""Word pieces, [CLS] and [SEP] included, that the authors trained and evaluated with (``max_query_length`` and
``max_doc_length`` of their library)."""


Layer: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weight and bias of a linear layer."""


@dataclass(frozen=True)
class Read:
    """What a language model and the compressors make of n texts of at most L pieces.

    Attributes:
        words: ``int64[n, L]``, for every piece the id of the whole word around it; 0 for special tokens and padding.
        sentences: ``float32[n, dim]``.
        pieces: ``float32[n, L, dim]``.
    """

    words: NDArray[np.int64]
    sentences: Vectors
    pieces: Vectors


class WholeWords(ABC):
    """One sentence vector a text, and one vector a unique whole word: what every ColBERTer gives, wherever its parts come from.

    The vectors of a text depend on that text alone: the language model runs under :mod:`irkit.models.batching`;
    pooling, gates and the Uni compression are done text by text in float64 and rounded once.

    Attributes:
        name: as written in the experiment.
        device: the torch device.
        multi_vector: True: it decides itself which tokens count, and special tokens never do.
        exact_match: whether a query's word meets the same word of a document only.
        similarity: ``dot``.
        dim: the dimension of the sentence vectors.
        token_dim: the dimension of the word vectors.
        merge_weight: the share of the sentence vectors in the score, ``sigmoid(score_merger)``.
    """

    name: str
    device: str
    multi_vector = True
    exact_match = False
    similarity: Literal["dot"] = "dot"
    dim: int
    token_dim: int
    merge_weight: float
    _gate: Layer | None = None
    _mini: Layer | None = None
    _unit = False
    """Whether a word's length is its gate alone, queries' words included; not so in the published models."""

    def vectors(self, texts: Sequence[str], side: Side) -> Vectors:
        """Return the [CLS] vector of each text, ``float32[n, dim]``, not normalised.

        Raises:
            ModelError: when the model gives NaN or infinity.
        """
        out = np.zeros((len(texts), self.dim), np.float32)
        for rows, read in self._run(texts, side):
            out[rows] = self._finite(read.sentences)
        return out

    def tokens(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        special: bool = True,
        words: bool = True,
        salience: bool = False,
    ) -> Ragged:
        """Return one vector a unique whole word, ``float32[T, token_dim]``, in the order of their first occurrence.

        A text of no word, and a document whose words are all gated away, has no row.

        Args:
            texts: the texts.
            side: whether they are queries or documents; only documents are gated.
            special: must be left True: special tokens are in no whole word.
            words: whether to give the words' ids along with the vectors.
            salience: must be left False: the gates say already what a document can do without.

        Raises:
            ConfigError: for ``special=False`` or ``salience=True``.
            ModelError: when the model gives NaN or infinity.
        """
        if not special or salience:
            hint = "leave query_special_tokens out" if not special else "leave prune: attention out"
            raise ConfigError.of("a ColBERTer decides itself which words count", where=self.name, hint=hint)
        empty = (np.zeros(0, np.uint32), np.zeros((0, self.token_dim), np.float32))
        parts = [empty] * len(texts)
        for rows, read in self._run(texts, side):
            for row, vectors, of_word in zip(rows, read.pieces, read.words, strict=True):
                parts[row] = self._reduce(self._finite(vectors[of_word > 0]), of_word[of_word > 0], side)
        return Ragged(
            offsets_of([len(ids) for ids, _ in parts]),
            np.concatenate([vectors for _, vectors in parts] or [empty[1]]),
            np.concatenate([ids for ids, _ in parts] or [empty[0]]) if words else None,
        )

    # -- inside --------------------------------------------------------------------------------------------

    def _reduce(
        self, pieces: Vectors, of_word: NDArray[np.int64], side: Side
    ) -> tuple[NDArray[np.uint32], Vectors]:
        """Average the pieces of each word, then gate and compress the words (steps 2 to 4)."""
        ids, vectors = pool_words(pieces, of_word)
        if self._gate is not None and (side == "document" or self._unit):
            gates = np.maximum(_apply(self._gate, vectors), 0.0)
            kept = gates[:, 0] > 0
            if self._unit:
                vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            ids, vectors = ids[kept], (vectors * gates)[kept]
        if self._mini is not None:
            vectors = _apply(self._mini, vectors)
        return ids.astype(np.uint32), vectors.astype(np.float32)

    @abstractmethod
    def _run(self, texts: Sequence[str], side: Side) -> Iterator[tuple[NDArray[np.int64], Read]]:
        """Yield batch by batch the numbers of the texts, and what was read in them."""

    def _finite(self, values: Vectors) -> Vectors:
        if not np.isfinite(values).all():
            hint = "float16 overflows in some models: set dtype: bfloat16 or float32"
            raise ModelError.of("the model gives vectors that are not finite", where=self.name, hint=hint)
        return values


class ColBERTer(WholeWords):
    """A loaded ColBERTer or Uni-ColBERTer in the published format."""

    def __init__(
        self,
        model: ResolvedModel,
        *,
        dtype: Dtype = "float32",
        max_length: int | None = None,
        prompts: dict[str, str | None] | None = None,
        device: str | None = None,
        batch_size: int = 32,
        threads: int = 1,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Load the model; the arguments are those of :class:`irkit.models.encoder.Encoder`, but for what is said here.

        Args:
            dtype: of the language model and the compressors; what follows them is float64.
            max_length: truncate documents to this many word pieces instead of 200, and queries to at most so many.
            prompts: by side, what to put before every text; its words count as the text's.

        Raises:
            ModelError: when the folder holds no ColBERTer, or one that cannot be loaded.
            ConfigError: when the device is not there, or ``max_length`` is more than the language model's.
        """
        import torch

        self.name = model.name
        published = read_config(model.path)
        self.exact_match = published.exact
        self.device = pick_device(device)
        module = load_module(published)
        self.merge_weight = float(torch.sigmoid(module.score_merger.detach().double())[0])
        self._gate = _linear(module, "stop_word_reducer")
        self._mini = _linear(module, "mini_compressor")
        hidden = int(module.bert_model.config.hidden_size)
        self.dim = published.sentence_dim or hidden
        self.token_dim = published.mini_dim or published.token_dim or hidden
        self._module = module.to(self.device, getattr(torch, dtype))
        limit = self._positions = int(module.bert_model.config.max_position_embeddings)
        if max_length is not None and max_length > limit:
            message = f"max_length {max_length} is more than the model's {limit} tokens"
            hint = f"leave it out, or take at most {limit}"
            raise ConfigError.of(message, where=self.name, hint=hint)
        self._limits = {
            "query": min(LENGTHS["query"], max_length or limit, limit),
            "document": min(max_length or LENGTHS["document"], limit),
        }
        self._prompts = {side: (prompts or {}).get(side) or "" for side in LENGTHS}
        self._tokenisers = {side: load_tokeniser(published) for side in LENGTHS}
        for side, tokeniser in self._tokenisers.items():
            tokeniser.enable_truncation(self._limits[side])
            tokeniser.enable_padding()
        notes = {} if notes is None else notes
        notes |= {"device": self.device, "dtype": dtype, "model": model.source}
        self._runner = Runner(self.device, batch_size, notes, threads)

    def _run(self, texts: Sequence[str], side: Side) -> Iterator[tuple[NDArray[np.int64], Read]]:
        layout = Layout(limit=self._positions, head=True)
        found = self._runner.run(texts, layout, lambda part: self._features(part, side), self._forward)
        for rows, features, result in found:
            words, sentences, pieces = features["words"], result["sentence"], result["pieces"]
            yield (
                rows,
                Read(words.cpu().numpy(), sentences.float().cpu().numpy(), pieces.float().cpu().numpy()),
            )

    def _features(self, texts: list[str], side: Side) -> Features:
        import torch

        encodings = self._encode(texts, side)
        return {
            "input_ids": torch.tensor([each.ids for each, _ in encodings]),
            "attention_mask": torch.tensor([each.attention_mask for each, _ in encodings]),
            "words": torch.from_numpy(np.stack([ids for _, ids in encodings])),
        }

    def _encode(self, texts: list[str], side: Side) -> list[tuple[Any, NDArray[np.int64]]]:
        """Tokenise texts; return what the tokeniser gives and, for every piece, its word's id or 0."""
        whole = [self._prompts[side] + text for text in texts]
        encodings = self._tokenisers[side].encode_batch(whole)
        return [(each, _words_of_pieces(text, each)) for text, each in zip(whole, encodings, strict=True)]

    def _forward(self, features: Features) -> Features:
        module = self._module
        mask = {key: features[key] for key in ("input_ids", "attention_mask")}
        hidden = module.bert_model(**mask)[0]
        sentence = hidden[:, 0]
        return {
            "sentence": module.compressor_retrieval(sentence)
            if hasattr(module, "compressor_retrieval")
            else sentence,
            "pieces": module.compressor(hidden) if hasattr(module, "compressor") else hidden,
        }


def pool_words(pieces: NDArray[Any], of_word: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Average the vectors of each word: ids in the order of first occurrence, means ``float64[words, dim]``."""
    ids, first, word = np.unique(of_word, return_index=True, return_inverse=True)
    sums = np.zeros((len(ids), pieces.shape[1]))
    np.add.at(sums, word, pieces.astype(np.float64))
    means = sums / np.bincount(word, minlength=len(ids))[:, None]
    order = np.argsort(first)
    return ids[order].astype(np.int64), means[order]


def _words_of_pieces(text: str, encoding: Any) -> NDArray[np.int64]:
    """Return for every word piece the id of the whole word around it, ``int64[pieces]``; 0 for special tokens.

    Whole words are what BERT's pre-tokeniser makes of the text: runs without white space, cut at punctuation. A
    text is cut before it is normalised, as the authors do, so a run of Chinese characters is one word.
    """
    from tokenizers.pre_tokenizers import BertPreTokenizer

    words = BertPreTokenizer().pre_tokenize_str(text)
    ids = np.zeros(len(encoding.ids), np.int64)
    if not words:
        return ids
    starts = np.array([start for _, (start, _) in words])
    ends = np.array([end for _, (_, end) in words])
    known = np.array([word_id(word.encode()) or 1 for word, _ in words])
    spans = np.array(encoding.offsets)
    around = np.searchsorted(starts, spans[:, 0], side="right") - 1
    inside = (around >= 0) & (spans[:, 1] <= ends[around]) & (np.array(encoding.special_tokens_mask) == 0)
    ids[inside] = known[around[inside]]
    return ids


def _linear(module: Any, name: str) -> Layer | None:
    """Take a small layer out of the module, as (weight, bias) in float64: it is applied without torch."""
    layer = getattr(module, name, None)
    if layer is None:
        return None
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()


def _apply(layer: Layer, rows: NDArray[np.float64]) -> Any:
    """Return ``rows W^T + b``, each row added up in the same order whatever their number."""
    weight, bias = layer
    return (rows[:, None, :] * weight).sum(axis=2) + bias
