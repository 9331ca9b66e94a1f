"""Masked language models: what they would say at a text's first token, [CLS]. Loaded from any checkpoint that has such a head."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from irkit.core.errors import ModelError
from irkit.models.lexsembridge_files import token_fingerprint
from irkit.models.loading import quiet
from irkit.models.resolve import ResolvedModel
from irkit.models.safety import check_folder
from irkit.models.trained import STAGES

_HINT = "set mlm: to a checkpoint with a masked-language-model head and the encoder's tokeniser, such as the one it was made from"


class MaskedLM:
    """A frozen masked language model.

    Attributes:
        name: as written in the experiment.
        vocabulary: how many token ids it gives logits for.
        tokenizer: fingerprint of its tokeniser's tokens.
    """

    def __init__(self, model: ResolvedModel, device: str, *, trust_remote_code: bool = False) -> None:
        """Load the model in float32; of an adapter, the base model with its updates merged into it.

        Args:
            model: what :func:`irkit.models.resolve` found.
            device: the torch device to run on.
            trust_remote_code: run code that comes with the model.

        Raises:
            ModelError: when it cannot be loaded, was trained for something else, or its files hold no head: transformers would
                make one at random.
        """
        import torch
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        self.name, folder, trained = model.name, model.weights.path, model.trained
        if trained is not None and trained.kind is not None:
            message = f"the model was trained for {STAGES[trained.kind]}, and is no masked language model"
            raise ModelError.of(message, where=model.name, hint=_HINT)
        for each in {folder, model.path}:
            check_folder(each, trust_remote_code=trust_remote_code)
        options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
        try:
            with quiet():
                tokeniser = AutoTokenizer.from_pretrained(folder, **options)
                loaded, found = AutoModelForMaskedLM.from_pretrained(
                    folder,
                    output_loading_info=True,
                    dtype=torch.float32,
                    weights_only=True,
                    **options,
                )
        except (
            Exception
        ) as error:  # transformers, tokenizers and safetensors raise what they like over a bad folder
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            message = f"the model cannot be loaded as a masked language model: {reason}"
            raise ModelError.of(message, where=model.name, hint=_HINT) from error
        if found["missing_keys"]:
            message = f"the model has no masked-language-model head: it lacks {min(found['missing_keys'])}"
            raise ModelError.of(message, where=model.name, hint=_HINT)
        if trained is not None:
            from irkit.models.lora import merge

            merge(model, loaded)
        self.vocabulary = int(loaded.config.vocab_size)
        self.tokenizer = token_fingerprint(tokeniser.get_vocab())
        taken = signature(loaded.forward).parameters
        self._names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in taken]
        self._model = loaded.to(device).eval().requires_grad_(False)
        # the head gets one place a text, where it would make logits of the whole vocabulary for each of them
        self._model.base_model.register_forward_hook(_only_first, with_kwargs=True)

    def first_logits(self, features: Mapping[str, Any]) -> Any:
        """Return the logits at each text's first token, ``float32[B, vocabulary]``, on the device of the features.

        Args:
            features: of the tokeniser, ``int64[B, n]``: ``input_ids``, ``attention_mask``, and others that it may take.
        """
        import torch

        device = next(self._model.parameters()).device
        given = {name: features[name].to(device) for name in self._names if name in features}
        with torch.no_grad():
            return self._model(**given).logits[:, 0].to(features["input_ids"].device)


def _only_first(_module: Any, _given: Any, kwargs: Mapping[str, Any], output: Any) -> Any:
    """Keep of a transformer's output the state of each text's first token alone, ``[B, 1, hidden]``."""
    import torch

    states = output["last_hidden_state"]
    first = kwargs["attention_mask"].long().argmax(dim=1)
    output["last_hidden_state"] = states[torch.arange(len(states), device=states.device), first][:, None]
    return output
