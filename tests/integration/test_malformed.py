"""Whatever a user gets wrong is answered on one screen: where it is, what to do, exit status 2, and nothing half-written."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys

from irkit.store import MANIFEST, Store

pytestmark = pytest.mark.usefixtures("toy_stages")

GOOD = """\
name: bad
collections: [{path: data}]
metrics: [ndcg@10]
pipelines:
  one:
    - toy: {k: 5}
"""
Words = list[str]
Make = Callable[[pytest.MonkeyPatch], Words]


def yaml(old: str = "", new: str = "", *words: str) -> Make:
    """An experiment in which one thing is wrong."""

    def make(_: pytest.MonkeyPatch) -> Words:
        assert old in GOOD
        Path("bad.yaml").write_text(GOOD.replace(old, new) if old else new or GOOD, encoding="utf-8")
        return ["run", "bad.yaml", *words]

    return make


def data(name: str, change: Callable[[Path], None], *words: str) -> Make:
    """A collection in which one file is wrong."""

    def make(monkeypatch: pytest.MonkeyPatch) -> Words:
        change(Path("data") / name)
        return [*yaml()(monkeypatch), *words]

    return make


def line(number: int, text: str) -> Callable[[Path], None]:
    """Replace one line of a file."""

    def change(path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[number - 1] = text
        path.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))

    return change


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content, encoding="utf-8") and None


def delete(path: Path) -> None:
    path.unlink()


def cut_gzip(path: Path) -> None:
    packed = gzip.compress(path.read_bytes() * 50)
    path.with_name(path.name + ".gz").write_bytes(packed[: len(packed) // 2])
    path.unlink()


def bad_stage(how: str) -> Make:
    return yaml("toy: {k: 5}", f"toy-bad: {{how: {how}}}")


def command(*words: str) -> Make:
    def make(monkeypatch: pytest.MonkeyPatch) -> Words:
        yaml()(monkeypatch)
        return list(words)

    return make


def full_disk(monkeypatch: pytest.MonkeyPatch) -> Words:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    return yaml()(monkeypatch)


def full_disk_at_the_end(monkeypatch: pytest.MonkeyPatch) -> Words:
    """The store has room; the results' folder has not."""
    from irkit.core import files

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", lambda _: None)
    words = yaml()(monkeypatch)
    original = Path.open

    def open_(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "eval" in self.parts and mode != "r":
            full()
        return original(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)
    return words


def runs_below_a_file(monkeypatch: pytest.MonkeyPatch) -> Words:
    Path("eval").write_text("", encoding="utf-8")
    return yaml()(monkeypatch)


def store_below_a_file(monkeypatch: pytest.MonkeyPatch) -> Words:
    Path("file").write_text("", encoding="utf-8")
    return [*yaml()(monkeypatch), "--store", "file/store"]


def damaged_store(monkeypatch: pytest.MonkeyPatch) -> Words:
    from irkit.api.workspace import Workspace
    from irkit.data.spec import LocalSpec

    Workspace().open(LocalSpec(path="data"))
    for artifact in Store(Path("indexes")).artifacts():
        if artifact.kind == "docs":
            artifact.file(MANIFEST).write_text("{", encoding="utf-8")
    return yaml()(monkeypatch)


def not_utf8(monkeypatch: pytest.MonkeyPatch) -> Words:
    Path("bad.yaml").write_bytes(GOOD.replace("bad", "caf\xe9").encode("latin-1"))
    return ["run", "bad.yaml"]


def model_folder(monkeypatch: pytest.MonkeyPatch) -> Words:
    Path("model").mkdir()
    Path("model/config.json").write_text("{", encoding="utf-8")
    return yaml("toy: {k: 5}", "dense: {model: ./model}")(monkeypatch)


DOC = '{"_id": "d2", "text": "a b"}'
CASES: dict[str, tuple[Make, str, str]] = {
    # what is wrong: how it is made, where the message must point, what it must say
    "no such file": (command("run", "none.yaml"), "none.yaml", "No such file"),
    "a folder instead of a file": (command("run", "data"), "data", "cannot be read"),
    "not UTF-8": (not_utf8, "bad.yaml:1", "0xe9"),
    "an empty file": (yaml("", "\n"), "bad.yaml", "an experiment is a mapping"),
    "a list": (yaml("", "- toy\n"), "bad.yaml:1", "an experiment is a mapping"),
    "a bracket left open": (yaml("[ndcg@10]", "[ndcg@10"), "bad.yaml:4", "not valid YAML"),
    "a tab": (yaml("  one:", "\tone:"), "bad.yaml:5", "not valid YAML"),
    "a key twice": (yaml("metrics:", "name: again\nmetrics:"), "bad.yaml:3", "a second time, after line 1"),
    "a tag that runs code": (yaml("bad", "!!python/name:os.system x"), "bad.yaml:1", "python/name:os.system"),
    "an alias inside itself": (yaml("[ndcg@10]", "&a [*a]"), "bad.yaml:3", "nested"),
    "an unknown key": (yaml("metrics:", "metrcs:"), "bad.yaml:3", "did you mean 'metrics'?"),
    "a name that is a path": (yaml("bad", "../../bad"), "bad.yaml:1", "'../../bad'"),
    "an unknown metric": (yaml("ndcg@10", "ndgc@10"), "bad.yaml:3", "ndgc@10"),
    "an unknown stage": (yaml("toy:", "tyo:"), "bad.yaml:6", "did you mean 'toy'?"),
    "an unknown option": (yaml("k: 5", "sclae: 5"), "bad.yaml:6", "did you mean 'scale'?"),
    "an option of the wrong type": (yaml("k: 5", "k: many"), "bad.yaml:6", "'many'"),
    "an option out of range": (yaml("k: 5", "k: 0"), "bad.yaml:6", "greater than 0"),
    "a reranker first": (yaml("toy: {k: 5}", "toy-rerank"), "bad.yaml:6", "needs rankings"),
    "no retriever after a query stage": (yaml("toy: {k: 5}", "toy-words"), "bad.yaml:5", "add a retriever"),
    "a fusion of one": (yaml("toy: {k: 5}", "fuse: {of: [[toy]]}"), "bad.yaml:6", "at least two"),
    "an unknown baseline": (yaml("name: bad", "name: bad\nbaseline: oen"), "bad.yaml:2", "did you mean 'one'?"),
    "an expectation of nothing": (
        yaml("name: bad", "name: bad\nexpected: {one: {map: 0.5}}"), "bad.yaml:2", "'map' is not among",
    ),
    "--set without a value": (yaml("", "", "--set", "name"), "--set name", "KEY.KEY=VALUE"),
    "--set of an unknown key": (
        yaml("", "", "--set", "pipelines.oen.toy.k=5"), "--set pipelines.oen.toy.k=5", "did you mean 'one'?",
    ),
    "--set to a wrong value": (
        yaml("", "", "--set", "pipelines.one.toy.k=-1"), "--set pipelines.one.toy.k=-1", "greater than 0",
    ),
    "--only of an unknown collection": (yaml("", "", "--only", "dtaa/test"), "--only dtaa/test", "data/test"),
    "an unknown device": (yaml("", "", "--device", "cud"), "--device cud", "irkit doctor"),
    "an unknown pipeline": (command("search", "bad.yaml", "-p", "oen", "x"), "bad.yaml", "did you mean 'one'?"),
    # collections
    "an unknown collection of irkit": (
        yaml("{path: data}", "irkit/limit-samll"), "irkit/limit-samll", "irkit/limit-small",
    ),
    "an unknown collection of ir-datasets": (yaml("{path: data}", "beir/scifcat"), "beir/scifcat", "beir/scifact"),
    "an unknown parameter of a collection": (
        yaml("{path: data}", '"irkit/limit-synthetic?m=5"'), "irkit/limit-synthetic?m=5", "'m'",
    ),
    "a folder that is not there": (yaml("{path: data}", "{path: dtaa}"), "dtaa", "does not exist"),
    "a split that is not there": (yaml("{path: data}", "{path: data, split: dev}"), "data/qrels", "'dev'"),
    "no documents": (data("corpus.jsonl", delete), "data", "there is no corpus.jsonl"),
    "an empty corpus": (data("corpus.jsonl", text("")), "data/corpus.jsonl", "no document"),
    "a line that is not JSON": (data("corpus.jsonl", line(2, '{"_id": "d2", ')), "corpus.jsonl:2", "JSON"),
    "a document without an id": (data("corpus.jsonl", line(2, '{"text": "a"}')), "corpus.jsonl:2", "id"),
    "a document twice": (data("corpus.jsonl", line(4, DOC)), "corpus.jsonl:4", "'d2' appears twice"),
    "an id with a tab": (data("corpus.jsonl", line(2, '{"_id": "d\\t2", "text": "a"}')), "corpus.jsonl:2", "'d\\t2'"),
    "a text that is a number": (data("corpus.jsonl", line(2, '{"_id": "d2", "text": 5}')), "corpus.jsonl:2", "text"),
    "documents that are not UTF-8": (data("corpus.jsonl", line(2, '{"_id": "\udcff"}')), "corpus.jsonl:2", "UTF-8"),
    "a query twice": (data("queries.jsonl", line(2, '{"_id": "q1", "text": "x"}')), "queries.jsonl:2", "'q1' appears twice"),
    "a broken gzip": (data("corpus.jsonl", cut_gzip), "corpus.jsonl.gz", ""),
    "a judgement that is no number": (data("qrels/test.tsv", line(2, "q1\td1\tx")), "test.tsv:2", "'x'"),
    "a judgement of two columns": (data("qrels/test.tsv", line(2, "q1\td1")), "test.tsv:2", "2"),
    "a judgement twice": (data("qrels/test.tsv", line(3, "q1\td1\t1")), "test.tsv:3", "twice"),
    "judgements of other queries": (
        data("qrels/test.tsv", text("query-id\tcorpus-id\tscore\nx\td1\t1\n")), "test.tsv", "no query has a judgement",
    ),
    "judgements of other documents": (
        data("qrels/test.tsv", text("query-id\tcorpus-id\tscore\nq1\tx\t1\n")), "test.tsv", "'x'",
    ),
    # models and stages
    "an unknown model": (yaml("toy: {k: 5}", "dense: {model: minilmm}"), "minilmm", "minilm"),
    "a model folder that is broken": (model_folder, "model", ""),
    "a device that torch lacks": (yaml("toy: {k: 5}", "dense: {model: minilm, device: cuda:9}"), "device", "cuda:9"),
    "a filter of unknown documents": (
        yaml("- toy: {k: 5}", "- toy: {k: 5}\n    - filter: {include: [d1, dx]}"), "filter.include", "'dx'",
    ),
    "a score that is not a number": (
        bad_stage("nan"), "stage 'toy-bad', query 'q2', document 'd2'", "the score is nan",
    ),
    "a stage that forgets a query": (bad_stage("short"), "stage 'toy-bad'", "4 of 5 queries"),
    # the machine
    "a store that cannot be written": (store_below_a_file, "file/store", "cannot be written"),
    "results that cannot be written": (runs_below_a_file, "eval/runs", "Not a directory"),
    "a full disk": (full_disk, "indexes", "the disk is full"),
    "a full disk at the end": (full_disk_at_the_end, "eval/runs", "No space left on device"),
    "a damaged store": (damaged_store, MANIFEST, "irkit store gc --broken"),
    "an artifact that is not there": (command("store", "why", "abc"), "indexes", "irkit store ls"),
    "a size that is none": (command("store", "gc", "--max-size", "big"), "--max-size", "5GB"),
    "an unknown model to fetch": (command("models", "pull", "minilmm"), "minilmm", "minilm"),
}  # fmt: skip


def test_there_are_enough() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize(("make", "where", "what"), CASES.values(), ids=CASES)
def test_malformed(
    irkit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, make: Make, where: str, what: str
) -> None:
    toys.write_beir(Path("data"))
    with monkeypatch.context() as broken:
        words = make(broken)
        ended = irkit(*words)
    message = ended.err
    assert ended.code == 2, ended
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 24
    assert len(message) <= 80 * 24
    errors = [each for each in message.splitlines() if each.startswith("error: ")]
    assert any(where in each for each in errors), message
    assert what in message
    assert re.search(r"^ +-> \S", message, re.MULTILINE), f"no remedy: {message}"
    assert ended.out == ""
    check_nothing_is_half_written(damaged=make is damaged_store)


def check_nothing_is_half_written(damaged: bool) -> None:
    store = Store(Path("indexes"))
    assert (list(store.verify()) == []) is not damaged
    assert list(store.unfinished()) == []
    runs = Path("eval/runs")
    left = [path for path in runs.rglob("*") if path.is_file()] if Path("eval").is_dir() else []
    assert not any(
        path.name in ("results.json", "per_query.json", "details.json", "report.html") for path in left
    ), left
    assert not any("partial" in path.name or path.stat().st_size == 0 for path in left), left


def test_a_good_experiment_follows_every_bad_one(
    irkit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mended goes on: the failures above leave nothing that stands in the way."""
    toys.write_beir(Path("data"))
    with monkeypatch.context() as broken:
        assert irkit(*full_disk(broken)).code == 2
    assert irkit(*bad_stage("nan")(monkeypatch)).code == 2
    assert irkit(*yaml()(monkeypatch)).code == 0
    results = json.loads(Path("eval/runs/bad/results.json").read_text(encoding="utf-8"))
    assert len(results["scores"]) == 1
