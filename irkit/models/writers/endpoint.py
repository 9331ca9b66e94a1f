"""A language model behind an endpoint that speaks OpenAI's chat completions (``POST .../v1/chat/completions``) as a writer.

The key comes from an environment variable, is sent to that one host, and is in no error, note, fingerprint or file.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

from irkit.core.errors import ModelError
from irkit.core.text import well_formed
from irkit.models.writers.budget import Budget
from irkit.models.writers.posting import Answer, UnreachableError, post
from irkit.models.writers.retrying import Retrying
from irkit.models.writers.writer import Job, Text

_KEY = "check the key in the environment variable {}"
_HINTS = {
    401: _KEY,
    403: _KEY,
    404: "check url, which ends in /v1 as a rule, and the name of the model",
    413: "take fewer or shorter documents (fb_docs, words)",
}


class _AgainError(Exception):
    """A request that may do better when it is made once more; ``wait`` is how long the endpoint asks for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Service:
    """Where the model is, and how to ask it.

    Attributes:
        url: of the chat completions.
        host: the part of the url that may be shown.
        model: its name there.
        timeout: seconds within which an answer must be complete.
        concurrency: requests under way at the same time.
        key_variable: the environment variable that the key comes from, if any.
    """

    url: str
    host: str
    model: str
    timeout: float = 60.0
    concurrency: int = 4
    key_variable: str | None = None


