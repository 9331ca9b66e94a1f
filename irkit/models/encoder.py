"""Encoders: texts become one vector each, or one vector a token. Any SentenceTransformer, MultiVectorEncoder or XTR model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError, ModelError
from irkit.core.rankings import offsets_of
from irkit.models.batching import Features, Layout, Runner
from irkit.models.device import pick_device
from irkit.models.kinds import model_type
from irkit.models.loading import Dtype, limit_length, load_model
from irkit.models.ragged import Ragged
from irkit.models.resolve import ResolvedModel
from irkit.models.salience import Attention
from irkit.models.words import WordIds

Side: TypeAlias = Literal["query", "document"]
Vectors: TypeAlias = NDArray[np.float32]

_PROMPT_NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}


class Encoder:
    """A loaded encoder.

    A side's prompt is the option's, else the one that it was trained with where irkit did that and knows, else the one that the
    checkpoint states for that side (also when it states ""), else the catalogue's, else what sentence-transformers takes: nothing,
    or the default prompt where the
    model knows no prompt of that side. So it is the prompt of ``encode_query`` and ``encode_document`` but for
    two cases, on purpose: the catalogue's prompts, which sentence-transformers does not know; and a checkpoint
    that names its documents' prompt ``passage`` or ``corpus`` gets it, where sentence-transformers puts nothing
    before documents, because its own ``document: ""`` is found first. The markers of ColBERT models, ``[Q]`` and ``[D]``, are
    prompts too.

    Pooling, normalisation and truncation are the model's own, unless an option says otherwise. The
    vector of a text depends on that text alone: see :mod:`irkit.models.batching` for how, and for what
    remains on accelerators.

    Attributes:
        name: as written in the experiment.
        device: the torch device that it runs on.
        similarity: ``cosine`` or ``dot``, as the model says.
        dim: the dimension of its vectors (of its token vectors for a multi-vector model).
        token_dim: the dimension of its token vectors.
        multi_vector: whether the checkpoint is a MultiVectorEncoder (ColBERT in the formats of Stanford, PyLate and
            sentence-transformers) or XTR: it gives token vectors only, and decides itself which tokens count.
        tokens_only: whether it gives token vectors only: such a checkpoint, or a bi-encoder trained for multi-vector retrieval,
            whose special tokens count where a bi-encoder's do.
    """

    def __init__(
        self,
        model: ResolvedModel,
        *,
        dtype: Dtype = "float32",
        max_length: int | None = None,
        prompts: dict[str, str | None] | None = None,
        trust_remote_code: bool = False,
        device: str | None = None,
        batch_size: int = 32,
        threads: int = 1,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: what :func:`irkit.models.resolve` found.
            dtype: of the weights and the arithmetic; vectors are returned as float32.
            max_length: truncate texts to this many tokens, documents only for a multi-vector model, whose queries have
                the length that it was trained with; the model's own limit unless given, and never more than it.
            prompts: by side, what to put before every text instead of the model's own prompt; "" for nothing.
            trust_remote_code: run code that comes with the model.
            device: a torch device; the best there is unless given.
            batch_size: the most texts in one batch.
            threads: on the CPU, how many batches run side by side. Changes no result.
            notes: where to note the device, and a smaller batch size after running out of memory.

        Raises:
            ModelError: when the model is of another kind or cannot be loaded.
            ConfigError: when the device is not there, or ``max_length`` is more than the model's.
        """
        weights, trained = model.weights, model.trained
        kind = model_type(weights.path) if weights.path.is_dir() else "a file"
        if trained is not None and trained.kind == "blockrank":
            hint = "use it in the stage blockrank"
            raise ModelError.of("the model is a language model, and no encoder", where=model.name, hint=hint)
        if trained is not None and kind in ("MultiVectorEncoder", "XTR", "ColBERTer"):
            hint = "train it on a bi-encoder, such as minilm"
            message = f"updates of a {kind} cannot be loaded"
            raise ModelError.of(message, where=model.name, hint=hint)
        if kind == "ColBERTer":
            hint = "open it with irkit.models.opening.open_encoder"
            raise ModelError.of("the model is a ColBERTer", where=model.name, hint=hint)
        if kind not in ("SentenceTransformer", "MultiVectorEncoder", "XTR"):
            hint = "take an encoder, such as minilm; rerank with a cross-encoder in the stage cross-encoder"
            raise ModelError.of(f"the model is no encoder: {kind}", where=model.name, hint=hint)
        self.name = model.name
        self.multi_vector = kind != "SentenceTransformer"
        self.tokens_only = self.multi_vector or (trained is not None and trained.kind == "multivector")
        told = trained.options if trained is not None and trained.kind == "multivector" else {}
        self._unit = not self.multi_vector and bool(told.get("normalise", True))
        max_length = max_length if max_length is not None else told.get("max_length")
        asked: dict[str, str | None] = {side: told.get(f"{side}_prompt") for side in _PROMPT_NAMES}
        asked |= {side: prompt for side, prompt in (prompts or {}).items() if prompt is not None}
        self.device = pick_device(device)
        self._model = load_model(kind, model, self.device, dtype, trust_remote_code)
        limit_length(self._model, max_length, model.name, documents_only=self.multi_vector)
        self._layout = Layout.of(self._model)
        stated = self._markers() if self.multi_vector else _stated(weights.path)
        self._prompts = {
            side: self._prompt(side, asked.get(side), stated, model.prompts) for side in _PROMPT_NAMES
        }
        notes = {} if notes is None else notes
        notes |= {"device": self.device, "dtype": dtype, "model": model.source}
        self._runner = Runner(self.device, batch_size, notes, threads)

    @property
    def similarity(self) -> Literal["cosine", "dot"]:
        """The similarity under which the vectors are meant to be compared.

        Raises:
            ModelError: when it is neither the cosine nor the dot product.
        """
        said = str(self._model.similarity_fn_name)
        if said not in ("cosine", "dot"):
            hint = "set similarity: cosine or dot on the stage"
            raise ModelError.of(
                f"the model compares by {said}, which has no index here", where=self.name, hint=hint
            )
        return "cosine" if said == "cosine" else "dot"

    @property
    def dim(self) -> int:
        """The dimension of its vectors."""
        return int(self._model.get_embedding_dimension())

    @property
    def token_dim(self) -> int:
        """The dimension of its token vectors: a bi-encoder's hidden size, whatever follows the pooling, or that of the projection
        that was trained on top of it.

        Raises:
            ModelError: when the model has no token vectors, such as static embeddings.
        """
        found = None
        for module in self._model:
            if getattr(module, "module_output_name", None) == "token_embeddings":
                says = getattr(module, "get_embedding_dimension", None)
                found = says() if says else found
        if found is None:
            hint = "use it in the stage dense, or take a transformer"
            raise ModelError.of("the model has no token vectors", where=self.name, hint=hint)
        return int(found)

    @property
    def separator(self) -> str:
        """The text that its tokeniser reads as the special token between two texts.

        Raises:
            ModelError: when the tokeniser has none.
        """
        found = getattr(getattr(self._model, "tokenizer", None), "sep_token", None)
        if not found:
            hint = "take a checkpoint of the BERT or RoBERTa family"
            raise ModelError.of("the model's tokeniser has no separator", where=self.name, hint=hint)
        return str(found)

    def vectors(self, texts: Sequence[str], side: Side) -> Vectors:
        """Return one vector a text, ``float32[n, dim]``. A text without any token has the zero vector.

        Raises:
            ModelError: for a multi-vector model, or when the model gives NaN or infinity.
        """
        if self.tokens_only:
            hint = "use it in the stage maxsim"
            if not self.multi_vector:
                hint += ", or take the model that it was trained from"
            raise ModelError.of("the model gives token vectors only", where=self.name, hint=hint)
        out = np.zeros((len(texts), self.dim), np.float32)
        for rows, _, result in self._run(texts, side):
            out[rows] = self._finite(result["sentence_embedding"])
        return out

    def tokens(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        special: bool = True,
        words: bool = False,
        salience: bool = False,
    ) -> Ragged:
        """Return one vector a token, of length 1 for a bi-encoder's hidden states and their trained projection unless that was
        trained without, as the model says for a multi-vector model.

        Padding never appears. A text without any token has no row.

        Args:
            texts: the texts.
            side: whether they are queries or documents.
            special: keep the vectors of special tokens such as [CLS] and [SEP]; a multi-vector model decides
                that itself.
            words: also say which whole word each token is a piece of: see :mod:`irkit.models.words`.
            salience: also say how much attention each token receives: see :mod:`irkit.models.salience`. The vectors
                then differ from the usual ones in the last bits, and the pass takes longer.

        Raises:
            ConfigError: for ``special=False`` with a multi-vector model.
            ModelError: when the model gives NaN or infinity, or no token vectors; when its tokeniser knows no whole
                words, or its code no attention weights, and they are asked for.
        """
        if self.multi_vector and not special:
            hint = "leave query_special_tokens out"
            raise ConfigError.of(
                "a multi-vector model decides itself which tokens count", where=self.name, hint=hint
            )
        empty: list[NDArray[Any]] = [np.zeros((0, self.token_dim), np.float32)]
        empty += [np.zeros(0, np.uint32)] * words + [np.zeros(0, np.float32)] * salience
        parts = [empty] * len(texts)
        attention = Attention(self._model, self.name) if salience else None
        with attention or nullcontext():
            for rows, features, result in self._run(texts, side, attention):
                mask = self._mask(features, result, special)
                columns: list[NDArray[Any]] = [self._finite(result["token_embeddings"], mask)]
                if words:
                    columns.append(self._word_ids(features["input_ids"].cpu().numpy()))
                if salience:
                    columns.append(result["salience"].cpu().numpy())
                for row, keep, *of_text in zip(rows, mask.cpu().numpy(), *columns, strict=True):
                    vectors, *more = (column[keep] for column in of_text)
                    parts[row] = [unit(vectors) if self._unit else vectors, *more]
        vectors, *more = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
        return Ragged(
            offsets_of([len(part[0]) for part in parts]),
            vectors,
            more[0] if words else None,
            more[-1] if salience else None,
        )

    @cached_property
    def _word_ids(self) -> WordIds:
        markers = [prompt for prompt in self._prompts.values() if prompt]
        return WordIds(self._model.tokenizer, self.name, markers)

    @property
    def loaded(self) -> Any:
        """The model itself, of sentence-transformers."""
        return self._model

    def features(self, texts: Sequence[str], side: Side) -> Features:
        """Return what the tokeniser makes of texts with their side's prompt, on the CPU, padded to the longest: for training."""
        return dict(self._model.preprocess(list(texts), prompt=self._prompts[side], task=side))

    def passes(
        self, texts: Sequence[str], side: Side, then: Callable[[Features, Features], Features]
    ) -> Iterator[tuple[NDArray[np.int64], Features]]:
        """Run the model, and yield batch by batch the numbers of the texts and what ``then`` made of them.

        Args:
            texts: the texts.
            side: whether they are queries or documents.
            then: makes, on the device and without gradients, tensors with a row a text of the model's features and output;
                may run in several threads at a time. It must not let a row depend on the number of rows.
        """
        for rows, _, result in self._run(texts, side, then=then):
            yield rows, result

    def _run(
        self,
        texts: Sequence[str],
        side: Side,
        attention: Attention | None = None,
        then: Callable[[Features, Features], Features] | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], Features, Features]]:
        def forward(features: Features) -> Features:
            result = dict(self._model(dict(features), task=side))
            if then is not None:
                return then(features, result)
            return result if attention is None else {**result, "salience": attention.received()}

        return self._runner.run(
            texts,
            self._layout,
            lambda part: self.features(part, side),
            forward,
            attention.most if attention else None,
        )

    def _mask(self, features: Features, result: Features, special: bool) -> Any:
        import torch

        if self.multi_vector:
            return result["attention_mask"].bool()
        mask = features["attention_mask"].bool()
        if not special:
            ids = torch.tensor(self._model.tokenizer.all_special_ids, device=mask.device)
            mask &= ~torch.isin(features["input_ids"], ids)
        return mask

    def _finite(self, tensor: Any, mask: Any = None) -> Vectors:
        values: Vectors = tensor.float().cpu().numpy()
        counted = values if mask is None else values[mask.cpu().numpy()]
        if not np.isfinite(counted).all():
            hint = "float16 overflows in some models: set dtype: bfloat16 or float32"
            raise ModelError.of("the model gives vectors that are not finite", where=self.name, hint=hint)
        return values

    def _markers(self) -> dict[str, str]:
        """Return the prompts of a multi-vector model: sentence-transformers puts what Stanford's and PyLate's files call
        prefixes into them, so the files alone do not tell."""
        return {name: text for name, text in self._model.prompts.items() if text}

    def _prompt(
        self, side: str, wanted: str | None, stated: dict[str, str], catalogued: dict[str, str]
    ) -> str | None:
        if wanted is not None:
            return wanted
        loaded: dict[str, str] = (
            self._model.prompts
        )  # sentence-transformers has filled in "" for what is not stated
        candidates = _PROMPT_NAMES[side]
        for known, names in ((stated, candidates), (catalogued, (side,)), (loaded, candidates)):
            for name in names:
                if name in known:
                    return known[name]
        return loaded.get(self._model.default_prompt_name or "")


def _stated(folder: Path) -> dict[str, str]:
    """Return the prompts that a checkpoint states itself, by name; the loaded model no longer tells them from filled ones."""
    file = folder / "config_sentence_transformers.json"
    prompts = json.loads(file.read_text(encoding="utf-8")).get("prompts") if file.is_file() else None
    return {name: text for name, text in (prompts or {}).items() if text is not None}


def unit(vectors: NDArray[Any]) -> Vectors:
    """Divide every row by its Euclidean norm, in float64, rounded once; a zero row stays zero."""
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return (wide / np.where(norms > 0, norms, 1.0)).astype(np.float32)
