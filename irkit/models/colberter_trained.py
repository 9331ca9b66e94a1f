"""ColBERTer's heads on a bi-encoder: what ``irkit train`` makes, a small folder beside a base model that is named in it.

Three things differ from the published model, because a bi-encoder is a better start than a language model. Sentence vectors
come from the base model's own, however it pools, and not from [CLS]; of length 1 where it compares them by the cosine. Token
vectors have length 1 before they are compressed, as late interaction over a bi-encoder compares them. Whole words are those of
:mod:`irkit.models.words`. Gates, compressors and the score are ColBERTer's (:mod:`irkit.models.colberter`), under the published
names of its weights.

A fourth may: with ``normalise`` a word's vector is brought to length 1 before its gate, and a query's words are gated too. What is
not normalised can be long with a small gate, so that L1 of the gates drops nothing; and a bi-encoder's stop words match anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.batching import Features
from irkit.models.colberter import Read, WholeWords
from irkit.models.encoder import Encoder, Side
from irkit.models.resolve import ResolvedModel
from irkit.models.trained import ADAPTER, DESCRIPTION
from irkit.models.words import WordIds

if TYPE_CHECKING:
    from torch import Tensor

    from irkit.models.opening import EncoderArguments

HEADS = "colberter_heads.safetensors"
COMPRESSOR, RETRIEVAL, GATE, MERGER = (
    "compressor",
    "compressor_retrieval",
    "stop_word_reducer",
    "score_merger",
)

_AGAIN = "train the model again, or copy its folder again"


class WordEncoder(WholeWords):
    """A bi-encoder that gives whole words, compressed and gated by ColBERTer's heads where it has any.

    Without heads words are the means of their pieces' vectors of length 1, and sentence vectors those of the bi-encoder.
    """

    def __init__(
        self, encoder: Encoder, heads: Mapping[str, Tensor] | None = None, *, normalise: bool = False
    ) -> None:
        """Put heads on an encoder.

        Args:
            encoder: a bi-encoder.
            heads: ``compressor``, ``compressor_retrieval`` and ``stop_word_reducer``, each a weight and a bias, and
                ``score_merger``, float32; none unless given.
            normalise: whether words have length 1 before their gates, which queries' words have too.
        """
        self._encoder, self._heads = encoder, {k: v.to(encoder.device) for k, v in (heads or {}).items()}
        self._word_ids = WordIds(encoder.loaded.tokenizer, encoder.name)
        self.name, self.device = encoder.name, encoder.device
        self.dim, self.token_dim, self.merge_weight = encoder.dim, encoder.token_dim, 0.5
        if heads:
            self.dim, self.token_dim = (len(heads[f"{name}.bias"]) for name in (RETRIEVAL, COMPRESSOR))
            self.merge_weight = float(heads[MERGER].double().sigmoid())
            weight, bias = (heads[f"{GATE}.{part}"].cpu().double().numpy() for part in ("weight", "bias"))
            self._gate, self._unit = (weight, bias), normalise

    @classmethod
    def load(
        cls, model: ResolvedModel, *, trust_remote_code: bool = False, **arguments: Unpack[EncoderArguments]
    ) -> Self:
        """Load a folder that was trained; texts are read as in training, unless an argument says otherwise.

        Raises:
            ModelError: when the base model cannot be loaded, or a file is missing, damaged, or does not fit it.
            ConfigError: when the device is not there, or ``max_length`` is more than the model's.
        """
        if model.trained is None or model.trained.base is None:
            hint = f"restore the folder's {DESCRIPTION}, which names the base model"
            raise ModelError.of("the heads name no base model", where=str(model.path), hint=hint)
        told, heads = model.trained.options, _read(model.path / HEADS)
        if told.get("rank") is not None and not (model.path / ADAPTER).is_file():
            where, message = str(model.path / ADAPTER), "the updates of the base model are missing"
            raise ModelError.of(message, where=where, hint=_AGAIN)
        if arguments.get("max_length") is None:
            arguments["max_length"] = told.get("max_length")
        asked = {side: told.get(f"{side}_prompt") for side in ("query", "document")}
        given = {side: text for side, text in (arguments.get("prompts") or {}).items() if text is not None}
        arguments["prompts"] = {**asked, **given}
        encoder = Encoder(model, trust_remote_code=trust_remote_code, **arguments)
        _check(heads, {COMPRESSOR: encoder.token_dim, RETRIEVAL: encoder.dim}, model)
        return cls(encoder, heads, normalise=bool(told.get("normalise", False)))

    def _run(self, texts: Sequence[str], side: Side) -> Iterator[tuple[NDArray[np.int64], Read]]:
        for rows, result in self._encoder.passes(texts, side, self._compressed):
            words = words_of(self._word_ids, result)
            yield rows, Read(words, *(result[key].cpu().numpy() for key in ("sentences", "pieces")))

    def _compressed(self, features: Features, result: Features) -> Features:
        pieces, sentences = unit_states(result), sentences_of(self._encoder, result)
        return {
            **{key: features[key] for key in ("input_ids", "attention_mask")},
            "sentences": self._through(RETRIEVAL, sentences),
            "pieces": self._through(COMPRESSOR, pieces),
        }

    def _through(self, name: str, vectors: Tensor) -> Tensor:
        import torch

        if not self._heads:
            return vectors
        weight, bias = (self._heads[f"{name}.{part}"] for part in ("weight", "bias"))
        return torch.nn.functional.linear(vectors, weight, bias)


def words_of(word_ids: WordIds, read: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return for every token of a batch the id of the whole word around it, ``int64[n, L]``; 0 for special tokens and padding."""
    ids, mask = (read[key].cpu().numpy() for key in ("input_ids", "attention_mask"))
    return np.where(mask > 0, word_ids(ids), 0).astype(np.int64)


