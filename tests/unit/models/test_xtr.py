"""XTR checkpoints against a plain reading of them: T5EncoderModel of transformers, one text at a time, without padding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import WORDS

from irkit.core.errors import ConfigError, ModelError
from irkit.models import resolve
from irkit.models.encoder import Encoder
from irkit.models.kinds import model_type

LENGTH = {"query": 32, "document": 512}


def load(path: Path, **options: Any) -> Encoder:
    return Encoder(resolve(str(path)), **{"device": "cpu", **options})


def reference(folder: Path, text: str, side: str) -> NDArray[np.float64]:
    """Lower-case, tokenise with the end-of-sequence token, encode, project, divide by the norm."""
    import torch
    from transformers import AutoTokenizer, T5EncoderModel

    tokeniser = AutoTokenizer.from_pretrained(folder)
    ids = tokeniser(text.lower(), truncation=True, max_length=LENGTH[side], return_tensors="pt").input_ids
    projection = torch.load(folder / "2_Dense" / "pytorch_model.bin", weights_only=True)["linear.weight"]
    with torch.inference_mode():
        hidden = T5EncoderModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state[0]
    vectors: NDArray[np.float64] = (hidden @ projection.T).double().numpy()[ids[0] != 0]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def maxsim(query: NDArray[Any], document: NDArray[Any]) -> float:
    """XTR's score where every document token is retrieved: the mean over query tokens of the best similarity."""
    return float(np.mean([max(float(q @ d) for d in document) for q in query]))


