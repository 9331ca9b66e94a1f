"""Faults of sources: each is an error with file and line, or a counted warning."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from irkit.core.errors import DataError
from irkit.data.collection import Collection
from irkit.data.spec import LocalSpec
from irkit.store import Store

Load = Callable[..., Collection]
GOOD = b'{"_id": "a", "text": "t"}\n'
PACKED = gzip.compress(GOOD * 9, mtime=0)  # the same in every process: it names tests
HEADER = b"query-id\tcorpus-id\tscore\n"


@pytest.mark.parametrize(
    ("name", "content", "where", "message"),
    [
        ("corpus.jsonl", GOOD * 2, "corpus.jsonl:2", r"the document id 'a' appears twice\n.*corpus.jsonl:1"),
        ("corpus.jsonl", GOOD + b"{nonsense\n", "corpus.jsonl:2", "not valid JSON"),
        ("corpus.jsonl", GOOD + b"[1]\n", "corpus.jsonl:2", "not a JSON object"),
        ("corpus.jsonl", GOOD + b'\n{"text": "t"}', "corpus.jsonl:3", "the document has no id"),
        ("corpus.jsonl", b'{"_id": "", "text": "t"}', "corpus.jsonl:1", "the document has no id"),
        ("corpus.jsonl", b'{"_id": 1.5, "text": "t"}', "corpus.jsonl:1", "must be a string"),
        ("corpus.jsonl", b'{"_id": "a\\tb", "text": "t"}', "corpus.jsonl:1", "TREC run file cannot hold"),
        ("corpus.jsonl", b'{"_id": "a\\nb", "text": "t"}', "corpus.jsonl:1", "TREC run file cannot hold"),
        ("corpus.jsonl", b'{"_id": "a\\u0000", "text": "t"}', "corpus.jsonl:1", "TREC run file cannot hold"),
        ("corpus.jsonl", b'{"_id": "a", "text": ["t"]}', "corpus.jsonl:1", "text is list, not a string"),
        (
            "corpus.jsonl",
            GOOD + b'{"_id": "b", "text": "caf\xe9"}',
            "corpus.jsonl:2",
            "byte 26 of the line, 0xe9, is not UTF-8",
        ),
        ("corpus.jsonl", GOOD + b'{"_id": "b", "text": "\0"}', "corpus.jsonl:2", "not valid JSON"),
        ("corpus.jsonl", b"", "corpus.jsonl", "there is no document"),
        ("corpus.jsonl", b"\n \n", "corpus.jsonl", "there is no document"),
        ("corpus.jsonl", PACKED[:-9], "corpus.jsonl", "cut short"),
        ("corpus.jsonl", PACKED[:12] + b"\xff" * 20, "corpus.jsonl", "damaged"),
        ("corpus.jsonl", b"a\tt\nb\tt\tt\n", "corpus.jsonl:2", "3 tab-separated columns, not 2"),
        ("corpus.jsonl", b"just text\n", "corpus.jsonl:1", "1 tab-separated columns, not 2"),
        ("queries.jsonl", GOOD * 2, "queries.jsonl:2", r"the query id 'a' appears twice\n.*queries.jsonl:1"),
        ("queries.jsonl", b'{"text": "t"}', "queries.jsonl:1", "the query has no id"),
        (
            "queries.jsonl",
            b'{"_id": "q1", "excluded_ids": "d1"}',
            "queries.jsonl:1",
            "excluded_ids is not a list",
        ),
        ("queries.jsonl", b"", "queries.jsonl", "there is no query"),
        ("queries.jsonl", b"q1\tone\ttwo\n", "queries.jsonl:1", "3 tab-separated columns, not 2"),
        ("queries.jsonl", GOOD, "test.tsv", "no query has a judgement"),
        (
            "qrels/test.tsv",
            HEADER + b"q1\td1\t1\nq1\td2\t1\nq1\td1\t1\n",
            "test.tsv:4",
            r"'q1' judges .* 'd1' twice\n.*test.tsv:2",
        ),
        ("qrels/test.tsv", HEADER + b"q1\td1\t1.5\n", "test.tsv:2", "'1.5' is not an integer"),
        ("qrels/test.tsv", HEADER + b"q1\td1\t\n", "test.tsv:2", "'' is not an integer"),
        ("qrels/test.tsv", HEADER + b"q1\td1\t9999999999\n", "test.tsv:2", "does not fit"),
        ("qrels/test.tsv", HEADER + b"q1\td1\n", "test.tsv:2", "2 columns, not 3"),
        ("qrels/test.tsv", b"q1 d1\n", "test.tsv:1", "2 columns"),
        ("qrels/test.tsv", HEADER, "test.tsv", "there is no judgement"),
        ("qrels/test.tsv", HEADER + b"q1\tx\t1\n", "test.tsv", "none of the 1 judged documents, such as 'x'"),
        ("qrels/test.tsv", b'{"query-id": "q1", "score": 1}\n', "test.tsv:1", "no 'corpus-id'"),
        (
            "qrels/test.tsv",
            b'{"query-id": "q1", "corpus-id": "d1", "score": 0.5}\n',
            "test.tsv:1",
            "0.5 is not an integer",
        ),
    ],
)
def test_errors_name_file_and_line(
    load: Load, folder: Path, store: Store, name: str, content: bytes, where: str, message: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        load()
    assert (raised.value.problems[0].where or "").endswith(f"/{where}")
    assert all(artifact.kind == "docs" for artifact in store.artifacts()), (
        "a faulty source leaves no artifact of its own"
    )


def test_a_corrected_source_is_read_again(load: Load, folder: Path) -> None:
    good = (folder / "corpus.jsonl").read_bytes()
    (folder / "corpus.jsonl").write_bytes(good + b"{")
    with pytest.raises(DataError):
        load()
    (folder / "corpus.jsonl").write_bytes(good)
    assert len(load().docs) == 3


@pytest.mark.parametrize(
    ("name", "content", "kind", "count", "first"),
    [
        (
            "corpus.jsonl",
            b'{"_id": "d1"}\n{"_id": "d2", "text": " "}\n',
            "empty document",
            2,
            "corpus.jsonl:1 'd1'",
        ),
        (
            "corpus.jsonl",
            GOOD + b'{"_id": "d1", "title": "t", "text": null}\n',
            "document without text, title only",
            1,
            "corpus.jsonl:2 'd1'",
        ),
        (
            "corpus.jsonl",
            b'{"_id": "d1", "text": "a\\u0000b"}\n',
            "text with NUL characters (each read as a space)",
            1,
            "corpus.jsonl:1",
        ),
        (
            "corpus.jsonl",
            b'{"_id": "d1", "text": "\\ud800b"}\n',
            "text with unpaired surrogates (each read as U+FFFD)",
            1,
            "corpus.jsonl:1",
        ),
        ("queries.jsonl", b'{"_id": "q1", "text": ""}\n', "query without text", 1, "queries.jsonl:1 'q1'"),
        (
            "qrels/test.tsv",
            b"q1 0 d1 1\nq9 0 d1 1\nq9 0 d2 1\n",
            "judgement of a query that does not exist",
            2,
            "test.tsv:2 'q9'",
        ),
        (
            "qrels/test.tsv",
            b"q1 0 d1 1\nq1 0 x 1\nq1 0 w 2\n",
            "judged document that the collection lacks",
            2,
            "test.tsv:2 'x'",
        ),
    ],
)
def test_warnings_are_counted_and_kept(
    load: Load, folder: Path, name: str, content: bytes, kind: str, count: int, first: str
) -> None:
    (folder / name).write_bytes(content)
    assert load().warnings[kind] == (count, first)
    assert load().warnings[kind] == (count, first), "and the opened collection still has them"


def test_judged_documents_that_the_collection_lacks_keep_codes_beyond_it(load: Load, folder: Path) -> None:
    (folder / "qrels" / "test.tsv").write_text("q1 0 x 1\nq1 0 d1 1\nq1 0 w 3\n")
    qrels = load().qrels
    assert (
        qrels.unknown == ("w", "x") and qrels.doc.tolist() == [0, 3, 4] and qrels.gain.tolist() == [1, 3, 1]
    )


def test_odd_characters_reach_the_text_in_a_form_that_tokenizers_take(load: Load, folder: Path) -> None:
    (folder / "corpus.jsonl").write_bytes(b'{"_id": "d1", "text": "a\\u0000b \\ud800 \\ud83d\\ude00"}\n')
    assert load().docs.body(0) == "a b \ufffd \U0001f600"


def test_ids_with_spaces_are_legal(load: Load, folder: Path) -> None:
    (folder / "corpus.jsonl").write_text('{"_id": "Ada Lovelace", "text": "t"}\n')
    (folder / "qrels" / "test.tsv").write_text("q1\t0\tAda Lovelace\t1\n")
    collection = load()
    assert collection.qrels.doc.tolist() == [0] and not collection.warnings


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"path": "nowhere"}, r"nowhere: the folder of the collection does not exist"),
        ({"path": "toy/corpus.jsonl"}, "is a file, not a folder"),
        ({"path": "toy", "split": "tset"}, "no judgements for the split 'tset'\n.*did you mean 'test'"),
        ({"path": "toy/qrels"}, r"there is no corpus.jsonl\n.*this one has: test.tsv, train.tsv"),
        (
            {"docs": "toy/corpus.jsonl", "queries": "toy/queries.jsonl", "qrels": "toy/none"},
            "none: the file does not exist",
        ),
        ({"docs": "toy", "queries": "toy/queries.jsonl", "qrels": "toy/none"}, "toy: the file is a folder"),
    ],
)
def test_missing_files_are_named(load: Load, spec: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(**spec)


def test_a_folder_without_judgements_says_where_they_belong(load: Load, folder: Path) -> None:
    for path in (folder / "qrels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"qrels/<split>\.tsv"):
        load()


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"path": "a", "docs": "b", "queries": "c", "qrels": "d"},
        {"docs": "b"},
        {"docs": "b", "queries": "c", "qrels": "d", "split": "dev"},
        {"path": "a", "splt": "test"},
        {"path": "a", "policy": {"drop_selves": True}},
    ],
)
def test_mappings_that_mean_nothing_are_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LocalSpec.model_validate(spec)
