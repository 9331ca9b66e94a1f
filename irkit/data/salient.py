"""The words of a passage, and which of them are salient: tf-idf over the collection's own words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from math import log

_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")  # noqa: RUF001 - the apostrophe of printed text
_LEAST = 3  # letters of a term


@cache
def stop_words() -> frozenset[str]:
    """Return English stop words, lower case; ``irkit/data/stopwords.txt`` says which and why."""
    text = files("irkit.data").joinpath("stopwords.txt").read_text(encoding="utf-8")
    return frozenset(w for line in text.splitlines() if not line.startswith("#") for w in line.split())


def words_of(text: str) -> list[str]:
    """Return the words of a text as they stand there: runs of letters and digits, with hyphens and apostrophes inside."""
    return _WORD.findall(text)


class WordCounts:
    """In how many documents of a collection each word stands, whatever its case.

    Memory grows with the vocabulary, not with the documents.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.documents = 0
        self._df: Counter[str] = Counter()
        for text in texts:
            self.documents += 1
            self._df.update({word.casefold() for word in words_of(text)})

    def df(self, word: str) -> int:
        """Return the number of documents that hold a word."""
        return self._df[word.casefold()]

    def rarest(self, words: Iterable[str]) -> str:
        """Return the casefolded word that the fewest documents hold; of equals, the first in the order of the alphabet."""
        return min((word.casefold() for word in words), key=lambda word: (self._df[word], word))

    def salient(self, passage: str) -> list[str]:
        """Return the terms of a passage, the most salient first, as each is first written there.

        Salience is (1 + ln tf) ln((N + 1) / (df + 0.5)): tf counts the passage, df the N documents of the collection. Terms are
        words of three or more characters, not stop words and not of digits alone. Of equals, the first in the passage leads.
        """
        tf: Counter[str] = Counter()
        shown: dict[str, str] = {}
        for word in words_of(passage):
            folded = word.casefold()
            if len(folded) >= _LEAST and folded not in stop_words() and any(c.isalpha() for c in folded):
                tf[folded] += 1
                shown.setdefault(folded, word)
        place = {word: i for i, word in enumerate(shown)}

        def rank(word: str) -> tuple[float, int]:
            idf = log((self.documents + 1) / (self._df[word] + 0.5))
            return -(1 + log(tf[word])) * idf, place[word]

        return [shown[word] for word in sorted(shown, key=rank)]
