"""LexSemBridge: a query's tokens say, dimension by dimension, how much its vector counts.

Zhan et al. (2025), "LexSemBridge: Fine-Grained Dense Representation Enhancement through Token-Aware Embedding Augmentation",
arXiv 2508.17858. With token weights w over the vocabulary, logits ``z = W w + b`` and an activation, the gate modulates a vector::

    q' = g (.) q        g = softmax(z) over the dimensions, as published

and q' is compared by its cosine. The methods, in the paper's form and in that of the released code where they differ:

======  ==================================================  =====================================================
method  ``paper``                                           ``code``
======  ==================================================  =====================================================
SLR     ``w_t = log(1 + 1[t in q])``                        ``w_t = s 1[t in q]``, s learned, 1 at first
LLR     ``w = log(1 + ReLU(U h_CLS + c))``, U in R^{V x h}  ``w_t = max over j with t_j = t of ReLU(u . h_j + c)``
CLR     ``w = log(1 + ReLU(logits at [CLS]))`` of a masked  the same: the paper's form cannot be told from the text
        language model
======  ==================================================  =====================================================

With ``statistics: idf`` the indicator of SLR becomes ``1[t in q] idf_t / idf_max`` (:func:`irkit.stages.vocabulary.rarity`): the
paper's SLR knows the query alone. Where only the tokens of the text have weights, ``W w`` adds up their rows of W. Special tokens
have no weight; the code form leaves [SEP] its own, as the authors do.

What the published formula implies: every gate is above 0, so no sign of q changes; softmax makes every gate about 1/d, and only the
ratios count; ``cos(q, q')`` is about ``exp(-sigma^2 / 2)`` while sigma is small, sigma the standard deviation of a query's logits
over the dimensions.
The authors' code saves the backbone only, and so evaluates without the gate; here a gate is saved, and evaluated.

The masked language model of CLR is frozen and a model of its own, where the authors train the encoder's own head along with it: an
encoder saved as a SentenceTransformer has no such head. It is no part of the gate's parameters and not saved with it.

For a trainer::

    spec = gate_spec(model, resolved, method="slr", form="paper")     # of lexsembridge_files; model: a loaded SentenceTransformer
    gate = Gate(spec, seed=0)                                         # for clr: gate.attach(load_masked_lm(...))
    output = model(features)                                          # features of model.preprocess(texts, ...)
    q = gate(features, output["token_embeddings"], output["sentence_embedding"])     # float32[B, dim], with gradients
    gate.save(folder, trained_on={...})                               # Gate.load(folder) gives identical vectors

A trained backbone is saved beside the gate, not around it (``out/model`` and ``out/gate``), and ``spec`` is then made anew from the
saved folder, ``gate.save(folder, spec=gate_spec(...))``, for a gate belongs to the files of its model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from irkit.core.errors import ModelError
from irkit.core.files import appearing
from irkit.models.lexsembridge_files import (
    CONFIG,
    WEIGHTS,
    GateSpec,
    read_spec,
    require_whole,
    spec_text,
)
from irkit.models.masked_lm import MaskedLM

FLOOR = 1e-6
"""The least that a gate is, of what an even one is: below, a float would lose the sign that the formula keeps."""
START = 0.03
"""The most that sigma is at first for weights as large as can be expected, so that the cosine to the query is above 0.999."""
_EXPECTED = 8.0
"""The Euclidean norm of the weights of 64 tokens that weigh 1; where the whole vocabulary has weights, they may be 1 on average."""


class Gate(nn.Module):  # type: ignore[misc]
    """The gate of one model.

    Attributes:
        spec: what it is.
        table: W transposed, ``float32[vocabulary, dim]``: a row a token.
        bias: b, ``float32[dim]``.
        scale: s of SLR's code form, a number; None in the others.
        lexical: U and c of LLR: a linear layer from hidden to vocabulary (paper) or to 1 (code); None in the others.
    """

    def __init__(self, spec: GateSpec, seed: int = 0) -> None:
        """Make an untrained gate; W and b are even within +-a, as in the authors' linear layer.

        a is ``1 / sqrt(vocabulary)``, torch's, but never more than leaves sigma below ``START``: a small vocabulary, or one that
        has weights throughout, would be modulated at random otherwise. The other layers start as torch's do, but for c of LLR's
        code form, which starts at 1: tokens then weigh about as much as in SLR.

        Args:
            spec: what it is to be.
            seed: of the weights; the same on every machine.
        """
        super().__init__()
        self.spec = spec
        random = torch.Generator().manual_seed(seed)

        def even(most: float, *shape: int) -> Any:
            return nn.Parameter((torch.rand(*shape, generator=random) * 2 - 1) * most)

        size, dim = spec.vocabulary, spec.dim
        norm = math.sqrt(size) if spec.dense else _EXPECTED
        most = min(1 / math.sqrt(size), START * math.sqrt(3) / math.hypot(norm, 1))
        self.table = even(most, size, dim)
        self.bias = even(most, dim)
        self.scale = nn.Parameter(torch.ones(())) if (spec.method, spec.form) == ("slr", "code") else None
        self.lexical = None
        if spec.method == "llr":
            outputs = size if spec.form == "paper" else 1
            self.lexical = nn.Linear(spec.hidden, outputs)
            bound = 1 / math.sqrt(spec.hidden)
            self.lexical.weight = even(bound, outputs, spec.hidden)
            # the vectors of a text's tokens are much alike: below 0, all would be, and such a layer never learns
            self.lexical.bias = even(bound, outputs) if outputs > 1 else nn.Parameter(torch.ones(1))
        self.register_buffer("skipped", torch.tensor(spec.skipped, dtype=torch.long), persistent=False)
        self._mlm: tuple[MaskedLM, ...] = ()  # in a tuple: no parameters of the gate

    def attach(self, mlm: MaskedLM) -> None:
        """Give CLR its masked language model.

        Raises:
            ModelError: when it has another vocabulary than the encoder.
        """
        if (mlm.tokenizer, mlm.vocabulary) != (self.spec.tokenizer, self.spec.vocabulary):
            hint = (
                "take the masked language model that the encoder was made from, or another one of its tokens"
            )
            raise ModelError.of(
                "the masked language model has other tokens than the encoder", where=mlm.name, hint=hint
            )
        self._mlm = (mlm,)

    def forward(
        self, features: Mapping[str, Any], hidden: Tensor, pooled: Tensor, rarity: Tensor | None = None
    ) -> Tensor:
        """Return the modulated vectors, ``float32[B, dim]``, each as long as its ``pooled``: compared by the cosine, or by the dot
        product after a normalising model, that is the published formula; by the dot product otherwise, it ranks as that does.

        Args:
            features: of the tokeniser: ``input_ids`` and ``attention_mask``, both ``int64[B, n]``.
            hidden: the token vectors before pooling, ``[B, n, hidden]``; only LLR looks at them.
            pooled: the vectors to modulate, ``[B, dim]``.
            rarity: for ``statistics: idf``: that of each token of ``input_ids``, ``float32[B, n]``, between 0 and 1.
        """
        return self.modulated(pooled, self.logits(features, hidden, rarity))

    def modulated(self, pooled: Tensor, logits: Tensor) -> Tensor:
        """Modulate vectors ``[B, dim]`` by the gates of these logits ``[B, dim]``; a zero vector stays zero."""
        vectors = pooled.to(logits.dtype)
        return functional.normalize(self.gates(logits) * vectors, dim=-1) * vectors.norm(dim=-1, keepdim=True)

    def gates(self, logits: Tensor) -> Tensor:
        """Return the gates of logits, ``float32[B, dim]``, all above 0.

        ``softmax`` is on average 1 / dim, ``scaled-softmax`` 1; ``sigmoid`` is below 1, and ``tanh``, 1 + tanh, below 2. The
        first two point the same way.
        """
        kind = self.spec.activation
        if kind in ("softmax", "scaled-softmax"):
            even = logits.shape[-1] * torch.softmax(logits, dim=-1)
            scale = 1.0 if kind == "scaled-softmax" else 1 / logits.shape[-1]
        else:  # 1 + tanh z = 2 sigmoid 2z, which does not cancel out where tanh is near -1
            even = 2 * torch.sigmoid(logits if kind == "sigmoid" else 2 * logits)
            scale = 0.5 if kind == "sigmoid" else 1.0
        return even.clamp_min(FLOOR) * scale

    def logits(
        self, features: Mapping[str, Any], hidden: Tensor | None, rarity: Tensor | None = None
    ) -> Tensor:
        """Return ``W w + b``, ``float32[B, dim]``; the arguments are those of :meth:`forward`."""
        weights = self.weights(features, hidden, rarity).to(self.table.dtype)
        if self.spec.dense:
            return weights @ self.table + self.bias
        ids = features["input_ids"]
        return functional.embedding_bag(ids, self.table, per_sample_weights=weights, mode="sum") + self.bias

    def weights(
        self, features: Mapping[str, Any], hidden: Tensor | None, rarity: Tensor | None = None
    ) -> Tensor:
        """Return the weights of the tokens: of the whole vocabulary, ``float32[B, vocabulary]``, where ``spec.dense``; else of the
        tokens of the text, ``float32[B, n]`` at their first places, 0 at the others.
        """
        if self.spec.method == "clr":
            if not self._mlm:
                raise RuntimeError("attach a masked language model first")
            return torch.log1p(torch.relu(self._mlm[0].first_logits(features)))
        if self.spec.method == "slr":
            return self._statistical(features, rarity)
        assert hidden is not None and self.lexical is not None  # noqa: S101
        hidden = hidden.to(self.table.dtype)
        if self.spec.form == "paper":
            return torch.log1p(torch.relu(self.lexical(_first_states(hidden, features["attention_mask"]))))
        each = torch.relu(self.lexical(hidden)).squeeze(-1)
        same, first = self._tokens(features)
        return torch.where(same, each[:, None, :], 0.0).amax(dim=2) * first

    def dense_weights(
        self, features: Mapping[str, Any], hidden: Tensor | None, rarity: Tensor | None = None
    ) -> Tensor:
        """Return the weights of the whole vocabulary, ``float32[B, vocabulary]``, whatever the method: to look at."""
        weights = self.weights(features, hidden, rarity)
        if self.spec.dense:
            return weights
        whole = weights.new_zeros(len(weights), self.spec.vocabulary)
        return whole.scatter_add(1, features["input_ids"], weights)

    def sigma(
        self, features: Mapping[str, Any], hidden: Tensor | None, rarity: Tensor | None = None
    ) -> Tensor:
        """Return the standard deviation over the dimensions of each text's logits, ``float32[B]``: how strongly it is modulated."""
        return sigma(self.logits(features, hidden, rarity))

    def save(
        self, folder: Path, *, spec: GateSpec | None = None, trained_on: Mapping[str, Any] | None = None
    ) -> None:
        """Write a folder of ``gate.safetensors`` and ``gate.json``: it appears whole, in place of a gate that was there before.

        Args:
            folder: new, empty, or a gate's; a training writes into its own folder with :meth:`write`.
            spec: what the gate is by now, where its model was trained too and saved as another one.
            trained_on: what to write down of the training.

        Raises:
            ModelError: when something else is there.
            OSError: when the operating system refuses.
        """
        if folder.exists() and not (
            folder.is_dir() and {each.name for each in folder.iterdir()} <= {WEIGHTS, CONFIG}
        ):
            message, hint = "something else than a gate is there", "choose a folder that is new or empty"
            raise ModelError.of(message, where=str(folder), hint=hint)
        with appearing(folder, replace=True) as partial:
            self.write(partial, spec=spec, trained_on=trained_on)

    def write(
        self, folder: Path, *, spec: GateSpec | None = None, trained_on: Mapping[str, Any] | None = None
    ) -> None:
        """Write the files of :meth:`save` into a folder that the caller makes whole, beside whatever else is in it."""
        from safetensors.torch import save_file

        said = spec or self.spec
        said = said if trained_on is None else replace(said, trained_on=trained_on)
        state = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / WEIGHTS, {"format": "pt"})
        (folder / CONFIG).write_text(spec_text(said, folder / WEIGHTS), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Gate:
        """Read a saved gate, onto the CPU.

        Raises:
            ModelError: when the folder holds none, or one that is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        spec = read_spec(folder)
        require_whole(folder)
        gate = cls(spec)
        hint = "train the gate again, or give the folder that `irkit train` wrote"
        try:
            gate.load_state_dict(load_file(folder / WEIGHTS))
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ModelError.of(
                f"the weights do not fit gate.json: {reason}", where=str(folder), hint=hint
            ) from error
        if not all(bool(torch.isfinite(each).all()) for each in gate.parameters()):
            raise ModelError.of("the weights are not all finite", where=str(folder), hint=hint)
        gate.eval()
        return gate

    def _statistical(self, features: Mapping[str, Any], rarity: Tensor | None) -> Tensor:
        _, first = self._tokens(features)
        if self.spec.statistics == "idf":
            if rarity is None:
                raise ValueError("statistics: idf needs the rarity of the tokens")
            first = first * rarity
        return torch.log1p(first) if self.scale is None else self.scale * first

    def _tokens(self, features: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return which places hold the same token, ``bool[B, n, n]``, and 1 where a token that counts is for the first time,
        ``float32[B, n]``.
        """
        ids = features["input_ids"]
        counts = features["attention_mask"].bool() & ~torch.isin(ids, self.skipped)
        same = (ids[:, :, None] == ids[:, None, :]) & counts[:, :, None] & counts[:, None, :]
        before = same.tril(diagonal=-1).any(dim=2)
        return same, (counts & ~before).to(self.table.dtype)


def sigma(logits: Tensor) -> Tensor:
    """Return the standard deviation over the dimensions of each row of logits, ``float32[B]``."""
    return logits.std(dim=-1, correction=0)


def _first_states(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the token vector of each text's first token, ``[B, hidden]``: [CLS], also where padding is on the left."""
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.long().argmax(dim=1)]
