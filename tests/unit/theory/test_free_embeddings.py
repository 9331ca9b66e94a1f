"""Free embeddings: small cases whose answer geometry knows, and endings."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from irkit.core.errors import ConfigError
from irkit.theory import free_embeddings
from irkit.theory.free_embeddings import Optimiser, _Batch, solve
from irkit.theory.margin import margin

QUICK = Optimiser(iterations=800, patience=200)


def pairs(n: int) -> np.ndarray:
    return np.array(list(combinations(range(n), 2)), np.int64)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


# On a circle a pair can be the best two only where its documents are neighbours, and n documents have n such pairs: all
# pairs of 3, not of 4. On a sphere a pair must be an edge of the convex hull, of which there are at most 3n - 6: all
# pairs of 4, not of 5.
@pytest.mark.parametrize(("dim", "most"), [(2, 3), (3, 4)])
def test_what_geometry_allows_is_found_and_no_more(dim: int, most: int) -> None:
    assert any(trial.solved for trial in solve(pairs(most), most, dim, range(3), QUICK, "cpu"))
    trials = solve(pairs(most + 1), most + 1, dim, range(3), QUICK, "cpu")
    assert not any(trial.solved for trial in trials)
    assert all(trial.missed > 0 and trial.margin is None for trial in trials)


def test_as_many_dimensions_as_documents_are_easy() -> None:
    (trial,) = solve(pairs(8), 8, 8, [3], QUICK, "cpu")
    assert trial.solved and trial.ended == "solved" and trial.missed == 0 and trial.iterations <= 1000
    assert trial.margin is not None and trial.margin > 1e-3


def test_the_same_seeds_give_the_same_trials() -> None:
    def made(seeds: list[int]) -> list[object]:
        return [replace(trial, seconds=0.0) for trial in solve(pairs(7), 7, 4, seeds, QUICK, "cpu")]

    assert made([0]) == made([0]) != made([1])
    assert made([5, 6]) == made([5, 6])


def test_starts_of_a_batch_end_one_by_one_until_one_succeeds() -> None:
    trials = solve(pairs(10), 10, 4, [0, 1, 2], Optimiser(iterations=3000, patience=300), "cpu")
    assert [trial.seed for trial in trials] == [0, 1, 2]
    assert {trial.ended for trial in trials} <= {"stalled", "limit"}
    assert len({trial.iterations for trial in trials}) > 1  # no start waits for another
    both = solve(pairs(5), 5, 5, [0, 1], replace(QUICK, every=1), "cpu")
    assert sorted(trial.ended for trial in both) in (["overtaken", "solved"], ["solved", "solved"])
    assert len({trial.iterations for trial in both}) == 1


@pytest.mark.parametrize(("iterations", "patience", "ended"), [(70, 1000, "limit"), (5000, 10, "stalled")])
def test_it_gives_up(iterations: int, patience: int, ended: str) -> None:
    how = Optimiser(iterations=iterations, patience=patience, progress=1.0)
    (trial,) = solve(pairs(12), 12, 2, [0], how, "cpu")
    assert (trial.solved, trial.ended) == (False, ended)
    assert trial.iterations == (70 if ended == "limit" else 50)


def test_a_tie_is_not_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 may see a gap that is none: only a margin that float64 proves counts."""
    monkeypatch.setattr(free_embeddings, "margin", lambda *_: 1e-13)
    (trial,) = solve(pairs(4), 4, 4, [0], Optimiser(iterations=200), "cpu")
    assert not trial.solved and trial.missed == 0


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(_Batch, "run", full)
    with pytest.raises(ConfigError, match="d=3, n=4: 2 x 6 x 4 scores do not fit") as caught:
        solve(pairs(4), 4, 3, [0, 1], QUICK, "cpu")
    assert "--starts" in str(caught.value)


def test_margin_is_the_least_gap() -> None:
    documents = np.array([[1.0, 0], [0, 1], [-1, 0]])
    queries = np.array([[1.0, 1], [-1, 1]])
    assert margin(queries, documents, np.array([[0, 1], [1, 2]])) == 2.0
    assert margin(queries, documents, np.array([[0, 1], [0, 1]])) == -2.0
    tie = np.array([[1.0, 0], [1.0, 0], [0, 1]])
    assert margin(np.array([[1.0, 0]]), tie, np.array([[0]])) == 0.0


def test_margin_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries, documents, judged = rng.normal(size=(45, 3)), rng.normal(size=(10, 3)), pairs(10)
    whole = margin(queries, documents, judged)
    monkeypatch.setattr("irkit.theory.margin._BLOCK", 20)
    assert margin(queries, documents, judged) == whole
