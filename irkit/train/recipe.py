"""A recipe of training: data, negatives, schedule and the options of what is trained; read from YAML like an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from irkit.config.experiment import NAME, CollectionSpec
from irkit.config.override import override
from irkit.config.steps import read_pipeline, validation_problems
from irkit.config.which import is_experiment
from irkit.config.yaml import Located, parse_yaml
from irkit.core.errors import ConfigError, IrkitError, Place, Problem, nearest
from irkit.pipeline.graph import Pipeline, Problems, compile_pipeline
from irkit.train.check import idle_teacher, misfits
from irkit.train.kinds import kind_names, kind_of
from irkit.train.sources.options import DataSource, Negatives
from irkit.train.teacher.pipeline import teacher_misfits

KEYS = (
    "name",
    "description",
    "kind",
    "seed",
    "data",
    "negatives",
    "teacher",
    "validation",
    "training",
    "options",
    "variants",
    "licence",
)
VARIED = ("training", "options", "seed")
"""The keys of a recipe that its variants may change: what they share is the data."""

M = TypeVar("M", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Validation(_Part):
    """Queries held out of the training data, on which training is watched and stopped."""

    share: float = Field(0.1, gt=0, lt=1)
    """Of the queries (of passages, for generated ones)."""
    queries: PositiveInt = 500
    """At most so many are held out of each source."""
    every: PositiveInt = 100
    """Steps between two looks."""
    patience: PositiveInt = 5
    """Training stops after so many looks without a better score."""


class Training(_Part):
    """The schedule and the loss. A kind may have other defaults: :attr:`irkit.train.kinds.Kind.training`."""

    epochs: PositiveInt = 10
    steps: PositiveInt | None = None
    """At most so many, whatever ``epochs`` says."""
    batch: PositiveInt = 64
    """Queries a step; each has the documents of all others as its negatives too."""
    group: PositiveInt = 2
    """Documents a query brings along: a relevant one, and mined negatives."""
    temperature: PositiveFloat = 0.02
    lr: PositiveFloat = 1e-3
    weight_decay: float = Field(0.01, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    """The share of all steps in which the learning rate rises; then it falls to 0 in a line."""
    clip: PositiveFloat = 1.0
    """The longest gradient, by its Euclidean norm."""
    checkpoint: PositiveInt = 200
    """Steps between two checkpoints. There is one after every look, and ten minutes after the last, too."""


class Recipe(_Part):
    """A recipe, validated. ``options`` are of its kind, ``variants`` change ``training``, ``options`` or ``seed``."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    description: str = ""
    kind: str
    seed: NonNegativeInt = 0
    data: tuple[DataSource, ...]
    negatives: Negatives | None = None
    validation: Validation = Validation()
    training: Training = Training()
    options: Any = None
    licence: str = "unknown"
    """Of the training data and what comes of them, in words for the model card."""
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    pipeline: Pipeline | None = Field(None, exclude=True)
    """What mines the negatives."""
    teacher: Pipeline | None = Field(None, exclude=True)
    """What scores every query's documents, for distillation."""

    def variant(self, name: str | None) -> Recipe:
        """Return the recipe with the changes of one of its variants; itself for None."""
        if name is None:
            return self.model_copy(update={"variants": {}})
        merged = _merged(self._varied(), self.variants[name])
        return self.model_copy(
            update={
                "variants": {},
                "seed": merged["seed"],
                "training": Training(**merged["training"]),
                "options": kind_of(self.kind).Options(**merged["options"]),
            }
        )

    def only(self, names: Sequence[str]) -> Recipe:
        """Return the recipe with some of its variants, in its own order; itself when none is named.

        Raises:
            ConfigError: when there is no such variant.
        """
        unknown = [name for name in names if name not in self.variants]
        if unknown:
            hint = nearest(unknown[0], list(self.variants)) if self.variants else "leave --only out"
            message = f"there is no variant {unknown[0]!r}" if self.variants else "the recipe has no variants"
            raise ConfigError.of(message, where=f"--only {unknown[0]}", hint=hint)
        chosen = {name: changes for name, changes in self.variants.items() if name in names}
        return self.model_copy(update={"variants": chosen}) if names else self

    def to_data(self) -> dict[str, Any]:
        """Return the recipe as YAML has it, defaults written out."""
        data = self.model_dump(mode="json", exclude_none=True)
        if self.pipeline is not None and self.negatives is not None:
            data["negatives"] = {"pipeline": self.pipeline.to_data(), **data["negatives"]}
        if self.teacher is not None:
            data["teacher"] = {"pipeline": self.teacher.to_data()}
        return data

    def shared(self) -> dict[str, Any]:
        """Return what decides the examples besides the collections' content, as JSON values."""
        data = self.to_data()
        held = {key: data["validation"][key] for key in ("share", "queries")}
        given = {key: data.get(key) for key in ("data", "negatives", "teacher")}
        return {"seed": self.seed, **given, "held": held}

    def _varied(self) -> dict[str, Any]:
        return {key: value for key, value in self.model_dump(mode="json").items() if key in VARIED}


