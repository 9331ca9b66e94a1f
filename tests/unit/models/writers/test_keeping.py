"""Texts are paid for once: after a failure, by several stages, by several processes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from irkit.core.errors import ModelError
from irkit.models.writers import Job, Keeper, Prompt, Sampling, Text
from irkit.store import Store

SAMPLING = Sampling(0.0, 1.0, 8)


class Fake:
    """Writes the prompt backwards, last job first, and fails at what it is told to."""

    identity: Mapping[str, Any] = {"kind": "fake"}

    def __init__(self, fail: str | None = None, pause: threading.Event | None = None) -> None:
        self.paid: list[str] = []
        self._fail, self._pause = fail, pause

    def write(self, jobs: Sequence[Job], keep: Callable[[int, Text], None]) -> None:
        for place in reversed(range(len(jobs))):
            user = jobs[place].prompt.user
            if user == self._fail:
                raise ModelError.of("it failed")
            if self._pause:
                self._pause.wait(20)
            self.paid.append(user)
            keep(place, Text(user[::-1], 2, 3))


def jobs(*users: str) -> list[Job]:
    return [Job(Prompt(user), SAMPLING) for user in users]


def keeper(writer: Fake, folder: Path, counts: Counter[str] | None = None) -> Keeper:
    return Keeper(writer, Store(folder).ledger("texts"), Counter() if counts is None else counts)


def test_where_nothing_may_be_written(tmp_path: Path) -> None:
    writer, counts = Fake(), Counter[str]()
    keeper(writer, tmp_path).texts(jobs("ab", "cd"))
    reader = Keeper(Fake(fail="xy"), Store(tmp_path).ledger("texts"), counts, writes=False)
    assert reader.texts(jobs("cd", "ab", "cd")) == ["dc", "ba", "dc"]
    assert counts == {"texts/from the store": 2, "tokens/prompt": 4, "tokens/completion": 6}
    with pytest.raises(ModelError, match="a text is not written yet") as caught:
        reader.texts(jobs("ab", "xy"))
    assert "irkit run" in str(caught.value.problems[0].hint)


def test_each_text_once_in_the_order_asked(tmp_path: Path) -> None:
    writer, counts = Fake(), Counter[str]()
    assert keeper(writer, tmp_path, counts).texts(jobs("ab", "cd", "ab", "ef")) == ["ba", "dc", "ba", "fe"]
    assert sorted(writer.paid) == ["ab", "cd", "ef"]
    assert counts == {
        "texts/from the store": 0,
        "texts/written": 3,
        "tokens/prompt": 6,
        "tokens/completion": 9,
    }


def test_many_more_than_are_claimed_at_once(tmp_path: Path) -> None:
    users = [f"q{number}" for number in range(600)]
    writer = Fake()
    assert keeper(writer, tmp_path).texts(jobs(*users)) == [user[::-1] for user in users]
    assert sorted(writer.paid) == sorted(users)


def test_a_failure_keeps_what_was_written_and_the_next_run_pays_the_rest(tmp_path: Path) -> None:
    first = Fake(fail="a")
    with pytest.raises(ModelError, match="it failed"):
        keeper(first, tmp_path).texts(jobs("a", "b", "c"))
    assert first.paid == ["c", "b"]
    second = Fake()
    assert keeper(second, tmp_path).texts(jobs("a", "b", "c")) == ["a", "b", "c"]
    assert second.paid == ["a"]


def test_two_that_want_the_same_at_the_same_time_pay_once(tmp_path: Path) -> None:
    users = [f"query {number}" for number in range(20)]
    go = threading.Event()
    writers = [Fake(pause=go), Fake(pause=go)]
    found: dict[int, list[str]] = {}

    def work(place: int) -> None:
        found[place] = keeper(writers[place], tmp_path).texts(jobs(*users))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(60)
    assert found[0] == found[1] == [user[::-1] for user in users]
    assert sorted(writers[0].paid + writers[1].paid) == sorted(users)


def test_progress_counts_every_text(tmp_path: Path) -> None:
    seen: list[int] = []
    ledger = Store(tmp_path).ledger("texts")
    Keeper(Fake(), ledger, Counter(), seen.append).texts(jobs("a", "b"))
    Keeper(Fake(), ledger, Counter(), seen.append).texts(jobs("a", "b", "c"))
    assert sum(seen) == 5


def test_a_claim_ends_when_its_text_is_there(tmp_path: Path) -> None:
    free: list[bool] = []

    class Watched(Fake):
        def write(self, jobs: Sequence[Job], keep: Callable[[int, Text], None]) -> None:
            def kept(place: int, text: Text) -> None:
                keep(place, text)
                key = json.loads(ledger.file.read_text().splitlines()[-1])["key"]
                with Store(tmp_path).ledger("texts").claim(key) as ours:
                    free.append(ours)

            super().write(jobs, kept)

    ledger = Store(tmp_path).ledger("texts")
    Keeper(Watched(), ledger, Counter()).texts(jobs("a", "b"))
    assert free == [True, True]


def test_who_waits_for_another_process_is_told(tmp_path: Path) -> None:
    go, said = threading.Event(), list[str]()
    writers = [Fake(pause=go), Fake()]
    first = threading.Thread(target=lambda: keeper(writers[0], tmp_path).texts(jobs("ab", "cd")))
    first.start()

    def tell(text: str) -> None:
        said.append(text)
        go.set()

    ledger = Store(tmp_path).ledger("texts")
    while not list(tmp_path.glob("locks/*")):
        first.join(0.01)
    first.join(0.3)  # it claims, and waits
    second = Keeper(writers[1], ledger, Counter(), say=tell)
    assert second.texts(jobs("ab", "cd")) == ["ba", "dc"]
    first.join(20)
    assert len(said) == 1
    assert "another irkit" in said[0]
    assert not writers[1].paid


def test_half_an_emoji_in_the_ledger_is_replaced(tmp_path: Path) -> None:
    class Old(Fake):
        def write(self, jobs: Sequence[Job], keep: Callable[[int, Text], None]) -> None:
            keep(0, Text("wing \ud83d", 2, 3))

    assert keeper(Old(), tmp_path).texts(jobs("a")) == ["wing \ufffd"]
    assert keeper(Fake(), tmp_path).texts(jobs("a")) == ["wing \ufffd"]
