"""Tests of in-context reranking against a plain implementation of the paper over transformers' own attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from icr_paper import ASKED, DOCS, close, icr, paper, run
from tiny_lm import FAMILIES, tiny_lm

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.lm.packing import read_prompts
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.rerank.calibration import HeadScores
from irkit.stages.rerank.icr_prompt import make_prompt


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("lm")
    return {family: tiny_lm(root / family, family, layers=3) for family in FAMILIES}


@pytest.fixture
def llama(folders: dict[str, Path]) -> str:
    return str(folders["llama"])


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_the_papers(
    family: str, folders: dict[str, Path], make_context: Callable[..., Context]
) -> None:
    (found,) = run(icr(folders[family]), make_context(DOCS), [ASKED])
    codes = range(len(DOCS))[::-1]  # the best one last
    expected = paper(folders[family], ASKED, [DOCS[code] for code in codes])
    close(found, expected, codes)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gemma"])
def test_half_precision_ranks_alike(
    family: str, folders: dict[str, Path], make_context: Callable[..., Context]
) -> None:
    """Kendall's tau of 0.99 means the same order of so few documents."""
    asked = "drag of the wing"  # of which no two documents have nearly the same score
    (found,) = run(icr(folders[family], dtype="bfloat16", order="given"), make_context(DOCS), [asked])
    expected = paper(folders[family], asked, DOCS)
    assert list(found) == sorted(range(len(DOCS)), key=lambda code: -expected[code])


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"rows": "query"}, {"rows": "query"}),
    ({"calibrate": False}, {"calibrate": False}),
    ({"layers": (1, 1)}, {"heads": {(1, head) for head in range(4)}}),
    ({"heads": ("2-3", "0-1")}, {"heads": {(2, 3), (0, 1)}}),
    ({"heads": [f"{layer}-{head}" for layer in range(3) for head in range(4)]}, {}),
]


@pytest.mark.parametrize(("options", "meaning"), OPTIONS)
def test_options_are_the_papers_too(
    options: dict[str, Any],
    meaning: dict[str, Any],
    folders: dict[str, Path],
    make_context: Callable[..., Context],
) -> None:
    (found,) = run(icr(folders["llama"], order="given", **options), make_context(DOCS), [ASKED])
    close(found, paper(folders["llama"], ASKED, DOCS, **meaning), range(len(DOCS)))


def test_all_heads_named_are_all_heads(llama: str, make_context: Callable[..., Context]) -> None:
    every = tuple(f"{layer}-{head}" for layer in range(3) for head in range(4))
    context = make_context(DOCS)
    whole = run(icr(llama), context, [ASKED])
    assert run(icr(llama, heads=every), context, [ASKED]) == whole
    assert run(icr(llama, layers=(0, 2)), context, [ASKED]) == whole


def test_nothing_asked_gives_nothing(llama: str, make_context: Callable[..., Context]) -> None:
    for options in ({}, {"heads": ("1-2",)}, {"rows": "query"}, {"window": 3}):
        (found,) = run(icr(llama, **options), make_context(DOCS), [" N/A\n"])
        if "window" not in options:
            assert set(found.values()) == {0.0}
        assert list(found) == sorted(found, key=lambda code: (-found[code], -code))


def test_both_passes_share_the_documents(llama: str, make_context: Callable[..., Context]) -> None:
    """One pass over three segments is what two passes, each over a whole prompt, give."""
    model = icr(llama).prepare(make_context(DOCS)).model
    prompt = make_prompt(model, ASKED, DOCS)

    class Rows:
        def __init__(self, _: Any) -> None:
            self.found: dict[tuple[int, int], np.ndarray] = {}

        def take(self, layer: int, read: int, weights: torch.Tensor) -> None:
            self.found[layer, read] = weights.numpy().copy()

    (shared,) = read_prompts(model, [prompt.prompt], Rows)
    for read, query in enumerate((ASKED, "N/A")):
        alone = make_prompt(model, query, DOCS, calibrate=False)
        (found,) = read_prompts(model, [alone.prompt], Rows)
        for layer in range(3):
            np.testing.assert_allclose(shared.found[layer, read], found.found[layer, 0], rtol=2e-5, atol=1e-8)


def test_head_scores_are_those_of_each_head(llama: str, make_context: Callable[..., Context]) -> None:
    context = make_context(DOCS)
    model = icr(llama).prepare(context).model
    prompt = make_prompt(model, ASKED, DOCS)
    (collected,) = read_prompts(model, [prompt.prompt], lambda _: HeadScores(prompt.bounds))
    scores = collected.result()
    assert scores.shape == (3, 4, len(DOCS))
    for layer, head in ((0, 0), (1, 2), (2, 3)):
        (found,) = run(icr(llama, order="given", heads=(f"{layer}-{head}",)), context, [ASKED])
        close(found, scores[layer, head], range(len(DOCS)))


def test_only_the_layers_that_are_read_run(llama: str, make_context: Callable[..., Context]) -> None:
    stage = icr(llama, heads=("0-1", "1-0"))
    state = stage.prepare(make_context(DOCS))
    ran = []
    for number, layer in enumerate(state.model.model.base_model.layers):
        layer.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    before = Rankings.from_lists([[0, 1, 2]], [[3, 2, 1]])
    stage.run(Batch(Queries.of([ASKED]), (before,)), state)
    assert ran == [0, 1]


def test_queries_do_not_change_each_other(llama: str, make_context: Callable[..., Context]) -> None:
    queries = [ASKED, "N/A", "", "lift {x} <|end|> 北京", "heat"]
    context = make_context(DOCS)
    for options in ({}, {"window": 3}):
        stage = icr(llama, **options)
        together = run(stage, context, queries)
        assert together == [run(stage, context, [query])[0] for query in queries]
        assert list(together[2]) == list(range(len(DOCS)))  # a blank query keeps the order


def test_packed_prompts_are_read_as_one_by_one(llama: str, make_context: Callable[..., Context]) -> None:
    """On an accelerator prompts share a pass: pretend to be on one."""
    stage = icr(llama)
    state = stage.prepare(make_context(DOCS))
    prompts = [
        make_prompt(state.model, query, DOCS[: 3 + number])
        for number, query in enumerate(["heat", ASKED, "lift"])
    ]
    bounds = {prompt.prompt: prompt.bounds for prompt in prompts}

    def read() -> list[np.ndarray]:
        given = [prompt.prompt for prompt in prompts]
        return [
            each.result()
            for each in read_prompts(state.model, given, lambda prompt: HeadScores(bounds[prompt]))
        ]

    alone = read()

    class Elsewhere(str):
        """Goes to the CPU, and is called otherwise."""

        def __ne__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    state.model.device = Elsewhere("cpu")
    for one, other in zip(alone, read(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
