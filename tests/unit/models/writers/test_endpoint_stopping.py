"""Answers that are paid for are kept however the work ends, what comes back is fit to use, and no error shows the key."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from misbehaving import KEY, Endpoint, Held, endpoint, refuse, user, well

from irkit.core.errors import ModelError, StoreError
from irkit.models.writers import Job, Keeper, Prompt, Sampling, Text
from irkit.models.writers.budget import Budget
from irkit.models.writers.endpoint import EndpointWriter, Service
from irkit.models.writers.posting import Answer, UnreachableError
from irkit.models.writers.retrying import Retrying
from irkit.store import Store

COLD = Sampling(temperature=0.0, top_p=1.0, max_tokens=7)


@pytest.fixture
def served() -> Iterator[Endpoint]:
    with endpoint() as made:
        yield made


Make = Callable[..., EndpointWriter]


@pytest.fixture
def make(served: Endpoint) -> Make:
    def writer(concurrency: int = 2, **options: Any) -> EndpointWriter:
        service = Service(served.url, "127.0.0.1", "some-model", 5.0, concurrency, "MY_KEY")
        return EndpointWriter(service, KEY, retrying=Retrying(3, 0.001, 0.5), **options)

    return writer


def jobs(*users: str) -> list[Job]:
    return [Job(Prompt(each), COLD) for each in users]


def one(writer: EndpointWriter) -> Text:
    found: list[Text] = []
    writer.write(jobs("q"), lambda _place, text: found.append(text))
    return found[0]


def answer(content: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    body = {"choices": [{"message": {"content": content}, **more}], "usage": usage}
    return 200, {}, json.dumps(body).encode()


# -- whatever ends the work -----------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_is_under_way_and_asks_nothing_new(
    served: Endpoint, make: Make, tmp_path: Path
) -> None:
    held = Held(together=2, late=lambda text: text != "a")

    def plan(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return held(number, body)

    served.plan = plan
    ledger = Store(tmp_path).ledger("texts")
    with pytest.raises(KeyboardInterrupt):
        Keeper(make(say=held.say), ledger, Counter()).texts(jobs("a", "b", "c", "d", "e"))
    assert len(served.requests) == len(ledger) == 3
    assert held.said == ["stopping: waiting for 2 answers under way, which are paid for"]


def test_an_interruption_while_a_text_is_written_down_loses_none(served: Endpoint, make: Make) -> None:
    served.plan = Held(together=2)
    kept: list[int] = []

    def keep(place: int, _text: Text) -> None:
        if not interrupted:
            interrupted.append(place)
            raise KeyboardInterrupt
        kept.append(place)

    interrupted: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        make().write(jobs("a", "b", "c"), keep)
    assert sorted(kept) == [0, 1]


def test_a_full_disk_costs_no_other_answer(served: Endpoint, make: Make) -> None:
    served.plan = held = Held(together=2, late=lambda text: text == "b")
    kept: list[int] = []

    def keep(place: int, _text: Text) -> None:
        if place == 0:
            raise StoreError.of("the disk is full")
        kept.append(place)

    with pytest.raises(StoreError, match="disk is full"):
        make(say=held.say).write(jobs("a", "b", "c", "d"), keep)
    assert kept == [1]
    assert len(served.requests) == 2


def test_what_is_under_way_when_another_fails_is_kept(served: Endpoint, make: Make) -> None:
    held = Held(together=2, late=lambda text: text == "good")

    def plan(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        answer = held(number, body)
        return refuse(403) if user(body) == "bad" else answer

    served.plan = plan
    seen: list[int] = []
    with pytest.raises(ModelError, match="403"):
        make(say=held.say).write(jobs("good", "bad", "later"), lambda place, _text: seen.append(place))
    assert seen == [0]
    assert len(served.requests) == 2


def test_an_error_that_nobody_thought_of_is_told_and_costs_no_other_answer(
    served: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from irkit.models.writers import endpoint as module

    def post(url: str, headers: Any, body: bytes, timeout: float) -> Answer:
        if b'"content": "odd"' in body:
            assert asked.wait(10)
            raise ZeroDivisionError(f"with {KEY}")
        asked.set()
        return original(url, headers, body, timeout)

    asked, original = threading.Event(), module.post
    monkeypatch.setattr(module, "post", post)
    served.plan = held = Held(together=1, late=lambda text: text == "good")
    kept: list[int] = []
    with pytest.raises(ModelError, match=r"ZeroDivisionError: with \*\*\*") as caught:
        make(say=held.say).write(jobs("odd", "good", "later"), lambda place, _text: kept.append(place))
    assert kept == [1]
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


# -- what comes back ------------------------------------------------------------------------------------------------------------


def test_half_an_emoji_is_replaced(served: Endpoint, make: Make) -> None:
    served.plan = lambda _n, _body: answer("wing \ud83d")
    assert one(make()).text == "wing \ufffd"
    served.plan = lambda _n, _body: refuse(400, "bad \ud83d")
    with pytest.raises(ModelError, match="bad \ufffd"):
        one(make())


def test_an_endless_list_is_no_message() -> None:
    assert Answer(500, {}, b"[" * 200_000).message().startswith("[[[")


def test_an_empty_answer_that_was_cut_is_told_at_once_and_counted(served: Endpoint, make: Make) -> None:
    served.plan = lambda _n, _body: answer("", finish_reason="length")
    counts, budget = Counter[str](), Budget(tokens=15)
    with pytest.raises(ModelError, match=r"raise llm\.max_tokens, which is 7"):
        one(make(counts=counts, budget=budget))
    assert len(served.requests) == 1
    assert counts == {"tokens/prompt": 10, "tokens/completion": 5}
    with pytest.raises(ModelError, match="15 were"):
        one(make(budget=budget))


def test_empty_answers_are_paid_from_the_budget_and_counted(served: Endpoint, make: Make) -> None:
    served.plan = lambda _n, _body: answer(" ", finish_reason="stop")
    counts = Counter[str]()
    with pytest.raises(ModelError, match="budget of 20 tokens is spent: 30 were"):
        one(make(budget=Budget(tokens=20), counts=counts))
    assert counts == {"tokens/prompt": 20, "tokens/completion": 10}
    served.plan = lambda n, body: answer("") if n < 3 else well(body)
    before = counts.copy()
    assert one(make(counts=counts)).prompt_tokens == 10
    assert counts - before == {"tokens/prompt": 10, "tokens/completion": 5}, "the writer's one empty answer"


# -- the key --------------------------------------------------------------------------------------------------------------------


def test_a_broken_connection_does_not_show_the_key(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Answer:
        raise UnreachableError(f"no connection: {KEY}")

    monkeypatch.setattr("irkit.models.writers.endpoint.post", broken)
    with pytest.raises(ModelError, match=r"no connection: \*\*\*") as caught:
        one(make())
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("before", [0, 70])
def test_an_echo_of_the_key_is_not_shown_nor_a_piece_of_it(served: Endpoint, make: Make, before: int) -> None:
    served.plan = lambda _n, _body: (200, {}, b"x" * before + KEY.encode())
    with pytest.raises(ModelError, match=r"not that of a chat completion: 'x*\*\*\*'") as caught:
        one(make())
    assert KEY[:6] not in str(caught.value)


@pytest.mark.parametrize("status", [400, 500])
def test_a_long_message_is_cut_after_the_key_is_taken_out(served: Endpoint, make: Make, status: int) -> None:
    for echo in (refuse(status, "x" * 290 + KEY), (status, {}, b"x" * 1990 + KEY.encode())):
        served.plan = lambda _n, _body, echo=echo: echo  # type: ignore[misc]
        with pytest.raises(ModelError, match=f"HTTP {status}") as caught:
            one(make())
        assert KEY[:6] not in str(caught.value)
