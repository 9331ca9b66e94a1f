"""The learner of ``kind: blockrank``: a language model up to the layer that is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from irkit.core.errors import ConfigError, ModelError
from irkit.core.flow import flow
from irkit.models.device import is_out_of_memory, use_threads
from irkit.models.trained import describe
from irkit.train.blockrank.kind import STAGE_OPTIONS
from irkit.train.blockrank.loss import list_loss
from irkit.train.examples import Examples
from irkit.train.kinds import find_base, find_model
from irkit.train.learner import Learner, Surroundings, expected_ndcg, ndcg
from irkit.train.recipe import Recipe, Training

if TYPE_CHECKING:
    import torch

    from irkit.models.lora import Updates
    from irkit.train.blockrank.kind import BlockRankTraining
    from irkit.train.blockrank.lists import Batch


class BlockRankLearner(Learner):
    """A language model up to the layer that is read; its updates, or all its weights."""

    def __init__(self, recipe: Recipe, examples: Examples, place: Surroundings) -> None:
        """Load the model.

        Raises:
            ModelError: when it cannot be loaded, or its attention cannot be learned.
            ConfigError: for a list of one document, where no held-out query has a negative, and for a teacher's loss without a
                teacher.
        """
        self.recipe, self.examples, self.place = recipe, examples, place
        self.options = options = cast("BlockRankTraining", recipe.options)
        self._check()
        from irkit.models.lm.learning.reader import NAME, LearningReader
        from irkit.models.lm.learning.weights import update, whole
        from irkit.models.lm.loading import load_language_model
        from irkit.models.lm.model import CausalLM
        from irkit.train.blockrank.draws import ListMaker

        use_threads(place.threads)
        self.source = (find_model if options.rank is None else find_base)(options.model, place)
        half = options.autocast or ("bfloat16" if place.device.startswith("cuda") else "none")
        dtype: Literal["bfloat16", "float32"] = "bfloat16" if half == "bfloat16" else "float32"
        kept: Literal["bfloat16", "float32"] = dtype if options.rank is not None else "float32"
        loaded, tokenizer = load_language_model(self.source, place.device, kept, False, "eager")
        count = int(loaded.config.get_text_config().num_hidden_layers)
        self.layer = options.layer if options.layer is not None else count // 2
        if self.layer >= count:
            message = f"the model has no layer {self.layer}: it has {count}, counted from 0"
            raise ConfigError.of(message, where="options.layer", hint="take a smaller one, or leave it out")
        self._updates: Updates | None = None
        if options.rank is not None:
            self._updates = update(loaded, options.rank, options.alpha, self.layer, recipe.seed)
            self.weights = self._updates.weights
        else:
            self.weights = whole(loaded, self.layer)
        self.reader = LearningReader(loaded, self.layer, dtype=dtype, checkpointing=options.checkpointing)
        self.model = CausalLM.around(loaded, tokenizer, self.source.name, attention=NAME, quick=False)
        self._maker = ListMaker(recipe, examples, self.model, pin=place.device.startswith("cuda"))

    def _check(self) -> None:
        if not self._validated:
            hint = "negatives: {depth: 100}, or validation: {share: ...} larger"
            raise ConfigError.of("no held-out query has a negative", where="negatives", hint=hint)
        if self.options.distil is not None:
            self.options.distil.check(self.examples)

    def scores(self, batch: Batch) -> torch.Tensor:
        """Return S of every document, ``float32[B, D]``: the share of attention that its tokens get; 0 where a list has fewer."""
        import torch

        shares = self.reader.shares(batch.lesson)
        # a product with zeros and ones: sums by index are of no fixed order on CUDA
        mine = torch.arange(batch.there.shape[1], device=shares.device)
        found: torch.Tensor = torch.bmm(shares[:, None], (batch.owner[:, :, None] == mine).to(shares.dtype))[
            :, 0
        ]
        return found

    def loss(self, rows: Sequence[int], step: int) -> torch.Tensor:
        """Return the mean loss of the lists.

        Raises:
            ModelError: when the device has too little memory.
        """
        import torch

        parts = self._maker.of_step(rows, step)
        try:
            if len(parts) == 1:
                return self._sum(parts[0]) / len(rows)
            weights = list(self.weights.values())
            total, gradients = 0.0, [torch.zeros_like(each) for each in weights]
            for part in parts:
                loss = self._sum(part) / len(rows)
                torch._foreach_add_(gradients, torch.autograd.grad(loss, weights))
                total = loss.detach() + total
            return _known(total, gradients, weights)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            hint = "options: {batch_tokens: 16384}, or checkpointing: true"
            raise ModelError.of(
                "the device has too little memory for a pass", where=self.recipe.name, hint=hint
            ) from error

    def _sum(self, part: Batch) -> torch.Tensor:
        """Return the sum of the losses of some lists."""
        batch, tau = part.to(self.place.device), self.recipe.training.temperature
        found = self.scores(batch)
        losses = list_loss(found, batch.there, batch.relevant, tau)
        if self.options.distil is not None:
            losses = losses + self.options.distil.loss(found, batch.teacher, tau)
        return losses.sum()

    @property
    def against(self) -> str:
        """Their own lists: the documents that were ranked best by what mined them."""
        return f"the documents that were mined for each, its best {self.recipe.training.group}"

    @property
    def _validated(self) -> list[int]:
        """The held-out queries with a negative; lists of others would score 1 whatever the model."""
        return [row for row in self.examples.held.tolist() if self.examples.queries[row].negatives]

    def _by_task(self, values: Sequence[float]) -> dict[str, float]:
        found = np.full(len(self.examples.held), np.nan)
        found[np.isin(self.examples.held, self._validated)] = values
        return self.examples.by_task(found)

    def validate(self) -> dict[str, float]:
        """Return the mean nDCG@10 within the lists of the held-out queries, by task."""
        import torch

        rows = self._validated
        values: list[float] = []
        with torch.no_grad():
            for lists, batch in self._maker.held(rows, self.recipe.training.batch):
                found = self.scores(batch.to(self.place.device)).cpu().numpy()
                for own, each in zip(found, lists, strict=True):
                    size, relevant = len(each.relevant), frozenset(np.flatnonzero(each.relevant).tolist())
                    values += ndcg(own[None, :size], [relevant], range(size)).tolist()
                self.looked(len(lists))
        return self._by_task(values)

    def chance(self) -> dict[str, float]:
        """Return the mean nDCG@10 of the same lists in random order."""
        marked = [self._maker.best(row)[1] for row in self._validated]
        return self._by_task([expected_ndcg(len(each), int(each.sum())) for each in marked])

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return matrices with weight decay, and the rest without."""
        matrices = [each for each in self.weights.values() if each.ndim > 1]
        others = [each for each in self.weights.values() if each.ndim <= 1]
        given = [(matrices, training.weight_decay), (others, 0.0)]
        return [{"params": some, "lr": training.lr, "weight_decay": decay} for some, decay in given if some]

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write updates as peft has them; or the model, without the layers that are not read; float16 both."""
        from irkit.models.lm.learning.weights import save_whole

        base = None
        if self._updates is not None:
            base = (self.source.name, self.source.fingerprint)
            self._updates.save(folder, self.source.name)
        else:
            save_whole(folder, self.model.model, self.model.tokenizer, self.layer)
        describe(folder, "blockrank", base, self._stage_options())

    def _stage_options(self) -> dict[str, Any]:
        own = self.options
        given = {"layer": self.layer} | {name: getattr(own, name) for name in STAGE_OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    def usage(self, name: str) -> str:
        """Return the steps of a pipeline that rerank with it."""
        options = flow({"model": name, "depth": self.recipe.training.group})
        return f"- bm25: {{k: 100}}\n- blockrank: {options}"

    def facts(self) -> dict[str, Any]:
        """Return how many weights are trained."""
        return {"parameters": sum(each.numel() for each in self.weights.values()), "layer": self.layer}


def _known(total: Any, gradients: list[Any], weights: list[Any]) -> torch.Tensor:
    """Return a loss whose gradients are there already."""
    import torch

    class Known(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, value: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            return (None, *(grad * each for each in gradients))

    found: torch.Tensor = Known.apply(total, *weights)
    return found
