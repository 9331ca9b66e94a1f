"""``fuse``: several pipelines' rankings become one. The formulas are in :mod:`irkit.core.fusion`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveInt, field_validator, model_validator

from irkit.core.fusion import RANK_METHODS, Method, Norm, check_weights, fuse
from irkit.core.rankings import Rankings
from irkit.pipeline.stage import Batch, Fusion

_RRF_K = 60.0


class Fuse(Fusion):
    """Fuse the rankings of the sub-pipelines listed under ``of``.

    A weighted sum is ``method: combsum`` with ``weights``. Two ways of writing the same fusion are the same
    stage: ``norm`` left out is ``min-max`` for the methods that add scores, because raw scores of different
    retrievers have different units.
    """

    cache_version: ClassVar[int] = 2

    method: Method = "rrf"
    """``rrf`` and ``borda`` look at ranks; ``combsum``, ``combmnz`` and ``combmax`` at normalised scores."""
    norm: Norm = "none"
    """``min-max`` (the default where scores are used), ``z-score`` or ``none``; within each query."""
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] | None = None
    """One for each sub-pipeline, in their order; 0 leaves it out; all equal when left out."""
    rrf_k: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _RRF_K
    """The constant of ``rrf``."""
    depth: PositiveInt | None = None
    """Use only the first ``depth`` hits of each ranking."""
    k: PositiveInt | None = None
    """Keep only the first ``k`` fused hits."""

    @model_validator(mode="before")
    @classmethod
    def _default_norm(cls, data: Any) -> Any:
        if (
            isinstance(data, dict)
            and data.get("norm") is None
            and data.get("method", "rrf") not in RANK_METHODS
        ):
            return {**data, "norm": "min-max"}
        return data

    @field_validator("weights")
    @classmethod
    def _weights_say_something(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None:
            check_weights(weights, len(weights))
        return weights

    @model_validator(mode="after")
    def _no_idle_option(self) -> Fuse:
        if self.method in RANK_METHODS and self.norm != "none":
            raise ValueError(
                f"method {self.method} looks at ranks: norm {self.norm!r} would have no effect, leave it out"
            )
        if self.method != "rrf" and self.rrf_k != _RRF_K:
            raise ValueError(
                f"rrf_k belongs to method rrf and would have no effect with {self.method}: leave rrf_k out"
            )
        return self

    def check(self, n_upstreams: int) -> None:
        """Check the options against the number of sub-pipelines.

        Raises:
            ValueError: when there are fewer than two, or another number of weights.
        """
        if n_upstreams < 2:
            raise ValueError(f"fuse needs two or more pipelines under 'of', not {n_upstreams}")
        check_weights(self.weights, n_upstreams)

    def run(self, batch: Batch, state: Any) -> Rankings:
        """Fuse the upstream rankings."""
        upstream = (
            batch.upstream
            if self.depth is None
            else tuple(ranking.top(self.depth) for ranking in batch.upstream)
        )
        fused = fuse(upstream, self.method, norm=self.norm, weights=self.weights, rrf_k=self.rrf_k)
        return fused if self.k is None else fused.top(self.k)
