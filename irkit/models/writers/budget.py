"""What may be spent on an endpoint."""

from __future__ import annotations

from threading import Lock

from irkit.core.errors import ModelError


class Budget:
    """Counts requests and tokens, of several threads and writers too, and stops at a limit.

    Requests stop exactly at the limit. As nobody knows a text's tokens before it is there, tokens stop at the first request after
    the limit was reached: those that were under way may exceed it.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        """Make a budget; None is no limit."""
        self._limits = (requests, tokens)
        self._requests = self._tokens = 0
        self._lock = Lock()

    def take_request(self, where: str) -> None:
        """Count a request that is about to be made.

        Raises:
            ModelError: when the budget is spent.
        """
        requests, tokens = self._limits
        with self._lock:
            if requests is not None and self._requests >= requests:
                raise _spent(f"the budget of {requests} requests is spent", "budget_requests", where)
            if tokens is not None and self._tokens >= tokens:
                raise _spent(
                    f"the budget of {tokens} tokens is spent: {self._tokens} were", "budget_tokens", where
                )
            self._requests += 1

    def spend(self, tokens: int) -> None:
        """Count the tokens of an answer."""
        with self._lock:
            self._tokens += tokens


def _spent(message: str, option: str, where: str) -> ModelError:
    hint = f"what was written is kept, and the next run goes on from it: raise llm.{option}, or run it again"
    return ModelError.of(message, where=where, hint=hint)
