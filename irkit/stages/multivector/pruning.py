"""Fewer tokens a document: without stop words, or only those that the model attends to."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from irkit.models.words import word_id


@cache
def stop_words() -> NDArray[np.uint32]:
    """Return the numbers of English stop words and punctuation, ascending; ``irkit/data/stopwords.txt`` says which and why."""
    text = files("irkit.data").joinpath("stopwords.txt").read_text(encoding="utf-8")
    listed = [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    return np.unique(np.array([word_id(word.encode()) for word in listed], np.uint32))


def without_stop_words(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which tokens of a document stay, ``bool[n]``: all but the pieces of stop words.

    Special tokens stay. A document of nothing but stop words and special tokens keeps all: it would lose its text.
    """
    stay: NDArray[np.bool_] = ~np.isin(words, stop_words())
    return stay if (stay & (words != 0)).any() else np.ones(len(words), np.bool_)


def most_attended(salience: NDArray[np.float32], keep: float) -> NDArray[np.bool_]:
    """Return which tokens of a document stay, ``bool[n]``: the ceil(keep n) that are attended to most; of equals, the earlier.

    So every document with tokens keeps at least one. This is the top-p % pruning of HPC-ColPali (arXiv 2506.21601).
    """
    stay = np.zeros(len(salience), np.bool_)
    count = int(np.ceil(keep * len(salience) - 1e-9))  # 0.55 * 20 is a little more than 11 in binary
    stay[np.argsort(-salience, kind="stable")[:count]] = True
    return stay
