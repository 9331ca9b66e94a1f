"""TREC run files from anywhere, read without a collection: other tools', gzip, odd white space, ids with spaces.

A line is ``qid Q0 docno rank score tag``, its columns divided by any white space. Only what has one meaning is read: a line of
more than six columns is one whose docno has spaces (``0 Q0 Memory Management_2.txt 7 0.6 reasonir``), or one whose tag has;
numbers in the places of rank and score tell which. Where both would do, and wherever else a line could only be guessed at,
the file is refused, with the line. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import DataError, Problem
from irkit.core.rankings import CodeArray, IntArray, ScoreArray
from irkit.data.reading import lines, open_binary

HEADER = b"# ir_metadata.start"
_BLOCK = 1 << 22
_MAX_PROBLEMS = 10
_TOO_LARGE = 2.0**128 - 2.0**103  # from here on a number is rounded to infinity, not to the largest float32
_BOM = b"\xef\xbb\xbf"
_INTEGER = re.compile(r"-?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_SPACED_DOCNO = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S.*\S)\s+(\S+)\s+(\S+)\s+(\S+)\s*", re.ASCII)
_FORM = "a line of a run file is: qid Q0 docno rank score tag"


@dataclass(frozen=True, eq=False)
class AnyRun:
    """The lines of a run file, in the order of the file.

    Attributes:
        path: the file.
        qids: the ids of its queries as written, each once.
        docnos: the ids of its documents as written, each once.
        query: ``int32[n]``, places in ``qids``.
        doc: ``int32[n]``, places in ``docnos``.
        score: ``float32[n]``, finite: trec_eval compares scores in this precision too, and ties depend on it.
        rank: ``float64[n]``, the rank column; NaN where it holds no number. Nothing is ordered by it.
        line: ``int64[n]``, line numbers from 1.
        tag: the last column of the first line, "" for no line.
        has_header: whether it begins with an ir_metadata header, as irkit's files do: their ids are percent-encoded.
    """

    path: Path
    qids: tuple[str, ...]
    docnos: tuple[str, ...]
    query: CodeArray
    doc: CodeArray
    score: ScoreArray
    rank: NDArray[np.float64]
    line: IntArray
    tag: str
    has_header: bool

    def at(self, hit: int) -> str:
        """Return the place of a hit as an error names it: ``path:line``."""
        return f"{self.path}:{self.line[hit]}"


def read_any_run(path: Path) -> AnyRun:
    """Read a run file, plain or gzip; a million lines take 2 to 3 seconds.

    Raises:
        DataError: with ``file:line`` of the first ten lines that cannot be read: too few columns, columns of two meanings, a
            score that is no finite number; for a file that cannot be read, is not UTF-8, or has no line at all.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        hint = "relative paths start at the current folder"
        raise DataError.of(f"the run file {what}", where=str(path), hint=hint)
    reader, first = _Reader(path), b""
    try:
        for number, block in _blocks(path):
            first = first or block[: len(HEADER)]
            reader.add(number, block)
        qids, docnos = ([name.decode() for name in names] for names in (reader.qids, reader.docnos))
    except (UnicodeDecodeError, EOFError, zlib.error, OSError) as error:
        for _ in lines(path):  # says at which line
            pass
        raise DataError.of(f"the run file cannot be read: {error}", where=str(path)) from error
    if reader.problems:
        raise DataError(*reader.problems)
    if not reader.line:
        raise DataError.of("the run file has no line", where=str(path), hint=_FORM)
    return AnyRun(
        path=path,
        qids=tuple(qids),
        docnos=tuple(docnos),
        query=np.concatenate(reader.query),
        doc=np.concatenate(reader.doc),
        score=np.concatenate(reader.score),
        rank=np.concatenate(reader.rank),
        line=np.concatenate(reader.line),
        tag=reader.tag,
        has_header=first == HEADER,
    )


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines without the last line end)."""
    number, rest, start = 1, b"", True
    with open_binary(path) as file:
        while chunk := file.read(_BLOCK):
            block, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield number, block.removeprefix(_BOM) if start else block
                number, start = number + block.count(b"\n") + 1, False
    if rest:
        yield number, rest.removeprefix(_BOM) if start else rest


class _Numbers(dict[bytes, int]):
    """Numbers names from 0, in the order in which they are first asked for."""

    def __missing__(self, name: bytes) -> int:
        self[name] = number = len(self)
        return number


class _Reader:
    """Takes blocks of lines. Columns stay bytes until all is read: then each id is decoded once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.qids, self.docnos = _Numbers(), _Numbers()
        self.query, self.doc = list[CodeArray](), list[CodeArray]()
        self.score, self.rank, self.line = list[ScoreArray](), list[NDArray[np.float64]](), list[IntArray]()
        self.tag = ""
        self.problems: list[Problem] = []

    def add(self, number: int, block: bytes) -> None:
        """Take the lines of a block; ``number`` is that of its first."""
        if len(self.problems) >= _MAX_PROBLEMS:
            return
        if _is_regular(block):
            words = block.split()
            places = np.arange(number, number + len(words) // 6)
        else:
            kept = list(self._sorted_out(number, block.split(b"\n")))
            places = np.array([place for place, _ in kept], np.int64)
            words = list(chain.from_iterable(row for _, row in kept))
        if not words:
            return
        self.tag = self.tag or words[5].decode()
        self.query.append(np.array(list(map(self.qids.__getitem__, words[0::6])), np.int32))
        self.doc.append(np.array(list(map(self.docnos.__getitem__, words[2::6])), np.int32))
        self.rank.append(_ranks(words[3::6]))
        self.score.append(self._scores(words[4::6], places))
        self.line.append(places)

    def _sorted_out(self, number: int, written: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Yield (line number, columns) without comments and blank lines, where some lines are not of six columns."""
        for place, line in enumerate(written, number):
            row = line.split()
            if len(row) == 6 and not line.startswith(b"#"):
                yield place, row
            elif row and not line.startswith(b"#"):
                found = _columns(line.decode())
                if isinstance(found, str):
                    self._fault(place, found, _hint(len(row)))
                else:
                    yield place, [column.encode() for column in found]

    def _scores(self, texts: Sequence[bytes], places: IntArray) -> ScoreArray:
        try:
            values = np.array(list(map(float, texts)))
        except ValueError:
            values = np.array([_number(text) for text in texts])
        sound = np.abs(values) < _TOO_LARGE  # not for NaN
        for at in np.flatnonzero(~sound)[:_MAX_PROBLEMS].tolist():
            message = f"{texts[at].decode()!r} is not a finite score"
            self._fault(int(places[at]), message, "a score is a number that float32 can hold")
        return np.where(sound, values, 0).astype(np.float32)

    def _fault(self, line: int, message: str, hint: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(message, f"{self.path}:{line}", hint))


def _is_regular(block: bytes) -> bool:
    """Whether every line has six columns and none is a comment. Columns are divided as C's ``isspace`` does."""
    text = np.frombuffer(block, np.uint8)
    if not len(text) or block.startswith(b"#") or b"\n#" in block:
        return False
    space = (text == ord(" ")) | ((text >= ord("\t")) & (text <= ord("\r")))
    begins = ~space
    begins[1:] &= space[:-1]
    ends = np.append(np.flatnonzero(text == ord("\n")), len(text) - 1)
    return bool((np.diff(np.cumsum(begins)[ends], prepend=0) == 6).all())


def _columns(line: str) -> Sequence[str] | str:
    """Return the six columns of a line that has another number of words, or what is wrong with it."""
    row = line.split()
    if line.count("\t") == 5:
        fields = [field.strip() for field in line.split("\t")]
        if all(fields):
            return fields
    if len(row) < 6:
        return f"{len(row)} columns"
    by_docno, by_tag = _SPACED_DOCNO.fullmatch(line), line.split(None, 5)
    docno_has = by_docno is not None and _is_place(by_docno[4], by_docno[5])
    tag_has = _is_place(by_tag[3], by_tag[4])
    if docno_has and tag_has:
        return f"{len(row)} columns, of which either the document's id or the tag has spaces"
    if docno_has and by_docno is not None:
        return by_docno.groups()
    return by_tag if tag_has else f"{len(row)} columns"


def _is_place(rank: str, score: str) -> bool:
    return bool(_INTEGER.fullmatch(rank) and _NUMBER.fullmatch(score))


def _hint(width: int) -> str:
    if width in (3, 4):
        return f"{_FORM}; files of {width} columns (MS MARCO's, judgements) have no score to rank by"
    if width > 6:
        return f"{_FORM}; write a space in an id as %20, or divide the columns by tabs"
    return _FORM


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _ranks(texts: Sequence[bytes]) -> NDArray[np.float64]:
    try:
        return np.array(list(map(float, texts)))
    except ValueError:
        return np.full(len(texts), np.nan)
