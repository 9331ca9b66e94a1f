"""Examples that an interrupted run left are taken up again, unless what lies behind a name in the recipe has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toys
from safetensors.numpy import load_file, save_file
from tiny import WORDS

import irkit.train.run
from irkit.api.workspace import Workspace
from irkit.config.yaml import Located
from irkit.core.errors import ModelError
from irkit.pipeline.context import Runtime
from irkit.train.fit import Fitting
from irkit.train.prepare import prepare
from irkit.train.recipe import Recipe, read_recipe
from irkit.train.run import examples_for

DATA = {"path": "data", "split": "test", "name": "data"}
KEYWORD = {"collection": DATA, "task": "keyword", "all_docs": True, "terms": [2, 3]}
EXCLUDING: dict[str, Any] = {"data": [{**KEYWORD, "exclude": [{"path": "task", "split": "test"}]}]}
DENSE: dict[str, Any] = {"negatives": {"pipeline": [{"dense": {"model": "./encoder"}}], "keep": 3}}
TAUGHT: dict[str, Any] = {
    "kind": "multivector",
    "options": {"distil": {}},
    "teacher": {"pipeline": [{"maxsim": {"model": "./encoder"}}]},
}
WRITTEN: dict[str, Any] = {
    "data": [{"collection": DATA, "task": "generated", "writer": {"file": "texts.jsonl"}}],
    "negatives": {"pipeline": ["toy"]},
}

pytestmark = pytest.mark.usefixtures("toy_stages")


def recipe(**more: Any) -> Recipe:
    data = {"name": "mine", "kind": "adapter", "data": [{"collection": DATA}], "training": {"group": 1}}
    return read_recipe(Located({**data, **more}, "recipe"))


def judged(folder: Path, rows: list[tuple[str, str]]) -> None:
    lines = ["query-id\tcorpus-id\tscore", *(f"{qid}\t{docno}\t1" for qid, docno in rows)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def written(first: str) -> None:
    rows = [{"id": f"d{i:02d}", "text": f"{first} {WORDS[i]} {WORDS[i + 1]}"} for i in range(12)]
    Path("texts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A collection, a task over the same documents, an encoder, and texts that were written for the documents."""
    monkeypatch.chdir(tmp_path)
    docs = {f"d{i:02d}": f"{WORDS[i]} {WORDS[i + 1]} {WORDS[i + 2]} {WORDS[(i + 7) % 19]}" for i in range(12)}
    queries = {f"q{i}": f"{WORDS[0]} {WORDS[i + 1]}" for i in range(8)}
    judged(toys.write_beir(Path("data"), docs, queries), [(f"q{i}", f"d{i:02d}") for i in range(8)])
    judged(toys.write_beir(Path("task"), docs, {"q0": "x"}), [("q0", "d01")])
    shutil.copytree(tiny_encoder, "encoder")
    written("of")
    return Workspace(tmp_path, tmp_path / "indexes", Runtime("cpu", 1))


def fewer_judgements() -> None:
    judged(Path("data"), [(f"q{i}", f"d{i:02d}") for i in range(7)])


def other_judgements() -> None:
    judged(Path("task"), [("q0", "d03")])


def other_weights() -> None:
    for path in Path("encoder").rglob("model.safetensors"):
        weights = load_file(path)
        save_file({name: each[::-1].copy() for name, each in weights.items()}, path, {"format": "pt"})


def other_texts() -> None:
    written("about")


CASES = pytest.mark.parametrize(
    ("said", "change"),
    [
        ({}, fewer_judgements),
        (EXCLUDING, other_judgements),
        (DENSE, other_weights),
        (TAUGHT, other_weights),
        (WRITTEN, other_texts),
    ],
    ids=["the source", "what is excluded", "what finds negatives", "the teacher", "what was written"],
)


@CASES
def test_what_lies_behind_a_name_decides(
    workspace: Workspace, said: dict[str, Any], change: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, how, made = recipe(**said), Fitting(Path("out"), workspace.root, workspace.runtime), []

    def counted(*given: Any) -> Any:
        made.append(given)
        return prepare(*given)

    monkeypatch.setattr(irkit.train.run, "prepare", counted)
    first = examples_for(own, workspace, how)
    assert examples_for(own, workspace, how).fingerprint == first.fingerprint and len(made) == 1
    change()
    again = examples_for(own, workspace, how)
    assert again.fingerprint == prepare(own, workspace).fingerprint != first.fingerprint
    assert examples_for(own, workspace, how).fingerprint == again.fingerprint and len(made) == 2


def test_a_model_that_is_gone_is_told(workspace: Workspace) -> None:
    own, how = recipe(**DENSE), Fitting(Path("out"), workspace.root, workspace.runtime)
    examples_for(own, workspace, how)
    shutil.rmtree("encoder")
    with pytest.raises(ModelError, match="encoder"):
        examples_for(own, workspace, how)
