"""From collections to examples: what is left out, what is held out together, and vectors that the store has already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from tiny import WORDS

from irkit.api.workspace import Workspace
from irkit.config.yaml import Located
from irkit.core.errors import ConfigError, DataError
from irkit.data.spec import LocalSpec
from irkit.pipeline.registry import make_stage
from irkit.train.prepare import prepare
from irkit.train.recipe import Recipe, read_recipe
from irkit.train.run import stored

DATA = {"path": "data", "split": "test", "name": "data"}


def recipe(*sources: Any, **more: Any) -> Recipe:
    data = {"name": "mine", "kind": "adapter", "data": list(sources), "training": {"group": 1}, **more}
    return read_recipe(Located(data, "recipe"))


def judged(folder: Path, rows: list[tuple[str, str, int]]) -> None:
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Twelve documents; of eight judged queries, each has one relevant, and the last two share theirs."""
    monkeypatch.chdir(tmp_path)
    docs = {f"d{i:02d}": f"{WORDS[i]} {WORDS[i + 1]} {WORDS[i + 2]} {WORDS[(i + 7) % 19]}" for i in range(12)}
    queries = {f"q{i}": f"{WORDS[0]} {WORDS[i + 1]}" for i in range(8)}
    judged(
        toys.write_beir(Path("data"), docs, queries), [(f"q{i}", f"d{min(i, 6):02d}", 1) for i in range(8)]
    )
    task = toys.write_beir(Path("task"), docs, {"q0": "x", "q1": "y"})
    judged(task, [("q0", "d01", 1), ("q0", "d02", 0), ("q1", "d03", 1)])
    return Workspace(tmp_path, tmp_path / "indexes")


def test_no_query_is_generated_of_an_excluded_passage(workspace: Workspace) -> None:
    keyword = {"collection": DATA, "task": "keyword", "all_docs": True, "terms": [2, 3]}
    whole = prepare(recipe(keyword), workspace)
    less = prepare(recipe({**keyword, "exclude": [{"path": "task", "split": "test"}]}), workspace)
    texts = {i: workspace.open(LocalSpec(**DATA)).docs.text(i) for i in (1, 2, 3)}
    asked = [{examples.documents[q.positives[0]] for q in examples.queries} for examples in (whole, less)]
    assert {texts[1], texts[2], texts[3]} <= asked[0] and asked[0] - asked[1] == {texts[1], texts[3]}
    assert less.origin["sources"][0]["excluded"] == 2 and len(less.queries) == len(whole.queries) - 2
    with pytest.raises(DataError, match="every passage is excluded"):
        prepare(recipe({**keyword, "exclude": [DATA], "all_docs": False}), workspace)


def test_judged_queries_are_not_excluded() -> None:
    with pytest.raises(ConfigError, match="judged queries are taken as they are"):
        recipe({"collection": DATA, "exclude": [DATA]})


@pytest.mark.parametrize("seed", range(6))
def test_queries_of_one_passage_are_held_out_together(workspace: Workspace, seed: int) -> None:
    """A keyword query of a held-out query's document would tell training where to find it."""
    keyword = {"collection": DATA, "task": "keyword", "terms": [2, 3]}
    share = {"share": 0.3}
    examples = prepare(recipe({"collection": DATA}, keyword, seed=seed, validation=share), workspace)
    sides: dict[int, set[bool]] = {}
    for query in examples.queries:
        sides.setdefault(query.positives[0], set()).add(query.held)
    assert all(len(held) == 1 for held in sides.values())
    assert {True} in sides.values() and {False} in sides.values()
    assert [source["generated"] for source in examples.origin["sources"]] == [False, True]


def test_no_more_are_held_out_than_the_recipe_says(workspace: Workspace) -> None:
    held = [
        len(prepare(recipe({"collection": DATA}, validation={"share": 0.8, "queries": most}), workspace).held)
        for most in (100, 4)
    ]
    assert held[0] > 4 >= held[1] > 1


def test_the_best_hits_are_skipped(workspace: Workspace, toy_stages: Path) -> None:
    found = []
    for skip in (0, 2):
        negatives = {"pipeline": ["toy"], "depth": 6, "skip": skip}
        examples = prepare(recipe({"collection": DATA}, negatives=negatives), workspace)
        found.append([[examples.documents[n] for n in query.negatives] for query in examples.queries])
    for whole, less in zip(*found, strict=True):
        assert less == whole[len(whole) - len(less) :] and 1 <= len(whole) - len(less) <= 2


def test_vectors_come_from_the_store_where_a_search_left_them(
    workspace: Workspace, tiny_encoder: Path
) -> None:
    from irkit.models.encoder import Encoder, unit
    from irkit.models.resolve import resolve

    said = recipe({"collection": DATA}, options={"model": str(tiny_encoder), "rank": 2})
    examples = prepare(said, workspace)
    find = stored(said, examples, workspace)
    assert find(said.options) is None
    workspace.rankings(make_stage("dense", model=str(tiny_encoder)), LocalSpec(**DATA))
    found = find(said.options)
    encoder = Encoder(resolve(str(tiny_encoder)), device="cpu")
    np.testing.assert_allclose(found, unit(encoder.vectors(examples.documents, "document")), atol=1e-6)
    assert find(said.options.model_copy(update={"max_length": 3})) is None, "other vectors"
