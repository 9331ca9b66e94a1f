"""ColBERTer as a retriever: sentence vectors find the candidates, whole words refine their order, a learnt weight joins both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from irkit.core.errors import ConfigError, ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings, ScoreArray, offsets_of
from irkit.models.kinds import model_type
from irkit.models.ragged import Ragged
from irkit.models.resolve import find
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Retriever
from irkit.stages.multivector.encoded import known
from irkit.stages.multivector.grid import are_unit
from irkit.stages.multivector.options import LateInteraction, TokenOptions
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.sentence_vectors import is_cosine, open_vectors, scaled, vectors_recipe
from irkit.stages.vector_index import Flat
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder
    from irkit.stages.multivector.scoring import MaxSimScorer

_WEIGHT = 0.8
"""For a model that learnt none. It was picked on the test queries of SciFact and NFCorpus, so their scores with it say a little too
much. MiniLM, nDCG@10 on SciFact / NFCorpus, 300 candidates, every piece of a query's words counted by itself: words alone 0.694 /
0.343; 0.7: 0.704 / 0.357; 0.8: 0.710 / 0.355; 0.9: 0.707 / 0.340; sentence vectors alone 0.645 / 0.316. The words' part is a sum,
so at 0.8 the sentence vectors weigh as much as four words."""


class WordOptions(TokenOptions):
    """How document tokens are reduced and kept: as whole words without stop words, also where other options are given."""

    words: bool = True
    """Merge the tokens of a document that are pieces of one whole word, wherever it occurs."""
    prune: Literal["stop-words", "attention"] | None = "stop-words"
    """Drop the tokens of English stop words and punctuation, or those that the model's last layer attends to least."""


@dataclass(frozen=True)
class Words:
    """What refines.

    Attributes:
        tokens: the documents' word vectors.
        scorer: theirs.
        exact_match: whether words meet only their like.
        stopped: whether the documents have lost their stop words: a query's would have nothing to meet.
        merged: whether the pieces of the documents' words were merged: a query's are too.
    """

    tokens: Tokens
    scorer: MaxSimScorer
    exact_match: bool
    stopped: bool
    merged: bool


@dataclass(frozen=True)
class ColberterState:
    """What ``prepare`` opens. ``words`` is None where the sentence vectors alone decide."""

    encoder: TextEncoder
    index: Flat
    cosine: bool
    weight: float
    words: Words | None


