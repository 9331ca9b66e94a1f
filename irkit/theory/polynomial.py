"""The curve of critical n over dimension: the paper's, and one through our own points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEGREE = 3


@dataclass(frozen=True)
class Cubic:
    """y = c[0] + c[1] d + c[2] d^2 + c[3] d^3.

    Attributes:
        coefficients: from the constant on.
        r2: the share of variance that it explains; None where it is not known.
    """

    coefficients: tuple[float, ...]
    r2: float | None = None

    def __call__(self, dim: float) -> float:
        """Return the value at a dimension."""
        return float(np.polynomial.polynomial.polyval(dim, self.coefficients))

    def formula(self) -> str:
        """Return it as people write it, with four decimals as in the paper."""
        text = f"{self.coefficients[0]:.4f}"
        for power, each in enumerate(self.coefficients[1:], 1):
            text += f" {'-' if each < 0 else '+'} {abs(each):.4f} d{f'^{power}' if power > 1 else ''}"
        return text


PAPER = Cubic((-10.5322, 4.0309, 0.0520, 0.0037), 0.999)
"""Weller et al. 2025, section 4, figure 2: dense pattern, k = 2."""


def fit(dims: Sequence[int], values: Sequence[int]) -> Cubic | None:
    """Return the cubic of least squares, or None for fewer than five points: four it would meet whatever they are."""
    if len(set(dims)) < DEGREE + 2:
        return None
    found = np.polynomial.Polynomial.fit(dims, values, DEGREE).convert()
    y = np.asarray(values, np.float64)
    spread = float(((y - y.mean()) ** 2).sum())
    rest = float(((y - found(np.asarray(dims))) ** 2).sum())
    return Cubic(tuple(float(c) for c in found.coef), 1 - rest / spread if spread else None)
