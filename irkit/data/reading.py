"""Text files by the line: plain or gzip, UTF-8, with the place of everything that is wrong."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from irkit.core.errors import DataError

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


def open_binary(path: Path) -> BufferedIOBase:
    """Open a file, unpacked when its first bytes are gzip's, whatever its name.

    Raises:
        DataError: when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        return gzip.open(path) if packed else path.open("rb")
    except OSError as error:
        raise DataError.of(
            f"the file cannot be read: {error.strerror}", where=str(path), hint="check its permissions"
        ) from error


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text without its line end) of every line; a byte order mark at the start is skipped.

    Raises:
        DataError: when the file cannot be read, its gzip data are damaged or cut short, or a line is not UTF-8.
    """
    number = 0
    with open_binary(path) as file:
        while True:
            try:
                line = file.readline()
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                message = f"the gzip data are damaged or cut short after line {number} ({error})"
                raise DataError.of(
                    message, where=str(path), hint="fetch or pack the file again; check it with: gzip -t"
                ) from error
            except OSError as error:
                raise DataError.of(
                    f"the file cannot be read: {error.strerror}", where=f"{path}:{number + 1}"
                ) from error
            if not line:
                return
            number += 1
            if number == 1:
                line = line.removeprefix(_BOM)
            try:
                yield number, line.decode("utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                message = f"byte {error.start + 1} of the line, 0x{line[error.start]:02x}, is not UTF-8"
                hint = "convert the file, for example with: iconv -f LATIN1 -t UTF-8"
                raise DataError.of(message, where=f"{path}:{number}", hint=hint) from error
