"""The models that irkit carries load with their bases, by name, and do in small what they were trained for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.catalogue import catalogue
from irkit.models.opening import open_encoder
from irkit.models.resolve import resolve
from irkit.pipeline.stage import Batch
from irkit.stages.multivector.colberter import Colberter
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.pruning import stop_words
from irkit.stages.multivector.xtr import Xtr
from irkit.stages.rerank.blockrank import BlockRank

DOCS = [
    "The boundary layer over a flat plate in supersonic flow, with heat transfer at the wall.",
    "Statins lower cholesterol and the risk of heart disease in adults.",
    "Vitamin D supplements in the prevention of fractures among the elderly.",
    "Wing flutter of a slender aircraft was measured in the wind tunnel.",
    "Diets of nuts and olive oil, and the risk of stroke.",
]
QUERIES = {
    "Does olive oil protect against stroke?": 4,
    "heating of a wall by a flow faster than sound": 0,
    "flutter of wings in the wind tunnel": 3,
}
STAGES: dict[str, Any] = {
    "irkit/minilm-multivector-64": MaxSim,
    "irkit/minilm-xtr-64": Xtr,
    "irkit/minilm-words": Colberter,
    "irkit/smollm2-blockrank": BlockRank,
    "irkit/smollm2-blockrank-query-free": BlockRank,
}


def test_every_model_is_here() -> None:
    assert {name for name in catalogue() if name.startswith("irkit/")} == set(STAGES)


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if stage is not BlockRank])
def test_retrievers_find_what_is_asked(name: str, make_context: Callable[..., Any]) -> None:
    stage = STAGES[name](model=name, k=len(DOCS))
    found = stage.run(Batch(Queries.of(list(QUERIES))), stage.prepare(make_context(DOCS)))
    assert [int(codes[0]) for codes, _ in found] == list(QUERIES.values())


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if stage is BlockRank])
def test_rerankers_put_first_what_is_asked(name: str, make_context: Callable[..., Any]) -> None:
    stage = BlockRank(model=name)
    state, given = stage.prepare(make_context(DOCS)), [[3, 1, 0, 2, 4], [4, 1, 2, 3, 0], [1, 2, 4, 0, 3]]
    candidates = Rankings.from_lists(given, [-np.arange(len(DOCS))] * len(given))
    found = stage.run(Batch(Queries.of(list(QUERIES)), (candidates,)), state)
    assert [int(codes[0]) for codes, _ in found] == list(QUERIES.values())


def test_gates_keep_the_words_that_say_something() -> None:
    model = open_encoder(resolve("irkit/minilm-words"), device="cpu")
    plain, stops = open_encoder(resolve("minilm"), device="cpu"), set(stop_words().tolist())
    said: dict[bool, list[float]] = {True: [], False: []}
    for text in DOCS:
        kept, every = (each.tokens([text], "document", words=True) for each in (model, plain))
        gates = dict(zip(kept.words.tolist(), np.linalg.norm(kept.vectors, axis=1), strict=True))
        for word in set(every.words.tolist()) - {0}:
            said[word in stops].append(float(gates.get(word, 0.0)))
    assert np.mean(said[True]) < 0.7 * np.mean(said[False])
