"""What XTR trains for: that a token of a relevant document is among those which the query's tokens retrieve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.models.ragged import Ragged
from irkit.stages.multivector.token_search import TokenSearch
from irkit.stages.multivector.tokens import Tokens


def token_recall(
    asked: Ragged, tokens: Tokens, relevant: Sequence[NDArray[Any]], k_prime: int, device: str
) -> NDArray[np.float64]:
    """Return the share of each query's relevant documents of which at least one token is retrieved, ``float64[Q]``.

    Every query token retrieves exactly its ``k_prime`` best of all document tokens (:class:`TokenSearch`).

    Args:
        asked: token vectors of the queries.
        tokens: those of the documents that are searched.
        relevant: of each query, places among these documents; where there is none, the share is nan.
        k_prime: document tokens for each query token.
        device: of the products.
    """
    shares = np.full(len(asked), np.nan)
    for query, retrieved in enumerate(TokenSearch(tokens, k_prime, device).retrieve(asked)):
        if len(relevant[query]):
            rows = np.concatenate([np.zeros(0, np.int64), *(each for each, _ in retrieved)])
            found = np.searchsorted(tokens.offsets, rows, side="right") - 1
            shares[query] = np.isin(relevant[query], found).mean()
    return shares
