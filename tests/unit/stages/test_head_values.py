"""What heads are worth on given lists, and the benchmark that gives some: ``eval/bench/rerank_quality.py``."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lm import open_tiny, tiny_lm

from irkit.stages.rerank.head_selection import Criterion
from irkit.stages.rerank.head_values import JudgedList, Reading, head_values
from irkit.stages.rerank.language import LanguageModelOptions

BENCH = Path(__file__).resolve().parents[3] / "eval" / "bench"
TEXTS = ["a b", "b c", "c d e", "e f", "a f", "b"]


class Docs:
    """Documents without titles."""

    def __len__(self) -> int:
        return len(TEXTS)

    def title(self, _code: int) -> str:
        return ""

    def body(self, code: int) -> str:
        return TEXTS[code]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")


def judged(query: str, codes: list[int], gains: list[int]) -> JudgedList:
    return JudgedList("q", query, np.array(codes, np.int32), np.array(gains))


@pytest.mark.parametrize("method", ["qrhead-ndcg", "core"])
def test_values_are_the_mean_over_the_lists(lm: Path, method: Any) -> None:
    model, docs, criterion = open_tiny(lm), Docs(), Criterion(method)
    lists = [judged("a b", [0, 1, 2], [1, 0, 0]), judged("e", [4, 3], [0, 1])]
    told: list[int] = []
    both, cut = head_values(lists, docs, model, criterion, advance=told.append)  # type: ignore[arg-type]
    each = [head_values([one], docs, model, criterion)[0] for one in lists]  # type: ignore[arg-type]
    np.testing.assert_allclose(both, np.mean(each, axis=0), rtol=1e-12)
    assert (both.shape, cut, told) == ((model.layers, model.heads), 0, [1, 1])
    assert not np.array_equal(*each)


def test_equal_heads_are_equal_whatever_lists_they_fail_on(lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same values list for list or in another order: rounding must not rank one head above the other."""
    thirds = iter([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])
    lists = [judged("a b", [0, 1], [1, 0])] * 3

    def given(_self: Criterion, scores: Any, _gains: Any) -> Any:
        values = np.zeros(scores.shape[:2])
        values[0, :2] = next(thirds)
        return values

    monkeypatch.setattr(Criterion, "__call__", given)
    values, _ = head_values(lists, Docs(), open_tiny(lm), Criterion())  # type: ignore[arg-type]
    assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1
    assert values[0, 0] == values[0, 1]


def test_lists_are_read_as_they_are_asked_to_be(lm: Path) -> None:
    model, lists = open_tiny(lm), [judged("a b", [0, 1, 2], [1, 0, 0])]
    readings = [
        Reading(),
        Reading(instruction="qa"),
        Reading(rows="query"),
        Reading(LanguageModelOptions(words=1)),
    ]
    values = [
        head_values(lists, Docs(), model, Criterion("core"), each)[0].tobytes()  # type: ignore[arg-type]
        for each in readings
    ]
    assert len(set(values)) == len(readings)


def test_the_benchmark_scores_lists_where_nothing_but_torch_and_transformers_is(
    lm: Path, tmp_path: Path
) -> None:
    record = {
        "asked": [{"qid": "q1", "query": "a b", "codes": [0, 1, 2, 3], "scores": [4.0, 3.0, 2.0, 1.0]}],
        "training": [{"query": "e", "codes": [3, 4, 5], "gains": [1, 0, 0]}],
        "documents": {code: ["", text] for code, text in enumerate(TEXTS)},
        "qrels": [["q1", [1], [1]]],
    }
    with gzip.open(tmp_path / "toy.lists.json.gz", "wt", encoding="utf-8") as file:
        json.dump(record, file)
    missing = [
        "faiss",
        "ranx",
        "pyserini",
        "numba",
        "ir_datasets",
        "ruamel",
        "rich",
        "typer",
        "sentence_transformers",
    ]
    script = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({missing!r})); sys.path.insert(0, {str(BENCH)!r});"
        f"sys.argv = ['x', 'score', '--work', {str(tmp_path)!r}, '--folder', {str(lm)!r}, '--device', 'cpu'];"
        f"runpy.run_path({str(BENCH / 'rerank_quality.py')!r}, run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    runs = json.loads((tmp_path / "toy.runs.json").read_text(encoding="utf-8"))
    assert runs["shape"] == [4, 4]
    assert set(runs["heads"]) == {"qrhead-ndcg", "core"}
    plain, *others = (
        runs["runs"][f"icr, all heads{which}"] for which in ("", ", calibrate: false", ", order: given")
    )
    assert plain not in others
    assert "icr, 16 random heads, draw 0 (shuffled)" in runs["runs"]
