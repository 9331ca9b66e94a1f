"""Downloads that resume, and the proof that a file is the published one."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from irkit.core.errors import DataError
from irkit.data.reading import open_binary

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without an answer
_TRIES = 3


def download(url: str, path: Path, *, hint: str) -> None:
    """Fetch ``url`` to ``path``; what an interrupted download left in ``path.partial`` is continued.

    Raises:
        DataError: when there is no network or the server refuses; with ``hint``.
    """
    partial = path.with_name(path.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    for left in reversed(range(_TRIES)):
        try:
            _fetch(url, partial)
            break
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if left == 0 or refused or partial.stat().st_size == 0:
                raise DataError.of(f"the download failed: {error}", where=url, hint=hint) from error
    partial.replace(path)


def _fetch(url: str, partial: Path) -> None:
    partial.touch()
    have = partial.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - https, our own constant
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to fetch
            return
        raise
    with response, partial.open("ab" if response.status == 206 else "wb") as file:
        expected = response.headers.get("Content-Length")
        count = 0
        while block := response.read(_BLOCK):
            file.write(block)
            count += len(block)
        if expected is not None and count < int(expected):
            raise ConnectionError(f"the connection ended after {count} of {expected} bytes")


def verify(path: Path, digest: str, *, hint: str) -> None:
    """Check the unpacked content of a file against its SHA-256 (64 digits) or its git blob id (40 digits).

    Raises:
        DataError: when the content is another one, with ``hint``.
    """
    if len(digest) == 64:
        found = hashlib.sha256()
    else:  # git: SHA-1 over "blob <size>\0<content>"; it identifies the published file, it does not guard a secret
        size = 0
        with open_binary(path) as file:
            while block := file.read(_BLOCK):
                size += len(block)
        found = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open_binary(path) as file:
        while block := file.read(_BLOCK):
            found.update(block)
    if found.hexdigest() != digest:
        message = (
            f"the content is not the published one: digest {found.hexdigest()[:12]}, expected {digest[:12]}"
        )
        raise DataError.of(message, where=str(path), hint=hint)
