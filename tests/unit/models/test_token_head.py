"""Tests of trained projections of token vectors, and of updates of the encoder below them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import adapt, describe, head
from tiny import WORDS

from irkit.core.errors import ModelError
from irkit.core.queries import Queries
from irkit.models import resolve
from irkit.models.encoder import Encoder
from irkit.models.trained import HEAD
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.dense import Dense
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.muvera import Muvera
from irkit.stages.multivector.xtr import Xtr

TEXTS = ["red cat", "", "green stone in the river " * 3, "moon", " ".join(WORDS)]


def load(path: Path | str, **options: Any) -> Encoder:
    return Encoder(resolve(str(path)), **{"device": "cpu", **options})


def trained(folder: Path, base: Path, **options: Any) -> Path:
    known = (str(base), resolve(str(base)).fingerprint)
    return describe(folder, "multivector", known, {"dim": 8, "normalise": True, **options})


@pytest.mark.parametrize("side", ["query", "document"])
@pytest.mark.parametrize("special", [True, False])
def test_tokens_are_the_projected_tokens_of_the_base(
    tiny_encoder: Path, tmp_path: Path, side: Any, special: bool
) -> None:
    weight = head(trained(tmp_path / "model", tiny_encoder), 8, 32).astype(np.float64)
    ours, plain = load(tmp_path / "model"), load(tiny_encoder)
    assert (ours.token_dim, plain.token_dim) == (8, 32)
    assert not ours.multi_vector
    found, base = (each.tokens(TEXTS, side, special=special, words=True) for each in (ours, plain))
    assert np.array_equal(found.offsets, base.offsets)
    assert np.array_equal(found.words, base.words)  # type: ignore[arg-type]
    projected = base.vectors.astype(np.float64) @ weight.T
    expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, expected, atol=2e-6)
    for threads, batch_size in ((2, 1), (1, 3)):
        again = load(tmp_path / "model", batch_size=batch_size, threads=threads)
        assert np.array_equal(again.tokens(TEXTS, side, special=special).vectors, found.vectors)


def test_without_normalise_lengths_stay(tiny_encoder: Path, tmp_path: Path) -> None:
    weight = head(trained(tmp_path / "model", tiny_encoder, normalise=False), 8, 32)
    found = load(tmp_path / "model").tokens(["red cat"], "document").vectors
    raw = load(tiny_encoder)
    features = raw.features(["red cat"], "document")
    states = raw.loaded(dict(features))["token_embeddings"][0].detach().numpy()
    np.testing.assert_allclose(found, states @ weight.T, rtol=1e-4, atol=1e-4)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).min() > 0.01


def test_updates_of_the_encoder_are_merged_below_the_projection(tiny_encoder: Path, tmp_path: Path) -> None:
    import torch

    plain = load(tiny_encoder)
    folder = trained(tmp_path / "model", tiny_encoder)
    weights = adapt(
        folder, plain.loaded.transformers_model, str(tiny_encoder), target_modules=["query", "value"]
    )
    matrix = head(folder, 8, 32)
    found = load(folder)
    assert resolve(str(folder)).trained.adapter  # type: ignore[union-attr]
    oracle = load(tiny_encoder)
    before = oracle.tokens(TEXTS, "document").vectors
    with torch.no_grad():
        for name, each in oracle.loaded.transformers_model.named_parameters():
            if name in weights:
                each.copy_(weights.pop(name))
    assert not weights
    states = oracle.tokens(TEXTS, "document").vectors.astype(np.float64)
    assert np.abs(states - before).max() > 0.01
    expected = states @ matrix.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.tokens(TEXTS, "document").vectors, expected, atol=1e-5)


def test_updates_alone_make_a_bi_encoder(tiny_encoder: Path, tmp_path: Path) -> None:
    """An adapter from the hub, which says nothing of what it is for."""
    plain = load(tiny_encoder)
    before = plain.vectors(TEXTS, "query")
    model = load(tiny_encoder).loaded.transformers_model
    adapt(
        tmp_path / "model", model, str(tiny_encoder), target_modules=["query"], task_type="FEATURE_EXTRACTION"
    )
    after = load(tmp_path / "model").vectors(TEXTS, "query")
    assert after.shape == before.shape
    assert np.abs(after - before).max() > 0.01
    with pytest.raises(ModelError, match="does not fit"):
        file = tmp_path / "model" / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"target_modules": ["key"]}))
        load(tmp_path / "model")


def test_what_training_said_of_length_and_prompts_holds_unless_the_stage_says_otherwise(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    said = {"max_length": 6, "query_prompt": "green ", "document_prompt": ""}
    head(trained(tmp_path / "model", tiny_encoder, **said), 8, 32)
    head(trained(tmp_path / "bare", tiny_encoder), 8, 32)
    long = " ".join(WORDS[:12])
    ours, bare = load(tmp_path / "model"), load(tmp_path / "bare")
    assert len(ours.tokens([long], "document").vectors) == 6
    assert len(load(tmp_path / "model", max_length=9).tokens([long], "document").vectors) == 9
    told = load(tmp_path / "bare", prompts={"query": "green "})
    assert np.array_equal(ours.tokens(["cat"], "query").vectors, told.tokens(["cat"], "query").vectors)
    assert not np.array_equal(ours.tokens(["cat"], "query").vectors, bare.tokens(["cat"], "query").vectors)
    empty = load(tmp_path / "model", prompts={"query": "red "})
    assert np.array_equal(empty.tokens(["cat"], "query").vectors, bare.tokens(["cat"], "query").vectors)


def test_it_gives_no_vectors_of_texts(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    head(trained(tmp_path / "model", tiny_encoder), 8, 32)
    with pytest.raises(ModelError, match="gives token vectors only") as error:
        load(tmp_path / "model").vectors(["cat"], "document")
    assert "the model that it was trained from" in str(error.value)
    with pytest.raises(ModelError, match="gives token vectors only"):
        Dense(model=str(tmp_path / "model"), device="cpu").prepare(make_context(TEXTS))


@pytest.mark.parametrize("stage", [MaxSim, Muvera, Xtr])
def test_the_stages_search_with_it(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context], stage: Any
) -> None:
    """Exact MaxSim by hand; the two that approximate find the document that is the query's own text."""
    weight = head(trained(tmp_path / "model", tiny_encoder), 8, 32)
    context = make_context([text or "dog" for text in TEXTS])
    one = stage(model=str(tmp_path / "model"), device="cpu", query_prompt="", k=5)
    keys = [recipe.key for recipe in one.artifacts(context)]
    found = one.run(Batch(Queries.of(["moon", "red cat"])), one.prepare(context))
    assert [found[row][0][0] for row in (0, 1)] == [3, 0]
    if stage is MaxSim:
        encoder = load(tmp_path / "model", prompts={"query": ""})
        documents = encoder.tokens([text or "dog" for text in TEXTS], "document")
        query = encoder.tokens(["moon"], "query", special=False).vectors
        best = [
            (query @ documents.vectors[a:b].T).max(axis=1).sum()
            for a, b in zip(documents.offsets, documents.offsets[1:], strict=False)
        ]
        order = np.argsort(found[0][0])
        np.testing.assert_allclose(found[0][1][order], best, atol=2e-3)  # documents are kept in float16
    head(tmp_path / "model", 8, 32, seed=1)
    assert not np.array_equal(weight, head(tmp_path / "model", 8, 32, seed=1))
    assert [recipe.key for recipe in one.artifacts(context)] != keys


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda file: head(file.parent, 8, 16), "for vectors of 16 dimensions, .* gives 32"),
        (lambda file: file.write_bytes(b"{}"), "the projection is damaged"),
        (lambda file: _save(file, {"other": np.ones((8, 32), np.float32)}), "no tensor 'weight'"),
        (lambda file: _save(file, {"weight": np.ones(8, np.float32)}), "no matrix of finite numbers"),
        (lambda file: _save(file, {"weight": np.full((8, 32), np.nan, np.float32)}), "no matrix of finite"),
    ],
)
def test_a_projection_that_does_not_fit_is_refused(
    tiny_encoder: Path, tmp_path: Path, damage: Callable[[Path], Any], told: str
) -> None:
    folder = trained(tmp_path / "model", tiny_encoder)
    head(folder, 8, 32)
    damage(folder / HEAD)
    with pytest.raises(ModelError, match=told):
        load(folder)


def _save(file: Path, tensors: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, file)


def test_a_whole_trained_encoder_has_its_projection_beside_it(tiny_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "whole")
    describe(tmp_path / "whole", "multivector", None, {"dim": 8})
    matrix = head(tmp_path / "whole", 8, 32)
    head(trained(tmp_path / "model", tiny_encoder), 8, 32)
    one, other = (load(tmp_path / name).tokens(TEXTS, "query") for name in ("whole", "model"))
    assert len(matrix) == 8
    assert np.array_equal(one.vectors, other.vectors)


def test_a_base_that_decides_about_its_tokens_itself_is_refused(tiny_colbert: Path, tmp_path: Path) -> None:
    head(trained(tmp_path / "model", tiny_colbert), 8, 32)
    with pytest.raises(ModelError, match="updates of a MultiVectorEncoder cannot be loaded"):
        load(tmp_path / "model")


def test_a_token_head_is_no_language_model(tiny_encoder: Path, tmp_path: Path) -> None:
    from irkit.models.lm.model import CausalLM

    head(trained(tmp_path / "model", tiny_encoder), 8, 32)
    with pytest.raises(ModelError, match="is no language model"):
        CausalLM(resolve(str(tmp_path / "model")), device="cpu")
