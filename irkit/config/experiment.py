"""The experiment: pipelines x collections x metrics, read from YAML and written back to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from irkit.config.averages import (
    Averages,
    References,
    averages_to_data,
    read_averages,
    read_references,
    references_to_data,
)
from irkit.config.control import controls, with_controls
from irkit.config.expected import Expected, ExpectedReader, share
from irkit.config.override import override
from irkit.config.report import ReportOptions, read_report, report_to_data
from irkit.config.statistics import Statistics, read_statistics, statistics_to_data
from irkit.config.steps import read_pipeline, validation_problems
from irkit.config.which import is_recipe
from irkit.config.yaml import Located, dump_yaml, parse_yaml
from irkit.core.errors import ConfigError, IrkitError, Place, Problem, nearest
from irkit.core.metric import parse_metric
from irkit.data.spec import LocalSpec
from irkit.pipeline.graph import Pipeline, Problems, compile_pipeline, pipelines_to_data
from irkit.pipeline.stage import Stage

CollectionSpec = str | LocalSpec
KEYS = (
    "name",
    "description",
    "collections",
    "averages",
    "metrics",
    "pipelines",
    "baseline",
    "reference",
    "statistics",
    "report",
    "expected",
    "tolerance",
)
_NEEDED = ("name", "collections", "metrics", "pipelines")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+()-]{0,99}")
"""Names of experiments and pipelines become names of folders and files."""

_EXAMPLES = {
    "name": "for example: name: first",
    "collections": "for example: collections: [beir/scifact/test]",
    "metrics": "for example: metrics: [ndcg@10]",
    "pipelines": "for example: pipelines: {bm25: [{bm25: {k: 100}}]}",
}


@dataclass(frozen=True)
class Experiment:
    """What to run, on what, and how to judge it.

    Attributes:
        name: of the folder of its results under ``eval/runs/``.
        collections: ir-datasets ids, irkit ids, or local folders and files, by the name that tables show.
        metrics: names such as ``ndcg@10``.
        pipelines: by name, in the order of the tables; those that ask for an order control with theirs behind them.
        baseline: the pipeline the others are compared with.
        expected: scores that a reproduction must meet within ``tolerance``.
        averages: named means over collections, in place of the mean over all; a macro set counts once.
        reference: the published scores that each pipeline is compared with.
        statistics: how differences between pipelines are tested.
        report: how much the report shows of single queries.
    """

    name: str
    collections: Mapping[str, CollectionSpec]
    metrics: Sequence[str]
    pipelines: Mapping[str, Pipeline]
    description: str = ""
    baseline: str | None = None
    expected: Expected = field(default_factory=dict)
    tolerance: float = 0.0005
    averages: Averages = field(default_factory=dict)
    reference: References = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)
    report: ReportOptions = field(default_factory=ReportOptions)

    @property
    def controls(self) -> dict[str, str]:
        """The order controls among the pipelines, and which pipeline each is of."""
        return controls(self.pipelines)

    @classmethod
    def of(
        cls,
        name: str,
        *,
        collections: Sequence[CollectionSpec | Mapping[str, Any]],
        pipelines: Mapping[str, Pipeline | Stage],
        **rest: Any,
    ) -> Experiment:
        """Make an experiment in Python; it is validated like one read from YAML, where a mapping names local files too.

        Raises:
            ConfigError: for anything that YAML would be refused for.
        """
        data = {
            "name": name,
            "collections": [_collection_to_data(spec) for spec in collections],
            "pipelines": pipelines_to_data(pipelines),
            **rest,
        }
        return read_experiment(Located(data, f"experiment {name!r}"))

    def to_yaml(self, *, full: bool = False) -> str:
        """Return the YAML that reads back as this experiment; ``full`` writes the defaults out, which later versions may change."""
        data: dict[str, Any] = {"name": self.name}
        if self.description:
            data["description"] = self.description
        data["collections"] = [_collection_to_data(spec, full=full) for spec in self.collections.values()]
        if self.averages:
            data["averages"] = averages_to_data(self.averages)
        data["metrics"] = list(self.metrics)
        written = {name: each for name, each in self.pipelines.items() if name not in self.controls}
        data["pipelines"] = pipelines_to_data(written, full=full)
        if self.baseline:
            data["baseline"] = self.baseline
        if self.reference:
            data["reference"] = references_to_data(self.reference)
        if self.statistics != Statistics():
            data["statistics"] = statistics_to_data(self.statistics)
        if self.report != ReportOptions():
            data["report"] = report_to_data(self.report)
        if self.expected:
            data["expected"] = {
                c: {p: dict(m) for p, m in pipelines.items()} for c, pipelines in self.expected.items()
            }
        if self.expected or self.tolerance != type(self).tolerance:
            data["tolerance"] = self.tolerance
        return dump_yaml(data)


Check = Callable[[CollectionSpec], object]
"""Looks whether a collection can be there, without opening it; raises IrkitError when not."""


def load_experiment(
    path: Path | str, settings: Sequence[str] = (), check: Check | None = None, base: Path | None = None
) -> Experiment:
    """Read an experiment file and apply ``--set`` overrides.

    Args:
        path: the file.
        settings: ``a.b.c=value`` overrides.
        check: what to put every collection through, so that its problems carry their lines too.
        base: the folder of the workspace, where stages look for the files that their options name; they do not when None.

    Raises:
        ConfigError: naming every problem of the file at once, each with ``file:line``.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 text: byte {error.object[error.start]:#04x} cannot be read"
        raise ConfigError.of(message, where=f"{path}:{line}", hint="save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError.of(
            f"cannot be read: {error.strerror}", where=str(path), hint="check the path"
        ) from error
    located = parse_yaml(text, str(path))
    for setting in settings:
        override(located, setting)
    return read_experiment(located, check, base)


def read_experiment(located: Located, check: Check | None = None, base: Path | None = None) -> Experiment:
    """Validate plain data as an experiment.

    Raises:
        ConfigError: naming every problem at once.
    """
    return _ExperimentReader(located, check, base).read()


class _ExperimentReader:
    """Reads each key on its own and collects what is wrong, so that one run of the validator shows it all."""

    def __init__(self, located: Located, check: Check | None, base: Path | None) -> None:
        self.located, self.check, self.base = located, check, base
        self.problems: list[Problem] = []
        self.failed: set[str] = set()
        """Names of collections that have a problem of their own."""

    def fail(self, path: Place, message: str, hint: str | None = None) -> None:
        self.problems.append(self.located.problem(path, message, hint))

    def fail_on_name(self, path: Place, message: str, hint: str | None = None) -> None:
        """Note a problem of a key that names collections, unless it would only lead to one that has a problem itself."""
        if hint not in {f"did you mean {name!r}?" for name in self.failed}:
            self.fail(path, message, hint)

    def read(self) -> Experiment:
        data = self.located.data
        if not isinstance(data, dict):
            self.fail(
                (),
                "an experiment is a mapping with the keys " + ", ".join(_NEEDED),
                "see: irkit schema, or pipelines/",
            )
            raise ConfigError(*self.problems)
        if is_recipe(data):
            hint = f"train it: irkit train {self.located.source}"
            self.fail((), "this is a recipe of training, and no experiment", hint)
            raise ConfigError(*self.problems)
        for key in data:
            if key not in KEYS:
                self.fail((key,), f"unknown key {key!r}", nearest(key, KEYS))
        for key in _NEEDED:
            if data.get(key) in (None, [], {}, ""):
                self.fail(
                    (key,) if key in data else (), f"the key {key!r} is missing or empty", _EXAMPLES[key]
                )
        name = self.name(data.get("name"))
        collections = self.collections(data.get("collections"))
        metrics = self.metrics(data.get("metrics"))
        pipelines = with_controls(self.pipelines(data.get("pipelines")), self.fail)
        names = self.pipeline_names(pipelines)
        baseline = data.get("baseline")
        if baseline is not None and baseline not in names:
            self.fail(("baseline",), f"there is no pipeline {baseline!r}", nearest(str(baseline), names))
        description = data.get("description")
        if not isinstance(description, str | None):
            self.fail(("description",), f"the description is text, not {description!r}", "put it in quotes")
        tolerance = share(("tolerance",), data.get("tolerance", 0.0005), self.fail)
        expected = ExpectedReader(list(collections), names, metrics, self.fail_on_name).read(
            data.get("expected")
        )
        averages = read_averages(data.get("averages"), collections, self.fail_on_name)
        reference = read_references(data.get("reference"), names, self.base, self.fail)
        statistics = read_statistics(self.located, data.get("statistics"), self.problems)
        report = read_report(self.located, data.get("report"), self.problems)
        if self.problems:
            raise ConfigError(*sorted(self.problems, key=_line))
        return Experiment(
            name,
            collections,
            metrics,
            pipelines,
            description or "",
            baseline,
            expected,
            tolerance,
            averages,
            reference,
            statistics,
            report,
        )

    def pipeline_names(self, good: Mapping[str, Pipeline]) -> list[str]:
        """Return the names of the pipelines, good or not, and of order controls."""
        pipelines = self.located.data.get("pipelines")
        return list(dict.fromkeys([*(pipelines if isinstance(pipelines, dict) else []), *good]))

    def name(self, value: Any) -> str:
        if value is not None and not (isinstance(value, str) and NAME.fullmatch(value)):
            hint = (
                "use letters, digits, spaces and . _ + ( ) -, at most 100, beginning with a letter or digit"
            )
            self.fail(("name",), f"{value!r} cannot be the name of a folder", hint)
        return str(value)

    def collections(self, value: Any) -> dict[str, CollectionSpec]:
        result: dict[str, CollectionSpec] = {}
        for index, item in enumerate(self.sequence(("collections",), value)):
            path: Place = ("collections", index)
            spec: CollectionSpec
            if isinstance(item, str):
                spec, name = item, item
            elif isinstance(item, dict):
                try:
                    spec = LocalSpec(**item)
                except ValidationError as error:
                    self.problems += validation_problems(self.located, path, error, LocalSpec.model_fields)
                    # Known by its name, so that what names it has no problem as well.
                    if meant := _meant(item):
                        self.failed.add(meant)
                        result.setdefault(meant, meant)
                    continue
                except TypeError as error:
                    self.fail(path, str(error))
                    continue
                name = _name_of(spec)
            else:
                self.fail(path, f"a collection is an id or a mapping with 'path', not {item!r}")
                continue
            if name in result:
                self.fail(
                    path, f"the collection {name!r} stands here twice", "remove one, or give one a 'name'"
                )
            result[name] = spec
            count = len(self.problems)
            self.look_for(path, spec)
            if len(self.problems) > count:
                self.failed.add(name)
        return result

    def look_for(self, path: Place, spec: CollectionSpec) -> None:
        try:
            if self.check:
                self.check(spec)
        except IrkitError as error:
            for problem in error.problems:
                named = f"{problem.where}: {problem.message}" if problem.where else problem.message
                self.fail(path, named, problem.hint)

    def metrics(self, value: Any) -> tuple[str, ...]:
        names: list[str] = []
        for index, item in enumerate(self.sequence(("metrics",), value)):
            try:
                names.append(str(parse_metric(str(item))))
            except ConfigError as error:
                self.problems += [
                    self.located.problem(("metrics", index), p.message, p.hint) for p in error.problems
                ]
        for metric in {name for name in names if names.count(name) > 1}:
            self.fail(("metrics",), f"the metric {metric!r} stands here twice")
        return tuple(names)

    def pipelines(self, value: Any) -> dict[str, Pipeline]:
        result: dict[str, Pipeline] = {}
        if value is not None and not isinstance(value, dict):
            self.fail(
                ("pipelines",),
                "'pipelines' maps names to lists of stages",
                _EXAMPLES["pipelines"],
            )
            return result
        for name, steps in (value or {}).items():
            path: Place = ("pipelines", name)
            if not NAME.fullmatch(name):
                self.fail(
                    path,
                    f"{name!r} cannot be the name of a file",
                    "use letters, digits, spaces and . _ + ( ) -",
                )
            pipeline = read_pipeline(self.located, path, steps, self.problems, self.base)
            if pipeline is None:
                continue
            misfits: Problems = []
            compile_pipeline(pipeline, misfits, path)
            self.problems += [self.located.problem(where, message, hint) for where, message, hint in misfits]
            result[name] = pipeline
        return result

    def sequence(self, path: Place, value: Any) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            self.fail(path, f"{path[-1]!r} is a list", f"write: {path[-1]}: [...]")
            return []
        return value


def _collection_to_data(spec: CollectionSpec | Mapping[str, Any], *, full: bool = False) -> Any:
    """Return a collection as YAML has it; what is none is left for the reader to refuse."""
    if not isinstance(spec, LocalSpec):
        return dict(spec) if isinstance(spec, Mapping) else spec
    no_meaning = {"split"} if spec.path is None else set()
    return spec.model_dump(mode="json", exclude_defaults=not full, exclude_none=True, exclude=no_meaning)


def _name_of(spec: LocalSpec) -> str:
    """Return what tables call a local collection: its name, else the folder and split, else the documents' file."""
    return spec.name or (f"{Path(spec.path).name}/{spec.split}" if spec.path else Path(spec.docs or "").name)


def _meant(item: Mapping[str, Any]) -> str | None:
    """Return what tables would call a local collection whose options cannot be used."""
    name, path, docs, split = (item.get(key) for key in ("name", "path", "docs", "split"))
    if isinstance(name, str):
        return name
    if isinstance(path, str):
        return f"{Path(path).name}/{'test' if split is None else split}"
    return Path(docs).name if isinstance(docs, str) else None


def _line(problem: Problem) -> tuple[str, int]:
    """Order problems as they stand in the file."""
    file, _, line = (problem.where or "").rpartition(":")
    return (file, int(line)) if line.isdigit() else (problem.where or "", 0)
