"""How often a request is made again, and after which pauses."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Retrying:
    """Pauses that double, each shortened at random by up to a half, so that many callers do not come back together.

    Attributes:
        retries: how often a request is made again.
        first: the first pause in seconds, before it is shortened.
        longest: no pause is longer; an endpoint that asks for more is not waited for.
    """

    retries: int = 5
    first: float = 1.0
    longest: float = 120.0

    def pause(self, attempt: int, asked: float | None) -> float | None:
        """Return the seconds to wait after attempt number ``attempt``, from 1 on; None to give up.

        Args:
            attempt: the number of attempts that failed.
            asked: what the endpoint asks for (``Retry-After``), which counts where it is longer.
        """
        if attempt > self.retries or (asked is not None and asked > self.longest):
            return None
        own = min(self.first * 2.0 ** min(attempt - 1, 30), self.longest)
        own *= 1 - random.random() / 2  # noqa: S311 - no secret depends on it
        return max(own, asked or 0.0)
