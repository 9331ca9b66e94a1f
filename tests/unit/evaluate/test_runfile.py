from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irkit.core.errors import DataError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.evaluate.runfile import decode_id, encode_id, read_run, write_run


class Docs:
    def __init__(self, names: set[str]) -> None:
        self.names = sorted(names, key=lambda name: name.encode("utf-8", "surrogatepass"))

    def docno(self, code: int) -> str:
        return self.names[code]

    def code(self, docno: str) -> int | None:
        return self.names.index(docno) if docno in self.names else None


@dataclass
class Collection:
    docs: Docs
    queries: Queries


def collection(names: set[str], qids: list[str]) -> Collection:
    return Collection(Docs(names), Queries(tuple(qids), ("",) * len(qids)))


SMALL = collection({"a", "b", "c d"}, ["q1", "q 2"])
# Every way to break a file of columns: white space of all kinds, our own escape, comments, a byte-order mark.
ids = st.text(
    st.sampled_from("ab%#2509 \t\n\r\x0b\x1c\x85\xa0\u2028\u3000\ufeffé中\x00\ud800") | st.characters(),
    min_size=1,
    max_size=6,
)
scores = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(ids, min_size=1, max_size=8), st.lists(ids, min_size=1, max_size=4, unique=True), st.data())
def test_what_is_written_is_read(
    tmp_path: Path, names: set[str], qids: list[str], data: st.DataObject
) -> None:
    coll = collection(names, qids)
    hits = [data.draw(st.dictionaries(st.integers(0, len(names) - 1), scores)) for _ in qids]
    rankings = Rankings.from_lists([list(q) for q in hits], [list(q.values()) for q in hits])
    write_run(tmp_path / "run", rankings, coll, tag="my run", header={"data": {"x": [1, "a: #b"]}})
    run = read_run(tmp_path / "run", coll)
    assert run.rankings == rankings
    assert run.header == {"tag": "my_run", "data": {"x": [1, "a: #b"]}}
    assert run.tag == ("my_run" if len(rankings.doc) else "")


@given(ids)
def test_an_encoded_id_is_one_column(text: str) -> None:
    encoded = encode_id(text)
    assert encoded.split() == [encoded]
    assert not encoded.startswith("#")
    assert decode_id(encoded) == text


def test_the_file_as_other_tools_see_it(tmp_path: Path) -> None:
    rankings = Rankings.from_lists([[0, 2], [1]], [[0.1, 2], [1e-30]])
    write_run(tmp_path / "run", rankings, SMALL, tag="t")
    lines = [line for line in (tmp_path / "run").read_text().splitlines() if not line.startswith("#")]
    assert lines == [
        "q1 Q0 c%20d 1 2 t",
        "q1 Q0 a 2 0.100000001 t",
        "q%202 Q0 b 1 1.00000000e-30 t".replace("1.00000000", "1"),
    ]
    assert (tmp_path / "run").read_text().startswith("# ir_metadata.start\n# tag: t\n# ir_metadata.end\n")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def read(tmp_path: Path, text: str, coll: Collection = SMALL) -> Rankings:
    (tmp_path / "run").write_text(text, encoding="utf-8")
    return read_run(tmp_path / "run", coll).rankings


def test_files_of_others(tmp_path: Path) -> None:
    """Extra space, tabs, CRLF, a byte-order mark, a wrong rank column, unsorted, a tag of two words, no last newline."""
    rankings = read(tmp_path, "\ufeffq1\tQ0  a 1  1.5 t\r\n\n   q1 Q0 b 7 1.5e0 a tag\nq1 0 c%20d -1 3 t")
    assert rankings == Rankings.from_lists([[2, 1, 0], []], [[3, 1.5, 1.5], []])
    assert len(read(tmp_path, "")) == 2


def test_an_id_that_only_looks_encoded(tmp_path: Path) -> None:
    coll = collection({"a%20b", "50%", "%zz", "%ff"}, ["q"])
    rankings = read(tmp_path, "q 0 a%20b 1 4 t\nq 0 50% 2 3 t\nq 0 %zz 3 2 t\nq 0 %ff 4 1 t\n", coll)
    assert [coll.docs.docno(code) for code in rankings.doc.tolist()] == ["a%20b", "50%", "%zz", "%ff"]
    both = collection({"a%20b", "a b"}, ["q"])
    write_run(tmp_path / "both", Rankings.from_lists([[0, 1]], [[1, 2]]), both)
    assert read_run(tmp_path / "both", both).rankings.doc.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 a 1 2.0", "5 columns"),
        ("nope Q0 a 1 2.0 t", "the collection has no query 'nope'"),
        ("q1 Q0 nope 1 2.0 t", "the collection has no document 'nope'"),
        ("q1 Q0 a 1 nan t", "'nan' is not a finite score"),
        ("q1 Q0 a 1 inf t", "'inf' is not a finite score"),
        ("q1 Q0 a 1 3.4028236e38 t", "'3.4028236e38' is not a finite score"),
        ("q1 Q0 a 1 1e39 t", "'1e39' is not a finite score"),
        ("q1 Q0 a 1 x t", "'x' is not a finite score"),
        ("q1 Q0 b 2 0.5 t", "document 'b' appears again for query 'q1'"),
        ("q1 Q0 b 2 1.0 t", "document 'b' appears again for query 'q1'"),
    ],
)
def test_bad_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, f"# a comment\nq1 Q0 b 1 1.0 t\n{line}\nq1 Q0 b 1 t\n")
    first, second = caught.value.problems
    assert (first.where, first.message) == (f"{tmp_path / 'run'}:3", message)
    assert first.hint
    assert second.where == f"{tmp_path / 'run'}:4"


def test_the_first_ten_problems_are_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, "bad\n" * 50)
    assert len(caught.value.problems) == 10


@pytest.mark.parametrize(
    "text", ["# ir_metadata.start\n# tag: t\n", "# ir_metadata.start\n# a: [\n# ir_metadata.end\n"]
)
def test_bad_header(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="header"):
        read(tmp_path, text)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_run(tmp_path / "absent", SMALL)
    (tmp_path / "latin").write_bytes(b"q1 Q0 \xe9 1 1 t")
    with pytest.raises(DataError, match="not UTF-8"):
        read_run(tmp_path / "latin", SMALL)


def test_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("old")
    nameless = collection({""}, ["q"])
    with pytest.raises(DataError, match="empty id"):
        write_run(path, Rankings.from_lists([[0]], [[1]]), nameless)
    with pytest.raises(ValueError, match="do not belong"):
        write_run(path, Rankings.empty(1), SMALL)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write_run(tmp_path / "absent" / "run", Rankings.empty(2), SMALL)


def test_every_float32_survives_its_text() -> None:
    bits = np.random.default_rng(5).integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    values = bits[np.isfinite(bits)]
    assert (np.array([float(f"{v:.9g}") for v in values.tolist()], np.float32) == values).all()
    assert re.fullmatch(r"[0-9.]+", f"{0.1:.9g}")
