"""The result of an experiment as data: what ``results.json`` holds and every report is made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from irkit.config.statistics import Statistics
from irkit.core.errors import ReportError
from irkit.core.files import write_atomically
from irkit.report import folders
from irkit.report.again import whole_command

SCHEMA_VERSION: Final = 1
RESULTS, PER_QUERY = folders.RESULTS, folders.PER_QUERY


class Record(BaseModel):
    """A part of a result: frozen, with no field that is not declared."""

    # JSON has no NaN: a value that is not defined is left out, and the report shows a dash and says so.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Score(Record):
    """The mean of one metric over the judged queries of one collection."""

    collection: str
    pipeline: str
    metric: str
    value: float


class StageTime(Record):
    """What one node of the graph cost. A cached node shows what it cost when it was computed."""

    collection: str
    pipeline: str
    position: int
    stage: str
    label: str
    seconds: float
    """Of the work on the queries that were computed, without ``prepare_seconds``."""
    prepare_seconds: float
    """Of loading models and opening or building indexes."""
    queries: int
    cached_queries: int
    """How many were found in the store: equal to ``queries`` for a node that was not run at all."""
    artifact_bytes: int
    """Of the index and other artifacts that the stage opens."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """Decisions: device, dtype, batch size, model revision."""
    timed_queries: int | None = None
    """How many queries ``seconds`` covers: those that the store did not have then. None when not known."""
    node: str | None = None
    """The fingerprint of the node: rows with the same one are one computation. None when not known."""


class CollectionInfo(Record):
    """What was evaluated on, and under which policy."""

    name: str
    documents: int
    queries: int
    judged_queries: int
    judgements: int
    fingerprint: str
    """Of documents, queries, judgements and policy; of judgements and policy alone where documents are not known."""
    policy: dict[str, Any]
    warnings: dict[str, tuple[int, str]] = Field(default_factory=dict)
    """What was odd but usable: kind -> (how often, the first place)."""
    qrels_fingerprint: str | None = None
    """Of the judgements alone, the same with and without documents. None in older files."""
    with_documents: bool = True
    """False where run files were evaluated: then ``documents`` are those that runs and judgements name."""


class Expectation(Record):
    """One entry of the experiment's ``expected``: off when it differs by more than ``tolerance``."""

    collection: str
    pipeline: str
    metric: str
    expected: float
    value: float
    tolerance: float
    status: Literal["match", "off"]


class AverageScore(Record):
    """A named average of one metric; ``members`` of the ``of`` that it is defined over were there."""

    average: str
    pipeline: str
    metric: str
    value: float
    members: int
    of: int


class ReferenceScore(Record):
    """A score beside a published one."""

    collection: str
    """Or the macro set, or the average."""
    kind: Literal["collection", "set", "average"] = "collection"
    pipeline: str
    metric: str
    reference: str
    """The name of the published scores."""
    published: float
    value: float
    status: Literal["match", "near", "off"]
    reason: str | None = None
    """Why it is a match although it does not round to the published score, to be read after "match, "."""
    title: str
    source: str
    url: str


class ExplainedDocument(Record):
    """What a stage saw in one document: its text in pieces, and what each piece contributes to the score."""

    docno: str
    score: float
    pieces: list[str]
    weights: list[float]
    more: int = 0
    """How many pieces at the end are left out here."""
    before: int | None = None
    """The document's rank before the stage, from 1. None when not known."""
    gain: int | None = None
    """What the query's judgements say of it; relevant is what is above 0. None when it is not judged."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(self.pieces) != len(self.weights):
            raise ValueError(f"{len(self.pieces)} pieces and {len(self.weights)} weights of {self.docno!r}")
        return self


class ExplainedQuery(Record):
    """What a stage of a pipeline saw in the best documents of one query, best first."""

    pipeline: str
    stage: str
    qid: str
    query: str
    documents: list[ExplainedDocument]


class ChangedTerm(Record):
    """A weighted term of an expanded query."""

    term: str
    weight: float
    original: bool | None = None
    """Whether the collection's query has it. None when not known."""


