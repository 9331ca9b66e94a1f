"""The executor when something goes wrong: nothing unsound is let through or kept, and a killed run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from executing import MORE, graph, run
from toys import QUERIES, Toy, toy, toy_collection

from irkit.core.errors import StageError, StoreError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.exec import results
from irkit.exec.executor import Executor
from irkit.exec.results import read_keys
from irkit.exec.search import Searcher
from irkit.pipeline.context import Context
from irkit.pipeline.registry import make_stage, register
from irkit.pipeline.stage import Batch
from irkit.store import Store

pytestmark = pytest.mark.usefixtures("toy_stages")


# What no stage may return


@pytest.mark.parametrize(
    ("how", "where", "message"),
    [
        ("nan", "stage 'toy-bad', query 'q2', document 'd2'", "the score is nan"),
        ("raw nan", "stage 'toy-bad', query 'q2', document 'd2'", "the score is nan"),
        ("infinite", "stage 'toy-bad', query 'q2', document 'd2'", "the score is inf"),
        ("twice", "stage 'toy-bad', query 'q2', document 'd2'", "more than once"),
        ("short", "stage 'toy-bad'", "results for 4 of 5 queries"),
        ("long", "stage 'toy-bad'", "results for 6 of 5 queries"),
        ("unknown", "stage 'toy-bad'", "the collection has 0 to 5"),
        ("negative", "stage 'toy-bad'", "codes from -1"),
        ("unsorted", "stage 'toy-bad'", "not ordered by score"),
        ("offsets", "stage 'toy-bad'", "do not fit together"),
        ("queries", "stage 'toy-bad'", "returned Queries, it declares Rankings"),
        ("nothing", "stage 'toy-bad'", "returned NoneType"),
        ("excluded", "stage 'toy-bad'", "a document that the query 'q2' excludes"),
    ],
)
def test_unsound_results_are_refused_and_not_stored(
    store: Store, tmp_path: Path, how: str, where: str, message: str
) -> None:
    collection = toy_collection(tmp_path / "c", exclude={"q2": ["d5"]})
    bad = make_stage("toy-bad", how=how)
    for compute in (
        lambda: run(store, collection, bad),
        lambda: Searcher(Context(collection, store), graph(bad))(collection.queries),
    ):
        with pytest.raises(StageError) as caught:
            compute()
        (problem,) = caught.value.problems
        assert problem.where == where
        assert message in problem.message
        assert problem.hint
    assert list(store.artifacts()) == []


def test_a_query_stage_may_not_change_ids(store: Store, collection: Collection) -> None:
    class Renames(toys.Words):
        def run(self, batch: Batch, state: Any) -> Queries:
            return Queries.of(batch.queries.text)

    register("toy-renames")(Renames)
    with pytest.raises(StageError, match="changed the ids"):
        run(store, collection, make_stage("toy-renames") >> toy())


def test_an_unsound_part_of_a_batch_is_not_blamed_on_another_query(
    store: Store, collection: Collection
) -> None:
    class OneByOne(Toy):
        def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
            return Rankings.concat(
                [Rankings.build([0, 1], [1], [np.nan if i == 2 else 1]) for i in range(len(queries))]
            )

    register("toy-one-by-one")(OneByOne)
    with pytest.raises(StageError, match="nan") as caught:
        run(store, collection, make_stage("toy-one-by-one"))
    assert caught.value.problems[0].where == "stage 'toy-one-by-one', document 'd2'"


def test_a_mistake_inside_a_stage_keeps_its_type_and_names_the_stage(
    store: Store, collection: Collection
) -> None:
    with pytest.raises(ValueError, match="some other mistake") as caught:
        run(store, collection, make_stage("toy-bad", how="value error"))
    assert caught.value.__notes__ == ["in the stage 'toy-bad'"]


# Killed between chunks

CHILD = """
import sys
from pathlib import Path
import toys
from irkit.exec.executor import Executor
from irkit.pipeline.context import Context
from irkit.pipeline.registry import make_stage
from irkit.store import Store

