"""Tests of encoders: parity with sentence-transformers, independence of companions, prompts, limits, errors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import WORDS

from irkit.core.errors import ConfigError, ModelError
from irkit.models import resolve
from irkit.models.encoder import Encoder, unit


def texts(n: int, seed: int = 0, longest: int = 80) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(0, longest))) for _ in range(n)]


def load(path: Path, **options: Any) -> Encoder:
    return Encoder(resolve(str(path)), **{"device": "cpu", **options})


def test_vectors_are_those_of_sentence_transformers(tiny_encoder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    oracle = SentenceTransformer(str(tiny_encoder), device="cpu")
    ours = load(tiny_encoder, batch_size=5)
    some = texts(40)
    np.testing.assert_allclose(ours.vectors(some, "document"), oracle.encode_document(some), atol=2e-6)
    np.testing.assert_allclose(ours.vectors(some, "query"), oracle.encode_query(some), atol=2e-6)
    assert not np.allclose(
        ours.vectors(some, "query"), ours.vectors(some, "document"), atol=1e-3
    )  # the query has a prompt


def test_a_vector_does_not_depend_on_its_companions(tiny_encoder: Path) -> None:
    import torch

    some = texts(60)
    expected = load(tiny_encoder, batch_size=32).vectors(some, "document")
    order = np.random.default_rng(1).permutation(60)
    before = torch.get_num_threads()
    try:
        for batch_size, threads in [(1, 1), (7, 2), (64, 1)]:
            torch.set_num_threads(threads)
            encoder = load(tiny_encoder, batch_size=batch_size)
            assert np.array_equal(encoder.vectors(some, "document"), expected)
            assert np.array_equal(encoder.vectors([some[i] for i in order], "document"), expected[order])
    finally:
        torch.set_num_threads(before)


def test_prompts_can_be_replaced_and_removed(tiny_encoder: Path) -> None:
    plain = load(tiny_encoder, prompts={"query": ""})
    other = load(tiny_encoder, prompts={"query": "green "})
    assert np.array_equal(plain.vectors(["cat"], "query"), plain.vectors(["cat"], "document"))
    assert np.array_equal(other.vectors(["cat"], "query"), plain.vectors(["green cat"], "query"))


@pytest.mark.parametrize(
    ("prompts", "default"),
    [
        ({"query": "red ", "document": ""}, "query"),
        ({"query": "red "}, "query"),
        ({"query": "", "document": "blue "}, "document"),
        ({"document": "blue "}, "document"),
        ({"other": "moon "}, "other"),
        ({"other": "moon ", "query": "red "}, None),
        ({}, None),
        (None, None),
    ],
)
def test_prompts_are_those_of_sentence_transformers(
    tiny_encoder: Path, tmp_path: Path, prompts: dict[str, str] | None, default: str | None
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = restated(tiny_encoder, tmp_path, prompts, default)
    oracle, ours = SentenceTransformer(str(folder), device="cpu"), load(folder)
    some = ["cat", "dog fish", ""]
    np.testing.assert_allclose(ours.vectors(some, "query"), oracle.encode_query(some), atol=2e-6)
    np.testing.assert_allclose(ours.vectors(some, "document"), oracle.encode_document(some), atol=2e-6)


@pytest.mark.parametrize("name", ["passage", "corpus"])
def test_a_prompt_for_passages_is_put_before_documents(tiny_encoder: Path, tmp_path: Path, name: str) -> None:
    ours = load(restated(tiny_encoder, tmp_path, {"query": "red ", name: "blue "}, "query"))
    plain = load(tiny_encoder, prompts={"document": ""})
    assert np.array_equal(ours.vectors(["cat"], "document"), plain.vectors(["blue cat"], "document"))


def test_the_catalogues_prompt_counts_only_where_the_checkpoint_states_none(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = restated(tiny_encoder, tmp_path, {"query": ""}, None)
    model = replace(resolve(str(folder)), prompts={"query": "green ", "document": "blue "})
    ours, plain = Encoder(model, device="cpu"), load(folder, prompts={"query": "", "document": ""})
    assert np.array_equal(ours.vectors(["cat"], "query"), plain.vectors(["cat"], "query"))
    assert np.array_equal(ours.vectors(["cat"], "document"), plain.vectors(["blue cat"], "document"))


def restated(model: Path, to: Path, prompts: dict[str, str] | None, default: str | None) -> Path:
    """Copy a model and let it state other prompts, or none at all."""
    copy = Path(shutil.copytree(model, to / "restated"))
    file = copy / "config_sentence_transformers.json"
    config = json.loads(file.read_text()) | {"prompts": prompts, "default_prompt_name": default}
    if prompts is None:
        del config["prompts"]
    file.write_text(json.dumps(config))
    return copy


def test_max_length_truncates_and_cannot_exceed_the_model(tiny_encoder: Path) -> None:
    short = load(tiny_encoder, max_length=5)
    assert np.array_equal(
        short.vectors(["cat dog fish"], "document"), short.vectors(["cat dog fish sun moon"], "document")
    )
    long = load(tiny_encoder)
    assert not np.array_equal(
        long.vectors(["cat dog fish"], "document"), long.vectors(["cat dog fish sun moon"], "document")
    )
    with pytest.raises(ConfigError, match="at most 64"):
        load(tiny_encoder, max_length=65)


def test_tokens_are_the_hidden_states_without_padding(tiny_encoder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    oracle = SentenceTransformer(str(tiny_encoder), device="cpu")
    some = texts(20)
    tokens = load(tiny_encoder, batch_size=8).tokens(some, "document")
    expected = [unit(np.asarray(t)) for t in oracle.encode_document(some, output_value="token_embeddings")]
    assert np.diff(tokens.offsets).tolist() == [len(part) for part in expected]
    np.testing.assert_allclose(tokens.vectors, np.concatenate(expected), atol=1e-5)
    bare = load(tiny_encoder).tokens(["cat dog", ""], "document", special=False)
    assert bare.offsets.tolist() == [0, 2, 2]
    assert np.array_equal(bare.vectors, load(tiny_encoder).tokens(["cat dog"], "document").vectors[1:3])


def test_a_multi_vector_model_gives_its_own_tokens(tiny_colbert: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    oracle = MultiVectorEncoder(str(tiny_colbert), device="cpu")
    some = texts(20)
    encoder = load(tiny_colbert, batch_size=8)
    for side, expected in [("document", oracle.encode_document(some)), ("query", oracle.encode_query(some))]:
        tokens = encoder.tokens(some, side)  # type: ignore[arg-type]
        assert np.diff(tokens.offsets).tolist() == [len(part) for part in expected]
        np.testing.assert_allclose(
            tokens.vectors, np.concatenate([np.asarray(part) for part in expected]), atol=2e-6
        )
    with pytest.raises(ModelError, match="maxsim"):
        encoder.vectors(some, "document")
    with pytest.raises(ConfigError, match="query_special_tokens"):
        encoder.tokens(some, "query", special=False)


def test_running_out_of_memory_halves_the_batch(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    notes: dict[str, Any] = {}
    encoder = load(tiny_encoder, batch_size=16, notes=notes)
    forward = encoder._model.forward

    def small(features: dict[str, Any], **options: Any) -> Any:
        if len(features["input_ids"]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(features, **options)

    monkeypatch.setattr(encoder._model, "forward", small)
    some = ["cat dog"] * 16
    found = encoder.vectors(some, "document")
    assert notes["batch_size"].startswith("4")
    assert np.array_equal(found, load(tiny_encoder).vectors(some, "document"))


def test_another_error_of_the_model_is_not_taken_for_lack_of_memory(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(tiny_encoder)

    def broken(features: dict[str, Any], **_options: Any) -> Any:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(encoder._model, "forward", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        encoder.vectors(["cat", "dog"], "document")


def test_vectors_that_are_not_finite_are_an_error(tiny_encoder: Path) -> None:
    import torch

    encoder = load(tiny_encoder)
    with torch.no_grad():
        next(encoder._model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        encoder.vectors(["cat"], "document")


def test_dtype_changes_the_arithmetic_and_not_the_output_type(tiny_encoder: Path) -> None:
    some = texts(10)
    exact, rough = load(tiny_encoder), load(tiny_encoder, dtype="bfloat16")
    a, b = exact.vectors(some, "document"), rough.vectors(some, "document")
    assert a.dtype == b.dtype == np.float32
    assert not np.array_equal(a, b)
    assert (unit(a) * unit(b)).sum(axis=1).min() > 0.98


def test_other_kinds_of_models_are_refused(tiny_cross_encoder: Path) -> None:
    with pytest.raises(ModelError, match="no encoder: CrossEncoder"):
        load(tiny_cross_encoder)


def test_a_device_that_is_not_there(tiny_encoder: Path) -> None:
    with pytest.raises(ConfigError, match="no device 'cuda:99'"):
        load(tiny_encoder, device="cuda:99")


@pytest.mark.model
def test_minilm_is_independent_of_batch_and_threads() -> None:
    import torch

    encoder = Encoder(resolve("minilm"), device="cpu", batch_size=16)
    words = [
        "the",
        "effect",
        "of",
        "vitamin",
        "D",
        "on",
        "bone",
        "density",
        "in",
        "older",
        "women",
        "was",
        "studied",
        "over",
        "five",
        "years",
    ]
    rng = np.random.default_rng(0)
    some = [" ".join(rng.choice(words, rng.integers(1, 60))) for _ in range(24)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = encoder.vectors(some, "document")
        torch.set_num_threads(2)
        other = Encoder(resolve("minilm"), device="cpu", batch_size=5).vectors(some[::-1], "document")[::-1]
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(one, other)
    np.testing.assert_allclose((one * one).sum(axis=1), 1, atol=1e-5)  # the model normalises