class ChangeStep(Record):
    """What one query stage of a pipeline did to one query."""

    stage: str
    before: str | None = None
    """The text that it was given, which in a branch of a fusion is not what the step above left. None in older files."""
    text: str
    """The text that it left."""
    terms: list[ChangedTerm] = Field(default_factory=list)
    """The weighted terms that it gave the query, the strongest first; empty where it gave it none."""
    more: int = 0
    """How many weaker terms are left out here."""
    told: list[str] = Field(default_factory=list)
    """What the stage says that it did."""
    forms: list[Literal["vector", "tokens"]] = Field(default_factory=list)
    """What else it gave the query."""


class ChangedQuery(Record):
    """A query, and what the query stages of a pipeline made of it, one after the other."""

    pipeline: str
    qid: str
    query: str
    """As the collection has it."""
    steps: list[ChangeStep]
    metric: str | None = None
    delta: float | None = None
    """Of the metric, against the baseline. None where there is no baseline to compare with."""


class PerQuery(Record):
    """The values of every metric for each judged query, by pipeline and metric, aligned with ``qid``; and what was explained.

    ``changed`` holds the queries that won and lost most in each pipeline with query stages.
    """

    collection: str
    qid: list[str]
    values: dict[str, dict[str, list[float]]]
    judged: dict[str, list[float]] = Field(default_factory=dict)
    """For each pipeline and query the share of the first ``judged_at`` hits that is judged at all; empty where not known."""
    judged_at: int | None = None
    explained: list[ExplainedQuery] = Field(default_factory=list)
    changed: list[ChangedQuery] = Field(default_factory=list)

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        for pipeline, metrics in self.values.items():
            for metric, values in metrics.items():
                if len(values) != len(self.qid):
                    counts = f"{len(values)} values of {metric!r} for {len(self.qid)} queries"
                    raise ValueError(f"{pipeline!r} has {counts}")
        for pipeline, shares in self.judged.items():
            if len(shares) != len(self.qid) or self.judged_at is None:
                raise ValueError(
                    f"{pipeline!r} has no share of judged hits for each of {len(self.qid)} queries"
                )
        return self


class Provenance(Record):
    """What is needed to do it again."""

    command: str
    created: str
    """When the run ended: ISO 8601, UTC."""
    irkit: str
    python: str
    platform: str
    cpus: int
    packages: dict[str, str]
    git: dict[str, Any] | None = None
    """commit, branch, dirty; None outside a git repository; error when git refused to say, or is not installed."""


class Results(Record):
    """Everything that an experiment found out."""

    schema_version: Literal[1] = SCHEMA_VERSION
    experiment: str
    description: str = ""
    metrics: list[str]
    pipelines: dict[str, list[Any]]
    """The resolved YAML form of every pipeline."""
    baseline: str | None = None
    controls: dict[str, str] = Field(default_factory=dict)
    """Which pipelines are order controls, and of which pipeline each is: the same with its candidates in random order."""
    scores: list[Score]
    stages: list[StageTime]
    collections: list[CollectionInfo]
    expected: list[Expectation] = Field(default_factory=list)
    provenance: Provenance
    seconds: float
    """Wall time of the whole run."""
    left_out: list[str] = Field(default_factory=list)
    """The experiment's collections on which this run, by ``--only``, was not run."""
    statistics: Statistics = Field(default_factory=Statistics)
    """How differences between pipelines are tested; files from before it was written tested so by default."""
    kept: list[str] = Field(default_factory=list)
    """Those that ``--only`` did not name and that are here all the same: the store had everything of them."""
    left_out_pipelines: list[str] = Field(default_factory=list)
    """The experiment's pipelines that this run, by ``--pipeline``, did not run, and that ``pipelines`` does not have."""
    kept_pipelines: list[str] = Field(default_factory=list)
    """Those that ``--pipeline`` did not name and that are here all the same: the store had everything of them."""
    averages: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    """The experiment's named averages: name -> member -> the collections whose mean the member is."""
    average_scores: list[AverageScore] = Field(default_factory=list)
    reference: list[ReferenceScore] = Field(default_factory=list)
    """Published scores beside ours."""

    @property
    def from_store(self) -> bool:
        """Whether nothing was computed: everything was in the store already."""
        return bool(self.stages) and all(stage.cached_queries == stage.queries for stage in self.stages)

    @property
    def commands(self) -> tuple[str, str | None]:
        """The command that makes these results, and the one last run where that one makes only a part of them.

        Results of earlier runs stand beside those of a run on a part, by ``--only`` or ``--pipeline``.
        """
        last = self.provenance.command
        whole = whole_command(last) if self.kept or self.kept_pipelines else None
        return (last, None) if whole is None or whole == last else (whole, last)

    def value(self, collection: str, pipeline: str, metric: str) -> float:
        """Return one score.

        Raises:
            KeyError: when there is none.
        """
        for score in self.scores:
            if (score.collection, score.pipeline, score.metric) == (collection, pipeline, metric):
                return score.value
        raise KeyError((collection, pipeline, metric))