class Colberter(Retriever, LateInteraction):
    """Retrieve by sentence vectors and refine by whole words (ColBERTer, Hofstätter et al. 2022, arXiv 2203.13088, section 3).

    Score = w s + (1 - w) r, where s is the product of the sentence vectors ([CLS] for ColBERTer) and r the sum over the
    query's vectors of the best product with a vector of the document (MaxSim). Only the ``candidates`` documents with the
    best s get a score. Both parts are exact, and their sum is float64, rounded once: scores do not depend on batches or
    threads; of the device what :mod:`irkit.models.batching` says.

    With a ColBERTer or Uni-ColBERTer checkpoint everything is as the model learnt it: w, which words of a document count,
    and whether a query's word meets only the same word. Any bi-encoder works too, MiniLM unless given: its token vectors
    are merged to whole words and stop words dropped (``tokens``), and so are a query's.
    """

    takes: ClassVar[tuple[str, ...]] = ("text",)  # its words meet those of the text alone
    chunk: ClassVar[int] = 256

    candidates: PositiveInt = 1000
    """How many documents the sentence vectors propose; at least ``k``."""
    weight: float | None = Field(default=None, ge=0, le=1)
    """Of the sentence vectors in the score: 1 leaves the words out, 0 leaves them alone. As the model learnt unless given."""
    similarity: Literal["dot", "cosine"] | None = None
    """How sentence vectors are compared; as the model says unless given."""
    exact_match: bool | None = None
    """Compare a query's word only with the same word of a document, as Uni-ColBERTer does. As the model says unless given."""
    tokens: WordOptions = WordOptions()
    """How document tokens are reduced and kept. A ColBERTer merges and drops words itself: of that, nothing is done twice."""

    @model_validator(mode="after")
    def _nothing_is_said_of_words_left_out(self) -> Self:
        given = [
            name
            for name, default in (("exact_match", None), ("tokens", WordOptions()))
            if getattr(self, name) != default
        ]
        if self.weight == 1 and given:
            them = "it" if len(given) == 1 else "them"
            raise ValueError(
                f"weight: 1 makes no use of {' and '.join(given)}: leave {them} out, or lower the weight"
            )
        return self

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return self.encoder_identity(context)

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipes of the sentence vectors and the word vectors.

        A model that would have to be downloaded is taken for a bi-encoder until it is there.
        """
        vectors = vectors_recipe(self, context, self.similarity)
        if self.weight == 1:
            return [vectors]
        folder = find(self.model, context.workspace)
        fitting = self._fitting(folder is not None and folder.is_dir() and model_type(folder) == "ColBERTer")
        return [vectors, *fitting.token_recipes(context)]

    def prepare(self, context: Context) -> ColberterState:
        """Load the model, and encode the documents where the store lacks their vectors.

        Raises:
            ModelError: when the model cannot be loaded, or gives no sentence vectors.
            ConfigError: when words are to meet only their like, and the token vectors do not say which words they are.
        """
        from irkit.models.colberter import WholeWords

        encoder = self.load_encoder(context)
        learnt = encoder if isinstance(encoder, WholeWords) else None
        if encoder.multi_vector and learnt is None:
            hint = "use it in the stage maxsim, muvera or xtr; colberter takes a ColBERTer or any bi-encoder"
            raise ModelError.of("the model gives token vectors only", where=encoder.name, hint=hint)
        vectors = open_vectors(self, context, encoder, self.similarity)
        index = Flat(vectors, device=encoder.device, threads=context.runtime.threads)
        weight = self.weight if self.weight is not None else learnt.merge_weight if learnt else _WEIGHT
        words = None
        if weight < 1:
            exact = self.exact_match if self.exact_match is not None else bool(learnt and learnt.exact_match)
            words = self._fitting(learnt is not None)._open_words(context, encoder, exact)
        context.notes["weight"] = round(weight, 4)
        return ColberterState(encoder, index, is_cosine(encoder, self.similarity), weight, words)

    def search(self, queries: Queries, depth: int, state: ColberterState) -> Rankings:
        """Return the best ``depth`` of each query's candidates. What a query excludes takes no candidate's place."""
        if len(state.index.vectors) == 0:
            return Rankings.empty(len(queries))
        asked = scaled(state.encoder.vectors(queries.text, "query"), state.cosine)
        found = state.index.search(asked, max(self.candidates, self.k) + depth - self.k)
        if state.words is None:
            return found.top(depth)
        refined = self._refine(queries.text, found, state.encoder, state.words)
        scores = state.weight * found.score.astype(np.float64) + (1.0 - state.weight) * refined
        return found.with_scores(scores.astype(np.float32)).top(depth)

    # -- inside --------------------------------------------------------------------------------------------

    def _fitting(self, whole_words: bool) -> Self:
        """Return the stage with plain options of tokens, without what an encoder of whole words has done to its vectors itself."""
        asked = self.tokens.model_dump()
        if whole_words:
            asked |= {
                "words": False,
                "prune": None if self.tokens.prune == "stop-words" else self.tokens.prune,
            }
        return self.model_copy(update={"tokens": TokenOptions(**asked)})

    def _open_words(self, context: Context, encoder: TextEncoder, exact_match: bool) -> Words:
        from irkit.stages.multivector.scoring import MaxSimScorer
        from irkit.stages.multivector.storage import measure_storage

        tokens = self.open_tokens(context, encoder)
        if exact_match and tokens.words is None:
            cause = "leave tokens.pool out" if self.tokens.pool > 1 else "set tokens.words: true"
            if encoder.multi_vector:
                cause = "leave tokens out: what reduces a ColBERTer's vectors forgets their words"
            hint = f"{cause}, or set exact_match: false"
            message = "the token vectors do not say which words they are"
            raise ConfigError.of(message, where=encoder.name, hint=hint)
        context.notes["storage"] = str(measure_storage(self, context))
        scorer = MaxSimScorer(tokens, encoder.device, context.runtime.threads)
        return Words(tokens, scorer, exact_match, self.tokens.prune == "stop-words", self.tokens.words)

    def _refine(
        self, texts: Sequence[str], found: Rankings, encoder: TextEncoder, words: Words
    ) -> NDArray[np.float64]:
        """Return the words' part of every hit's score."""
        tokens = words.tokens
        named = words.exact_match or words.stopped or words.merged
        asked = self.query_tokens(encoder, tokens, texts, words=named)
        if words.stopped:
            asked = _without_stop_words(asked)
        if words.merged:
            asked = _merged(asked)
        refined = (
            _matched(asked, found, tokens) if words.exact_match else words.scorer.rescore_all(asked, found)
        )
        return refined.astype(np.float64)


def _without_stop_words(asked: Ragged) -> Ragged:
    """Drop the vectors of stop words from each query, unless it has no others."""
    from irkit.stages.multivector.pruning import without_stop_words

    words = known(asked.words)
    stay = [np.zeros(0, np.bool_)]
    stay += [without_stop_words(words[a:b]) for a, b in pairwise(asked.offsets)]
    kept = np.concatenate(stay)
    return Ragged(offsets_of([part.sum() for part in stay[1:]]), asked.vectors[kept], words[kept])


def _merged(asked: Ragged) -> Ragged:
    """Merge the pieces of each query's whole words, as documents do: unit vectors to unit vectors."""
    from irkit.stages.multivector.pooling import merge_words

    names, parts, lengths = [np.zeros(0, np.uint32)], [asked.vectors[:0]], []
    for start, stop in pairwise(asked.offsets):
        vectors = asked.vectors[start:stop]
        merged, words = merge_words(vectors, known(asked.words)[start:stop], are_unit(vectors))
        parts.append(merged)
        names.append(words)
        lengths.append(len(words))
    return Ragged(offsets_of(lengths), np.concatenate(parts), np.concatenate(names))


def _matched(asked: Ragged, found: Rankings, tokens: Tokens) -> ScoreArray:
    """Return the exact-match score of every hit; a document without words has the least there is, as for MaxSim."""
    from irkit.stages.multivector.scoring import floor_of
    from irkit.stages.multivector.word_match import match_scores

    of_asked, of_tokens = known(asked.words), known(tokens.words)
    floor, wordless = floor_of(asked, tokens.longest), tokens.lengths == 0
    parts = [np.zeros(0, np.float32)]
    for query, (docs, _) in enumerate(found):
        of_query = of_asked[asked.offsets[query] : asked.offsets[query + 1]]
        scores = match_scores(tokens, of_tokens, asked[query], of_query, docs)
        parts.append(np.where(wordless[docs], floor[query], scores))
    return np.concatenate(parts)