class EndpointWriter:
    """Asks an endpoint, one request a text, several at the same time. Which text comes is the endpoint's affair: equal jobs may
    give other texts another day, which is why texts are kept.
    """

    def __init__(
        self,
        service: Service,
        key: str | None,
        *,
        retrying: Retrying | None = None,
        budget: Budget | None = None,
        notes: dict[str, Any] | None = None,
        counts: Counter[str] | None = None,
        say: Callable[[str], object] | None = None,
    ) -> None:
        """Make a writer.

        Args:
            service: where the model is.
            key: sent as the bearer's token; None for none.
            retrying: how often, and after which pauses, a request is made again.
            budget: what may be spent.
            notes: takes that an endpoint does not count its tokens.
            counts: takes the tokens of answers without a text, which no text accounts for.
            say: tells people what is waited for.
        """
        self._service, self._key = service, key
        self._retrying, self._budget = retrying or Retrying(), budget or Budget()
        self._notes = notes if notes is not None else {}
        self._counts = counts if counts is not None else Counter()
        self._say = say or (lambda _text: None)
        self._lost = deque[tuple[int, int]]()

    @property
    def identity(self) -> Mapping[str, Any]:
        """The address and the name of the model there."""
        return {"kind": "endpoint", "url": self._service.url, "model": self._service.model}

    def write(self, jobs: Sequence[Job], keep: Callable[[int, Text], None]) -> None:
        """Keep texts as they come. After an error or Ctrl-C nothing new is asked; what is under way is waited for, and kept.

        Raises:
            ModelError: when the endpoint cannot be reached, refuses, answers nonsense, or the budget is spent.
        """
        waiting, running = deque(enumerate(jobs)), dict[Future[Text], int]()
        stop = Event()
        pool = ThreadPoolExecutor(self._service.concurrency, "irkit-endpoint")
        try:
            while running or waiting:
                while waiting and len(running) < self._service.concurrency:
                    place, job = waiting.popleft()
                    running[pool.submit(self._text, job, stop)] = place
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    keep(running[future], self._result(future))
                    del running[future]  # not before: what is still in it is drained
        finally:
            stop.set()
            try:
                self._drain(running, keep)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                while self._lost:
                    prompt, completion = self._lost.popleft()
                    self._counts["tokens/prompt"] += prompt
                    self._counts["tokens/completion"] += completion

    def _drain(self, running: Mapping[Future[Text], int], keep: Callable[[int, Text], None]) -> None:
        """Keep what is under way when an error or Ctrl-C ends the work. That is what is told then, not what fails here."""
        left = sum(not future.done() for future in running)
        if left:
            self._say(f"stopping: waiting for {left} answers under way, which are paid for")
        for future, place in running.items():
            with suppress(Exception):
                keep(place, future.result())

    def _result(self, future: Future[Text]) -> Text:
        try:
            return future.result()
        except ModelError:
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            shown = self._shown(cause)
            raise ModelError.of(
                f"the endpoint's answer cannot be dealt with: {shown}",
                where=self._service.host,
                hint="this is a fault of irkit, please report it; what was written is kept",
            ) from (error if shown == cause else None)

    def _text(self, job: Job, stop: Event) -> Text:
        """Ask until there is an answer, or no more may be asked."""
        attempt = 0
        while not (attempt == 0 and stop.is_set()):
            attempt += 1
            self._budget.take_request(self._service.host)
            try:
                return self._ask(job)
            except _AgainError as again:
                pause = self._retrying.pause(attempt, again.wait)
                if pause is None or stop.wait(pause):
                    asked = f", which asks to wait {again.wait:.0f} s" if again.wait is not None else ""
                    raise ModelError.of(
                        f"{again}{asked} ({attempt} {'attempt' if attempt == 1 else 'attempts'})",
                        where=self._service.host,
                        hint="run it again: what was written is kept; llm.timeout and llm.retries say how patient irkit is",
                    ) from None
        raise ModelError.of("stopped before it was asked", where=self._service.host)

    def _ask(self, job: Job) -> Text:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            answer = post(self._service.url, headers, self._body(job), self._service.timeout)
        except UnreachableError as error:
            raise _AgainError(self._shown(str(error))) from None
        if answer.status != 200:
            self._refuse(answer)
        return self._read(job, answer)

    def _body(self, job: Job) -> bytes:
        data, sampling = job.to_data(), job.sampling
        messages = [
            {"role": role, "content": data[role]} for role in ("system", "user") if data[role] is not None
        ]
        body = {"model": self._service.model, "messages": messages, "max_tokens": sampling.max_tokens}
        body |= {"temperature": sampling.temperature, "top_p": data["sampling"]["top_p"]}
        if sampling.temperature > 0:
            body["seed"] = job.seed & 0x7FFFFFFF
        return json.dumps(body).encode("ascii")

    def _refuse(self, answer: Answer) -> None:
        """Raise what a status other than 200 means: an error that time may mend, or one that it will not."""
        message = f"HTTP {answer.status}: {answer.message(self._shown)}"
        if answer.status in (408, 409, 425, 429) or answer.status >= 500:
            raise _AgainError(message, answer.retry_after())
        if 300 <= answer.status < 400:
            hint = "irkit sends neither key nor prompts elsewhere; give the address that it redirects to as url, if you trust it"
            raise ModelError.of(message, where=self._service.host, hint=hint)
        hint = _HINTS.get(
            answer.status, "does this model take chats, and max_tokens, temperature and top_p as they are?"
        )
        variable = self._service.key_variable
        if "{}" in hint:
            hint = hint.format(variable) if variable else "name the key's environment variable: key_variable"
        raise ModelError.of(message, where=f"{self._service.host}, model {self._service.model!r}", hint=hint)

    def _read(self, job: Job, answer: Answer) -> Text:
        try:
            found = json.loads(answer.body)
            choice = found["choices"][0]
            content, ended = choice["message"].get("content"), choice.get("finish_reason")
            usage = found.get("usage") or {}
            counted = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            start = self._shown(answer.body.decode("utf-8", "replace"))[:80]
            raise _AgainError(f"the answer is not that of a chat completion: {start!r}") from None
        content = well_formed(content) if isinstance(content, str) else ""
        text = content.strip()
        tokens = [each for each in counted if isinstance(each, int) and each >= 0]
        if len(tokens) != 2:
            self._notes["token counts"] = "estimated, 4 bytes each: the endpoint tells none"
            chat = (job.prompt.system or "") + job.prompt.user
            tokens = [math.ceil(len(each.encode("utf-8", "surrogatepass")) / 4) for each in (chat, content)]
        prompt, completion = tokens
        self._budget.spend(prompt + completion)
        if text:
            return Text(text, prompt, completion)
        self._lost.append((prompt, completion))
        if ended != "length":
            raise _AgainError("the answer is empty")
        raise ModelError.of(
            f"the answer is empty: its {completion} tokens were used up before a text began",
            where=f"{self._service.host}, model {self._service.model!r}",
            hint=f"raise llm.max_tokens, which is {job.sampling.max_tokens}: models that think first need more",
        )

    def _shown(self, text: str) -> str:
        """Return a text of the other side's without the key, fit to be printed."""
        return well_formed(text.replace(self._key, "***") if self._key else text)
