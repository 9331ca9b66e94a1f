"""Which class opens a folder, and what every encoder offers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irkit.core.errors import ModelError
from irkit.models import resolve
from irkit.models.encoder import Encoder
from irkit.models.kinds import model_type
from irkit.models.opening import TextEncoder, open_encoder


@pytest.mark.parametrize("name", ["tiny_encoder", "tiny_colbert", "tiny_stanford", "tiny_pylate", "tiny_xtr"])
def test_sentence_transformers_models_are_opened_by_encoder(
    name: str, request: pytest.FixtureRequest
) -> None:
    notes: dict[str, Any] = {}
    encoder = open_encoder(
        resolve(str(request.getfixturevalue(name))), device="cpu", dtype="bfloat16", notes=notes
    )
    assert isinstance(encoder, Encoder)
    assert notes["dtype"] == "bfloat16"
    some = encoder.tokens(["cat dog"], "document")
    assert some.vectors.shape[1] == encoder.token_dim


def test_a_colberter_is_opened_by_its_own_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "model_type": "ColBERT",
        "bert_model": "x",
        "compression_dim": 32,
        "retrieval_compression_dim": 128,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_type(tmp_path) == "ColBERTer"
    given: dict[str, Any] = {}

    class Stub:
        def __init__(self, model: Any, **options: Any) -> None:
            given.update(options, model=model)

    monkeypatch.setattr("irkit.models.colberter.ColBERTer", Stub)
    model = resolve(str(tmp_path))
    opened: TextEncoder = open_encoder(model, device="cpu", max_length=7, batch_size=3)
    assert isinstance(opened, Stub)
    assert (given["model"], given["max_length"], given["batch_size"]) == (model, 7, 3)
    with pytest.raises(ModelError, match="open_encoder"):
        Encoder(model, device="cpu")


def test_a_single_file_and_a_cross_encoder_are_refused(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no encoder: CrossEncoder"):
        open_encoder(resolve(str(tiny_cross_encoder)), device="cpu")


def test_the_dimension_of_tokens_is_that_before_the_pooling(tiny_encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    model.append(Dense(32, 8))
    model.save_pretrained(str(tmp_path / "pooled"))
    encoder = Encoder(resolve(str(tmp_path / "pooled")), device="cpu")
    assert (encoder.dim, encoder.token_dim) == (8, 32)
    assert encoder.vectors(["cat"], "document").shape == (1, 8)
    assert encoder.tokens(["cat"], "document").vectors.shape == (3, 32)
    assert encoder.tokens([], "document").vectors.shape == (0, 32)


def test_a_model_without_token_vectors_says_so(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1}, unk_token="[UNK]"))
    static = StaticEmbedding(words, embedding_dim=4)
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(tmp_path / "model"))
    encoder = Encoder(resolve(str(tmp_path / "model")), device="cpu")
    assert np.isfinite(encoder.vectors(["cat"], "document")).all()
    with pytest.raises(ModelError, match="no token vectors"):
        encoder.tokens(["cat"], "document")
