"""The label of a node: the options that differ from the defaults, written as in YAML."""

from __future__ import annotations

from typing import Any

import pytest

from irkit.exec.executor import label_of
from irkit.exec.plan import differences
from irkit.pipeline.graph import Node
from irkit.pipeline.registry import make_stage


@pytest.mark.parametrize(
    ("name", "options", "label"),
    [
        ("maxsim", {}, "maxsim"),
        ("maxsim", {"tokens": {"dim": 64, "pool": 2}}, "maxsim (tokens.dim=64, tokens.pool=2)"),
        ("maxsim", {"tokens": {"words": True}, "depth": 20}, "maxsim (tokens.words=true, depth=20)"),
        ("maxsim", {"tokens": {"pool": 1}, "batch_size": 1, "device": "cpu"}, "maxsim"),
        ("muvera", {"d_proj": None, "rerank": False}, "muvera (d_proj=null, rerank=false)"),
        ("colberter", {"tokens": {"prune": None}}, "colberter (tokens.prune=null)"),
        ("colberter", {"tokens": {"words": False}}, "colberter (tokens.words=false)"),
        ("colberter", {"tokens": {"words": True, "pool": 2}}, "colberter (tokens.pool=2)"),
        ("dense", {"hnsw": {"m": 8}, "model": "org/name"}, "dense (model=org/name, hnsw.m=8)"),
        ("dense", {"query_prompt": "find: "}, 'dense (query_prompt="find: ")'),
        ("fuse", {"weights": [1, 2]}, "fuse (weights=[1.0, 2.0])"),
        ("cutoff", {"k": 5}, "cutoff (k=5)"),
    ],
)
def test_a_label(name: str, options: dict[str, Any], label: str) -> None:
    told = label_of(Node(make_stage(name, **options)))
    head, _, inside = told.removesuffix(")").partition(" (")
    wanted, _, parts = label.removesuffix(")").partition(" (")
    assert (head, sorted(inside.split(", "))) == (wanted, sorted(parts.split(", ")))


def test_the_reasons_of_a_plan_are_written_alike() -> None:
    old = {"options": {"rerank": True, "d_proj": 16, "tokens": {"prune": None, "codec": "float16"}}}
    new = {"options": {"rerank": False, "d_proj": None, "tokens": {"prune": "stop-words", "codec": "int8"}}}
    assert differences(old, new) == [
        "d_proj: 16 -> unset",
        "rerank: true -> false",
        "tokens.codec: float16 -> int8",
        "tokens.prune: unset -> stop-words",
    ]
