"""``irkit.testing.check_stage``: passes good stages, and names the clause that a bad one breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field
from toys import Feedback, Rerank, Tokens, Toy, Words

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline import stage
from irkit.pipeline.registry import make_stage, register
from irkit.pipeline.stage import EXECUTION, Batch, Fusion, Stage
from irkit.testing import check_stage, small_collection

pytestmark = pytest.mark.usefixtures("toy_stages")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("toy", {"k": 3}),
        ("toy", {"style": "squared"}),
        ("toy-slow", {}),
        ("toy-indexed", {"k": 5}),
        ("toy-rerank", {"bonus": 1.0}),
        ("toy-words", {}),
        ("toy-feedback", {}),
        ("fuse", {}),
        ("fuse", {"method": "combsum", "weights": [1, 2], "k": 5}),
        ("fuse", {"method": "combmnz", "norm": "none", "depth": 4}),
        ("fuse", {"method": "borda"}),
        ("cutoff", {"k": 3}),
        ("filter", {"min_score": 0.5}),
    ],
)
def test_a_good_stage_passes(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    check_stage(make_stage(name, **options), tmp_path)


def test_execution_options_are_tried(tmp_path: Path) -> None:
    check_stage(make_stage("toy"), tmp_path, other_execution={"threads": 4})


def test_the_small_collection_is_the_same_everywhere(tmp_path: Path) -> None:
    from irkit.store import Store

    one, other = (small_collection(Store(tmp_path / name)) for name in "ab")
    assert one.fingerprint == other.fingerprint
    assert (len(one.docs), len(one.queries)) == (12, 20)


class BatchMean(Toy):
    """Scores depend on the batch."""

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        found = super().search(queries, depth, state)
        return found.with_scores(found.score / len(queries))


class OrderMatters(Toy):
    """The first query of a batch is treated otherwise."""

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        found = super().search(queries, depth, state)
        return found.with_scores(found.score + (found.query == 3))


class Random(Toy):
    """Draws anew at every call."""

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        found = super().search(queries, depth, state)
        return found.with_scores(found.score + np.random.default_rng().random(len(found.doc)))


class RandomModel(Toy):
    """Draws anew whenever it is prepared."""

    def prepare(self, context: Any) -> Any:
        return super().prepare(context), np.random.default_rng().random()

    def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
        found = super().search(queries, depth, state[0])
        return found.with_scores(found.score + state[1])


class AddsExcluded(Rerank):
    """Returns every document, whatever it was given."""

    def run(self, batch: Batch, state: Tokens) -> Rankings:
        n = len(batch.queries)
        everything = Rankings.from_lists([np.arange(len(state))] * n, [np.ones(len(state))] * n)
        return super().run(Batch(batch.queries, (everything,)), state)


class AddsOthers(AddsExcluded):
    """Returns documents that it was not given, but none that is excluded."""

    def run(self, batch: Batch, state: Tokens) -> Rankings:
        return super().run(batch, state).without(batch.queries.exclude)


class Rescores(stage.Filter):
    """A filter that changes scores."""

    def run(self, batch: Batch, state: Any) -> Rankings:
        return batch.rankings.with_scores(batch.rankings.score + 1)


class Invents(Fusion):
    """A fusion that returns a document nobody found."""

    def run(self, batch: Batch, state: Any) -> Rankings:
        n = len(batch.queries)
        found = Rankings.from_lists([np.arange(12)] * n, [np.ones(12)] * n)
        return found.without(batch.queries.exclude)


class Renames(Words):
    """Changes the ids of the queries."""

    def run(self, batch: Batch, state: Any) -> Queries:
        return Queries.of(batch.queries.text)


class BatchWords(Words):
    """What it adds depends on the batch."""

    def run(self, batch: Batch, state: Any) -> Queries:
        return batch.queries.with_text([f"{text} {len(batch.queries)}" for text in batch.queries.text])


class Undeclared(Toy):
    """Its batch size changes nothing, and is not declared so."""

    batch_size: int = 8


class FalselyDeclared(Toy):
    """Its batch size is declared to change nothing, and changes the scores."""

    batch_size: int = Field(8, json_schema_extra=dict(EXECUTION))

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        found = super().search(queries, depth, state)
        return found.with_scores(found.score * self.batch_size)


class Short(Toy):
    """Forgets the last query."""

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        return super().search(queries.take(range(len(queries) - 1)), depth, state)


class Unsorted(Rerank):
    """Leaves the order of the candidates as it was."""

    def run(self, batch: Batch, state: Tokens) -> Rankings:
        found = batch.rankings
        return Rankings(found.offsets, found.doc, found.score[::-1].copy())


class Lies(Feedback):
    """Declares queries and returns rankings."""

    def run(self, batch: Batch, state: Any) -> Any:
        return batch.rankings


class Silent(Toy):
    """Finds nothing at all, so that nothing is tested."""

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        return Rankings.empty(len(queries))


class NeedsOne(Toy):
    """Cannot do without queries."""

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        assert queries.text, "no queries"
        return super().search(queries, depth, state)


class NoWayBack(Toy):
    """Its option reads back as another value."""

    label: Any = None

    def model_post_init(self, context: Any) -> None:
        if isinstance(self.label, tuple):
            return
        object.__setattr__(self, "label", self.label if self.label is None else [*self.label, "again"])


@pytest.mark.parametrize(
    ("cls", "options", "clause"),
    [
        (BatchMean, {}, "run one by one, queries .* have other results than in the batch"),
        (OrderMatters, {}, "run (one by one|in reverse), queries .* have other results"),
        (Random, {}, "run again, it returns other results"),
        (RandomModel, {}, "prepared again, it returns other results"),
        (AddsExcluded, {}, "returned a document that its query excludes"),
        (AddsOthers, {}, "returned documents that it was not given"),
        (Rescores, {}, "a filter changed scores"),
        (Invents, {}, "returned documents that it was not given"),
        (Renames, {}, "changed the ids of the queries"),
        (BatchWords, {}, "have other results than in the batch"),
        (Undeclared, {"other_execution": {"batch_size": 2}}, "not declared as execution options"),
        (FalselyDeclared, {"other_execution": {"batch_size": 2}}, "changes the results"),
        (Unsorted, {}, "not in canonical order"),
        (Lies, {}, "declares queries, returned Rankings"),
        (Silent, {}, "returned no hit for any query"),
        (NeedsOne, {}, "no queries"),
    ],
)
def test_a_bad_stage_is_told_which_clause_it_breaks(
    cls: type[Stage], options: dict[str, Any], clause: str, tmp_path: Path
) -> None:
    register("toy-under-test")(cls)
    with pytest.raises(AssertionError, match=clause):
        check_stage(make_stage("toy-under-test"), tmp_path, **options)


def test_a_stage_that_loses_queries(tmp_path: Path) -> None:
    register("toy-under-test")(Short)
    with pytest.raises((AssertionError, ValueError), match="20 queries gave"):
        check_stage(make_stage("toy-under-test"), tmp_path)


def test_an_option_that_reads_back_otherwise(tmp_path: Path) -> None:
    register("toy-under-test")(NoWayBack)
    with pytest.raises(AssertionError, match=r"reads back|survive JSON"):
        check_stage(make_stage("toy-under-test", label=["x"]), tmp_path)
