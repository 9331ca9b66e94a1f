"""Cross-encoders: a query and a text, read together, become one score. Any CrossEncoder of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.batching import Layout, Runner
from irkit.models.device import pick_device
from irkit.models.kinds import model_type
from irkit.models.loading import Dtype, limit_length, load_model
from irkit.models.resolve import ResolvedModel
from irkit.models.trained import STAGES


class PairScorer:
    """A loaded cross-encoder with one output. The score of a pair depends on that pair alone."""

    def __init__(
        self,
        model: ResolvedModel,
        *,
        dtype: Dtype = "float32",
        max_length: int | None = None,
        trust_remote_code: bool = False,
        device: str | None = None,
        batch_size: int = 32,
        threads: int = 1,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Load the model; of an adapter, the base model with its updates merged into it. The arguments are those of
        :class:`irkit.models.encoder.Encoder`.

        Raises:
            ModelError: when the model is no cross-encoder, has more than one output, or cannot be loaded.
            ConfigError: when the device is not there, or ``max_length`` is more than the model's.
        """
        folder, trained = model.weights.path, model.trained
        if trained is not None and trained.kind is not None:
            message = f"the model was trained for {trained.kind}, and is no cross-encoder"
            hint = f"use it in the stage {STAGES[trained.kind]}"
            raise ModelError.of(message, where=model.name, hint=hint)
        kind = model_type(folder) if folder.is_dir() else "a file"
        if kind != "CrossEncoder":
            hint = "take a cross-encoder, such as ms-marco-minilm; encoders belong in the stages dense and maxsim"
            raise ModelError.of(f"the model is no cross-encoder: {kind}", where=model.name, hint=hint)
        self.name = model.name
        self.device = pick_device(device)
        self._model = load_model(kind, model, self.device, dtype, trust_remote_code)
        if self._model.num_labels != 1:
            message = f"the model has {self._model.num_labels} outputs; a reranker needs one"
            raise ModelError.of(message, where=model.name, hint="take a model that was trained to rank")
        limit_length(self._model, max_length, model.name)
        self._prompt = self._model.prompts.get(self._model.default_prompt_name or "") or None
        notes = {} if notes is None else notes
        notes |= {"device": self.device, "dtype": dtype, "model": model.source}
        self._runner = Runner(self.device, batch_size, notes, threads)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return the scores of (query, text) pairs, ``float32[n]``, after the model's own activation.

        Raises:
            ModelError: when the model gives NaN or infinity.
        """
        out = np.zeros(len(pairs), np.float32)
        for rows, _, result in self._runner.run(
            pairs,
            Layout.of(self._model),
            lambda part: dict(self._model.preprocess(part, prompt=self._prompt)),
            lambda features: dict(self._model(features)),
        ):
            logits = result["scores"].float()
            out[rows] = self._model.activation_fn(logits).reshape(len(rows)).cpu().numpy()
        if not np.isfinite(out).all():
            hint = "float16 overflows in some models: set dtype: bfloat16 or float32"
            raise ModelError.of("the model gives scores that are not finite", where=self.name, hint=hint)
        return out
