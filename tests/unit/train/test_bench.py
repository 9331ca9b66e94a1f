"""The benchmark of trained rerankers, ``eval/bench/trained_reranker.py``: what it scored before, it knows by the weights."""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_lm import tiny_lm

from irkit.models.resolve import resolve

BENCH = Path(__file__).resolve().parents[3] / "eval" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("trained_reranker")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    run = [[[0, 1, 2], [3.0, 2.0, 1.0]]]
    record = {
        "qids": ["q"],
        "queries": ["a b"],
        "firsts": {"bm25": run, "maxsim": run},
        "documents": {str(code): ["", text] for code, text in enumerate(["a b", "b c", "c d e"])},
        "qrels": [[[1], [1]]],
    }
    (tmp_path / "work").mkdir()
    with gzip.open(tmp_path / "work" / "toy.lists.json.gz", "wt", encoding="utf-8") as file:
        json.dump(record, file)
    return tmp_path / "work"


def test_other_weights_of_the_same_name_are_scored_anew(
    bench: Any, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(tiny_lm(tmp_path / "lm"))
    old = {f"{name} | {stage} | 0": [[[0, 1, 2], [3.0, 2.0, 1.0]]] for stage in bench.FIRSTS}
    scores = work / "toy.scores.json"
    scores.write_text(json.dumps(old))
    given = (work, [name], "cpu", bench.FIRSTS, [0], False)
    bench.score(*given)
    first = json.loads(scores.read_text())
    mark = resolve(name, tmp_path).fingerprint[:12]
    assert first.keys() - old.keys() == {f"{name} {mark} | {stage} | 0" for stage in bench.FIRSTS}
    capsys.readouterr()
    bench.score(*given)
    assert not capsys.readouterr().out, "what the same weights gave is kept"
    (tmp_path / "lm" / "added.json").write_text("{}")
    bench.score(*given)
    assert len(json.loads(scores.read_text())) == len(first) + 2

    bench.report(work)
    told = capsys.readouterr().out
    assert f"| {name} {mark} |" in told and f"| {name} |" in told, "those of before are read too"
    assert sorted(path.name for path in work.iterdir()) == ["toy.lists.json.gz", "toy.scores.json"]
