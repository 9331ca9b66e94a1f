"""Torch's algorithms are the same in every run while that is asked for, and whatever they were afterwards."""

from __future__ import annotations

import pytest
import torch

from irkit.models.device import deterministic


@pytest.mark.parametrize("before", [True, False])
def test_deterministic_algorithms_are_asked_for_and_given_back(before: bool) -> None:
    torch.use_deterministic_algorithms(before)
    try:
        with pytest.raises(KeyboardInterrupt), deterministic():
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_deterministic_algorithms_warn_only_enabled()
            raise KeyboardInterrupt
        assert torch.are_deterministic_algorithms_enabled() == before
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)
