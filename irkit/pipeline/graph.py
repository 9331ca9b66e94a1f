"""Pipelines: sequences of stages, how Python's operators combine them, and the graph of nodes they mean.

``a >> b`` runs b on what a gives; ``a + b`` fuses (reciprocal rank fusion; ``2 * a + b`` weights it); ``a % k`` keeps k documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from irkit.core.errors import ConfigError, Place, Problem
from irkit.pipeline.passing import form_misfits
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Stage

Problems = list[tuple[Place, str, str | None]]
"""(place in the pipeline's YAML form, message, hint) of everything that does not fit together."""


@dataclass(frozen=True)
class Step:
    """A stage in its place; ``of`` holds the pipelines whose rankings a fusion takes together."""

    stage: Stage
    of: tuple[Pipeline, ...] = ()

    def to_data(self, *, full: bool = False) -> Any:
        """Return the YAML form: the name, and the options that differ from the defaults, or all of them."""
        options = self.stage.model_dump(mode="json", exclude_defaults=not full)
        if (
            type(self.stage)(**options) != self.stage
        ):  # an option left out may mean another default than its field's
            options = self.stage.model_dump(mode="json")
        if self.of:
            options["of"] = [branch.to_data(full=full) for branch in self.of]
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

    def to_data(self, *, full: bool = False) -> list[Any]:
        """Return the YAML form: a list of steps, with the options that differ from the defaults, or all of them."""
        return [step.to_data(full=full) for step in self.steps]

    def graph(self) -> Node:
        """Return the node whose rankings are the pipeline's result.

        Raises:
            ConfigError: when the stages do not fit together; every misfit is named, with its place.
        """
        problems: Problems = []
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
    _hash: int = field(init=False, repr=False)  # kept, for hashing anew would walk all nodes below

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.stage, self.queries, self.upstream)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node):
            return NotImplemented
        return _equal(self, other, set())

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


def _equal(one: Node, other: Node, seen: set[tuple[int, int]]) -> bool:
    """Compare each pair of nodes once, for a node that is used twice at each of n levels is reached in 2**n ways."""
    if one is other or (id(one), id(other)) in seen:
        return True
    if hash(one) != hash(other) or one.stage != other.stage or len(one.inputs) != len(other.inputs):
        return False
    seen.add((id(one), id(other)))
    return (one.queries is None) == (other.queries is None) and all(
        _equal(mine, theirs, seen) for mine, theirs in zip(one.inputs, other.inputs, strict=True)
    )


@dataclass(frozen=True)
class _State:
    """What a step finds: the query stage before it, and the node whose rankings it may take up."""

    queries: Node | None = None
    rankings: Node | None = None


def compile_pipeline(pipeline: Pipeline, problems: Problems, at: Place = ()) -> Node | None:
    """Return the node of a pipeline, or None after appending (place, message, hint) to ``problems``."""
    compiler = _Compiler(problems)
    node = compiler.pipeline(pipeline, _State(), at)
    if node is not None and not problems:
        compiler.check_forms(node)
    return None if problems else node


class _Compiler:
    """Turns the steps of one pipeline into nodes; a step that several branches share is looked at once in each state."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self._nodes: dict[tuple[int, _State], Node] = {}
        self._known: dict[Node, Node] = {}
        self._places: dict[Node, Place] = {}

    def check_forms(self, end: Node) -> None:
        """Refuse forms of the query that no later stage takes, or that mean something else to the stage that does."""
        for node, message, hint in form_misfits(end):
            self.problems.append((self._places[node], message, hint))

    def pipeline(self, pipeline: Pipeline, state: _State, at: Place) -> Node | None:
        # In a branch of a fusion: what stands before the fusion, which another branch may take up.
        before = state.rankings
        for index, step in enumerate(pipeline.steps):
            stage, here = step.stage, (*at, index, step.stage.name)
            node = self.step(step, state, here)
            if stage.produces == "queries":
                state = _State(node, state.rankings)
                continue
            if state.rankings not in (None, before) and not _reaches(node, state.rankings):
                message = f"{stage.name!r} starts anew and drops the rankings of {state.rankings.stage.name!r} before it"
                self.problems.append((here, message, "combine the two with fuse, or remove the first"))
            state = _State(state.queries, node)
        if pipeline.steps and pipeline.steps[-1].stage.produces == "queries":
            name = pipeline.steps[-1].stage.name
            self.problems.append(
                (at, f"the pipeline ends with the query stage {name!r}", "add a retriever after it")
            )
        if state.rankings is None and not pipeline.steps:
            self.problems.append((at, "the pipeline has no stage", "start with a retriever such as bm25"))
        return state.rankings

    def step(self, step: Step, state: _State, here: Place) -> Node:
        known = self._nodes.get(
            (id(step), state)
        )  # the pipeline keeps its steps alive, so an id stands for one
        if known is not None:
            return known
        before = len(self.problems)
        node = Node(step.stage, state.queries, self.upstream(step, state, here))
        node = self._known.setdefault(node, node)
        self._places.setdefault(node, here)
        if len(self.problems) == before:  # a misfit is named at every place where it stands
            self._nodes[id(step), state] = node
        return node

    def upstream(self, step: Step, state: _State, here: Place) -> tuple[Node, ...]:
        stage = step.stage
        if stage.needs == "many":
            found = [
                self.pipeline(branch, state, (*here, "of", index)) for index, branch in enumerate(step.of)
            ]
            nodes = tuple(node for node in found if node is not None)
            if len(step.of) < 2:
                hint = "add another, or leave the fusion out"
                self.problems.append((here, f"{stage.name!r} needs at least two pipelines under 'of'", hint))
            elif len(nodes) == len(step.of):
                try:
                    stage.check(len(nodes))
                except ValueError as error:
                    hint = f"change the options of {stage.name!r} or the pipelines under 'of'"
                    self.problems.append((here, str(error), hint))
            return nodes
        if stage.needs == "one" and state.rankings is None:
            self.problems.append(
                (here, f"{stage.name!r} needs rankings to work on", "put a retriever such as bm25 before it")
            )
        if stage.needs == "none" or state.rankings is None:
            return ()
        return (state.rankings,)


def _reaches(node: Node, wanted: Node) -> bool:
    return wanted in node.inputs or any(each == wanted for each in node.walk())


def pipelines_to_data(pipelines: Mapping[str, Pipeline | Stage], *, full: bool = False) -> dict[str, Any]:
    """Return the YAML form of named pipelines."""
    return {name: Pipeline.of(pipeline).to_data(full=full) for name, pipeline in pipelines.items()}


def merged(nodes: Sequence[Node]) -> list[Node]:
    """Return all nodes that the given ones need, each once, inputs before their users."""
    order: dict[Node, None] = {}
    for node in nodes:
        order.update(dict.fromkeys(node.walk()))
    return list(order)
