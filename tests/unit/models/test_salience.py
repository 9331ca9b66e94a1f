"""The attention that tokens receive, against transformers run on one text without padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import WORDS

from irkit.core.errors import ModelError
from irkit.models import resolve
from irkit.models.encoder import Encoder

MODELS = ["tiny_encoder", "tiny_xtr", "tiny_stanford"]


def load(path: Path, **options: Any) -> Encoder:
    return Encoder(resolve(str(path)), **{"device": "cpu", **options})


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(n)
    return ["red, cat", "", *(" ".join(rng.choice(WORDS, rng.integers(1, 14))) for _ in range(n))]


def reference(folder: Path, text: str) -> NDArray[np.float64]:
    """Sum up, position by position, what the last layer's heads pay to each token, and take the mean."""
    import torch
    from transformers import AutoTokenizer, BertModel, T5EncoderModel

    tokeniser = AutoTokenizer.from_pretrained(folder)
    kind = T5EncoderModel if (folder / "2_Dense").exists() else BertModel
    model = kind.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        given = tokeniser(text, return_tensors="pt")
        weights = model(**given, output_attentions=True).attentions[-1][0].double().numpy()
    heads, positions, _ = weights.shape
    return np.array(
        [
            sum(weights[h, i, j] for h in range(heads) for i in range(positions)) / (heads * positions)
            for j in range(positions)
        ]
    )


@pytest.mark.parametrize("name", MODELS[:2])
def test_salience_is_what_transformers_gives(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    some = texts(5)
    tokens = load(folder, batch_size=4).tokens(some, "document", salience=True)
    assert tokens.salience is not None
    assert tokens.salience.dtype == np.float32
    for i, text in enumerate(some):
        found = tokens.salience[tokens.offsets[i] : tokens.offsets[i + 1]]
        np.testing.assert_allclose(found, reference(folder, text), atol=1e-6)
        assert abs(found.sum() - 1) < 1e-5
        assert len(found) < 3 or np.ptp(found) > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_vectors_are_the_usual_ones_before_after_and_nearly_meanwhile(
    name: str, request: pytest.FixtureRequest
) -> None:
    encoder = load(request.getfixturevalue(name))
    some = texts(5)
    usual = encoder.tokens(some, "document")
    watched = encoder.tokens(some, "document", salience=True, words=True)
    np.testing.assert_allclose(watched.vectors, usual.vectors, atol=3e-6)
    assert np.array_equal(watched.offsets, usual.offsets)
    assert watched.words is not None
    assert usual.salience is None
    assert np.array_equal(encoder.tokens(some, "document").vectors, usual.vectors)
    assert encoder._model.transformers_model.config._attn_implementation != "eager"


@pytest.mark.parametrize("name", MODELS)
def test_salience_does_not_depend_on_companions(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    some = texts(30)
    expected = load(folder, batch_size=32).tokens(some, "document", salience=True)
    for options in ({"batch_size": 1}, {"batch_size": 7, "threads": 2}):
        found = load(folder, **options).tokens(some, "document", salience=True)
        assert np.array_equal(found.salience, expected.salience)  # type: ignore[arg-type]
        assert np.array_equal(found.vectors, expected.vectors)


def test_expansion_tokens_of_a_query_receive_nothing(tiny_stanford: Path) -> None:
    salience = load(tiny_stanford).tokens(["red cat"], "query", salience=True).salience
    assert salience is not None
    assert len(salience) == 32
    assert (salience[:5] > 0).all()
    assert not salience[5:].any()


def test_only_kept_tokens_have_one(tiny_encoder: Path) -> None:
    encoder = load(tiny_encoder)
    whole = encoder.tokens(["red cat"], "document", salience=True).salience
    bare = encoder.tokens(["red cat"], "document", special=False, salience=True).salience
    assert whole is not None
    assert bare is not None
    assert np.array_equal(bare, whole[1:3])


def test_a_batch_holds_what_its_attention_weights_allow(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "irkit.models.salience._BUDGET", 3 * 4 * 2 * 4 * 16 * 16
    )  # 3 texts, 2 layers, 4 heads
    encoder = load(tiny_encoder)
    sizes, forward = [], encoder._model.forward

    def counting(features: dict[str, Any], **options: Any) -> Any:
        sizes.append(features["input_ids"].shape)
        return forward(features, **options)

    monkeypatch.setattr(encoder._model, "forward", counting)
    encoder.tokens(["red cat"] * 7, "document", salience=True)
    assert [shape[0] for shape in sizes] == [3, 3, 1]
    sizes.clear()
    encoder.tokens(["red cat"] * 7, "document")
    assert [shape[0] for shape in sizes] == [7]


def test_a_model_that_gives_no_attentions_is_an_error(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(tiny_encoder)
    forward = encoder._model.transformers_model.forward

    def silent(output_attentions: bool = False, **given: Any) -> Any:
        return forward(**given)

    monkeypatch.setattr(encoder._model.transformers_model, "forward", silent)
    with pytest.raises(ModelError, match="cannot give its attention weights"):
        encoder.tokens(["cat"], "document", salience=True)
    assert encoder._model.transformers_model.forward is silent
    assert len(encoder.tokens(["cat"], "document").vectors) == 3


def test_a_model_that_cannot_switch_its_attention_is_an_error(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(tiny_encoder)

    def refuse(_kind: str) -> None:
        raise ValueError("eager is not supported")

    monkeypatch.setattr(encoder._model.transformers_model, "set_attn_implementation", refuse)
    with pytest.raises(ModelError, match="eager is not supported"):
        encoder.tokens(["cat"], "document", salience=True)