class _PerQueryFile(Record):
    """What ``per_query.json`` holds: the values, and which run they belong to."""

    schema_version: Literal[1] = SCHEMA_VERSION
    experiment: str
    created: str
    collections: list[PerQuery]


def save_results(results: Results, per_query: Sequence[PerQuery], folder: Path) -> None:
    """Write ``results.json`` (indented, keys in the order of the fields) and ``per_query.json`` (compact).

    Each file appears whole or not at all, ``results.json`` last; both carry the time of the run, so that
    halves of two runs are never taken for one.

    Raises:
        ReportError: when the folder cannot be written.
    """
    provenance = results.provenance
    values = _PerQueryFile(
        experiment=results.experiment, created=provenance.created, collections=list(per_query)
    )
    write_atomically(folder / PER_QUERY, values.model_dump_json() + "\n")
    text = json.dumps(results.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_atomically(folder / RESULTS, text + "\n")


def load_results(folder: Path) -> tuple[Results, list[PerQuery]]:
    """Read what :func:`save_results` wrote.

    Raises:
        ReportError: when a file is missing, damaged, of another version of the format, or of another run
            than its sibling.
    """
    results = read_results(folder / RESULTS)
    values = read_record(folder / PER_QUERY, _PerQueryFile)
    ours = (results.experiment, results.provenance.created)
    if (values.experiment, values.created) != ours:
        theirs = f"{values.experiment}, {values.created}"
        message = f"it belongs to another run ({theirs}) than {RESULTS} ({', '.join(ours)})"
        raise ReportError.of(message, where=str(folder / PER_QUERY), hint=AGAIN)
    return results, values.collections


def read_results(path: Path) -> Results:
    """Read a file ``results.json`` alone, without the values per query.

    Raises:
        ReportError: when it is missing, damaged, or of another version of the format.
    """
    return read_record(path, Results)


_Kind = TypeVar("_Kind", bound=Record)
AGAIN = "run the experiment again: what is in the store is not computed again"


def read_record(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a JSON file of a run's folder.

    Raises:
        ReportError: when it is missing, damaged, or of another version of the format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "give the folder of a finished run (eval/runs/<experiment>), or run the experiment first"
        raise ReportError.of("there is no such file", where=str(path), hint=hint) from error
    except NotADirectoryError as error:
        message = "this is a file, not the folder of a run"
        raise ReportError.of(
            message, where=str(path.parent), hint=folders.folder_hint(path.parent)
        ) from error
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        raise ReportError.of(message, where=str(path), hint="check the folder and its permissions") from error
    except json.JSONDecodeError as error:
        message = f"the file is damaged: {error.msg}"
        raise ReportError.of(message, where=f"{path}:{error.lineno}", hint=AGAIN) from error
    except ValueError as error:
        raise ReportError.of(f"the file is damaged: {error}", where=str(path), hint=AGAIN) from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    field = kind.model_fields.get("schema_version")
    ours = field.default if field else SCHEMA_VERSION
    if isinstance(version, int) and version != ours:
        message = f"the file has version {version} of the format; this irkit reads version {ours}"
        hint = "update irkit" if version > ours else AGAIN
        raise ReportError.of(message, where=str(path), hint=hint)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the top level"
        message = f"the file is damaged: {place}: {first['msg']} ({error.error_count()} such problems)"
        raise ReportError.of(message, where=str(path), hint=AGAIN) from error
