"""An endpoint that is down, slow, wrong, full or closed: retried or told, and what was written is kept."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from misbehaving import KEY, Endpoint, endpoint, refuse, slow, user, well

from irkit.core.errors import ModelError
from irkit.models.writers import Job, Keeper, Prompt, Sampling, Text
from irkit.models.writers.budget import Budget
from irkit.models.writers.endpoint import EndpointWriter, Service
from irkit.models.writers.posting import Answer, fault_of, host_of
from irkit.models.writers.retrying import Retrying
from irkit.store import Store

WARM = Sampling(temperature=0.7, top_p=0.9, max_tokens=50)
SWIFT = Retrying(retries=3, first=0.001, longest=0.5)


@pytest.fixture
def served() -> Iterator[Endpoint]:
    with endpoint() as made:
        yield made


Make = Callable[..., EndpointWriter]


@pytest.fixture
def make(served: Endpoint) -> Make:
    def writer(
        budget: Budget | None = None, notes: dict[str, Any] | None = None, **options: Any
    ) -> EndpointWriter:
        given = {"timeout": 5.0, "concurrency": 1, "key_variable": "MY_KEY", **options}
        service = Service(served.url, "127.0.0.1", "some-model", **given)
        return EndpointWriter(service, KEY, retrying=SWIFT, budget=budget, notes=notes)

    return writer


def jobs(*users: str, sampling: Sampling = WARM) -> list[Job]:
    return [Job(Prompt(each, "be brief"), sampling) for each in users]


def write(writer: EndpointWriter, asked: list[Job]) -> list[tuple[int, Text]]:
    found: list[tuple[int, Text]] = []
    writer.write(asked, lambda place, text: found.append((place, text)))
    return found


def test_what_is_asked_and_answered(served: Endpoint, make: Make) -> None:
    ((place, text),) = write(make(), jobs("why?"))
    assert (place, text) == (0, Text("answer to why?", 10, 5))
    (body,) = served.requests
    seed = body.pop("seed")
    assert 0 <= seed < 2**31
    assert body == {
        "model": "some-model",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}],
        "max_tokens": 50,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    assert served.headers[0]["authorization"] == f"Bearer {KEY}"
    write(make(), jobs("why?", sampling=Sampling(0.0, 0.9, 5)))
    assert "seed" not in served.requests[-1]


def test_samples_have_seeds_of_their_own(served: Endpoint, make: Make) -> None:
    write(make(), Job.several(Prompt("q"), WARM, 4))
    assert len({body["seed"] for body in served.requests}) == 4


def test_several_at_a_time_and_no_more(served: Endpoint, make: Make) -> None:
    served.plan = lambda _n, body: slow(0.05, body)
    users = [f"q{number}" for number in range(9)]
    found = dict(write(make(concurrency=3), jobs(*users)))
    assert {place: text.text for place, text in found.items()} == {
        place: f"answer to {each}" for place, each in enumerate(users)
    }
    assert 2 <= served.most <= 3


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_time_may_mend_is_asked_again(served: Endpoint, make: Make, status: int) -> None:
    served.plan = lambda n, body: refuse(status) if n < 3 else well(body)
    assert [text.text for _, text in write(make(), jobs("q"))] == ["answer to q"]
    assert len(served.requests) == 4


BROKEN: dict[str, tuple[int, dict[str, str], bytes]] = {
    "no JSON": (200, {}, b"<html>gateway</html>"),
    "another JSON": (200, {}, b'{"object": "list"}'),
    "no choice": (200, {}, b'{"choices": []}'),
    "not an object": (200, {}, b"[1, 2]"),
    "half of it": (200, {"Content-Length": "500"}, b'{"choices": ['),
    "empty": (200, {}, b'{"choices": [{"message": {"content": "  "}}]}'),
    "null": (200, {}, b'{"choices": [{"message": {"content": null}}]}'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_nonsense_is_asked_again_and_then_told(served: Endpoint, make: Make, name: str) -> None:
    served.plan = lambda n, body: BROKEN[name] if n < 2 else well(body)
    assert len(write(make(), jobs("q"))) == 1
    served.plan = lambda _n, _body: BROKEN[name]
    with pytest.raises(ModelError, match=r"empty|not that of a chat completion|connection broke") as caught:
        write(make(), jobs("q"))
    assert "(4 attempts)" in str(caught.value)
    assert "what was written is kept" in str(caught.value)


def test_too_slow_is_told(served: Endpoint, make: Make) -> None:
    served.plan = lambda _n, body: slow(0.6, body)
    with pytest.raises(ModelError, match=r"no answer within 0\.1 s \(4 attempts\)"):
        write(make(timeout=0.1), jobs("q"))


def test_an_answer_in_trickles_is_too_slow_too(served: Endpoint, make: Make) -> None:
    body = b'{"choices": [{"message": {"content": "x"}}]}'

    def trickle(handler: Any) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for byte in body:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.05)

    served.answer = trickle  # type: ignore[method-assign]
    started = time.monotonic()
    writer = EndpointWriter(Service(served.url, "h", "m", 0.3), None, retrying=Retrying(0))
    with pytest.raises(ModelError, match=r"no answer within 0\.3 s \(1 attempt\)"):
        write(writer, jobs("q"))
    assert time.monotonic() - started < 1.5


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/chat/completions"
        writer = EndpointWriter(Service(url, "127.0.0.1", "m", 2.0), None, retrying=SWIFT)
        with pytest.raises(ModelError, match="no connection"):
            write(writer, jobs("q"))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "environment variable MY_KEY"),
        (403, "environment variable MY_KEY"),
        (404, "check url"),
        (400, "does this model take chats"),
        (302, "redirects to"),
    ],
)
def test_what_time_does_not_mend_is_told_at_once_without_the_key(
    served: Endpoint, make: Make, status: int, said: str
) -> None:
    served.plan = lambda _n, _body: refuse(status, f"bad key {KEY}", Location="http://127.0.0.1:1/elsewhere")
    with pytest.raises(ModelError, match=f"HTTP {status}: bad key") as caught:
        write(make(), jobs("q", "r"))
    assert said in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(served.requests) == 1


def test_retry_after_is_heeded_and_too_long_a_wait_is_told(served: Endpoint, make: Make) -> None:
    served.plan = lambda n, body: refuse(429, Retry_After="0.3") if n == 0 else well(body)
    started = time.monotonic()
    write(make(), jobs("q"))
    assert time.monotonic() - started >= 0.3
    served.plan = lambda _n, _body: refuse(429, "slow down", Retry_After="3600")
    with pytest.raises(ModelError, match="which asks to wait 3600 s"):
        write(make(), jobs("q"))


def test_retry_after_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (Answer(429, {"retry-after": soon}, b"").retry_after() or 0) <= 60
    assert Answer(429, {"retry-after": "5"}, b"").retry_after() == 5
    assert Answer(429, {"retry-after": "later"}, b"").retry_after() is None
    assert Answer(429, {}, b"").retry_after() is None


def test_pauses_double_up_to_the_longest() -> None:
    retrying = Retrying(retries=6, first=1, longest=10)
    for attempt, most in enumerate((1, 2, 4, 8, 10, 10), 1):
        pauses = [retrying.pause(attempt, None) or 0 for _ in range(50)]
        assert most / 2 <= min(pauses) <= max(pauses) <= most
        assert max(pauses) > min(pauses)
    assert retrying.pause(7, None) is None
    assert (retrying.pause(1, 9.0) or 0) == 9


def test_a_failure_keeps_what_is_done_and_nothing_is_paid_twice(
    served: Endpoint, make: Make, tmp_path: Path
) -> None:
    users = [f"q{number}" for number in range(8)]
    asked = jobs(*users)
    served.plan = lambda _n, body: refuse(401, "expired") if user(body) == "q5" else well(body)
    store, counts = Store(tmp_path), Counter[str]()
    with pytest.raises(ModelError, match="expired"):
        Keeper(make(concurrency=2), store.ledger("texts"), counts).texts(asked)
    done = counts["texts/written"]
    assert 5 <= done <= 6
    before = len(served.requests)
    served.plan = lambda _n, body: well(body)
    found = Keeper(make(), Store(tmp_path).ledger("texts"), counts).texts(asked)
    assert found == [f"answer to {each}" for each in users]
    assert len(served.requests) - before == len(users) - done
    assert counts["tokens/prompt"] == 80
    assert counts["tokens/completion"] == 40


def test_a_budget_of_requests_is_exact(served: Endpoint, make: Make, tmp_path: Path) -> None:
    asked = jobs(*[f"q{number}" for number in range(5)])
    counts = Counter[str]()
    with pytest.raises(ModelError, match=r"budget of 3 requests is spent") as caught:
        Keeper(make(Budget(requests=3), concurrency=4), Store(tmp_path).ledger("t"), counts).texts(asked)
    assert "llm.budget_requests" in str(caught.value)
    assert len(served.requests) == counts["texts/written"] == 3
    Keeper(make(Budget(requests=2)), Store(tmp_path).ledger("t"), counts).texts(asked)
    assert len(served.requests) == 5


def test_retries_are_paid_from_the_budget(served: Endpoint, make: Make) -> None:
    served.plan = lambda _n, _body: refuse(500)
    with pytest.raises(ModelError, match="budget of 2 requests"):
        write(make(Budget(requests=2)), jobs("q"))
    assert len(served.requests) == 2


def test_a_budget_of_tokens_stops_what_comes_after(served: Endpoint, make: Make) -> None:
    with pytest.raises(ModelError, match="budget of 20 tokens is spent: 30 were"):
        write(make(Budget(tokens=20)), jobs("a", "b", "c", "d"))
    assert len(served.requests) == 2
    assert write(make(Budget(tokens=0)), []) == []


def test_tokens_that_are_not_counted_are_estimated_and_that_is_noted(served: Endpoint, make: Make) -> None:
    served.plan = lambda _n, body: well(body, "x" * 40, usage=False)
    notes: dict[str, Any] = {}
    ((_, text),) = write(make(notes=notes), jobs("12345678"))
    assert text == Text("x" * 40, 4, 10)
    assert "estimated" in notes["token counts"]


def test_an_answer_without_end_is_not_read(
    served: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irkit.models.writers.posting.LARGEST", 1000)
    served.plan = lambda _n, body: well(body, "x" * 200_000)
    with pytest.raises(ModelError, match="has more than"):
        write(make(), jobs("q"))


def test_addresses() -> None:
    assert fault_of("https://api.example.com/v1") is None
    for bad in ("file:///etc/passwd", "ftp://a/b", "example.com/v1", "https://", "http://[::1"):
        assert fault_of(bad)
    for secret in ("https://me:pw@host/v1", "https://host/v1?key=1", "https://host/v1#key"):
        assert "stored and shown" in (fault_of(secret) or "")
    assert host_of("https://api.example.com/v1") == "api.example.com"
    assert host_of("http://localhost:8000/v1") == "localhost:8000"


def test_the_key_is_no_part_of_the_identity(make: Make) -> None:
    assert KEY not in str(make().identity)
    assert make().identity["model"] == "some-model"
