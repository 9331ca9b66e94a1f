"""Reads packed codes: the inverse of what the codec writes, which compiled code alone reads in irkit itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unpack(codes: NDArray[np.uint8], bits: int, dim: int) -> NDArray[np.uint8]:
    """Return the bucket numbers ``uint8[n, dim]`` of packed codes: the inverse of ``pack``."""
    each, mask = 8 // bits, np.uint8((1 << bits) - 1)
    out = np.empty((len(codes), codes.shape[1], each), np.uint8)
    for place in range(each):
        out[:, :, place] = (codes >> np.uint8(place * bits)) & mask
    return out.reshape(len(codes), codes.shape[1] * each)[:, :dim]
