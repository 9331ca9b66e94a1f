"""Files of texts: every form, and every way to get one wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from irkit.core.errors import DataError
from irkit.models.writers.prepared import missing, read_texts


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


def lines(*entries: Any) -> str:
    return "\n".join(map(json.dumps, entries)) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", lines({"id": "1", "text": "a"}, {"id": "2", "texts": ["b", "c"]})),
        ("t.jsonl.gz", lines({"_id": 1, "reasoning": "a"}, {"qid": "2", "passages": ["b", "c"]})),
        ("t.json", '{"1": "a", "2": ["b", "c"]}'),
        ("t.json", '[{"id": "1", "query": "x", "text": "a"}, {"id": "2", "texts": ["b", "c"]}]'),
        ("t.tsv", "1\ta\n2\tb\n2\tc\n"),
        ("t.tsv.gz", "1\ta\n2\tb\n\n2\tc\n"),
    ],
)
def test_forms(tmp_path: Path, name: str, content: str) -> None:
    assert read_texts(write(tmp_path, name, content), "id", None) == {"1": ["a"], "2": ["b", "c"]}


def test_by_text_and_by_field(tmp_path: Path) -> None:
    path = write(
        tmp_path, "t.jsonl", lines({"id": "1", "query": "who?", "more": {"said": "me"}, "text": "no"})
    )
    assert read_texts(path, "text", "more.said") == {"who?": ["me"]}
    assert read_texts(path, "id", "more.said") == {"1": ["me"]}


def test_quotes_in_tsv_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", '1\t"quoted" text\n')
    assert read_texts(path, "id", None) == {"1": ['"quoted" text']}


@pytest.mark.parametrize(
    ("name", "content", "place", "said"),
    [
        ("t.jsonl", '{"id": "1", "text": "a"}\n{broken\n', ":2", "not JSON"),
        ("t.jsonl", lines({"id": "1", "text": "a"}, [1]), ":2", "no object"),
        ("t.jsonl", lines({"text": "a"}), ":1", "none of _id, id"),
        ("t.jsonl", lines({"id": True, "text": "a"}), ":1", "none of _id, id"),
        ("t.jsonl", lines({"id": "1"}), ":1", "llm.field names another"),
        ("t.jsonl", lines({"id": "1", "text": 3}), ":1", "neither a text nor a list"),
        ("t.jsonl", lines({"id": "1", "text": " "}), ":1", "there is no text"),
        ("t.jsonl", lines({"id": "1", "texts": []}), ":1", "there is no text"),
        ("t.json", "3", ":1", "neither a list of objects"),
        ("t.tsv", "1\ta\n2\n", ":2", "1 columns"),
        ("t.csv", "1,a", "", "end in .jsonl, .json or .tsv"),
    ],
)
def test_faults_are_named_with_their_line(
    tmp_path: Path, name: str, content: str, place: str, said: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read_texts(path, "id", None)
    assert f"{path}{place}" in str(caught.value)
    assert said in str(caught.value)


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", lines({"id": "1", "metadata": {"a": "b"}}))
    with pytest.raises(DataError, match=r"no 'metadata\.reasoning'"):
        read_texts(path, "id", "metadata.reasoning")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(tmp_path / "none.jsonl", "id", None)
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"id": "1", "text": "\xff"}\n')
    with pytest.raises(DataError, match="not UTF-8"):
        read_texts(bad, "id", None)
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(torn, "id", None)


def test_missing_ones_are_named_and_counted() -> None:
    assert missing({"1": ["a"]}, ["1"], Path("t.tsv")) is None
    error = missing({"1": ["a"]}, [str(n) for n in range(10)], Path("t.tsv"))
    assert "'0', '2', '3', '4', '5' and 4 more" in str(error)


def test_half_an_emoji_is_replaced(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", lines({"id": "1", "texts": ["wing \ud83d"]}))
    assert read_texts(path, "id", None) == {"1": ["wing \ufffd"]}
