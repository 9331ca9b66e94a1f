"""Ledgers: nothing lost, nothing half-written, nothing paid for twice, and damage noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.core.errors import StoreError
from irkit.store import Ledger, Store

Values = st.recursive(
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
Entries = st.dictionaries(st.text(max_size=4), Values, min_size=1, max_size=6)


def fresh(folder: Path) -> Ledger:
    return Store(folder / "store").ledger("texts")


@settings(max_examples=30, deadline=None)
@given(entries=Entries)
def test_what_was_put_is_found_by_others(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    reader, writer = fresh(folder), fresh(folder)
    for key, value in entries.items():
        assert reader.get(key) is None
        assert writer.put(key, value) == value
        assert reader.get(key) == value
    assert {key: fresh(folder).get(key) for key in entries} == entries
    assert len(reader) == len(entries)
    assert not list(writer.damaged())


@settings(max_examples=40, deadline=None)
@given(entries=Entries, cut=st.integers(2, 400))
def test_a_torn_last_line_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Any], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = fresh(folder)
    for key, value in entries.items():
        ledger.put(key, value)
    lines = ledger.file.read_bytes().splitlines(keepends=True)
    last = lines[-1]
    torn = b"".join(lines[:-1]) + last[: max(0, len(last) - cut)]
    ledger.file.write_bytes(torn)
    *whole, lost = entries
    again = fresh(folder)
    assert again.get(lost) is None
    assert not list(again.damaged())
    assert again.put("after", 1) == 1
    assert fresh(folder).get("after") == 1
    assert [again.get(key) for key in whole] == [entries[key] for key in whole]
    assert all(json.loads(line) for line in again.file.read_bytes().splitlines())


@settings(max_examples=40, deadline=None)
@given(entries=Entries, data=st.data())
def test_a_changed_byte_never_gives_another_value(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Any], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = fresh(folder)
    for key, value in entries.items():
        ledger.put(key, value)
    content = bytearray(ledger.file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    ledger.file.write_bytes(bytes(content))
    again = fresh(folder)
    for key, value in entries.items():
        assert again.get(key) in (None, value)


def test_the_first_value_counts(tmp_path: Path) -> None:
    one, two = fresh(tmp_path), fresh(tmp_path)
    assert one.put("k", "first") == "first"
    assert two.put("k", "second") == "first"
    assert one.get("k") == two.get("k") == "first"
    assert len(one.file.read_bytes().splitlines()) == 1


def test_a_damaged_line_is_told_not_used_and_mended(tmp_path: Path) -> None:
    ledger = fresh(tmp_path)
    for key in "abc":
        ledger.put(key, key * 3)
    ledger.file.write_bytes(ledger.file.read_bytes().replace(b'"bbb"', b'"bxb"'))
    again = fresh(tmp_path)
    assert [number for number, _ in again.damaged()] == [2]
    assert [again.get(key) for key in "abc"] == ["aaa", None, "ccc"]
    assert again.put("b", "new") == "new"
    assert again.mend() == 1
    assert not list(again.damaged())
    assert [ledger.get(key) for key in "ac"] == ["aaa", "ccc"]
    assert fresh(tmp_path).get("b") == "new"
    assert again.mend() == 0


def test_a_last_line_that_lost_its_end_counts_and_gets_it_back(tmp_path: Path) -> None:
    ledger = fresh(tmp_path)
    for key in "ab":
        ledger.put(key, key)
    whole = ledger.file.read_bytes()
    ledger.file.write_bytes(whole.rstrip(b"\n"))
    assert ledger.get("b") == "b"
    again = fresh(tmp_path)
    assert len(again) == 2
    assert again.mend() == 0
    assert not list(again.damaged())
    assert again.put("c", "c") == "c"
    assert again.file.read_bytes().startswith(whole)
    assert [fresh(tmp_path).get(key) for key in "abc"] == ["a", "b", "c"]
    ledger.file.write_bytes(whole.replace(b'"value": "a"', b'"value": "x"').rstrip(b"\n"))
    assert again.mend() == 1
    assert again.file.read_bytes() == whole.splitlines(keepends=True)[1]


def test_a_store_reads_a_ledger_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.ledger("texts") is store.ledger("texts")
    assert store.ledger("texts") is not store.ledger("others")


def test_a_removed_ledger_is_empty(tmp_path: Path) -> None:
    ledger = fresh(tmp_path)
    ledger.put("a", 1)
    ledger.file.unlink()
    assert len(ledger) == 0
    assert ledger.get("b") is None
    assert ledger.put("a", 2) == 2


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = fresh(tmp_path)
    ledger.put("a", 1)
    before = ledger.file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="the disk is full"):
            ledger.put("b", 2)
    assert ledger.file.read_bytes() == before
    assert ledger.get("b") is None
    assert ledger.put("b", 3) == 3


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file in its place")
    with pytest.raises(StoreError, match="cannot be"):
        fresh(tmp_path).put("a", 1)


def test_a_claim_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    one, two = fresh(tmp_path), fresh(tmp_path)
    with one.claim("k") as mine:
        assert mine
        with two.claim("k") as theirs:
            assert not theirs
    with two.claim("k") as theirs:
        assert theirs


WORKER = """
import sys, time
from pathlib import Path
from irkit.store import Store
ledger = Store(Path(sys.argv[1])).ledger("texts")
for number in range(40):
    key = f"key {number}"
    if ledger.get(key) is None:
        with ledger.claim(key, wait=True):
            if ledger.get(key) is None:
                with open(sys.argv[2], "a") as paid:
                    paid.write(f"{number}\\n")
                ledger.put(key, {"by": sys.argv[3], "text": "x" * 3000})
"""


def test_several_processes_pay_once_for_each(tmp_path: Path) -> None:
    paid = tmp_path / "paid"
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path / "store"), str(paid), str(n)])
        for n in range(3)
    ]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    assert sorted(map(int, paid.read_text().split())) == list(range(40))
    ledger = fresh(tmp_path)
    assert len(ledger) == 40
    assert not list(ledger.damaged())


def test_the_command_line_counts_verifies_keeps_and_mends(irkit: Any) -> None:
    folder = Path.cwd()
    ledger = Store(folder / "indexes").ledger("texts")
    for key in "abc":
        ledger.put(key, key)
    ended = irkit("store", "ls")
    assert ended.code == 0
    assert "ledger texts: 3 entries" in ended.out
    assert str(ledger.file) in ended.out
    assert "3 entries of ledgers are sound" in irkit("store", "verify").out
    assert irkit("store", "gc", "--older-than", "0").code == 0
    assert len(ledger) == 3
    ledger.file.write_bytes(ledger.file.read_bytes().replace(b'"value": "b"', b'"value": "c"'))
    ended = irkit("store", "verify")
    assert ended.code == 1
    assert "ledger texts, line 2" in ended.out
    assert "would remove 1 damaged lines" in irkit("store", "gc", "--broken", "--dry-run").out
    assert irkit("store", "gc", "--broken").code == 0
    assert irkit("store", "verify").code == 0
    assert len(ledger) == 2
