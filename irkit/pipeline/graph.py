"""Pipelines: sequences of stages, how Python's operators combine them, and the graph of nodes they mean.

``a >> b`` runs b on what a gives; ``a + b`` fuses (reciprocal rank fusion; ``2 * a + b`` weights it); ``a % k`` keeps k documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irkit.core.errors import ConfigError, Problem
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Stage

Path = tuple[str | int, ...]
"""Where something stands in a pipeline's YAML form: ``(1, "fuse", "of", 0)``."""


@dataclass(frozen=True)
class Step:
    """A stage in its place; ``of`` holds the pipelines whose rankings a fusion takes together."""

    stage: Stage
    of: tuple[Pipeline, ...] = ()

    def to_data(self) -> Any:
        """Return the YAML form: the name alone, or the name and the options that differ from the defaults."""
        options = self.stage.model_dump(mode="json", exclude_defaults=True)
        if (
            type(self.stage)(**options) != self.stage
        ):  # an option left out may mean another default than its field's
            options = self.stage.model_dump(mode="json")
        if self.of:
            options["of"] = [branch.to_data() for branch in self.of]
        return {self.stage.name: options} if options else self.stage.name


@dataclass(frozen=True)
class Pipeline:
    """Stages one after the other. Immutable; equal when their stages are equal."""

    steps: tuple[Step, ...]

    @staticmethod
    def of(part: Pipeline | Stage) -> Pipeline:
        """Return a stage as a pipeline of one step, and a pipeline or a finished sum as a plain pipeline.

        Raises:
            TypeError: for anything else.
        """
        if isinstance(part, Pipeline):
            return Pipeline(part.steps)
        if isinstance(part, Stage):
            return Pipeline((Step(part),))
        what = "a weight belongs into a sum: 2 * a + b" if isinstance(part, Weighted) else repr(part)
        raise TypeError(f"expected a pipeline or a stage: {what}")

    def __rshift__(self, then: Pipeline | Stage) -> Pipeline:
        return Pipeline(self.steps + Pipeline.of(then).steps)

    def __add__(self, other: Pipeline | Stage | Weighted | Sum) -> Sum:
        return Sum(_terms(self) + _terms(other))

    def __mul__(self, weight: float) -> Weighted:
        return Weighted(Pipeline.of(self), float(weight))

    __rmul__ = __mul__

    def __mod__(self, k: int) -> Pipeline:
        return self >> make_stage("cutoff", k=k)

    def to_data(self) -> list[Any]:
        """Return the YAML form: a list of steps."""
        return [step.to_data() for step in self.steps]

    def graph(self) -> Node:
        """Return the node whose rankings are the pipeline's result.

        Raises:
            ConfigError: when the stages do not fit together; every misfit is named, with its place.
        """
        problems: list[tuple[Path, str, str | None]] = []
        node = compile_pipeline(self, problems)
        if node is None or problems:
            raise ConfigError(
                *(Problem(m, where=".".join(map(str, path)), hint=hint) for path, m, hint in problems)
            )
        return node


@dataclass(frozen=True)
class Weighted:
    """A pipeline with its weight in a sum."""

    pipeline: Pipeline
    weight: float = 1.0

    def __add__(self, other: Pipeline | Stage | Weighted | Sum) -> Sum:
        return Sum(_terms(self) + _terms(other))


@dataclass(frozen=True)
class Sum(Pipeline):
    """A fusion still being written: ``a + b + c`` is one fusion of three, not a fusion of a fusion."""

    steps: tuple[Step, ...] = ()
    terms: tuple[Weighted, ...] = ()

    def __init__(self, terms: tuple[Weighted, ...]) -> None:
        weights = [term.weight for term in terms]
        options: dict[str, Any] = {} if all(weight == 1.0 for weight in weights) else {"weights": weights}
        fused = Step(make_stage("fuse", **options), tuple(term.pipeline for term in terms))
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "steps", (fused,))


def _terms(part: Pipeline | Stage | Weighted | Sum) -> tuple[Weighted, ...]:
    if isinstance(part, Sum):
        return part.terms
    return (part if isinstance(part, Weighted) else Weighted(Pipeline.of(part)),)


def fuse(*parts: Pipeline | Stage, **options: Any) -> Pipeline:
    """Fuse the rankings of several pipelines; the options are those of the stage ``fuse``."""
    return Pipeline((Step(make_stage("fuse", **options), tuple(Pipeline.of(part) for part in parts)),))


