"""XTR: retrieve document tokens, and score documents from what was retrieved alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.ragged import Ragged
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Retriever
from irkit.stages.multivector.options import LateInteraction
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.rerank.depth import rerank
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder
    from irkit.stages.multivector.ivf_search import TokenIvf, Work
    from irkit.stages.multivector.scoring import MaxSimScorer
    from irkit.stages.multivector.token_search import TokenSearch

_ONLY: dict[str, tuple[str, ...]] = {
    "exact": ("k_prime",),
    "ivf": ("nlist", "bits", "nprobe", "t_prime", "seed"),
}
"""Options that only one index knows."""


@dataclass(frozen=True)
class XtrState:
    """What ``prepare`` opens: the encoder for the queries, the documents' tokens, how they are searched, and what reranks.

    ``work`` adds up, over all queries, how much of the lists was looked at.
    """

    encoder: TextEncoder
    tokens: Tokens
    index: TokenSearch | TokenIvf
    scorer: MaxSimScorer | None
    threads: int
    work: Work
    notes: dict[str, Any]


class Xtr(Retriever, LateInteraction):
    """Retrieve by XTR (arXiv 2304.01982): every query token retrieves document tokens, and a document's score is made of these
    alone. What was not retrieved is estimated, so no document's vectors are read.

    It works with the token vectors of any encoder; XTR's own are trained for it. ``index: ivf`` looks into a few lists for
    each query token and needs vectors of unit length; its work grows with the square root of the collection.
    ``index: exact`` looks at every token.
    """

    chunk: ClassVar[int] = 256

    index: Literal["exact", "ivf"] = "ivf"
    """``ivf``: inverted lists of residual codes (WARP, arXiv 2501.17788), approximate; ``exact``: all tokens, as they are kept."""
    k_prime: PositiveInt | None = None
    """With ``exact``, how many tokens a query token retrieves: the square root of their number unless given, in thousands, from
    1,000 to 40,000.
    """
    nlist: PositiveInt | None = None
    """Inverted lists; 16 sqrt(tokens) unless given, and at least eight tokens for each."""
    bits: Literal[1, 2, 4] = 4
    """Of the residual code of a dimension in the lists. Half the bits are half the index, and less certain an order at the top."""
    nprobe: PositiveInt = 32
    """Lists that a query token looks into. The smaller the collection, the greater the share of its tokens that they hold: of
    Cranfield's 262,000 a query touches 6.0 % with 32 lists a token, and 4.8 % with 24.
    """
    t_prime: PositiveInt | None = None
    """The missing similarity is that of the centroid at which the lists, best first, hold so many tokens; sqrt(32 tokens) unless
    given.
    """
    normalise: Literal["tokens", "retrieved"] = "tokens"
    """Divide a score by the number of query tokens, or of those that retrieved one of the document's tokens (the formula of XTR's
    training).
    """
    impute: Literal["last", "none"] = "last"
    """What a query token counts that retrieved none of a document's tokens: its last retrieved score, or nothing."""
    rerank: PositiveInt | None = None
    """Score the first so many again by exact MaxSim; the others keep their order below them."""
    seed: int = Field(default=0, ge=0)
    """Of the first centroids."""

    @model_validator(mode="after")
    def _retrieved_needs_no_imputation(self) -> Self:
        if self.normalise == "retrieved" and self.impute == "last":
            raise ValueError("normalise: retrieved has no imputed scores to divide; give impute: none too")
        return self

    @model_validator(mode="after")
    def _options_fit_the_index(self) -> Self:
        fields = type(self).model_fields
        for index, names in _ONLY.items():
            # what is written out in full, defaults included, can be read again
            given = [name for name in names if getattr(self, name) != fields[name].default]
            if given and index != self.index:
                listed, them = ", ".join(given), "it" if len(given) == 1 else "them"
                raise ValueError(
                    f"index: {self.index} makes no use of {listed}: leave {them} out, or set index: {index}"
                )
        if self.t_prime is not None and self.impute == "none":
            raise ValueError("impute: none makes no use of t_prime: leave it out, or set impute: last")
        return self

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return self.encoder_identity(context)

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipes of the documents' tokens and, with ``index: ivf``, of the lists."""
        tokens = self.token_recipes(context)
        return [*tokens, self._lists(tokens[-1])] if self.index == "ivf" else tokens

    def prepare(self, context: Context) -> XtrState:
        """Load the model; encode the documents and build the lists where the store lacks them.

        Raises:
            ModelError: when the model cannot be loaded or is no encoder.
            ConfigError: when the lists cannot be built, because vectors are not of unit length.
        """
        from irkit.stages.multivector.ivf import IvfOptions, build_ivf
        from irkit.stages.multivector.ivf_search import TokenIvf, Work
        from irkit.stages.multivector.scoring import MaxSimScorer
        from irkit.stages.multivector.token_search import TokenSearch

        encoder = self.load_encoder(context)
        tokens = self.open_tokens(context, encoder)
        index: TokenSearch | TokenIvf
        if self.index == "ivf":
            options = IvfOptions(self.nlist, self.bits, self.seed)
            artifact = context.artifact(
                self._lists(self.token_recipes(context)[-1]),
                lambda build: build_ivf(build, tokens, options, context.progress),
            )
            index = TokenIvf(artifact.path, len(tokens))
            context.notes["index"] = f"{index.codec.nlist} inverted lists, {self.bits} bits a dimension"
        else:
            index = TokenSearch(tokens, self.k_prime, encoder.device)
            context.notes["index"] = f"exact, k' = {index.k_prime}"
        scorer = MaxSimScorer(tokens, encoder.device, context.runtime.threads) if self.rerank else None
        return XtrState(encoder, tokens, index, scorer, context.runtime.threads, Work(), context.notes)

    def search(self, queries: Queries, depth: int, state: XtrState) -> Rankings:
        """Return the best ``depth`` documents of every query; fewer where its tokens retrieved tokens of fewer."""
        asked = self.asked_tokens(state.encoder, state.tokens, queries)
        found = self._retrieve(asked, max(depth, self.rerank or 0), state)
        if self.rerank and state.scorer:
            best = found.top(self.rerank)
            scores, bounds = state.scorer.rescore_all(asked, best), best.offsets
            found = rerank(found, self.rerank, lambda query, _: scores[bounds[query] : bounds[query + 1]])
        return found.top(depth)

    def _retrieve(self, asked: Ragged, depth: int, state: XtrState) -> Rankings:
        from irkit.stages.multivector.token_search import Formula, TokenSearch

        formula = Formula(self.normalise, self.impute)
        if isinstance(state.index, TokenSearch):
            return state.index.search(asked, depth, formula)
        found = state.index.search(
            asked,
            depth,
            nprobe=self.nprobe,
            reach=self.t_prime,
            formula=formula,
            threads=state.threads,
            work=state.work,
        )
        state.notes["share of tokens scored"] = round(state.work.scored, 6)
        state.notes["share of tokens touched"] = round(state.work.touched, 6)
        return found

    def _lists(self, tokens: Recipe) -> Recipe:
        from irkit.stages.multivector.ivf import LAYOUT

        spec = {
            "layout": LAYOUT,
            "tokens": tokens.key,
            "nlist": self.nlist,
            "bits": self.bits,
            "seed": self.seed,
        }
        return Recipe("xtr-ivf", spec)
