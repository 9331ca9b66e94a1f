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
        for each in maker._lists(rows, drawn):
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


def test_ids_are_drawn_for_every_list(lm: Path, model: CausalLM) -> None:
    """Of a document that kept its ID, it could be learned by heart that it is relevant."""
    given, said = examples(), recipe(lm, layout="query-free")
    maker = ListMaker(said, given, model)
    of: dict[int, list[int]] = {}
    for step in range(60):
        rows = batch_of(said, given, step)
        draws = np.random.Generator(np.random.PCG64([said.seed, 1, step]))
        drawn = [maker._drawn(row, draws) for row in rows]
        for row, own, each in zip(rows, drawn, maker._lists(rows, drawn), strict=True):
            ids = [_id(model, block) for block in each.blocks]
            assert ids == own.ids and len(set(ids)) == len(ids) and set(ids) <= set(range(40))
            of.setdefault(row, []).append(ids[int(np.flatnonzero(each.relevant)[0])])
    assert all(len(set(ids)) > len(ids) / 2 for ids in of.values())
    lists = [each for some, _ in maker.held(given.held.tolist(), 8) for each in some]
    again = [each for some, _ in ListMaker(said, given, model).held(given.held.tolist(), 3) for each in some]
    for one, other in zip(lists, again, strict=True):
        assert np.array_equal(np.concatenate(one.blocks), np.concatenate(other.blocks))


def test_ids_count_the_list_where_the_query_comes_first(lm: Path, model: CausalLM) -> None:
    maker = ListMaker(recipe(lm), examples(), model)
    for lists, _ in maker.held(examples().held.tolist(), 8):
        for each in lists:
            assert [_id(model, block) for block in each.blocks] == list(range(len(each.blocks)))


@pytest.mark.parametrize(
    ("positives", "negatives", "ahead", "wanted", "right"),
    [
        ((0,), (1, 2, 3, 4, 5), (2,), [1, 2, 0, 3], [0, 0, 1, 0]),
        ((0, 9), (1, 2, 3, 4), (0, 1), [0, 1, 9, 2], [1, 0, 1, 0]),
        ((0, 9), (1, 2), (1, 1), [1, 0, 9, 2], [0, 1, 1, 0]),
        ((0, 9), (1, 2, 3, 4, 5), (4, 5), [1, 2, 3, 0], [0, 0, 0, 1]),
        ((0, 9), (1, 2, 3, 4, 5), (), [1, 2, 3, 0], [0, 0, 0, 1]),
        ((0, 9), (1,), (), [1, 0], [0, 1]),
        ((0, 6, 7, 8, 9), (1,), (0, 0, 0, 0, 0), [0, 6, 7, 1], [1, 1, 1, 0]),
        ((0, 9), (), (0, 0), [0, 9], [1, 1]),
    ],
)
def test_held_out_lists_are_what_was_mined(
    lm: Path, model: CausalLM, positives: Any, negatives: Any, ahead: Any, wanted: Any, right: Any
) -> None:
    query = Example("Which Wing0", positives, negatives, held=True, ahead=ahead)
    given = Examples(examples().documents, [query, *examples().queries], {}, {"sources": []})
    documents, relevant = ListMaker(recipe(lm), given, model).best(0)
    assert documents == wanted and relevant.tolist() == [bool(each) for each in right]


def test_what_is_relevant_and_not_learned_from_fills_up_no_list(lm: Path, model: CausalLM) -> None:
    query = Example("Which Wing0", (0,), (1,), also=tuple(range(3, 40)))
    given = Examples(examples().documents, [query, *examples().queries], {}, {"sources": []})
    drawn = ListMaker(recipe(lm), given, model)._drawn(0, np.random.default_rng(0))
    assert sorted(drawn.documents) == [0, 1, 2]


def _id(model: CausalLM, block: Any) -> int:
    found = re.search(r"ID: *(\d+)", model.tokenizer.decode(block))
    assert found
    return int(found[1])
