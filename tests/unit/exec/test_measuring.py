"""What is timed, and what is not: with a clock that only the test winds."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import toys
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.exec import timing
from irkit.exec.measuring import REPEATS, Measurement, differing
from irkit.exec.resources import Memory
from irkit.exec.timing import PASS, Meter, Timing, Warming, sample_of
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Retriever, Stage
from irkit.store import Store

MS = 1_000_000
WARM = 2 * PASS
"""Runs of work whose times stand still at once: two passes, for one alone is compared with nothing."""


class Clock:
    """Stands still but for what stages add; and notes when the accelerator was waited for."""

    now = 0
    events: ClassVar[list[str]] = []
    counted: ClassVar[list[str] | None] = None

    def read(self) -> int:
        Clock.events.append("clock")
        return Clock.now

    def wait(self) -> None:
        Clock.events.append("wait")


class Timed(Retriever):
    """Takes 50 ms to be prepared, 100 ms more for its first query, and for each query as many ms as its text has characters."""

    name = "timed"
    origin = "test"
    k: int = 10
    wrong_in_batches: bool = False

    def prepare(self, context: Context) -> dict[str, Any]:
        Clock.now += 50 * MS
        context.notes["kind"] = "timed"
        return {"fresh": True, "docs": len(context.collection.docs), "counts": context.counts}

    def search(self, queries: Queries, depth: int, state: dict[str, Any]) -> Rankings:
        Clock.events.append(f"run {len(queries)}")
        assert Clock.counted is not None or not gc.isenabled()
        if Clock.counted is not None:
            Clock.counted += queries.text
        Clock.now += 100 * MS * state.pop("fresh", False)
        Clock.now += sum(map(len, queries.text)) * MS
        state["counts"]["tokens/prompt"] += 7 * len(queries)
        state["counts"]["documents"] += 1
        docs = [0, 1] if self.wrong_in_batches and len(queries) > 1 else [1, 0]
        return Rankings.from_lists([docs] * len(queries), [[2.0, 1.0]] * len(queries))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    Clock.now, Clock.events = 0, []
    monkeypatch.setattr(timing, "LEAST", WARM)
    monkeypatch.setattr(Measurement, "_flops", lambda *_: None)  # it runs queries too, where torch is loaded
    yield Clock()


@pytest.fixture
def measure(collection: Collection, store: Store, clock: Clock) -> Callable[..., Any]:
    """Measure a pipeline on queries whose texts have 1, 2, 3, ... characters."""

    def run(pipeline: Stage | Pipeline, total: int = 10, queries: int = 4, warmup: int = 2) -> Any:
        own = replace(collection, queries=Queries.of(["a" * (row + 1) for row in range(total)]))
        sample = sample_of(total, queries, warmup)
        end = Pipeline.of(pipeline).graph()
        measurement = Measurement(Context(own, store), end, sample, Meter(clock.read, clock.wait))
        return sample, *measurement.run()

    return run


def test_times_are_of_the_sample_alone(measure: Callable[..., Any]) -> None:
    sample, nodes, whole = measure(Timed())
    assert sample.timed == [0, 2, 5, 7] and not set(sample.warm) & set(sample.timed)
    (found,) = nodes.values()
    assert found.cold_seconds == pytest.approx(0.05)
    assert found.first_ms == 100 + sample.warm[0] + 1, "the first query pays for the first"
    assert found.each == [1, 3, 6, 8] == whole.each
    assert found.warming == whole.warming == Warming(WARM, steady=True)
    assert found.throughput == pytest.approx(4 / 0.018), "all in one go, the first time not counted"
    assert found.counts == {"tokens/prompt": 28, "documents": 4}, "of the timed queries, once"
    assert (found.notes, found.differing, found.flops) == ({"kind": "timed"}, 0, None)
    runs = [event for event in Clock.events if event.startswith("run")]
    steady = ["run 1"] * (WARM + 4) + ["run 4"] * REPEATS
    assert runs == ["run 1"] * 6 + ["run 4"] + steady + steady, (
        "the pipeline as its only stage: warm, alone, in one go"
    )
    assert gc.isenabled()


def test_the_device_is_idle_before_the_clock_is_read(measure: Callable[..., Any]) -> None:
    measure(Timed(), queries=1, warmup=1)
    before = [Clock.events[place - 1] for place, event in enumerate(Clock.events) if event == "clock"]
    assert before == ["wait"] * len(before)
    # prepare, the first query; then, for the stage and for the pipeline: warming up, the sample, all of it in one go
    assert len(before) == 2 * (1 + 1 + 2 * (WARM + 1 + REPEATS))


def test_without_others_the_sample_warms_up(measure: Callable[..., Any]) -> None:
    sample, nodes, _ = measure(Timed(), total=3, queries=9, warmup=4)
    assert sample == ([0, 1, 2], [0, 1, 2, 0])
    (found,) = nodes.values()
    assert found.each == [1, 2, 3], "one of a text does not leave the sample"
    sample, nodes, _ = measure(Timed(k=9), total=3, queries=2, warmup=0)
    (found,) = nodes.values()
    assert (found.first_ms, found.each, found.warming) == (101, [1, 2], Warming(0, steady=False))


class Compiled(Timed):
    """Takes 64 ms a query, and half of it after every 50 queries, but never less than 1: a compiler is at work."""

    name = "compiled"

    def search(self, queries: Queries, depth: int, state: dict[str, Any]) -> Rankings:
        found = super().search(queries.with_text([""] * len(queries)), depth, {**state, "fresh": False})
        state["runs"] = state.get("runs", 0) + len(queries)
        Clock.now += max(1, 64 >> state["runs"] // PASS) * MS
        return found


def test_it_warms_up_until_times_stand_still(measure: Callable[..., Any], toy_stages: object) -> None:
    for pipeline in (Compiled(), Pipeline.of(Compiled()) >> make_stage("toy-rerank")):
        _, nodes, whole = measure(pipeline)
        found = next(iter(nodes.values()))
        assert found.warming.steady and found.warming.runs > WARM, "two passes are not enough"
        assert found.each == whole.each == [1] * 4, "the state does not depend on how many stages there are"


def test_warming_up_has_an_end() -> None:
    def slower(row: int) -> None:
        Clock.now += (1 + len(seen)) * MS
        seen.append(row)

    seen: list[int] = []
    meter = Meter(Clock().read, Clock().wait)
    found = meter.warm(slower, [7, 8])
    total = sum(range(1, found.runs + 1))
    assert not found.steady and total >= 1000 * timing.WARM_SECONDS > total - found.runs
    assert seen[:4] == [7, 8, 7, 8]
    Clock.now, seen = 0, [0] * 20_000
    assert meter.warm(slower, [7, 8, 9]) == Warming(3, steady=False), "what was asked for runs, however slow"


def test_halves_of_the_time_tell_whether_the_machine_kept_its_pace() -> None:
    def twice_as_slow_in_the_end(row: int) -> None:
        Clock.now += (1 + (len(seen) >= 10)) * MS
        seen.append(row)

    seen: list[int] = []
    each = Meter(Clock().read, Clock().wait).each(twice_as_slow_in_the_end, range(100, 120))
    assert seen == [*range(100, 120, 2), *range(101, 120, 2)], (
        "each half of the time is spread over the sample"
    )
    assert each == [1, 2] * 10
    rest: Any = {"warming": Warming(1, True), "throughput": None, "memory": 0, "device_memory": None}
    assert Timing(each, **rest).drift == 2
    assert Timing([1] * 10 + [9] * 10, **rest).drift == 1, "harder queries at the end are no drift"
    assert Timing(each[:19], **rest).drift is None and Timing([0.0] * 20, **rest).drift is None


def test_other_results_in_a_batch_are_counted(measure: Callable[..., Any]) -> None:
    _, nodes, _ = measure(Timed(wrong_in_batches=True))
    assert [found.differing for found in nodes.values()] == [4]


def test_a_pipeline_is_timed_whole_and_shared_nodes_once(
    measure: Callable[..., Any], toy_stages: object
) -> None:
    branches = Pipeline.of(Timed()) + (Pipeline.of(Timed()) >> make_stage("toy-rerank"))
    sample, nodes, whole = measure(branches)
    assert [node.stage.name for node in nodes] == ["timed", "toy-rerank", "fuse"]
    assert whole.each == [row + 1 for row in sample.timed], "one node, run once for each query"
    assert [found.each for found in nodes.values()] == [whole.each, [0] * 4, [0] * 4]


def test_equal_stages_are_prepared_once(measure: Callable[..., Any], toy_stages: object) -> None:
    other = Pipeline.of(make_stage("toy-words")) >> Timed()
    _, nodes, _ = measure(Pipeline.of(Timed()) + other)
    found = {(node.stage.name, node.queries is not None): each for node, each in nodes.items()}
    assert [found["timed", changed].prepared for changed in (False, True)] == [False, True]
    assert found["timed", True].cold_seconds == 0
    assert found["timed", True].each == [row + 3 for row in (0, 2, 5, 7)], (
        "it sees the new queries: ' b' longer"
    )


def test_chunks_are_the_stages_own(measure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timed, "chunk", 3)
    _, nodes, _ = measure(Timed())
    assert Clock.events.count("run 3") == 1 + 2 * REPEATS
    alone = 2 + 4 + 2 * (WARM + 4)
    assert Clock.events.count("run 1") == alone + 1 + 2 * REPEATS, "four queries are three and one"
    (found,) = nodes.values()
    assert found.differing == 0


def test_operations_are_of_queries_from_everywhere(
    collection: Collection, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    seen: list[str] = []

    @contextmanager
    def noted() -> Iterator[Any]:
        Clock.counted = seen
        yield type("Flops", (), {"total": 100})
        Clock.counted = None

    monkeypatch.setattr(timing, "LEAST", WARM)
    monkeypatch.setattr("irkit.exec.measuring.counting", noted)
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch", ModuleType("torch")))
    monkeypatch.setattr("irkit.exec.resources._cuda", lambda: None)
    own = replace(collection, queries=Queries.of(["a" * (row + 1) for row in range(12)]))
    meter = Meter(Clock().read, Clock().wait)
    measurement = Measurement(Context(own, store), Pipeline.of(Timed()).graph(), sample_of(12, 10, 2), meter)
    nodes, _ = measurement.run()
    rows = [sample_of(12, 10, 2).timed[place] for place in (0, 2, 4, 6, 8)]
    assert seen == ["a" * (row + 1) for row in rows]
    assert [found.flops for found in nodes.values()] == [20]


def test_nothing_of_it_is_stored(measure: Callable[..., Any], store: Store, toy_stages: object) -> None:
    measure(Pipeline.of(make_stage("toy")) >> make_stage("toy-rerank"))
    assert list(store.artifacts()) == []
    assert toys.calls("prepare", "toy") == 1


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 20))
def test_samples_are_spread_and_apart(total: int, queries: int, warmup: int) -> None:
    timed, warm = sample_of(total, queries, warmup)
    assert (len(timed), len(warm)) == (min(queries, total), warmup)
    assert timed == sorted(set(timed)) and set(timed) | set(warm) <= set(range(total))
    gaps = np.diff([*timed, timed[0] + total])
    assert gaps.max() - gaps.min() <= 1, "evenly spaced"
    assert not set(timed) & set(warm[: total - len(timed)])
    assert len(set(warm)) >= min(warmup, max(total - len(timed), 1))


def test_differing_queries() -> None:
    one = Queries.of(["a", "b", "c"])
    assert differing(one, one.with_text(["a", "x", "y"])) == 2
    ranked = Rankings.from_lists([[0, 1], [2]], [[2, 1], [1]])
    assert differing(ranked, ranked.with_scores([9, 1, 1])) == 0
    assert differing(ranked, Rankings.from_lists([[1, 0], [2]], [[2, 1], [1]])) == 1
    with pytest.raises(TypeError):
        differing(one, ranked)


PEAKS = """
import numpy as np
from irkit.exec.resources import Peaks

peaks = Peaks()
with peaks.stretch() as memory:
    held = np.ones(60_000_000, np.uint8)
    assert held.sum() and memory.grown() > 40_000_000, memory.grown()
    del held
with peaks.stretch() as memory:
    assert memory.grown() < 40_000_000 or memory.by == "ru_maxrss", memory.grown()
assert peaks.total > 40_000_000, peaks.total
"""


def test_peaks_are_seen_after_they_are_over() -> None:
    # in a process of its own: what other tests left behind may shrink meanwhile, and hide what grows
    ended = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_where_the_peak_cannot_be_set_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("irkit.exec.resources._CLEAR", tmp_path / "no" / "clear_refs")
    memory = Memory()
    assert (memory.by, memory.grown() >= 0, memory.device_grown()) == ("ru_maxrss", True, None)
