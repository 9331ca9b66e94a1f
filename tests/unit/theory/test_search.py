"""The search for the critical n, on predicates whose answer is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.theory.polynomial import PAPER, Cubic, fit
from irkit.theory.search import Critical, find_critical


@given(st.integers(3, 300), st.integers(3, 300), st.integers(1, 4))
def test_a_threshold_is_found_from_any_guess(threshold: int, guess: int, beyond: int) -> None:
    asked: list[int] = []

    def solved(n: int) -> bool:
        asked.append(n)
        return n <= threshold

    found = find_critical(solved, guess, 3, 300, beyond)
    assert found == Critical(threshold, threshold == 300)
    assert len(asked) == len(set(asked)) <= 2 * 9 + beyond
    assert all(3 <= n <= 300 for n in asked)


def test_bad_luck_at_one_size_is_looked_past() -> None:
    def solved(n: int) -> bool:
        return n <= 20 and n != 18

    assert find_critical(solved, 17, 3, 100, beyond=1).n == 17
    assert find_critical(solved, 17, 3, 100, beyond=2).n == 20


def test_behind_a_gap_the_steps_double_again() -> None:
    asked: list[int] = []

    def solved(n: int) -> bool:
        asked.append(n)
        return n != 8 and n <= 500

    assert find_critical(solved, 7, 3, 1000).n == 500
    assert len(asked) == len(set(asked)) < 30


@pytest.mark.parametrize(("guess", "after"), [(80, [81, 83, 87]), (650, [656, 668, 692])])
def test_the_first_step_is_a_hundredth_of_the_guess(guess: int, after: list[int]) -> None:
    for most in (5000, 10):
        asked: list[int] = []

        def solved(n: int, most: int = most, asked: list[int] = asked) -> bool:
            asked.append(n)
            return n <= most

        find_critical(solved, guess, 3, 9000)
        assert asked[:4] == [guess, *(after if most > guess else [2 * guess - n for n in after])]


def test_nothing_and_everything() -> None:
    assert find_critical(lambda _: False, 9, 3, 50) == Critical(None)
    assert find_critical(lambda _: True, 9, 3, 50) == Critical(50, capped=True)
    assert find_critical(lambda _: True, 900, 3, 50) == Critical(50, capped=True)


def test_the_papers_cubic_gives_the_papers_extrapolations() -> None:
    """Section 4: 500k (512), 1.7m (768), 4m (1024), 107m (3072), 250m (4096)."""
    said = {512: 5e5, 768: 1.7e6, 1024: 4e6, 3072: 1.07e8, 4096: 2.5e8}
    for dim, n in said.items():
        assert PAPER(dim) == pytest.approx(n, rel=0.05)


def test_a_fit_finds_a_cubic_again() -> None:
    cubic = Cubic((3.0, -2.0, 0.5, 0.25))
    dims = list(range(2, 16, 2))
    found = fit(dims, [round(cubic(d)) for d in dims])
    assert found is not None and found.r2 == pytest.approx(1)
    assert found(40) == pytest.approx(cubic(40), rel=1e-3)
    assert cubic.formula() == "3.0000 - 2.0000 d + 0.5000 d^2 + 0.2500 d^3"


def test_four_points_are_too_few_for_a_cubic() -> None:
    assert fit([4, 5, 6, 7], [9, 13, 19, 25]) is None
    assert fit([4, 4, 5, 6, 7], [9, 9, 13, 19, 25]) is None
