"""What a process takes of its machine: peak memory, here and on the accelerator; and the wait until the accelerator is idle.

torch is looked at only where something else has loaded it: a measurement of Lucene shall not pay for torch.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STATUS, _CLEAR, _PROCESSORS = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/cpuinfo")
_RESET_PEAK = "5"
"""What ``clear_refs`` takes to set the peak to what is resident now (proc(5))."""


class Memory:
    """The growth of the process's peak resident memory since this was made, and of what torch allocates on CUDA devices.

    Attributes:
        by: where the peak comes from: ``VmHWM``, set back at the start, so that every peak is seen; ``ru_maxrss``, which nothing
            sets back, so that what stays below an earlier peak counts 0.
    """

    def __init__(self) -> None:
        """Begin: forget earlier peaks where the system allows it."""
        self.by = "VmHWM" if _forget_peak() else "ru_maxrss"
        self._before = _resident("VmRSS") if self.by == "VmHWM" else _maximum()
        cuda = _cuda()
        self._device_before = 0
        for device in range(cuda.device_count()) if cuda else ():
            cuda.reset_peak_memory_stats(device)
            self._device_before += cuda.memory_allocated(device)

    def grown(self) -> int:
        """Return the bytes by which the peak is above what was there at the start."""
        peak = _resident("VmHWM") if self.by == "VmHWM" else _maximum()
        return max(0, peak - self._before)

    def resident_grown(self) -> int:
        """Return the bytes by which what is resident now is above what was there at the start."""
        return max(0, _resident("VmRSS") - self._before) if self.by == "VmHWM" else self.grown()

    def device_held(self) -> int:
        """Return the bytes that torch has allocated on CUDA devices since the start; 0 without one."""
        cuda = _cuda()
        if cuda is None:
            return 0
        held = sum(cuda.memory_allocated(device) for device in range(cuda.device_count()))
        return max(0, int(held) - self._device_before)

    def device_grown(self) -> int | None:
        """Return the same for CUDA devices; None where nothing uses one."""
        cuda = _cuda()
        if cuda is None:
            return None
        peaks = sum(cuda.max_memory_allocated(device) for device in range(cuda.device_count()))
        return max(0, int(peaks) - self._device_before)


class Peaks:
    """The peaks over several stretches of work, each of which has its own.

    Attributes:
        total: bytes by which resident memory grew at most since the first stretch began.
        device: the same of what torch allocates on CUDA devices; None without one.
    """

    def __init__(self) -> None:
        """Begin."""
        self._first = Memory()
        self.by = self._first.by
        self.total, self.device = 0, self._first.device_grown()

    @contextmanager
    def stretch(self) -> Iterator[Memory]:
        """Take the block's peak into account; it gives the block's own."""
        before, held = self._first.resident_grown(), self._first.device_held()
        memory = Memory()
        yield memory
        self.total = max(self.total, before + memory.grown())
        grown = memory.device_grown()
        if grown is not None:
            self.device = max(self.device or 0, held + grown)


def synchronise() -> None:
    """Wait until CUDA devices have done what they were given; at once where none is in use."""
    cuda = _cuda()
    if cuda is not None:
        cuda.synchronize()


def device_name() -> str:
    """Return the accelerator that this process uses, by the name its maker gave it; ``cpu`` where it uses none."""
    cuda = _cuda()
    return str(cuda.get_device_name()) if cuda is not None else "cpu"


def machine_name() -> str:
    """Return the processor's name, how many of its cores this process may use, and the system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}, {platform.system()}"


def load() -> float | None:
    """Return how many processes wanted a processor in the last minute, on average; None where the system does not tell."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _forget_peak() -> bool:
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:  # no Linux, or not permitted
        return False
    return True


def _resident(what: str) -> int:
    found = re.search(rf"^{what}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii", errors="replace"), re.M)
    return int(found[1]) * 1024 if found else 0


def _maximum() -> int:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _PROCESSORS.read_text(encoding="utf-8"), re.M)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
