"""What whole words are to match, what that costs, and that they learn it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_training import COLOURS, toy_examples
from word_heads import learner, opened, recipe

from irkit.core.queries import Queries
from irkit.models.words import word_id
from irkit.pipeline.context import Runtime
from irkit.stages.multivector import pruning
from irkit.stages.multivector.colberter import Colberter
from irkit.train.candidates import Candidates
from irkit.train.fit import Fitting, fit
from irkit.train.multivector.late_interaction import match_loss, max_sim


@pytest.fixture
def colours_are_stop_words(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.unique(np.array([word_id(colour.encode()) for colour in COLOURS], np.uint32))
    monkeypatch.setattr(pruning, "stop_words", lambda: ids)


@pytest.mark.usefixtures("colours_are_stop_words")
def test_what_words_are_to_match_is_what_the_stage_compares(
    tiny_encoder: Path, tmp_path: Path, make_context: Any
) -> None:
    """The wide vectors' MaxSim is the words' part of `colberter` with the encoder alone, and the sentence vectors are the other."""
    mine = learner(tiny_encoder, tmp_path, objective="match")
    asked, found, _ = mine.shortened(range(6), range(12))
    documents, queries = mine.examples.documents[:12], mine.examples.queries[:6]
    stage = Colberter(model=str(tiny_encoder), weight=0.0, k=12)
    theirs = stage.search(
        Queries.of([each.text for each in queries]), 12, stage.prepare(make_context(documents))
    )
    ours = (max_sim(asked.wide, found.wide) * asked.wide.lengths[:, None]).numpy()
    assert [int((each.wide.vectors == 0).all(1).sum()) for each in (asked, found)] == [8, 6], (
        "the prompt is red"
    )
    for query, (codes, scores) in enumerate(theirs):
        np.testing.assert_allclose(scores, ours[query][codes], atol=2e-3)
    whole = stage.model_copy(update={"weight": 1.0})
    theirs = whole.search(
        Queries.of([each.text for each in queries]), 12, whole.prepare(make_context(documents))
    )
    ours = (mine.states(range(6), "query")[0] @ mine.states(range(12), "document")[0].T).numpy()
    for query, (codes, scores) in enumerate(theirs):
        np.testing.assert_allclose(scores, ours[query][codes], atol=1e-5)


@pytest.mark.usefixtures("colours_are_stop_words")
def test_gates_that_are_to_match_start_at_stop_words(tiny_encoder: Path, tmp_path: Path) -> None:
    """They are numpy's least squares; the vectors of a tiny encoder hardly tell stop words from others."""
    mine = learner(tiny_encoder, tmp_path, objective="match")
    with torch.inference_mode():
        words = mine.states(range(60), "document")[1].vectors @ mine.head.T
    other = [float(word not in COLOURS) for text in mine.examples.documents for word in text.split()]
    found = np.linalg.lstsq(np.c_[words.double().numpy(), np.ones(len(words))], np.array(other))[0]
    kept = [mine.heads[f"stop_word_reducer.{name}"].detach().flatten() for name in ("weight", "bias")]
    np.testing.assert_allclose(np.concatenate(kept), found, rtol=1e-4)


def test_sentence_vectors_are_to_match_too(tiny_encoder: Path, tmp_path: Path) -> None:
    """By their products, less what is the same for all documents, weighed as in the score against the words' error."""
    mine = learner(tiny_encoder, tmp_path, objective="match", gate_l1=0.5)
    rows, numbers = [0, 3, 5], [1, 4, 7, 2]
    penalty = mine.shortened(rows, numbers)[2].detach()
    (short_q, _, _), (short_d, _, gates) = mine.reduced(rows, "query"), mine.reduced(numbers, "document")
    wide_q, wide_d = (mine.states(some, side)[0] for some, side in ((rows, "query"), (numbers, "document")))  # type: ignore[arg-type]
    errors = (short_q @ short_d.T - wide_q @ wide_d.T).detach().double().numpy()
    errors -= errors.mean(axis=1, keepdims=True)
    expected = (0.8 / 0.2) ** 2 * np.mean(errors**2) + 0.5 * float(gates.detach().mean())
    assert float(penalty) == pytest.approx(expected, rel=1e-4)


def test_words_learn_to_match(tiny_encoder: Path, tmp_path: Path) -> None:
    """What is saved finds by MaxSim more nearly what all dimensions find, for every query and every document."""
    untrained = learner(tiny_encoder, tmp_path, objective="match")
    examples = untrained.examples
    rows, numbers = examples.held.tolist(), range(len(examples.documents))
    with torch.inference_mode():
        asked, found, _ = untrained.shortened(rows, numbers)
        right, before = (
            max_sim(a, b).numpy() for a, b in ((asked.wide, found.wide), (asked.short, found.short))
        )
    how = Fitting(tmp_path / "out", tmp_path, Runtime("cpu", 1))
    fit(recipe(tiny_encoder, objective="match", gate_l1=0.0), examples, how)
    model = opened(tmp_path / "out")
    queries = model.tokens([examples.queries[row].text for row in rows], "query")
    documents = model.tokens(examples.documents, "document")
    after = np.array(
        [
            [(queries[i] @ documents[j].T).max(axis=1).mean() if len(documents[j]) else 0.0 for j in numbers]
            for i in range(len(rows))
        ]
    )

    def error(scores: np.ndarray) -> float:
        off = scores - right
        return float(np.square(off - off.mean(axis=1, keepdims=True)).mean())

    assert error(after) < 0.5 * error(before)


def test_the_cost_of_a_match_is_that_of_its_queries_and_their_own_documents(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    mine = learner(tiny_encoder, tmp_path, objective="match", gate_l1=0.7)
    rows = [0, 9, 21]
    drawn = Candidates.draw(mine.recipe, mine.examples, rows, 5)
    asked, found, penalty = mine.shortened(rows, drawn.documents)
    costs = [match_loss(asked.take([i]), found.take(own)).item() for i, own in enumerate(drawn.own)]
    loss = mine.loss(rows, 5)
    assert loss.item() == pytest.approx(np.mean(costs) + float(penalty.detach()), rel=1e-5)
    loss.backward()
    assert mine.heads["score_merger"].grad is None, "the score's weight stays"
    assert mine.heads["stop_word_reducer.weight"].grad is not None


def test_what_has_no_words_is_nothing_to_match(tiny_encoder: Path, tmp_path: Path) -> None:
    plain = toy_examples()
    documents = [*plain.documents, ""]
    empty = replace(plain.queries[0], positives=(60,), negatives=())
    unasked = replace(plain.queries[1], text="")
    told = replace(plain, documents=documents, queries=[empty, unasked, *plain.queries[2:]])
    mine = learner(tiny_encoder, tmp_path, told, objective="match", gate_l1=0.0, query_prompt="")
    assert mine.loss([0], 0).item() == mine.shortened([0], [60])[2] == 0
    assert 0 < mine.loss([0, 1, 2], 0).item() < np.inf
