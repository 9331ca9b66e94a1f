"""Small prompts of lists, of random tokens, as a model learns them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from irkit.models.lm.learning.lesson import Lesson
from irkit.models.lm.segments import Read, Segments

Prompts = list[tuple[Segments, Read]]


def prompts(sizes: tuple[int, ...] = (3, 6, 4), seed: int = 0) -> Prompts:
    rng, made = np.random.default_rng(seed), []
    for place, count in enumerate(sizes):
        lead, lengths = int(rng.integers(2, 7)), rng.integers(3, 12, count)
        total = lead + int(lengths.sum())
        parts = [(rng.integers(5, 400, lead), 0, (0, 0))]
        parts += [(rng.integers(5, 400, each), lead, (0, lead)) for each in lengths]
        parts += [(rng.integers(5, 400, 7), 40, (0, total))]
        made.append(
            (Segments.of(parts), Read((total + 4 - place, total + 6), (lead, total), over="documents"))
        )
    return made


def lesson(some: Prompts, device: str = "cpu") -> Lesson:
    segments, moved = Segments.pack([each for each, _ in some])
    return Lesson.of(segments, [read.moved(by) for (_, read), by in zip(some, moved, strict=True)]).to(device)


def loss_of(shares: torch.Tensor) -> torch.Tensor:
    worth = torch.linspace(0, 1, shares.shape[1], dtype=shares.dtype, device=shares.device)
    return -((shares * worth).sum(1) + 0.01).log().sum()


def moved(weights: dict[str, Any]) -> None:
    """Give every update a value: B is zero at first, and A then learns nothing."""
    draws = torch.Generator().manual_seed(5)
    for name, each in weights.items():
        if "lora_B" in name:
            each.data.copy_(torch.randn(each.shape, generator=draws) * 0.1)
