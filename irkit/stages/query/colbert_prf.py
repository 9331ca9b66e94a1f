"""ColBERT-PRF: token vectors of the first documents are added to those of the query.

Wang, Macdonald, Tonellotto and Ounis, "Pseudo-Relevance Feedback for Multiple Representation Dense Retrieval", ICTIR 2021
(arXiv 2106.11251), as its authors' ``pyterrier_colbert`` computes it. The token vectors of the first ``fb_docs`` documents are
clustered by k-means; each centroid v is named by the word w(v) that is most frequent among the 10 tokens nearest to it in the
collection; the ``fb_embs`` centroids with the greatest

    idf(v) = ln((N + 1) / (df(w(v)) + 1))

are added to the query, each with the weight beta * idf(v) where the query's own tokens have 1:

    score(q, d) = sum_i max_j <q_i, d_j> + beta sum_v idf(v) max_j <v, d_j>

Centroids are plain means, shorter than 1. What differs from the authors' code: a token is named by its whole word, where theirs
goes by word pieces, so that ``##ing`` lends no weight to a rare word; neighbours are exact, where theirs come from an approximate
index; k-means is irkit's own, seeded, with scikit-learn's rules (the best of 10 starts of greedy k-means++).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from irkit.core.queries import Queries
from irkit.core.rankings import offsets_of
from irkit.models.ragged import Ragged
from irkit.models.words import word_id
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.forms import TOKENS, tokens_of, told, with_tokens
from irkit.stages.multivector.frequencies import Frequencies, frequencies_recipe, open_frequencies, words_of
from irkit.stages.multivector.options import LateInteraction
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.query.feedback import FeedbackStage
from irkit.store import Recipe

Floats = NDArray[np.float32]

_SEED = 42  # that of the authors' code
_NEIGHBOURS = 10
_SPLIT = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class ColbertPrfState:
    """What ``prepare`` opens: the documents' tokens, and in how many documents each word stands."""

    context: Context
    tokens: Tokens
    words: NDArray[np.uint32]
    frequencies: Frequencies
    device: str


@dataclass(frozen=True)
class Expansion:
    """What is added to a query: vectors ``float32[m, dim]``, their weights ``float64[m]``, and for each a row with its word."""

    vectors: Floats
    weights: NDArray[np.float64]
    rows: NDArray[np.int64]


