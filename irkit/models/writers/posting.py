"""One HTTP request: nothing is followed, nothing is read for ever."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

LARGEST = 16 << 20
"""Bytes of an answer; more are not read."""


class UnreachableError(Exception):
    """No complete answer came: no connection, one that broke, or too slow."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def message(self, shown: Callable[[str], str] = str) -> str:
        """Return what the body says of an error, in a line.

        Args:
            shown: takes out of the whole text what may not be shown: what is cut first is not found any more.
        """
        try:
            found: Any = json.loads(self.body)
            error = found.get("error", found)
            text = str(error.get("message", error) if isinstance(error, dict) else error)
        except (ValueError, AttributeError, RecursionError):
            text = self.body.decode("utf-8", "replace")
        line = " ".join(shown(text).split())
        return f"{line[:300]}..." if len(line) > 300 else line or "without a message"

    def retry_after(self) -> float | None:
        """Return the seconds that the header ``Retry-After`` asks to wait, given as a number or as a date; None without it."""
        text = (self.headers.get("retry-after") or "").strip()
        try:
            return max(0.0, float(text)) if text.replace(".", "", 1).isdigit() else self._until(text)
        except (ValueError, TypeError):
            return None

    @staticmethod
    def _until(text: str) -> float | None:
        when = parsedate_to_datetime(text)
        return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def fault_of(url: str) -> str | None:
    """Return what is wrong with the address of an endpoint; None where nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"this is no address: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return "this must begin with https:// or http:// and name a host"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "this may hold no user, password, query or fragment: they would be stored and shown"
    return None


def host_of(url: str) -> str:
    """Return the part of an address that may be shown: the host, and the port where it is given."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def post(url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
    """Send JSON and return the answer, whatever its status; a redirection is an answer too.

    Args:
        url: http or https.
        headers: beside that of the content's type.
        body: JSON.
        timeout: seconds for all of it.

    Raises:
        UnreachableError: when no complete answer comes in time.
    """
    fault = fault_of(url)
    if fault:
        raise ValueError(fault)
    deadline = time.monotonic() + timeout
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        url, body, {"Content-Type": "application/json", "User-Agent": "irkit", **headers}, method="POST"
    )
    try:
        try:
            response = _OPENER.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            found = Answer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                _read(response, deadline),
            )
    except TimeoutError:
        raise UnreachableError(f"no answer within {timeout:g} s") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise UnreachableError(f"no answer within {timeout:g} s") from None
        raise UnreachableError(f"no connection: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"the connection broke: {error or type(error).__name__}") from None
    return found


def _read(response: Any, deadline: float) -> bytes:
    parts, size = [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise UnreachableError(f"the answer has more than {LARGEST >> 20} MiB")
        if time.monotonic() > deadline:
            raise TimeoutError
    body = b"".join(parts)
    promised = response.headers.get("Content-Length")
    if promised is not None and promised.isdigit() and len(body) < int(promised):
        raise UnreachableError(f"the connection broke: {len(body)} of {promised} bytes came")
    return body


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow nothing: the key would go with it."""


_OPENER = urllib.request.build_opener(_Stay)
