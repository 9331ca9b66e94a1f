"""Exact matching: a query's word meets the same word of a document, and no other.

ColBERTer's exact-match mode (Hofstätter et al. 2022, arXiv 2203.13088, "Uni-ColBERTer"; ``compress_to_exact_mini_mode``
of the released code): the similarity of two different words is 0, and then the best word of the document counts as ever. So a
query's word adds its similarity to the same word of the document where that is positive, and else 0. Only where the document
has no other word, a negative similarity stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, ScoreArray, offsets_of
from irkit.stages.multivector.grid import on_grid
from irkit.stages.multivector.tokens import Tokens


def match_scores(
    tokens: Tokens,
    words: NDArray[np.uint32],
    query: NDArray[np.float32],
    query_words: NDArray[np.uint32],
    docs: CodeArray,
) -> ScoreArray:
    """Return the exact-match scores of one query and some documents, ``float32[len(docs)]``.

    Every score is a sum of float64 products in a fixed order, rounded once. A document without words scores 0.

    Args:
        tokens: the documents' word vectors.
        words: ``uint32[T]``, the word of every row of ``tokens``.
        query: ``float32[Tq, dim]``.
        query_words: ``uint32[Tq]``; 0, which stands for no word, matches nothing.
        docs: codes of documents.
    """
    lengths = tokens.lengths[docs]
    starts = offsets_of(lengths)[:-1]
    rows = np.arange(lengths.sum()) + np.repeat(tokens.offsets[docs] - starts, lengths)
    of_row, doc_of_row = np.asarray(words[rows]), np.repeat(np.arange(len(docs)), lengths)
    total = np.zeros(len(docs))
    for vector, word in zip(on_grid(query), query_words, strict=True):
        same = np.flatnonzero(of_row == word) if word else np.zeros(0, np.int64)
        products = (tokens.take(rows[same]).astype(np.float64) * vector).sum(axis=1)
        matches = np.bincount(doc_of_row[same], minlength=len(docs))
        greatest = np.where((matches == lengths) & (lengths > 0), -np.inf, 0.0)
        np.maximum.at(greatest, doc_of_row[same], products)
        total += greatest
    return total.astype(np.float32)
