"""Devices and threads of torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from irkit.core.errors import ConfigError


def pick_device(wanted: str | None) -> str:
    """Return the torch device to use: the one asked for, else CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: when the device asked for is not there.
    """
    import torch

    if wanted is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available()
        and int(number if number.isdigit() else 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(kind, False) or (number and not number.isdigit()):
        hint = "leave device out to use the best there is, or use cpu; irkit doctor shows what torch sees"
        raise ConfigError.of(f"torch has no device {wanted!r} here", where="device", hint=hint)
    return wanted


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device ran out of memory: torch has a class for it on accelerators and only a text on the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in str(error) or "not enough memory" in str(error))
    )


def use_threads(threads: int) -> None:
    """Let torch use this many CPU threads in this process. Changes no result: see :mod:`irkit.models.batching`."""
    import torch

    torch.set_num_threads(threads)


@cache
def has_triton() -> bool:
    """Whether kernels written in Triton can be compiled: torch brings it with its CUDA builds for Linux."""
    return find_spec("triton") is not None


@contextmanager
def deterministic() -> Iterator[None]:
    """Ask torch for algorithms that give the same result in every run; where it has none, it warns. In the end all is as before."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = (
        False  # it finds faults, and costs a tenth of a step
    )
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
