"""What a step's lists are made of: texts in another case, as often as the recipe says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lm import open_tiny, tiny_lm

from irkit.config.yaml import Located
from irkit.models.lm.model import CausalLM
from irkit.train.blockrank.draws import ListMaker
from irkit.train.examples import Example, Examples
from irkit.train.loop import batch_of
from irkit.train.recipe import Recipe, read_recipe

QUERIES = 24


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture(scope="module")
def model(lm: Path) -> CausalLM:
    return open_tiny(lm)


def examples() -> Examples:
    documents = [f"The Wing{number} Lifts" for number in range(40)]
    queries = [
        Example(f"Which Wing{i}", (i,), tuple(range(i + 1, i + 5)), held=i % 4 == 3) for i in range(QUERIES)
    ]
    return Examples(documents, queries, {}, {"sources": []})


def recipe(lm: Path, **options: Any) -> Recipe:
    data = {
        "name": "toy",
        "kind": "blockrank",
        "data": ["irkit/limit-synthetic"],
        "negatives": {"pipeline": ["bm25"]},
        "training": {"steps": 60, "epochs": 99, "batch": 4, "group": 4},
        "options": {"model": str(lm), "layer": 2, "query_position": 400, **options},
    }
    return read_recipe(Located(data, "recipe"))


def steps(lm: Path, model: CausalLM, **options: Any) -> list[tuple[str, str]]:
    """Return the tokens of every list of a training: of the query behind its documents, and of these."""
    given, said = examples(), recipe(lm, **options)
    maker, found = ListMaker(said, given, model), []
    for step in range(60):
        rows = batch_of(said, given, step)
        draws = np.random.Generator(np.random.PCG64([said.seed, 1, step]))
        drawn = [maker._with_case(maker._drawn(row, draws), draws) for row in rows]
        lists = maker._lists(rows, drawn, [np.arange(len(each.documents)) for each in drawn])
        for each in lists:
            text = model.tokenizer.decode(np.concatenate(each.blocks))
            found.append((model.tokenizer.decode(each.question.last), text))
    return found


def test_texts_are_as_they_are_unless_asked_for(lm: Path, model: CausalLM) -> None:
    for query, documents in steps(lm, model):
        assert "Which Wing" in query and "The Wing" in documents


def test_every_list_can_change_its_case(lm: Path, model: CausalLM) -> None:
    found = steps(lm, model, change_case=1.0)
    capitals = ["WHICH WING" in query for query, _ in found]
    assert all(upper or "which wing" in query for upper, (query, _) in zip(capitals, found, strict=True))
    assert 0.35 < np.mean(capitals) < 0.65
    assert all("the wing" in documents and "The Wing" not in documents for _, documents in found)


def test_query_and_documents_change_apart(lm: Path, model: CausalLM) -> None:
    found = steps(lm, model, change_case=0.4)
    query = np.array(["Which Wing" not in query for query, _ in found])
    documents = np.array(["The Wing" not in documents for _, documents in found])
    assert abs(query.mean() - 0.4) < 0.12 and abs(documents.mean() - 0.4) < 0.12
    assert abs((query & documents).mean() - 0.16) < 0.1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_held_out_lists_are_as_they_are(lm: Path, model: CausalLM, share: float) -> None:
    given = examples()
    maker = ListMaker(recipe(lm, change_case=share), given, model)
    for lists, _ in maker.held(given.held.tolist(), 8):
        for each in lists:
            assert "Which Wing" in model.tokenizer.decode(each.question.last)
            assert "The Wing" in model.tokenizer.decode(np.concatenate(each.blocks))


def test_no_id_tells_what_is_relevant(lm: Path, model: CausalLM) -> None:
    """A document that a query asks for is numbered before its negatives; its ID says nothing of that."""
    given, said = examples(), recipe(lm, layout="query-free")
    maker = ListMaker(said, given, model)
    known: dict[int, int] = {}
    greater: list[bool] = []
    for step in range(60):
        rows = batch_of(said, given, step)
        draws = np.random.Generator(np.random.PCG64([said.seed, 1, step]))
        drawn = [maker._drawn(row, draws) for row in rows]
        orders = [draws.permutation(len(each.documents)) for each in drawn]
        for row, each in zip(rows, maker._lists(rows, drawn, orders), strict=True):
            ids = np.array([_id(model, block) for block in each.blocks])
            (right,) = ids[each.relevant].tolist()
            assert known.setdefault(row, right) == right, "a document keeps its ID"
            greater += (right > ids[~each.relevant]).tolist()
    assert 0.35 < np.mean(greater) < 0.65


def _id(model: CausalLM, block: Any) -> int:
    found = re.search(r"ID: *(\d+)", model.tokenizer.decode(block))
    assert found
    return int(found[1])