def texts(n: int, longest: int) -> list[str]:
    rng = np.random.default_rng(n)
    return [
        "RED Dog, cat.",
        "xyz-zebra",
        *(" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n)),
    ]


@pytest.mark.parametrize(("side", "longest"), [("query", 60), ("document", 30)])
def test_token_vectors_are_those_of_a_plain_reading(tiny_xtr: Path, side: Any, longest: int) -> None:
    some = texts(6, longest)
    tokens = load(tiny_xtr, batch_size=4).tokens(some, side)
    for i, text in enumerate(some):
        expected = reference(tiny_xtr, text, side)
        assert tokens[i].shape == expected.shape
        np.testing.assert_allclose(tokens[i], expected, atol=3e-6)


def test_scores_are_those_of_a_plain_reading(tiny_xtr: Path) -> None:
    queries, documents = ["red Dog", "sun moon"], ["The DOG", "a red, red moon", "fish"]
    encoder = load(tiny_xtr)
    q, d = encoder.tokens(queries, "query"), encoder.tokens(documents, "document")
    found = [[maxsim(q[i], d[j]) for j in range(3)] for i in range(2)]
    expected = [
        [
            maxsim(reference(tiny_xtr, query, "query"), reference(tiny_xtr, text, "document"))
            for text in documents
        ]
        for query in queries
    ]
    np.testing.assert_allclose(found, expected, atol=3e-6)
    assert np.ptp(expected) > 0.05


def test_text_is_lower_cased_and_cut_with_its_end_kept(tiny_xtr: Path) -> None:
    encoder = load(tiny_xtr)
    assert np.array_equal(
        encoder.tokens(["RED CAT"], "query").vectors, encoder.tokens(["red cat"], "query").vectors
    )
    assert len(encoder.tokens(["red cat"], "query").vectors) == 3  # the end-of-sequence token counts
    long = " ".join(["cat"] * 600)
    assert len(encoder.tokens([long], "query").vectors) == 32
    assert len(encoder.tokens([long], "document").vectors) == 512


def test_a_vector_does_not_depend_on_its_companions(tiny_xtr: Path) -> None:
    some = texts(30, 60)
    expected = load(tiny_xtr, batch_size=32).tokens(some, "document").vectors
    assert np.array_equal(load(tiny_xtr, batch_size=3).tokens(some, "document").vectors, expected)
    assert np.array_equal(load(tiny_xtr, batch_size=1, threads=2).tokens(some, "document").vectors, expected)


def test_dimensions_and_limits(tiny_xtr: Path) -> None:
    encoder = load(tiny_xtr, max_length=5)
    assert encoder.multi_vector
    assert encoder.token_dim == encoder.dim == 16
    long = " ".join(["cat"] * 40)
    assert len(encoder.tokens([long], "document").vectors) == 5
    assert len(encoder.tokens([long], "query").vectors) == 32  # max_length is for documents
    with pytest.raises(ConfigError, match="at most 512"):
        load(tiny_xtr, max_length=513)
    with pytest.raises(ModelError, match="token vectors only"):
        encoder.vectors(["cat"], "query")


def test_safetensors_and_other_settings_of_the_projection(tiny_xtr: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    expected = load(tiny_xtr).tokens(["red cat"], "document").vectors
    copy = Path(shutil.copytree(tiny_xtr, tmp_path / "model"))
    head = copy / "2_Dense"
    save_file(torch.load(head / "pytorch_model.bin", weights_only=True), head / "model.safetensors")
    (head / "pytorch_model.bin").unlink()
    config = json.loads((head / "config.json").read_text())
    del config["activation_function"]  # none, not the Tanh that a Dense module has by default
    config["module_input_name"] = "sentence_embedding"
    (head / "config.json").write_text(json.dumps(config))
    assert np.array_equal(load(copy).tokens(["red cat"], "document").vectors, expected)


def test_a_pickle_that_runs_code_is_not_loaded(tiny_xtr: Path, tmp_path: Path) -> None:
    import torch

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.write_text, (proof, "the pickle ran"))

    copy, proof = Path(shutil.copytree(tiny_xtr, tmp_path / "model")), tmp_path / "proof"
    torch.save({"linear.weight": Bomb()}, copy / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy)
    assert not proof.exists()


def test_a_projection_of_another_shape_is_an_error(tiny_xtr: Path, tmp_path: Path) -> None:
    import torch

    copy = Path(shutil.copytree(tiny_xtr, tmp_path / "model"))
    torch.save({"linear.weight": torch.zeros(16, 31)}, copy / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy)


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_are_missing_are_not_made_up(tiny_xtr: Path, tmp_path: Path, kind: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    expected = load(tiny_xtr).tokens(["red cat"], "document").vectors
    copy = Path(shutil.copytree(tiny_xtr, tmp_path / "model"))
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()

    def save(some: dict[str, Any]) -> None:
        if kind.endswith(".bin"):
            torch.save(some, copy / kind)
        else:
            save_file(some, copy / kind, {"format": "pt"})

    save(weights)
    assert np.array_equal(load(copy).tokens(["red cat"], "document").vectors, expected)
    save({name: value for name, value in weights.items() if "block.1" not in name})
    with pytest.raises(ModelError, match="weights of the encoder are missing"):
        load(copy)


def test_what_is_xtr_and_what_is_not(tiny_xtr: Path, tmp_path: Path) -> None:
    assert model_type(tiny_xtr) == "XTR"
    copy = Path(shutil.copytree(tiny_xtr, tmp_path / "model"))
    plain = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    (copy / "modules.json").write_text(json.dumps(plain))
    (copy / "1_Pooling").mkdir()
    assert model_type(copy) == "XTR"
    pooling = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    (copy / "modules.json").write_text(json.dumps([*plain, pooling]))
    assert model_type(copy) == "SentenceTransformer"  # GTR: one vector a text
    (copy / "modules.json").unlink()
    (copy / "config_sentence_transformers.json").write_text('{"model_type": "MultiVectorEncoder"}')
    assert model_type(copy) == "MultiVectorEncoder"
    (copy / "config_sentence_transformers.json").unlink()
    (copy / "2_Dense" / "config.json").unlink()
    assert model_type(copy) == "SentenceTransformer"
