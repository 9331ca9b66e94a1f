"""``irkit store``: what is there, why, whether it is sound, and what goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irkit.cli.store import human
from irkit.store import MANIFEST, Store

pytestmark = pytest.mark.usefixtures("toy_stages")
Irkit = Callable[..., Any]


@pytest.fixture
def filled(irkit: Irkit, experiment: Path) -> Store:
    irkit("run", experiment)
    return Store(Path("indexes").resolve())


def age(store: Store, kind: str, days: float) -> str:
    (artifact,) = [a for a in store.artifacts() if a.kind == kind and a.recipe.get("stage") != "toy"]
    when = time.time() - days * 86400
    os.utime(artifact.path / MANIFEST, (when, when))
    return artifact.key


def test_ls(irkit: Irkit, filled: Store) -> None:
    ended = irkit("store", "ls")
    artifacts = list(filled.artifacts())
    total = sum(artifact.bytes for artifact in artifacts)
    assert f"{len(artifacts)} artifacts, {human(total)}, in {filled.root}" in ended.out
    assert all(artifact.key[:12] in ended.out for artifact in artifacts)
    assert "toy-rerank" in ended.out
    only = irkit("store", "ls", "--kind", "docs").out
    (docs,) = [artifact for artifact in artifacts if artifact.kind == "docs"]
    assert f"1 artifacts, {human(docs.bytes)}, in" in only
    (filled.root / "building" / "abc").mkdir(parents=True)
    (filled.root / "building" / "abc" / "x").write_bytes(b"1234")
    (filled.root / "ab" / ".trash-abd").mkdir(parents=True)
    shown = irkit("store", "ls").out
    assert "unfinished: abc, 4 B (the next run goes on from it)" in shown
    assert "unfinished: abd, 0 B (left of a removal; irkit store gc --unfinished ends it)" in shown


def test_ls_says_when_an_artifact_was_used(irkit: Irkit, filled: Store) -> None:
    old = age(filled, "docs", 10)
    lines = [line for line in irkit("store", "ls").out.splitlines() if " days" in line]
    assert [line.split()[1] for line in lines if "10 days" in line] == [old[:12]]
    assert sum("0 days" in line and "10 days" not in line for line in lines) == len(lines) - 1


def test_verify_and_gc_of_what_is_broken(irkit: Irkit, filled: Store, experiment: Path) -> None:
    assert irkit("store", "verify").code == 0
    before = irkit("run", experiment).out.split("eval/runs")[0].splitlines()[:-1]
    (docs,) = [a for a in filled.artifacts() if a.kind == "docs"]
    path = docs.file("text.bin")
    path.write_bytes(path.read_bytes()[:-1])
    ended = irkit("store", "verify")
    assert (ended.code, f"damaged: {docs.key[:12]}" in ended.out) == (1, True)
    ended = irkit("run", experiment)
    assert (ended.code, "irkit store gc --broken" in ended.err) == (2, True)
    assert str(path) in ended.err
    ended = irkit("store", "gc", "--broken")
    assert (ended.code, "1 removed" in ended.out) == (0, True)
    assert irkit("store", "verify").code == 0
    after = irkit("run", experiment)
    assert after.code == 0
    assert after.out.split("eval/runs")[0].splitlines()[:-1] == before


def test_gc_by_age(irkit: Irkit, filled: Store) -> None:
    n = len(list(filled.artifacts()))
    old = age(filled, "rankings", 10)
    assert "1 would be removed" in irkit("store", "gc", "--older-than", 5, "--dry-run").out
    assert len(list(filled.artifacts())) == n
    ended = irkit("store", "gc", "--older-than", 5)
    assert old[:12] in ended.out
    assert old not in [artifact.key for artifact in filled.artifacts()]
    assert len(list(filled.artifacts())) == n - 1


def test_gc_by_size_removes_the_longest_unused_first(irkit: Irkit, filled: Store) -> None:
    total = sum(artifact.bytes for artifact in filled.artifacts())
    old = age(filled, "docs", 10)
    ended = irkit("store", "gc", "--max-size", total - 1)
    assert (old[:12] in ended.out, "1 removed" in ended.out) == (True, True)
    assert "0 removed" in irkit("store", "gc", "--max-size", "5GB").out
    irkit("store", "gc", "--max-size", "0")
    assert list(filled.artifacts()) == []


def test_gc_by_age_and_size_counts_what_is_too_old_once(irkit: Irkit, filled: Store) -> None:
    sizes = {artifact.key: artifact.bytes for artifact in filled.artifacts()}
    older, old = age(filled, "docs", 10), age(filled, "rankings", 8)
    without = sum(sizes.values()) - sizes[older]
    ended = irkit("store", "gc", "--older-than", 9, "--max-size", without)
    assert (older[:12] in ended.out, "1 removed" in ended.out) == (True, True)
    ended = irkit("store", "gc", "--older-than", 7, "--max-size", without - sizes[old] - 1, "--dry-run")
    assert "2 would be removed" in ended.out  # the old one, and the longest unused of the others
    assert ended.out.count(old[:12]) == 1


def test_gc_of_what_is_unfinished(irkit: Irkit, filled: Store) -> None:
    (filled.root / "building" / "abc").mkdir(parents=True)
    assert "1 removed" in irkit("store", "gc", "--unfinished").out
    assert list(filled.unfinished()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing was chosen"),
        (("--max-size", "5 quintals"), "'5 quintals' is not a size"),
        (("--older-than", "-1"), "--older-than"),
    ],
)
def test_gc_refused(irkit: Irkit, filled: Store, words: tuple[str, ...], message: str) -> None:
    n = len(list(filled.artifacts()))
    ended = irkit("store", "gc", *words)
    assert (ended.code, message in ended.err) == (2, True)
    assert len(list(filled.artifacts())) == n


def test_why(irkit: Irkit, filled: Store, experiment: Path) -> None:
    irkit("run", experiment, "--set", "pipelines.one.toy.k=7")
    (artifact,) = [
        a for a in filled.artifacts() if a.recipe.get("stage") == "toy" and a.recipe["options"]["k"] == 7
    ]
    ended = irkit("store", "why", artifact.key[:12])
    assert ended.code == 0
    assert '"k": 7' in ended.out
    assert "what differs: k: 5 -> 7" in ended.out
    assert irkit("store", "why", artifact.key).code == 0
    for key in ("zzz", ""):
        ended = irkit("store", "why", key)
        assert (ended.code, "irkit store ls" in ended.err) == (2, True)


def test_an_empty_store(irkit: Irkit) -> None:
    assert "0 artifacts" in irkit("store", "ls").out
    assert irkit("store", "verify").code == 0
