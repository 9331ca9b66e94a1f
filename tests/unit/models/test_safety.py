"""Tests that loading a stranger's model runs nothing of its own."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from irkit.core.errors import ModelError
from irkit.models import resolve
from irkit.models.encoder import Encoder
from irkit.models.kinds import model_type
from irkit.models.safety import check_folder
from irkit.models.scorer import PairScorer


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.target, "the pickle ran"))


def copy(model: Path, to: Path) -> Path:
    shutil.copytree(model, to)
    return to


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_pickle_that_runs_code_is_not_loaded(tiny_encoder: Path, tmp_path: Path) -> None:
    import torch

    model, proof = copy(tiny_encoder, tmp_path / "model"), tmp_path / "proof"
    (model / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Bomb(proof)}, model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Encoder(resolve(str(model)), device="cpu")
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(ModelError, match="cannot be loaded"):
        Encoder(resolve(str(model)), device="cpu")
    assert not proof.exists()


def test_pickled_tensors_are_loaded_and_safetensors_preferred(tiny_encoder: Path, tmp_path: Path) -> None:
    import numpy as np
    import torch
    from safetensors.torch import load_file

    expected = Encoder(resolve(str(tiny_encoder)), device="cpu").vectors(["cat dog"], "document")
    model = copy(tiny_encoder, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    torch.save({name: tensor * 0 for name, tensor in weights.items()}, model / "pytorch_model.bin")
    assert np.array_equal(
        Encoder(resolve(str(model)), device="cpu").vectors(["cat dog"], "document"), expected
    )
    torch.save(weights, model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    assert np.array_equal(
        Encoder(resolve(str(model)), device="cpu").vectors(["cat dog"], "document"), expected
    )


def test_a_module_of_the_model_s_own_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    model, proof = copy(tiny_encoder, tmp_path / "model"), tmp_path / "proof"
    (model / "evil.py").write_text(f"open({str(proof)!r}, 'w')")
    modules = json.loads((model / "modules.json").read_text())
    modules[1]["type"] = "evil.Pooling"
    (model / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"evil\.Pooling") as error:
        Encoder(resolve(str(model)), device="cpu")
    assert "trust_remote_code: true" in str(error.value)
    assert not proof.exists()
    check_folder(model, trust_remote_code=True)


def test_code_behind_auto_map_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    model, proof = copy(tiny_encoder, tmp_path / "model"), tmp_path / "proof"
    (model / "evil.py").write_text(f"open({str(proof)!r}, 'w')")
    edit(
        model / "config.json",
        model_type="evil",
        auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
    )
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        Encoder(resolve(str(model)), device="cpu")
    assert "trust_remote_code: true" in str(error.value)
    assert not proof.exists()


def test_an_activation_outside_torch_is_refused_not_replaced(
    tiny_cross_encoder: Path, tmp_path: Path
) -> None:
    model = copy(tiny_cross_encoder, tmp_path / "model")
    edit(model / "config.json", sentence_transformers={"activation_fn": "os.abort"})
    with pytest.raises(ModelError, match=r"os\.abort"):
        PairScorer(resolve(str(model)), device="cpu")


def test_kinds_are_told_apart(
    tiny_encoder: Path, tiny_colbert: Path, tiny_cross_encoder: Path, tmp_path: Path
) -> None:
    assert model_type(tiny_encoder) == "SentenceTransformer"
    assert model_type(tiny_colbert) == "MultiVectorEncoder"
    assert model_type(tiny_cross_encoder) == "CrossEncoder"
    (tmp_path / "config.json").write_text('{"architectures": ["HF_ColBERT"]}')
    assert model_type(tmp_path) == "MultiVectorEncoder"
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        model_type(tmp_path)