@dataclass(frozen=True)
class Node:
    """A stage and where its input comes from. Equal nodes compute the same thing, in whatever pipeline they stand.

    Attributes:
        stage: the stage.
        queries: the query stage whose queries it sees; None for the collection's own.
        upstream: the nodes whose rankings it consumes.
    """

    stage: Stage
    queries: Node | None = None
    upstream: tuple[Node, ...] = ()

    @property
    def inputs(self) -> tuple[Node, ...]:
        """All nodes that must be computed first."""
        return (self.queries, *self.upstream) if self.queries else self.upstream

    def walk(self) -> Iterator[Node]:
        """Yield every node that this one needs, inputs before their users, itself last, each once."""
        seen: set[Node] = set()

        def visit(node: Node) -> Iterator[Node]:
            if node not in seen:
                seen.add(node)
                for before in node.inputs:
                    yield from visit(before)
                yield node

        yield from visit(self)


Problems = list[tuple[Path, str, str | None]]


@dataclass(frozen=True)
class _State:
    """What a step finds: the queries, the rankings, and whether any stage has looked at those rankings."""

    queries: Node | None = None
    rankings: Node | None = None


def compile_pipeline(pipeline: Pipeline, problems: Problems, at: Path = ()) -> Node | None:
    """Return the node of a pipeline, or None after appending (path, message, hint) to ``problems``."""
    node = _compile(pipeline, _State(), problems, at)
    return None if problems else node


def _compile(pipeline: Pipeline, state: _State, problems: Problems, at: Path) -> Node | None:
    before = (
        state.rankings
    )  # in a branch of a fusion: what stands before the fusion, which another branch may take up
    for index, step in enumerate(pipeline.steps):
        stage, here = step.stage, (*at, index, step.stage.name)
        upstream = _upstream(step, state, problems, here)
        node = Node(stage, state.queries, upstream)
        if stage.produces == "queries":
            state = _State(node, state.rankings)
            continue
        if state.rankings not in (None, before) and not _reaches(node, state.rankings):
            message = f"{stage.name!r} starts anew and drops the rankings of {state.rankings.stage.name!r} before it"
            problems.append((here, message, "combine the two with fuse, or remove the first"))
        state = _State(state.queries, node)
    if pipeline.steps and pipeline.steps[-1].stage.produces == "queries":
        name = pipeline.steps[-1].stage.name
        problems.append((at, f"the pipeline ends with the query stage {name!r}", "add a retriever after it"))
    if state.rankings is None and not pipeline.steps:
        problems.append((at, "the pipeline has no stage", "start with a retriever such as bm25"))
    return state.rankings


def _upstream(step: Step, state: _State, problems: Problems, here: Path) -> tuple[Node, ...]:
    stage = step.stage
    if stage.needs == "many":
        nodes = []
        for index, branch in enumerate(step.of):
            node = _compile(branch, state, problems, (*here, "of", index))
            if node is not None:
                nodes.append(node)
        if len(step.of) < 2:
            hint = "add another, or leave the fusion out"
            problems.append((here, f"{stage.name!r} needs at least two pipelines under 'of'", hint))
        elif len(nodes) == len(step.of):
            try:
                stage.check(len(nodes))
            except ValueError as error:
                problems.append(
                    (here, str(error), f"change the options of {stage.name!r} or the pipelines under 'of'")
                )
        return tuple(nodes)
    if stage.needs == "one" and state.rankings is None:
        problems.append(
            (here, f"{stage.name!r} needs rankings to work on", "put a retriever such as bm25 before it")
        )
    if stage.needs == "none" or state.rankings is None:
        return ()
    return (state.rankings,)


def _reaches(node: Node, wanted: Node | None) -> bool:
    return any(each == wanted for each in node.walk())


def pipelines_to_data(pipelines: Mapping[str, Pipeline | Stage]) -> dict[str, Any]:
    """Return the YAML form of named pipelines."""
    return {name: Pipeline.of(pipeline).to_data() for name, pipeline in pipelines.items()}


def merged(nodes: Sequence[Node]) -> list[Node]:
    """Return all nodes that the given ones need, each once, inputs before their users."""
    order: dict[Node, None] = {}
    for node in nodes:
        order.update(dict.fromkeys(node.walk()))
    return list(order)
