"""What a step's lists are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lm import open_tiny, tiny_lm

from irkit.config.yaml import Located
from irkit.core.errors import ConfigError
from irkit.models.lm.model import CausalLM
from irkit.stages.rerank.blockrank_prompt import FAR
from irkit.train.blockrank.draws import ListMaker
from irkit.train.blockrank.lists import ListTokens
from irkit.train.examples import Example, Examples
from irkit.train.loop import batch_of
from irkit.train.recipe import Recipe, read_recipe

QUERIES = 24


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture
def model(lm: Path) -> CausalLM:
    """A test's own: a maker reads ahead in a thread, and no tokeniser may be called from two."""
    return open_tiny(lm)


def examples() -> Examples:
    documents = [f"The Wing{number} Lifts" for number in range(40)]
    queries = [
        Example(f"Which Wing{i}", (i,), tuple(range(i + 1, i + 5)), held=i % 4 == 3) for i in range(QUERIES)
    ]
    return Examples(documents, queries, {}, {"sources": []})


def recipe(lm: Path, group: int = 4, **options: Any) -> Recipe:
    data = {
        "name": "toy",
        "kind": "blockrank",
        "data": ["irkit/limit-synthetic"],
        "negatives": {"pipeline": ["bm25"]},
        "training": {"steps": 60, "epochs": 99, "batch": 4, "group": group},
        "options": {"model": str(lm), "layer": 2, "query_position": 400, **options},
    }
    return read_recipe(Located(data, "recipe"))


def read(model: CausalLM, lists: Sequence[ListTokens]) -> list[tuple[str, str]]:
    """Return of every list what its last block says, and its documents."""
    decode = model.tokenizer.decode
    return [(decode(each.question.last), decode(np.concatenate(each.blocks))) for each in lists]


def texts(lm: Path, model: CausalLM, **options: Any) -> list[tuple[str, str]]:
    """Return the texts of every list of a training."""
    given, said = examples(), recipe(lm, **options)
    maker, found = ListMaker(said, given, model), []
    for step in range(60):
        rows = batch_of(said, given, step)
        draws = np.random.Generator(np.random.PCG64([said.seed, 1, step]))
        drawn = [maker._with_case(maker._drawn(row, draws), draws) for row in rows]
        found += read(model, maker._lists(rows, drawn))
    return found


@pytest.mark.parametrize(("lowercase", "case"), [(False, str), (True, str.lower)])
def test_texts_are_as_they_are_or_all_in_lower_case(
    lm: Path, model: CausalLM, lowercase: bool, case: Callable[[str], str]
) -> None:
    given = examples()
    held = ListMaker(recipe(lm, lowercase=lowercase), given, model).held(given.held.tolist(), 8)
    lists = [each for some, _ in held for each in some]
    assert all(case("Which Wing") in model.tokenizer.decode(each.question.first) for each in lists)
    for query, documents in read(model, lists) + texts(lm, model, lowercase=lowercase):
        assert case("Which Wing") in query and case("The Wing") in documents


def test_every_list_can_change_its_case(lm: Path, model: CausalLM) -> None:
    found = texts(lm, model, change_case=1.0)
    capitals = ["WHICH WING" in query for query, _ in found]
    assert all(upper or "which wing" in query for upper, (query, _) in zip(capitals, found, strict=True))
    assert 0.35 < np.mean(capitals) < 0.65
    assert all("the wing" in documents and "The Wing" not in documents for _, documents in found)


def test_query_and_documents_change_apart(lm: Path, model: CausalLM) -> None:
    found = texts(lm, model, change_case=0.4)
    query = np.array(["Which Wing" not in query for query, _ in found])
    documents = np.array(["The Wing" not in documents for _, documents in found])
    assert abs(query.mean() - 0.4) < 0.12 and abs(documents.mean() - 0.4) < 0.12
    assert abs((query & documents).mean() - 0.16) < 0.1


def test_held_out_lists_do_not_change_their_case(lm: Path, model: CausalLM) -> None:
    given = examples()
    for lists, _ in ListMaker(recipe(lm, change_case=1.0), given, model).held(given.held.tolist(), 8):
        assert all(
            "Which Wing" in query and "The Wing" in documents for query, documents in read(model, lists)
        )


@pytest.mark.parametrize("lowercase", [True, "capitals"])
def test_a_change_of_case_that_is_undone_is_refused(lm: Path, lowercase: Any) -> None:
    with pytest.raises(
        ConfigError, match=f"lowercase: {str(lowercase).lower()} undoes what change_case draws"
    ):
        recipe(lm, lowercase=lowercase, change_case=0.3)


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


