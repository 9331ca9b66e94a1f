"""Devices and threads of torch."""

from __future__ import annotations

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
