"""What is kept of a LexSemBridge gate on disk, and what is wrong with such a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from irkit.core.errors import ModelError
from irkit.core.fingerprint import file_sha256
from irkit.models.encoder import Encoder
from irkit.models.lexsembridge_files import CONFIG, WEIGHTS, GateSpec, read_spec
from irkit.models.resolve import ResolvedModel, resolve

torch = pytest.importorskip("torch")

from gating import KINDS, inputs, make, shaken  # noqa: E402

from irkit.models.lexsembridge import Gate  # noqa: E402
from irkit.models.masked_lm import MaskedLM  # noqa: E402


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> Encoder:
    return Encoder(resolve(str(tiny_encoder)), device="cpu")


@pytest.mark.parametrize(("method", "form"), KINDS)
def test_a_saved_gate_gives_identical_vectors(
    encoder: Encoder, tiny_encoder: Path, tiny_mlm: ResolvedModel, tmp_path: Path, method: Any, form: Any
) -> None:
    gate = shaken(make(encoder, tiny_encoder, tiny_mlm, method=method, form=form, activation="tanh"))
    gate.save(tmp_path / "gate", trained_on={"collection": "toy", "epochs": 3})
    again = Gate.load(tmp_path / "gate")
    if method == "clr":
        again.attach(MaskedLM(tiny_mlm, "cpu"))
    assert again.spec.trained_on == {"collection": "toy", "epochs": 3}
    assert again.spec.with_training({}) == gate.spec
    features, hidden, pooled = inputs(encoder)
    assert torch.equal(again(features, hidden, pooled), gate(features, hidden, pooled))
    assert sorted(each.name for each in (tmp_path / "gate").iterdir()) == [CONFIG, WEIGHTS]
    gate.save(tmp_path / "gate")  # over the old one
    assert read_spec(tmp_path / "gate").trained_on == {}
    (tmp_path / "gate" / "mine").write_text("x")
    with pytest.raises(ModelError, match="something else than a gate is there"):
        gate.save(tmp_path / "gate")
    assert (tmp_path / "gate" / "mine").is_file()


def test_a_gate_can_move_to_the_model_that_was_trained_with_it(
    encoder: Encoder, tiny_encoder: Path, tmp_path: Path
) -> None:
    gate = make(encoder, tiny_encoder)
    moved = GateSpec(**{**vars(gate.spec), "model": "out/model", "fingerprint": "new"})
    gate.save(tmp_path, spec=moved)
    spec = Gate.load(tmp_path).spec
    spec.require_model("elsewhere", "new", "x")
    with pytest.raises(ModelError, match="'out/model', and 'minilm' is another one"):
        spec.require_model("minilm", "old", "x")


@pytest.fixture
def saved(encoder: Encoder, tiny_encoder: Path, tmp_path: Path) -> Path:
    make(encoder, tiny_encoder).save(tmp_path / "gate")
    return tmp_path / "gate"


def change(folder: Path, **said: Any) -> None:
    file = folder / CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"format": "irkit lexsembridge 9"}, "format 'irkit lexsembridge 9'"),
        ({"method": "xlr"}, "method is 'xlr'"),
        ({"side": "document"}, "side is 'document'"),
        ({"dim": "32"}, "dim is '32'"),
        ({"vocabulary": 0}, "vocabulary is 0"),
        ({"skipped": [999]}, "no token id"),
        ({"skipped": 5}, "damaged"),
        ({"method": "llr", "statistics": "idf"}, "input of slr"),
        ({"method": "clr"}, "masked language model"),
        ({"dim": 16}, "do not fit"),
        ({"method": "llr"}, "do not fit"),
    ],
)
def test_a_damaged_description(saved: Path, said: Mapping[str, Any], message: str) -> None:
    change(saved, **said)
    with pytest.raises(ModelError, match=message):
        Gate.load(saved)


def test_a_damaged_folder(saved: Path, tmp_path: Path) -> None:
    weights = saved / WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="not as it was saved"):
        Gate.load(saved)
    weights.write_bytes(content[: len(content) // 2])
    change(saved, weights=file_sha256(weights))
    with pytest.raises(ModelError, match="do not fit"):
        Gate.load(saved)
    weights.unlink()
    with pytest.raises(ModelError, match="weights of the gate are missing"):
        read_spec(saved)
    (saved / CONFIG).write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        read_spec(saved)
    (saved / CONFIG).write_text("[]")
    with pytest.raises(ModelError, match="format None"):
        read_spec(saved)
    (saved / CONFIG).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_spec(saved)
    with pytest.raises(ModelError, match="no such folder"):
        read_spec(tmp_path / "nowhere")


def test_weights_that_are_no_numbers(encoder: Encoder, tiny_encoder: Path, tmp_path: Path) -> None:
    gate = make(encoder, tiny_encoder)
    with torch.no_grad():
        gate.bias[3] = float("nan")
    gate.save(tmp_path)
    with pytest.raises(ModelError, match="not all finite"):
        Gate.load(tmp_path)