def sentences_of(encoder: Encoder, result: Mapping[str, Any]) -> Tensor:
    """Return the sentence vectors of a bi-encoder's output, ``float32[n, dim]``, of length 1 where it is compared by the cosine:
    compressed ones are compared by their product.
    """
    import torch

    vectors = result["sentence_embedding"].float()
    return torch.nn.functional.normalize(vectors, dim=-1) if encoder.similarity == "cosine" else vectors


def unit_states(result: Mapping[str, Any]) -> Tensor:
    """Return the token vectors of a bi-encoder's output, ``float32[n, L, hidden]``, of length 1."""
    import torch

    return torch.nn.functional.normalize(result["token_embeddings"].float(), dim=-1)


def _read(file: Path) -> dict[str, Tensor]:
    """Return the heads' weights, float32.

    Raises:
        ModelError: when the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ModelError.of("the model has no heads", where=str(file), hint=_AGAIN)
    try:
        return {name: each.float() for name, each in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError.of(f"the heads are damaged: {error}", where=str(file), hint=_AGAIN) from error


def _check(heads: Mapping[str, Tensor], widths: Mapping[str, int], model: ResolvedModel) -> None:
    """Make sure that the heads are ColBERTer's, and for vectors of these sizes.

    Raises:
        ModelError: when they are not.
    """
    given = {name: tuple(each.shape) for name, each in heads.items()}
    words, sentences = (given.get(f"{name}.bias", (0,))[0] for name in (COMPRESSOR, RETRIEVAL))
    wanted: dict[str, tuple[int, ...]] = {MERGER: (1,)}
    for name, out, width in (
        (COMPRESSOR, words, widths[COMPRESSOR]),
        (RETRIEVAL, sentences, widths[RETRIEVAL]),
        (GATE, 1, words),
    ):
        wanted |= {f"{name}.weight": (out, width), f"{name}.bias": (out,)}
    unfit = sorted(
        name
        for name in given.keys() | wanted.keys()
        if given.get(name) != wanted.get(name) or 0 in given[name]
    )
    finite = all(bool(each.isfinite().all()) for each in heads.values())
    if unfit or not finite:
        reason = f"such as {unfit[0]}" if unfit else "they hold numbers that are not finite"
        message = f"the heads do not fit {model.weights.name}: {reason}"
        raise ModelError.of(message, where=str(model.path / HEADS), hint=_AGAIN)