@pytest.mark.parametrize(
    ("family", "positions", "far"),
    [("llama", FAR + 4096, True), ("llama", 4096, False), ("mistral", FAR + 4096, False)],
)
def test_a_question_stands_far_off_where_the_model_can_look_as_far(
    tmp_path: Path, family: str, positions: int, far: bool
) -> None:
    """A sliding layer sees nothing from there."""
    model = open_tiny(tiny_lm(tmp_path / "lm", family, max_position_embeddings=positions))
    maker = ListMaker(recipe(tmp_path / "lm", query_position=None), examples(), model)
    for batch in [*maker.of_step([0], 0), *(each for _, each in maker.held([3], 1))]:
        last = batch.lesson.segments.bounds[-2]
        behind = batch.lesson.positions[:last].max() + 1
        assert batch.lesson.positions[last] == (FAR if far else behind)


def shown(
    model: CausalLM, maker: ListMaker, rows: Sequence[int], step: int
) -> Iterator[tuple[list[int], Any, Any]]:
    """Yield, of every list of a step, its documents as the model reads them, which are relevant, and a teacher's scores."""
    for batch in maker.of_step(rows, step):
        texts = model.tokenizer.decode(batch.lesson.ids)
        numbers = iter(map(int, re.findall(r"CONTENT: The Wing(\d+) ", texts)))
        for there, relevant, teacher in zip(batch.there, batch.relevant, batch.teacher, strict=True):
            own = [next(numbers) for _ in range(there.sum())]
            yield own, relevant[: len(own)], teacher[: len(own)]


@pytest.mark.parametrize(("group", "count"), [(4, 1), (10, 2), (20, 4), (30, 4)])
def test_documents_keep_their_relevance_and_scores_wherever_they_stand(
    lm: Path, model: CausalLM, group: int, count: int
) -> None:
    """A teacher's score is here the document's number; of the last one and of fillers it told nothing."""
    good, bad = (9, 8, 7, 6, 5, 4), tuple(range(10, 32))
    scores = (*map(float, (*good, *bad[:-1])), np.nan)
    query = Example("Which Wing", good, bad, scores=scores)
    given = Examples(examples().documents, [query] * 8, {}, {"sources": []})
    maker, right, places = ListMaker(recipe(lm, group), given, model), set(), set()
    for step in range(6):
        for numbers, relevant, teacher in shown(model, maker, range(4), step):
            assert len({*numbers}) == len(numbers) == group
            assert relevant.sum() == count and relevant.tolist() == [each in good for each in numbers]
            np.testing.assert_array_equal(teacher, [each if each in scores else np.nan for each in numbers])
            right.update(np.array(numbers)[relevant].tolist())
            places.update(np.flatnonzero(relevant).tolist())
    assert right == {*good} and len(places) > 0.7 * group, "each is drawn, and stands anywhere"


def test_lists_are_filled_up_with_what_is_like_the_relevant_one_and_is_none(
    lm: Path, model: CausalLM
) -> None:
    """Every third document is read without its title; the last ten are other readings of the first ten."""
    places = [[-1 if number % 3 == 0 else 0, number] for number in range(40)]
    origin = {"sources": [], "places": places, "groups": [*range(30), *range(10)]}
    queries = [Example("Which Wing", (i,), (i + 1,), also=(i + 12, i + 15)) for i in range(8)]
    given, said = Examples(examples().documents, queries, {}, origin), recipe(lm, 8)
    maker, met = ListMaker(said, given, model), set()
    for step in range(12):
        rows = batch_of(said, given, step)
        for row, (numbers, _, _) in zip(rows, shown(model, maker, rows, step), strict=True):
            fillers = {*numbers} - {row, row + 1}
            assert len(numbers) == 8 and len(fillers) == 6
            assert {each % 3 == 0 for each in fillers} == {row % 3 == 0}
            assert fillers.isdisjoint({row + 12, row + 15, row + 30})
            met |= fillers
    assert len(met) > 30


@pytest.mark.parametrize(("size", "count"), [(1, 4), (1000, 2)])
def test_a_step_is_parted_by_its_tokens_and_has_the_same_lists(
    lm: Path, model: CausalLM, size: int, count: int
) -> None:
    last = 59  # nothing is read ahead
    rows = batch_of(recipe(lm), examples(), last)
    (whole,) = ListMaker(recipe(lm), examples(), model).of_step(rows, last)
    parts = ListMaker(recipe(lm, batch_tokens=size), examples(), model).of_step(rows, last)
    assert len(parts) == count
    assert all(len(part.there) == 1 or len(part.lesson.ids) <= size for part in parts)
    for name in ("lesson.ids", "relevant", "there"):
        of = attrgetter(name)
        assert np.array_equal(np.concatenate([of(part) for part in parts]), of(whole)), name


def _id(model: CausalLM, block: Any) -> int:
    found = re.search(r"ID: *(\d+)", model.tokenizer.decode(block))
    assert found
    return int(found[1])
