"""An endpoint in a thread that misbehaves on command."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-very-secret-0123456789"


class Endpoint:
    """What was asked, and what is answered.

    Attributes:
        requests: the bodies.
        headers: of each request.
        plan: called with the number of the request, from 0 on, and its body; returns the answer: (status, headers, body).
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.plan: Callable[[int, dict[str, Any]], tuple[int, dict[str, str], bytes]] = lambda _n, body: well(
            body
        )
        self.under_way = self.most = 0
        self._lock = threading.Lock()
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            status, headers, data = self.plan(number, body)
        finally:
            with self._lock:
                self.under_way -= 1
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)


def user(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def well(
    body: dict[str, Any], text: str | None = None, *, usage: bool = True
) -> tuple[int, dict[str, str], bytes]:
    """Answer as a model would that says of everything what it was asked."""
    said = f"answer to {user(body)}" if text is None else text
    answer: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": said}}]}
    if usage:
        answer["usage"] = {"prompt_tokens": 10, "completion_tokens": 5}
    return 200, {}, json.dumps(answer).encode()


def refuse(status: int, message: str = "no", **headers: str) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"error": {"message": message}}).encode()


def slow(seconds: float, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    time.sleep(seconds)
    return well(body)


class Held:
    """Answers that wait for each other instead of for a clock: the first comes once ``together`` were asked for, those that
    ``late`` picks come when the writer says that it is stopping.
    """

    def __init__(self, together: int, late: Callable[[str], bool] = lambda _text: False) -> None:
        self.said: list[str] = []
        self._asked, self._late, self._stopping = threading.Barrier(together), late, threading.Event()

    def say(self, text: str) -> None:
        self.said.append(text)
        self._stopping.set()

    def __call__(self, number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if number < self._asked.parties:
            self._asked.wait(30)
        if self._late(user(body)):
            assert self._stopping.wait(30)
        return well(body)


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone
                made.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