Check = Callable[[CollectionSpec], object]
"""Looks whether a collection can be there, without opening it; raises IrkitError when not."""


def load_recipe(
    path: Path, settings: Sequence[str] = (), check: Check | None = None, base: Path | None = None
) -> Recipe:
    """Read a recipe file and apply ``--set`` overrides.

    Args:
        path: the file.
        settings: ``a.b.c=value`` overrides.
        check: what to put every collection through, so that its problems carry their lines too.
        base: the folder of the workspace, where stages look for the files that their options name.

    Raises:
        ConfigError: naming every problem of the file at once, each with ``file:line``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError.of(f"cannot be read: {reason}", where=str(path), hint="check the path") from error
    return read_recipe(parse_yaml(text, str(path)), settings, check, base)


def read_recipe(
    located: Located,
    settings: Sequence[str] = (),
    check: Check | None = None,
    base: Path | None = None,
    prepared: bool = False,
) -> Recipe:
    """Validate plain data as a recipe; the arguments and errors are those of :func:`load_recipe`.

    Args:
        prepared: that its examples are made: a teacher that nobody learns from has cost its time already.
    """
    for setting in settings:
        override(located, setting)
    recipe = _Reader(located, check, base).read()
    found = misfits(recipe, base) + ([] if prepared else idle_teacher(recipe))
    if found:
        raise ConfigError(*(located.problem(*each) for each in found))
    return recipe


class _Reader:
    """Reads each key on its own and collects what is wrong, so that one run of the validator shows it all."""

    def __init__(self, located: Located, check: Check | None, base: Path | None) -> None:
        self.located, self.check, self.base = located, check, base
        self.problems: list[Problem] = []

    def fail(self, path: Place, message: str, hint: str | None = None) -> None:
        self.problems.append(self.located.problem(path, message, hint))

    def read(self) -> Recipe:
        data = self.located.data
        if not isinstance(data, dict):
            self.fail((), "a recipe is a mapping with the keys name, kind and data", "see pipelines/train/")
            raise ConfigError(*self.problems)
        if is_experiment(data):
            hint = f"run it: irkit run {self.located.source}"
            self.fail((), "this is an experiment, and no recipe of training", hint)
            raise ConfigError(*self.problems)
        for key in data:
            if key not in KEYS:
                self.fail((key,), f"unknown key {key!r}", nearest(key, KEYS))
        name, kind = data.get("name"), data.get("kind")
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            hint = "for example: name: my-adapter"
            self.fail(("name",), f"{name!r} cannot be the name of a folder", hint)
        if kind not in kind_names():
            self.fail(("kind",), f"there is no kind {kind!r}", nearest(str(kind), kind_names()))
        for key in ("description", "licence"):
            if not isinstance(data.get(key, ""), str):
                self.fail((key,), f"{key!r} is text, not {data[key]!r}", "put it in quotes")
        seed = data.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            self.fail(("seed",), f"a seed is a whole number from 0 on, not {seed!r}")
        sources = self.sources(data.get("data"))
        pipeline, negatives = self.negatives(data.get("negatives"))
        teacher = self.teacher(data.get("teacher"))
        validation = self.part(("validation",), data.get("validation"), Validation)
        known = isinstance(kind, str) and kind in kind_names()
        usual = kind_of(str(kind)).training if known else {}
        training = self.part(("training",), data.get("training"), Training, usual)
        options = self.part(("options",), data.get("options"), kind_of(str(kind)).Options) if known else None
        if known:
            self.variants(data.get("variants"), str(kind))
        if self.problems:
            raise ConfigError(*self.problems)
        return Recipe(
            name=str(name),
            description=data.get("description", ""),
            kind=str(kind),
            seed=seed,
            data=tuple(sources),
            negatives=negatives,
            pipeline=pipeline,
            teacher=teacher,
            options=options,
            licence=data.get("licence", "unknown"),
            variants=data.get("variants") or {},
            validation=validation,
            training=training,
        )

    def part(self, path: Place, value: Any, model: type[M], usual: Mapping[str, Any] | None = None) -> M:
        """Read a mapping of options, of which ``usual`` has other defaults; what is wrong with it is noted, and the defaults are
        returned.
        """
        try:
            if isinstance(value, dict | None):
                return model(**{**(usual or {}), **(value or {})})
            self.fail(path, f"{path[-1]!r} is a mapping of options, not {value!r}")
        except ValidationError as error:
            self.problems += validation_problems(self.located, path, error, model.model_fields)
        except IrkitError as error:
            self.problems += [self.located.problem(path, each.message, each.hint) for each in error.problems]
        return model.model_construct()

    def sources(self, value: Any) -> list[DataSource]:
        if not isinstance(value, list) or not value:
            hint = "for example: data: [{collection: beir/scifact/train}]"
            self.fail(("data",), "'data' is a list of one source or more", hint)
            return []
        found = []
        for i, item in enumerate(value):
            path: Place = ("data", i)
            count = len(self.problems)
            source = self.part(path, {"collection": item} if isinstance(item, str) else item, DataSource)
            if len(self.problems) > count:
                continue
            found.append(source)
            try:
                source.check()
                if self.check:
                    for spec in (source.collection, *source.exclude):
                        self.check(spec)
                if self.base and source.writer:
                    for _, fault in source.writer.faults(self.base):
                        self.fail((*path, "writer"), fault.message, fault.hint)
            except IrkitError as error:
                for each in error.problems:
                    named = f"{each.where}: {each.message}" if each.where else each.message
                    self.fail(path, named, each.hint)
        return found

    def negatives(self, value: Any) -> tuple[Pipeline | None, Negatives | None]:
        if value is None:
            return None, None
        if not isinstance(value, dict) or "pipeline" not in value:
            hint = "for example: negatives: {pipeline: [bm25: {k: 50}]}"
            self.fail(("negatives",), "negatives need a pipeline that finds them", hint)
            return None, None
        pipeline = self.pipeline(("negatives", "pipeline"), value["pipeline"], _misfits)
        rest = {key: each for key, each in value.items() if key != "pipeline"}
        return pipeline, self.part(("negatives",), rest, Negatives)

    def teacher(self, value: Any) -> Pipeline | None:
        if value is None:
            return None
        if not isinstance(value, dict) or "pipeline" not in value:
            hint = "for example: teacher: {pipeline: [maxsim: {model: minilm}]}"
            self.fail(("teacher",), "a teacher needs a pipeline that gives scores", hint)
            return None
        for key in value:
            if key != "pipeline":
                self.fail(("teacher", key), f"unknown option {key!r}", "a teacher has a pipeline and no more")
        return self.pipeline(("teacher", "pipeline"), value["pipeline"], teacher_misfits)

    def pipeline(
        self, path: Place, value: Any, misfits: Callable[[Pipeline, Place], Problems]
    ) -> Pipeline | None:
        pipeline = read_pipeline(self.located, path, value, self.problems, self.base)
        if pipeline is not None:
            self.problems += [self.located.problem(*misfit) for misfit in misfits(pipeline, path)]
        return pipeline

    def variants(self, value: Any, kind: str) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            self.fail(
                ("variants",),
                "'variants' maps names to what they change",
                "variants: {slow: {training: {lr: 1.0e-5}}}",
            )
            return
        models: Mapping[str, type[BaseModel]] = {"training": Training, "options": kind_of(kind).Options}
        usual = kind_of(kind).training
        for name, changes in value.items():
            path: Place = ("variants", name)
            if not NAME.fullmatch(name):
                self.fail(path, f"{name!r} cannot be the name of a folder")
            if not isinstance(changes, dict):
                self.fail(path, f"a variant is a mapping with {', '.join(VARIED)}, not {changes!r}")
                continue
            for key, change in changes.items():
                if key not in VARIED:
                    self.fail((*path, key), f"a variant cannot change {key!r}", nearest(key, VARIED))
                elif key in models and isinstance(change, dict):
                    whole = _merged(self.located.data.get(key) or {}, change)
                    self.part((*path, key), whole, models[key], usual if key == "training" else None)
                elif key in models:
                    self.fail((*path, key), f"{key!r} is a mapping of options, not {change!r}")


def _misfits(pipeline: Pipeline, at: Place) -> Problems:
    found: Problems = []
    compile_pipeline(pipeline, found, at)
    return found


def _merged(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(dict(whole))
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
