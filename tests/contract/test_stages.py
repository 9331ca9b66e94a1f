"""Every stage that irkit installs keeps the contract that its plug-ins are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from irkit.pipeline.registry import make_stage, stage_names
from irkit.testing import check_stage

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("fuse", {"method": "combsum", "weights": [1, 2]}, {}),
    ("cutoff", {"k": 3}, {}),
    ("filter", {"min_score": 0.5}, {}),
    ("bm25", {"k": 5}, {"threads": 3}),
    ("rm3", {}, {"threads": 3}),
    ("rocchio", {}, {"threads": 3}),
    ("bm25prf", {}, {"threads": 3}),
    ("axiomatic", {}, {"threads": 3}),
    ("reset", {}, {}),
    ("dense", {"model": "minilm", "k": 5}, {"batch_size": 3}),
    ("maxsim", {"model": "minilm", "k": 5}, {"batch_size": 3}),
    ("muvera", {"model": "minilm", "k": 5}, {"batch_size": 3}),
    ("xtr", {"model": "minilm", "k": 5}, {"batch_size": 3}),
    ("colberter", {"model": "minilm", "k": 5}, {"batch_size": 3}),
    ("lexsembridge", {"model": "minilm", "statistics": "idf"}, {"batch_size": 3}),
    ("vector-prf", {"model": "minilm", "method": "average"}, {"batch_size": 3}),
    ("colbert-prf", {"model": "minilm", "clusters": 6}, {"batch_size": 3}),
]
ELSEWHERE = {"cross-encoder", "listwise", "icr", "blockrank", "adapter", "reformulate", "hyde", "prompt-prf"}
"""Needs a model that does not come with the tests' packages; tests/unit/stages makes a tiny one."""
JAVA = ("bm25", "rm3", "rocchio", "bm25prf", "axiomatic")
MARKS = {name: [pytest.mark.java] for name in JAVA} | {
    name: [pytest.mark.model] for name, options, _ in CASES if options.get("model") == "minilm"
}


@pytest.mark.parametrize(
    ("name", "options", "execution"),
    [pytest.param(*case, id=case[0], marks=MARKS.get(case[0], [])) for case in CASES],
)
def test_contract(name: str, options: dict[str, Any], execution: dict[str, Any], tmp_path: Path) -> None:
    check_stage(make_stage(name, **options), tmp_path, other_execution=execution or None)


def test_no_stage_is_forgotten() -> None:
    assert {case[0] for case in CASES} | ELSEWHERE == set(stage_names())
