"""From examples to weights. Needs torch, transformers and sentence-transformers; neither Java, faiss nor a collection."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from irkit.config.yaml import Located
from irkit.core.errors import ConfigError, ModelError
from irkit.core.files import appearing, tensor_errors
from irkit.models.trained import REPORT
from irkit.pipeline.context import Progress, Runtime, Silent
from irkit.train.card import CARD, card, report
from irkit.train.checkpoint import foreign_step, has_checkpoint
from irkit.train.examples import Examples
from irkit.train.kinds import kind_of
from irkit.train.learner import Stored, Surroundings
from irkit.train.loop import key_of, train
from irkit.train.recipe import Recipe, read_recipe

UNHELPED = "no step helped: these are the untrained weights"
"""What is said of a training whose best look was the one before its first step."""


@dataclass(frozen=True)
class Fitting:
    """Where and how to fit.

    Attributes:
        output: the folder to be made; with variants, one below it for each.
        base: the folder that relative paths start from, the workspace.
        runtime: device and threads.
        model: where the model's files are, when not where the recipe says.
        progress: shows what is being done.
        stored: finds documents' vectors that were encoded before.
    """

    output: Path
    base: Path = field(default_factory=Path.cwd)
    runtime: Runtime = field(default_factory=Runtime)
    model: str | None = None
    progress: Progress = field(default_factory=Silent)
    stored: Stored | None = None

    @property
    def work(self) -> Path:
        """The folder of checkpoints and intermediate files, beside the output: what a killed run goes on from."""
        return self.output.with_name(f".{self.output.name}.training")

    def left(self) -> str:
        """Return what an interrupted run has left, in words."""
        if any(has_checkpoint(path) for path in self.work.glob("*")):
            return "the same command goes on from the last checkpoint"
        if any(self.work.glob("*")):
            return "there is no checkpoint yet; the same command begins training anew, on what was prepared"
        return "nothing was trained yet"

    def folder(self, variant: str | None) -> Path:
        """Return the folder of a variant; of a recipe without any, the output itself."""
        return self.output / variant if variant else self.output

    def place(self) -> Surroundings:
        """Return what a learner is told of where it is.

        Raises:
            ConfigError: when the device is not there.
        """
        from irkit.models.device import pick_device

        device, threads = pick_device(self.runtime.device), self.runtime.threads
        return Surroundings(device, self.base, self.work, threads, self.model, self.progress, self.stored)


def recipe_of(examples: Examples, settings: Sequence[str] = (), source: str = "examples") -> Recipe:
    """Return the recipe that examples were prepared for, with ``--set`` overrides.

    Raises:
        ConfigError: when an override does not fit, or would change what the examples are.
    """
    recipe = read_recipe(Located(deepcopy(examples.recipe), source), settings, prepared=True)
    if recipe.shared() != read_recipe(Located(examples.recipe, source), prepared=True).shared():
        hint = "prepare anew: irkit train RECIPE --prepare-only"
        raise ConfigError.of("that would change the examples, which are prepared", where=source, hint=hint)
    return recipe


def fit(recipe: Recipe, examples: Examples, how: Fitting) -> dict[str, dict[str, Any]]:
    """Train what a recipe says, each of its variants, and write each folder whole.

    What an earlier run finished is not done again; what it left unfinished is gone on with.

    Returns:
        the reports, by variant; under "" where there is none.

    Raises:
        IrkitError: for anything a user can mend; also when another training into the same folder is running.
    """
    with alone(how):
        return fit_here(recipe, examples, how)


def fit_here(recipe: Recipe, examples: Examples, how: Fitting) -> dict[str, dict[str, Any]]:
    """Do what :func:`fit` does, for a caller that is :func:`alone`."""
    over, place = finished(recipe, examples, how), how.place()
    reports = {
        name or "": over.get(name) or _one(recipe.variant(name), name, examples, how.folder(name), place)
        for name in _variants(recipe)
    }
    for name in _variants(recipe):
        shutil.rmtree(_checkpoints(place, name), ignore_errors=True)
    if not any(has_checkpoint(path) for path in how.work.glob("*")):  # of a variant that was not asked for
        shutil.rmtree(how.work, ignore_errors=True)
    return reports


def finished(recipe: Recipe, examples: Examples, how: Fitting) -> dict[str | None, dict[str, Any]]:
    """Return the reports of the variants whose training is over. Writes nothing: what is refused leaves nothing behind.

    Raises:
        ConfigError: when one of the folders holds something else, or a checkpoint of another training; or the device is not there.
        ModelError: when there is no such model.
    """
    place, kind = how.place(), kind_of(recipe.kind)
    found = {}
    for name in _variants(recipe):
        own, checkpoints = recipe.variant(name), _checkpoints(place, name)
        if how.folder(name).exists() or has_checkpoint(checkpoints):
            key = key_of(own, examples, kind.reads(own.options, place), place.device)
            if how.folder(name).exists():
                found[name] = _report(how.folder(name), key)
            elif step := foreign_step(checkpoints, key):
                message = (
                    f"an interrupted training is here, at step {step}, of another recipe, model or device"
                )
                hint = f"undo the change to go on, choose another folder with -o, or remove {checkpoints}"
                raise ConfigError.of(message, where=str(how.folder(name)), hint=hint)
    return found


def _variants(recipe: Recipe) -> list[str | None]:
    return list(recipe.variants) or [None]


def _checkpoints(place: Surroundings, variant: str | None) -> Path:
    return place.scratch / (variant or "weights")


def _one(
    recipe: Recipe, variant: str | None, examples: Examples, folder: Path, place: Surroundings
) -> dict[str, Any]:
    kind = kind_of(recipe.kind)
    key = key_of(recipe, examples, kind.reads(recipe.options, place), place.device)
    began = time.perf_counter()
    learner = kind.open(recipe, examples, place)
    at_first = learner.facts()
    name = f"{recipe.name} {variant}" if variant else recipe.name
    checkpoints, label = _checkpoints(place, variant), f"training {name}"
    standing = train(learner, recipe, examples, checkpoints, place.progress, label, key)
    facts = {"untrained": at_first, "trained": learner.facts()}
    seconds = time.perf_counter() - began
    said = report(
        recipe,
        variant,
        examples,
        standing,
        facts,
        key,
        place.device,
        place.threads,
        seconds,
        learner.against,
        learner.chance(),
        learner.keeps_last,
    )
    path = _path(folder, place.base)
    usage = learner.usage(path)
    if standing.best_step == 0:
        said["outcome"] = UNHELPED
        usage = f"# {UNHELPED}\n{usage}"
    with _told(folder), tensor_errors(), appearing(folder) as partial:
        brief = {
            k: said[k] for k in ("recipe", "variant", "seed", "examples", "sources", "licence", "versions")
        }
        learner.save(partial, path, brief)
        (partial / REPORT).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        (partial / CARD).write_text(card(said, usage), encoding="utf-8")
    return said


def _report(folder: Path, key: str) -> dict[str, Any]:
    """Return the report of a training that is over.

    Raises:
        ConfigError: when the folder holds something else.
    """
    try:
        found = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("key") != key:
        what = "another training" if found else "something else"
        hint = "choose another folder with -o, or remove this one"
        raise ConfigError.of(f"the folder holds {what} already", where=str(folder), hint=hint)
    return found


def _path(folder: Path, base: Path) -> str:
    whole, root = folder.absolute(), base.absolute()
    return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)


@contextmanager
def alone(how: Fitting) -> Iterator[None]:
    """Hold the lock of a training's folder, so that no two trainings write to it at once.

    Raises:
        ModelError: when another training is at it, or the folder cannot be written.
    """
    lock = FileLock(how.work.absolute().with_name(f"{how.work.name}.lock"), timeout=0)
    with _told(how.output):
        how.output.absolute().parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            hint = "wait until it is over, or choose another folder with -o"
            message = "another training into this folder is running"
            raise ModelError.of(message, where=str(how.output), hint=hint) from error
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say what the operating system refuses."""
    try:
        yield
    except OSError as error:
        message = f"the folder cannot be written: {error.strerror or error}"
        raise ModelError.of(
            message, where=str(folder), hint="choose a folder that you may write to"
        ) from error