class ColbertPrf(LateInteraction, FeedbackStage):
    """Add to a query the token vectors that stand for the rare words of its first documents (ColBERT-PRF).

    Needs to know the words of tokens: ``tokens`` may reduce nothing, or must merge words and not pool. Added to what a
    stage before added.
    """

    gives: ClassVar[tuple[str, ...]] = (TOKENS,)
    takes: ClassVar[tuple[str, ...]] = (TOKENS,)
    chunk: ClassVar[int] = 256
    cache_version: ClassVar[int] = 2

    fb_docs: NonNegativeInt = 3
    """How many of the first documents are believed; 0 leaves the query as it is."""
    clusters: PositiveInt = 24
    """Clusters of their tokens (the paper's K)."""
    fb_embs: PositiveInt = 10
    """How many token vectors are added (the paper's f_e)."""
    beta: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """The weight of what is added."""
    neighbours: Literal["collection", "feedback"] = "collection"
    """Where the tokens are looked for that name a centroid: in the whole collection, as published, which every centroid is compared
    with exactly; or in the feedback documents alone, which costs next to nothing."""

    @model_validator(mode="after")
    def _words_are_known(self) -> Self:
        reduced = self.tokens.model_dump() != type(self.tokens)().model_dump()
        if reduced and (not self.tokens.words or self.tokens.pool > 1):
            raise ValueError("tokens that were reduced tell their words only with words: true and pool: 1")
        return self

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return self.encoder_identity(context)

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipes of the documents' token vectors and of their words' frequencies."""
        found = self.token_recipes(context)
        return [*found, frequencies_recipe(found[-1])]

    def prepare(self, context: Context) -> ColbertPrfState:
        """Open the token vectors and the frequencies; encode and count where the store lacks them.

        Raises:
            ModelError: when the model cannot be loaded or is no encoder, or its tokeniser knows no words.
        """
        encoder = self.load_encoder(context)
        tokens = self.open_tokens(context, encoder)
        *_, counted = self.artifacts(context)
        frequencies = open_frequencies(context, counted, tokens, encoder.name)
        words = words_of(tokens, encoder.name)
        return ColbertPrfState(context, tokens, words, frequencies, encoder.device)

    def run(self, batch: Batch, state: ColbertPrfState) -> Queries:
        """Add token vectors to every query, scaled by their weights; rows of zeros where there are fewer than ``fb_embs``."""
        queries, rankings = batch.queries, batch.rankings
        believed = self.believed(rankings, state.context)
        rows, lines = np.flatnonzero(believed).tolist(), self.kept("colbert-prf", rankings, believed)
        ranked = [rankings[row][0][: self.fb_docs] for row in rows]
        made = self.expansions(ranked, state)
        added = np.zeros((len(queries), self.fb_embs, state.tokens.dim), np.float32)
        for row, codes, each in zip(rows, ranked, made, strict=True):
            added[row, : len(each.weights)] = self.beta * each.weights[:, None] * each.vectors
            lines[row] = f"colbert-prf: {len(codes)} documents, added {_said(each, state) or 'nothing'}"
        before = tokens_of(queries, state.tokens.key)
        if before is not None:
            added = np.concatenate([before, added], axis=1)
        return told(with_tokens(queries, added, state.tokens.key), lines)

    def expansions(self, ranked: list[NDArray[np.int32]], state: ColbertPrfState) -> list[Expansion]:
        """Return what is added to each of some queries.

        Args:
            ranked: for each, the codes of the documents that are believed.
            state: of ``prepare``.
        """
        from irkit.stages.multivector.clusters import clusters

        offsets = state.tokens.offsets
        there = [
            np.concatenate(
                [np.zeros(0, np.int64), *(np.arange(offsets[code], offsets[code + 1]) for code in codes)]
            )
            for codes in ranked
        ]
        fed = [state.tokens.take(rows) for rows in there]
        found = [clusters(vectors, self.clusters, seed=_SEED) for vectors in fed]
        near = self._nearest(found, there, fed, state)
        return [self._chosen(*each, state) for each in zip(found, near, strict=True)]

    def _nearest(
        self,
        centroids: list[Floats],
        rows: list[NDArray[np.int64]],
        vectors: list[NDArray[np.float16]],
        state: ColbertPrfState,
    ) -> list[list[NDArray[np.int64]]]:
        """Return for every query, for each of its centroids, the rows of the tokens nearest to it, nearest first."""
        from irkit.stages.multivector.grid import on_grid
        from irkit.stages.multivector.token_search import TokenSearch

        if self.neighbours == "collection":
            asked = Ragged(
                offsets_of([len(each) for each in centroids]),
                np.concatenate([np.zeros((0, state.tokens.dim), np.float32), *centroids]),
            )
            search = TokenSearch(state.tokens, _NEIGHBOURS, state.device)
            return [
                [found[np.lexsort((found, -products))] for found, products in each]
                for each in search.retrieve(asked)
            ]
        chosen = []
        for some, own, of in zip(centroids, rows, vectors, strict=True):
            products = on_grid(some) @ on_grid(of).T
            chosen.append([own[np.lexsort((own, -each))[:_NEIGHBOURS]] for each in products])
        return chosen

    def _chosen(self, centroids: Floats, near: list[NDArray[np.int64]], state: ColbertPrfState) -> Expansion:
        """Name the centroids of a query, and keep those with the greatest idf, the first of equals."""
        named = [_most_frequent(rows, state.words) for rows in near]
        kept = np.array([number for number, row in enumerate(named) if row >= 0], np.int64)
        rows = np.array(named, np.int64)[kept]
        idf = state.frequencies.idf(state.words[rows])
        best = np.argsort(-idf, kind="stable")[: self.fb_embs]
        return Expansion(centroids[kept[best]], idf[best], rows[best])


def _most_frequent(rows: NDArray[np.int64], words: NDArray[np.uint32]) -> int:
    """Return the nearest row whose word is the most frequent among some rows, nearest first; -1 where none is of a word."""
    named = rows[words[rows] > 0]
    if len(named) == 0:
        return -1
    _, first, counts = np.unique(words[named], return_index=True, return_counts=True)
    return int(named[first[counts == counts.max()].min()])


def _said(expansion: Expansion, state: ColbertPrfState) -> str:
    """Say the words of an expansion with their weights before beta, as the document spells them that lent the word."""
    docs = np.searchsorted(state.tokens.offsets, expansion.rows, side="right") - 1
    spelled = {doc: _spellings(state.context.collection.docs.text(doc)) for doc in set(docs.tolist())}
    parts = []
    for row, doc, weight in zip(expansion.rows, docs.tolist(), expansion.weights.tolist(), strict=True):
        # The model's tokeniser may split or spell a word another way.
        parts.append(f"{spelled[doc].get(int(state.words[row]), '?')} {weight:.1f}")
    return ", ".join(parts)


def _spellings(text: str) -> dict[int, str]:
    """Return the words of a text by their numbers: as it spells them, or without their marks where a model drops those."""
    marked = unicodedata.normalize("NFD", text.lower())
    bare = "".join(each for each in marked if unicodedata.category(each) != "Mn")
    spellings: list[str] = _SPLIT.findall(text.lower()) + _SPLIT.findall(bare)
    found: dict[int, str] = {}
    for each in dict.fromkeys(spellings):
        found.setdefault(word_id(each.encode("utf-8", "surrogatepass")), each)
    return found