toys.register_all()
folder = Path(sys.argv[1])
queries = {f"q{i}": f"a b c d e {i}" for i in range(20)}
collection = toys.toy_collection(folder / "child", queries=queries)
end = (make_stage("toy-slow", delay=0.02) >> make_stage("toy-rerank")).graph()
Executor(Context(collection, Store(folder / "store")), [end]).rankings(end)
"""


def test_a_run_killed_between_chunks_goes_on_and_ends_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "PYTHONPATH": toys.python_path()}
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], env=environment)
    deadline = time.monotonic() + 60
    while len(shards(store)) < 4 and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(store.verify()) == []
    kept = sum(len(read_keys(shard)) for shard in shards(store))
    assert 8 <= kept < 20

    monkeypatch.setenv(toys.LOG, str(tmp_path / "second.log"))
    queries = {f"q{i}": f"a b c d e {i}" for i in range(20)}
    collection = toy_collection(tmp_path / "c", queries=queries)
    slow = make_stage("toy-slow")
    ran: list[int] = []
    search = toys.Slow.search
    monkeypatch.setattr(
        toys.Slow, "search", lambda self, q, depth, state: ran.append(len(q)) or search(self, q, depth, state)
    )
    (found,) = run(store, collection, slow >> make_stage("toy-rerank"))
    assert sum(ran) == 20 - kept
    assert [found] == run(Store(tmp_path / "fresh"), collection, slow >> make_stage("toy-rerank"))
    node = graph(slow)
    (_, trace), *_ = Executor(Context(collection, store), [node]).traces()
    assert trace.cost.computed == 20, "what the killed run did is part of the cost"
    assert trace.cost.seconds >= 0.02 * kept / toys.Slow.chunk * 0.9
    assert list(store.unfinished()) == []


def shards(store: Store) -> list[Path]:
    """What builds under way have finished."""
    return [path for path in store.root.glob("building/*/shards/*") if path.suffix != ".partial"]


def killed_after_a_chunk(store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    search, calls = toys.Slow.search, []

    def dies(self: Any, queries: Any, depth: int, state: Any) -> Any:
        calls.append(len(queries))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return search(self, queries, depth, state)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(toys.Slow, "search", dies)
        run(store, collection, make_stage("toy-slow"))
    assert len(shards(store)) == 1


def test_a_collection_of_just_the_queries_of_a_killed_runs_chunk(
    store: Store, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after_a_chunk(store, collection, monkeypatch)
    few = dict(list(QUERIES.items())[: toys.Slow.chunk])
    smaller = toy_collection(tmp_path / "few", queries=few)
    end = graph(make_stage("toy-slow"))
    executor = Executor(Context(smaller, store), [end])
    assert executor.rankings(end) == run(Store(tmp_path / "fresh"), smaller, make_stage("toy-slow"))[0]
    assert [trace.cost.computed for _, trace in executor.traces()] == [len(few)]
    whole = run(store, collection, make_stage("toy-slow"))
    assert whole == run(Store(tmp_path / "fresh"), collection, make_stage("toy-slow"))


# Damage and removal


def test_damage_does_not_pass_into_new_results(store: Store, collection: Collection, tmp_path: Path) -> None:
    run(store, collection, toy())
    (artifact,) = store.artifacts()
    scores = bytearray(artifact.file("score.npy").read_bytes())
    scores[-1] ^= 0x40
    artifact.file("score.npy").write_bytes(bytes(scores))
    with pytest.raises(StoreError, match=r"score\.npy"):
        run(store, toy_collection(tmp_path / "more", queries=MORE), toy())


def test_results_removed_while_they_are_read_are_computed_again(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(store, collection, toy())
    read, calls = results.read_result, []

    def removed(folder: Path, source: Any) -> Any:
        calls.append(folder)
        if len(calls) == 1:
            store.remove(folder)
        return read(folder, source)

    monkeypatch.setattr("irkit.exec.executor.read_result", removed)
    assert run(store, collection, toy()) == first
