"""Tests that the contract of a stage catches what it is there to catch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import Toy

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.registry import register
from irkit.pipeline.stage import Batch, Retriever
from irkit.testing.contract import check_stage


class Deep(Toy):
    """Finds other documents at another depth, as an approximate index does."""

    def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
        codes = np.arange(depth % 2, len(state), 2)
        return Rankings.from_lists([codes] * len(queries), [codes] * len(queries)).top(depth)


def test_a_retriever_whose_result_depends_on_the_depth_keeps_it(toy_stages: Path, tmp_path: Path) -> None:
    register("deep")(Deep)
    check_stage(Deep(k=2), tmp_path)


def test_a_depth_taken_from_the_whole_batch_is_caught(
    toy_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Deep, batch: Batch, state: Any) -> Rankings:
        found = self.search(batch.queries, self.k + batch.queries.max_excluded, state)
        return found.without(batch.queries.exclude).top(self.k)

    register("deep")(Deep)
    monkeypatch.setattr(Retriever, "run", run)
    with pytest.raises(AssertionError, match="one by one"):
        check_stage(Deep(k=2), tmp_path)
