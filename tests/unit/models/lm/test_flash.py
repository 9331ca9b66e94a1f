"""Trying private operators of torch: what says that one is of no use, and what does not."""

from __future__ import annotations

import pytest
import torch

from irkit.models.lm.flash import holds


def missing() -> bool:
    return bool(torch.ops.aten._no_such_operator.default(1))


def refusing() -> bool:
    raise RuntimeError("needs a newer device")


def full() -> bool:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_an_operator_is_of_use_where_its_trial_says_so() -> None:
    assert holds(lambda: True) and not holds(lambda: False)
    assert not holds(missing) and not holds(refusing)


def test_too_little_memory_says_nothing_of_an_operator() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        holds(full)
