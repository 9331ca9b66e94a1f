"""Tests of BlockRank's scores: transformers' eager attention under a dense mask, and their invariants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blockranking import DOCS, QUERY, by_eager, models, scored, stage

from irkit.core.errors import ConfigError
from irkit.models.lm.model import CausalLM
from irkit.pipeline.context import Context

FAMILIES = ["llama", "mistral", "qwen3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    return models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_scores_are_those_of_eager_attention_padded_or_not(
    folder: Callable[..., Path], make_context: Callable[..., Context], family: str, layout: str
) -> None:
    docs = [4, 0, 2, 5, 1, 3]
    model = stage(folder(family), layout=layout, stable_ids=False)
    found = scored(model, make_context(DOCS), docs)
    texts = [DOCS[code] for code in docs]
    for pad in (0, 110, 130) if family == "llama" else (0,):
        expected = by_eager(
            folder(family), texts, QUERY, layout=layout, layer=2, labels=range(len(docs)), pad=pad
        )
        np.testing.assert_allclose([found[code] for code in docs], expected, rtol=1e-5)
    assert np.ptp(list(found.values())) > 0.02
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_the_question_stands_where_it_is_told(
    folder: Callable[..., Path], make_context: Callable[..., Context], layout: str
) -> None:
    far, docs = folder("llama", max_position_embeddings=20_000), [0, 2, 7]
    texts = [DOCS[code] for code in docs]
    for options, start in (({}, 16384), ({"query_position": 2000}, 2000)):
        model = stage(far, layout=layout, layer=1, stable_ids=False, **options)
        found = scored(model, make_context(DOCS), docs)
        expected = by_eager(far, texts, QUERY, layout=layout, layer=1, labels=range(3), start=start)
        np.testing.assert_allclose([found[code] for code in docs], expected, rtol=1e-5)


def test_ids_are_places_numbers_or_codes(
    folder: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    docs = [7, 0, 2]
    texts = [DOCS[code] for code in docs]
    for layout, stable, labels in (
        ("released", None, [0, 1, 2]),
        ("released", True, [2, 0, 1]),
        ("query-free", None, [7, 0, 2]),
        ("query-free", False, [0, 1, 2]),
    ):
        found = scored(stage(folder(), layout=layout, stable_ids=stable), make_context(DOCS), docs)
        expected = by_eager(folder(), texts, QUERY, layout=layout, layer=2, labels=labels)
        np.testing.assert_allclose([found[code] for code in docs], expected, rtol=1e-5)


@pytest.mark.parametrize("layout", ["released", "query-free"])
def test_scores_follow_the_documents_only_when_their_ids_do(
    folder: Callable[..., Path], make_context: Callable[..., Context], layout: str
) -> None:
    context, docs = make_context(DOCS), list(range(8))
    for stable in (True, False):
        model = stage(folder(), layout=layout, stable_ids=stable)
        one, other = scored(model, context, docs), scored(model, context, docs[::-1])
        shuffled = scored(model.model_copy(update={"shuffle": 3}), context, docs)
        for found in (other, shuffled):
            apart = max(abs(one[code] - found[code]) for code in docs)
            assert apart < 1e-6 if stable else apart > 1e-4
    assert model.given(8, QUERY).tolist() == docs


def test_kept_documents_give_the_scores_of_computed_ones(
    folder: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    context = make_context(DOCS)
    plain = stage(folder("qwen3"), layout="query-free")
    lists = [[0, 1, 2], [2, 3, 4, 5], [7, 0], [4, 2, 6]]
    expected = [scored(plain, context, docs, f"{QUERY} {row}") for row, docs in enumerate(lists)]
    for tokens in (2000, 400, 345):  # all fits; some do; hardly any
        model = plain.model_copy(update={"cache_gb": tokens * 3 * 2 * 2 * 16 * 4 / 1e9})
        assert model.meaning() == plain.meaning()
        state = model.prepare(context)
        for row, docs in enumerate(lists):
            assert scored(model, context, docs, f"{QUERY} {row}", state) == expected[row]
    alone = plain.prepare(context)
    assert len(alone.kept) == 0


def test_query_free_is_the_same_in_one_piece(
    folder: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    """A model with sliding layers reads the whole prompt at once; where they reach far enough it is the same model."""
    context, docs = make_context(DOCS), [0, 2, 4, 7]
    plain = stage(folder("mistral"), layout="query-free")
    sliding = stage(folder("mistral", sliding_window=3000), layout="query-free")
    one, other = (model.prepare(context) for model in (plain, sliding))
    assert one.kept is not None and other.kept is None
    found = scored(sliding, context, docs, state=other)
    assert scored(plain, context, docs, state=one) == pytest.approx(found, rel=1e-5)
    with pytest.raises(ConfigError, match="3000 positions back"):
        sliding.model_copy(update={"cache_gb": 1.0}).prepare(context)


def test_layers_above_are_never_called(
    folder: Callable[..., Path], make_context: Callable[..., Context]
) -> None:
    for layout in ("released", "query-free"):
        model = stage(folder("llama", layers=6), layout=layout, layer=2)
        state = model.prepare(make_context(DOCS))
        for layer in state.model.model.model.layers[3:]:
            layer.forward = None  # to be called is an error
        found = scored(model, make_context(DOCS), [0, 2, 7], state=state)
        labels = [0, 1, 2] if layout == "released" else [0, 2, 7]
        texts = [DOCS[code] for code in (0, 2, 7)]
        expected = by_eager(folder("llama", layers=6), texts, QUERY, layout=layout, layer=2, labels=labels)
        np.testing.assert_allclose([found[code] for code in (0, 2, 7)], expected, rtol=1e-5)


def test_tokens_grow_with_the_documents(
    folder: Callable[..., Path], make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document more is as many tokens more, and each sees the instruction and its own document."""
    seen: list[Any] = []
    read = CausalLM.read
    monkeypatch.setattr(
        CausalLM,
        "read",
        lambda self, segments, **rest: [seen.append(segments), read(self, segments, **rest)][1],
    )
    context, model = make_context(["wing lift and drag"] * 8), stage(folder())
    for count in (2, 4, 8):
        scored(model, context, range(count))
    sizes = [len(segments.ids) for segments in seen]
    lead, each = np.diff(seen[0].bounds)[:2]
    assert sizes[1] - sizes[0] == 2 * each and sizes[2] - sizes[1] == 4 * each
    for segments in seen:
        assert segments.context[1:-1].tolist() == [[0, lead]] * (len(segments) - 2)
        assert (segments.positions[segments.bounds[1:-2]] == lead).all()
