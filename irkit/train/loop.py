"""The training loop: AdamW, a schedule, looks at held-out queries, early stopping, checkpoints.

Whatever is drawn is drawn from the seed and the number of the step, never from a generator's state, so a run that was killed and
goes on from a checkpoint does what it would have done. On one device and with the same number of threads, the same seed gives the
same weights, as far as the device's arithmetic is deterministic: on the CPU it is; on CUDA torch is asked for deterministic
algorithms.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from irkit.core.errors import ModelError
from irkit.core.fingerprint import fingerprint
from irkit.models.device import deterministic
from irkit.pipeline.context import Advance, Progress
from irkit.pipeline.stage import decisive
from irkit.train.checkpoint import (
    Standing,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from irkit.train.examples import Examples
from irkit.train.kinds import kind_of
from irkit.train.learner import Learner
from irkit.train.recipe import Recipe, Training

if TYPE_CHECKING:
    import torch

CHECKPOINT_SECONDS = 600.0
"""There is a checkpoint when the last one is as old as this. When it is written changes nothing of what is learned."""


def train(
    learner: Learner,
    recipe: Recipe,
    examples: Examples,
    folder: Path,
    progress: Progress,
    label: str,
    key: str,
) -> Standing:
    """Train, and leave the learner with the weights that were best on the held-out queries, or with the last where it keeps these.

    The untrained weights are looked at too: where training does not help, they are the best, and the report says so.

    Args:
        learner: what is trained.
        recipe: one variant's.
        examples: what to train on.
        folder: for checkpoints; one of the same ``key`` that lies there is gone on from.
        progress: shows the steps, and the held-out queries that were looked at; told what every look found.
        label: what the progress bars say.
        key: of everything that decides the weights.

    Raises:
        ModelError: when the loss is no finite number, or a checkpoint is damaged.
    """
    import torch

    training, steps = recipe.training, total_steps(recipe.training, len(examples.training))
    groups = learner.groups(training)
    optimizer = torch.optim.AdamW(groups) if groups and steps else None
    rates = [group["lr"] for group in groups]
    found = load_checkpoint(folder, key)
    standing = found[0] if found else Standing()
    every, held = recipe.validation.every, len(examples.held)
    looks = 1 + (-(-steps // every) if optimizer else 0)
    best: Mapping[str, torch.Tensor]
    saved = time.monotonic()

    def keep() -> float:
        state = optimizer_tensors(optimizer) if optimizer else {}
        files = {"weights": learner.state(), "best": best, "optimizer": state}
        save_checkpoint(folder, standing, files, key)
        return time.monotonic()

    counts = f"{len(examples.training)} queries, {steps} steps, {looks} looks at {held} held-out queries"
    resumed = f"; going on from step {standing.step}" if found else ""
    progress.say(f"{label}: {counts}{resumed}{_few(steps, every)}")
    with progress.task(f"held-out queries, {label}", looks * held, len(standing.looks) * held) as seen:
        if found is None:
            best = _copied(learner.state())
            _look(standing, learner, examples, seen)
            progress.say(f"{label}: {_told(standing, examples, learner.keeps_last)}")
            saved = keep()
        else:
            tensors = found[1]
            learner.load(tensors["weights"])
            best = tensors["best"]
            if optimizer is not None:
                restore_optimizer(optimizer, tensors["optimizer"])
        with deterministic(), progress.task(label, steps if optimizer else 0, standing.step) as advance:
            began = time.perf_counter() - standing.seconds
            while optimizer is not None and standing.step < steps and not standing.stopped:
                loss = _step(learner, optimizer, rates, recipe, examples, standing.step, steps)
                standing.step += 1
                standing.total, standing.counted = standing.total + loss, standing.counted + 1
                looked = standing.step % every == 0 or standing.step == steps
                if looked:
                    if _look(standing, learner, examples, seen):
                        best = _copied(learner.state())
                    standing.stopped = standing.stale >= recipe.validation.patience and standing.step < steps
                    progress.say(f"{label}: {_told(standing, examples, learner.keeps_last)}")
                standing.seconds = time.perf_counter() - began
                due = time.monotonic() - saved >= CHECKPOINT_SECONDS
                if looked or due or standing.step % training.checkpoint == 0:
                    saved = keep()
                advance(1)
    learner.load(best)
    return standing


def total_steps(training: Training, queries: int) -> int:
    """Return the number of steps of a whole training: an epoch is as many whole batches as the queries fill, at least one."""
    steps = training.epochs * max(1, queries // training.batch)
    return min(steps, training.steps) if training.steps is not None else steps


def batch_of(recipe: Recipe, examples: Examples, step: int) -> list[int]:
    """Return the queries of a step: every epoch goes through all of them in an order of its own."""
    rows, size = examples.training, recipe.training.batch
    epoch, place = divmod(step, max(1, len(rows) // size))
    order = np.random.Generator(np.random.PCG64([recipe.seed, 0, epoch])).permutation(rows)
    return [int(row) for row in order[place * size : (place + 1) * size]]


def rate(training: Training, step: int, steps: int) -> float:
    """Return the learning rate of a step, of the whole one: up in a line while it warms up, then down to 0 in a line."""
    warm = round(training.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    return (steps - step) / max(1, steps - warm)


def key_of(recipe: Recipe, examples: Examples, model: str | None, device: str) -> str:
    """Return the key of a training: everything that decides its weights but for their last bits. A run with another key starts
    anew.
    """
    data, kind = recipe.to_data(), kind_of(recipe.kind)
    training = {name: value for name, value in data["training"].items() if name != "checkpoint"}
    options = {name: value for name, value in data["options"].items() if name in decisive(kind.Options)}
    return fingerprint(
        {
            "kind": recipe.kind,
            "version": kind.version,
            "seed": recipe.seed,
            "options": options,
            "training": training,
            "validation": data["validation"],
            "examples": examples.fingerprint,
            "model": model,
            "device": device.partition(":")[0],
        }
    )


def _step(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    rates: list[float],
    recipe: Recipe,
    examples: Examples,
    step: int,
    steps: int,
) -> float:
    import torch

    for group, lr in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = lr * rate(recipe.training, step, steps)
    torch.manual_seed(int(fingerprint([recipe.seed, step])[:15], 16))  # of dropout
    loss = learner.loss(batch_of(recipe, examples, step), step)
    if not torch.isfinite(loss):
        hint = "take a smaller lr, or a higher temperature"
        raise ModelError.of(f"the loss is {loss.item()} at step {step + 1}", where=recipe.name, hint=hint)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, recipe.training.clip)
    optimizer.step()
    return float(loss.item())


def _look(standing: Standing, learner: Learner, examples: Examples, seen: Advance) -> bool:
    """Note the scores of a look; return whether its weights are to be kept: the best so far, judged and generated queries together,
    or the last.
    """
    told: list[int] = []

    def looked(n: int, /) -> None:
        told.append(n)
        seen(n)

    learner.looked = looked
    scores = learner.validate()
    seen(len(examples.held) - sum(told))  # of a learner that says nothing on its way
    standing.looks[str(standing.step)] = dict(scores)
    if standing.counted:
        standing.losses[str(standing.step)] = standing.total / standing.counted
    standing.total, standing.counted = 0.0, 0
    score = examples.overall(scores)
    better = learner.keeps_last or score > standing.best
    if better:
        standing.best, standing.best_step = score, standing.step
    standing.stale = 0 if better else standing.stale + 1
    return better


def _few(steps: int, every: int) -> str:
    """Return a warning where a training ends before its first look but one."""
    hint = f"warning: {steps} steps are fewer than validation.every, {every}: take more epochs, or look more often"
    return f"\n{hint}" if 0 < steps < every else ""


def _told(standing: Standing, examples: Examples, keeps_last: bool) -> str:
    """Return the last look in words."""
    at = str(standing.step)
    loss = f"loss {standing.losses[at]:.4f}, " if at in standing.losses else ""
    score = f"ndcg@10 of held-out queries {examples.overall(standing.looks[at]):.4f}"
    best = standing.best_step == standing.step and not keeps_last
    return f"step {at}: {loss}{score}" + (", the best so far" if best else "")


def _copied(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in state.items()}
