"""What a run keeps for those who look into it: the funnel of every pipeline, and some queries with their documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from irkit.core.errors import ReportError
from irkit.core.files import write_atomically
from irkit.report.results import AGAIN, RESULTS, Record, Results, read_record

DETAILS: Final = "details.json"


class FunnelStep(Record):
    """One stage of a pipeline that gives rankings, on the way of the documents to its end; a run file is one too."""

    stage: str
    label: str
    inputs: list[int]
    """The steps, by number, whose rankings it works on; empty for a first stage."""
    relevant: int
    """Relevant documents in its output, at any rank."""
    top: int
    """Relevant documents among the first ``k`` of its output."""
    lost: int
    """Relevant documents in the output of one of its inputs and not in its own."""
    unknown: bool = False
    """Whether documents come to it also from stages that the funnel leaves out and that have nothing known before them: without
    inputs it is no first stage all the same, and what it lost of theirs counts as missed."""


class Funnel(Record):
    """How many relevant documents survive each stage of a pipeline, summed over the judged queries of a collection.

    ``outside``, ``missed``, the sum of the steps' ``lost``, and the last step's ``relevant`` make ``total`` when the pipeline has
    no branches and only its first stage brings documents. A document that one branch of a fusion loses and another keeps counts as
    lost by that branch's stage all the same. Documents that a query excludes count nowhere.
    """

    collection: str
    pipeline: str
    k: int
    """The cutoff of ``top``: that of the experiment's first metric, or 10."""
    total: int
    """Relevant documents of the judged queries, those that the collection lacks among them."""
    missed: int
    """In the collection and in no output: never found, lost by an ``unknown`` step or by what is left out before it."""
    outside: int = 0
    """Relevant documents that the collection lacks. No stage can find them, and the metrics count them all the same. 0 where nobody
    knows the collection (run files): there they are ``missed``."""
    queries: int
    """Judged queries with a relevant document."""
    steps: list[FunnelStep]
    left_out: list[str] = Field(default_factory=list)
    """The stages of which the store has no rankings any more, while it has those of the stages after them: no step is theirs."""

    @property
    def missed_told(self) -> str:
        """What can be said of the documents that are ``missed``."""
        ends = [step.label for step in self.steps if step.unknown]
        return f"not found, or lost up to {' or '.join(ends)}" if ends else "found by no first stage"


class Text(Record):
    """A document, and the beginning of its title and text."""

    docno: str
    text: str | None = None
    """None where the run knows no texts (run files), keeps none, or the collection lacks the document."""
    more: bool = False
    """Whether the text goes on."""


class Relevant(Record):
    """A relevant document of a query, and where each pipeline has it."""

    doc: int
    """Its number in ``Details.documents``."""
    gain: int
    outside: bool = False
    """Whether the collection lacks it."""
    ranks: dict[str, list[int | None]]
    """For each pipeline its rank, from 1, after each step of the pipeline's funnel; None where it is not there."""


class Hits(Record):
    """The first documents of one query in one pipeline, best first."""

    docs: list[int]
    """Numbers in ``Details.documents``."""
    scores: list[float]
    """Empty where there are none: of run files whose rank column decides, the places are all that is known."""
    gains: list[int | None]
    """None for what is not judged."""


class QueryDetails(Record):
    """One query as the explorer shows it; without judgements where it is here only because a stage explained it."""

    qid: str
    text: str | None
    """None where the run knows no texts."""
    more: bool = False
    """Whether the text goes on."""
    relevant: list[Relevant]
    """Those with the highest gains, the highest first."""
    more_relevant: int = 0
    """How many relevant documents are left out here."""
    hits: dict[str, Hits]


class Details(Record):
    """Some queries of a collection: where pipelines differ most, what was explained or changed, and the worst."""

    collection: str
    documents: list[Text]
    """In the order in which the queries mention them: the first queries need the first documents only."""
    queries: list[QueryDetails]
    """Those that tell most come first."""
    chosen: Literal["all", "some"] = "some"
    """Whether all judged queries are here."""
    over_budget: int = 0
    """How many queries more there would be without the experiment's limit of bytes."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for query in self.queries:
            last = max(mentioned(query), default=-1)
            if last >= len(self.documents):
                raise ValueError(f"query {query.qid!r} has document {last} of {len(self.documents)}")
        return self


def mentioned(query: QueryDetails) -> list[int]:
    """Return the numbers of the documents that a query mentions, as often as it does: the relevant ones first."""
    return [each.doc for each in query.relevant] + [doc for hits in query.hits.values() for doc in hits.docs]


class DetailsFile(Record):
    """What ``details.json`` holds, and which run it belongs to."""

    schema_version: Literal[1] = 1
    experiment: str
    created: str
    funnels: list[Funnel] = Field(default_factory=list)
    details: list[Details] = Field(default_factory=list)


def save_details(
    results: Results, funnels: Sequence[Funnel], details: Sequence[Details], folder: Path
) -> DetailsFile:
    """Write ``details.json`` (compact), with the time of the run; it appears whole or not at all.

    It is to be written before ``results.json``, which makes a folder that of a run.

    Raises:
        ReportError: when the folder cannot be written.
    """
    whole = DetailsFile(
        experiment=results.experiment,
        created=results.provenance.created,
        funnels=list(funnels),
        details=list(details),
    )
    write_atomically(folder / DETAILS, whole.model_dump_json() + "\n")
    return whole


def load_details(folder: Path, results: Results) -> DetailsFile:
    """Read what :func:`save_details` wrote; nothing where there is no such file: the run is of an older irkit.

    Raises:
        ReportError: when it is damaged, of another version of the format, or of another run than ``results``.
    """
    path, ours = folder / DETAILS, (results.experiment, results.provenance.created)
    if not path.exists():
        return DetailsFile(experiment=ours[0], created=ours[1])
    found = read_record(path, DetailsFile)
    if (found.experiment, found.created) != ours:
        theirs = f"{found.experiment}, {found.created}"
        message = f"it belongs to another run ({theirs}) than {RESULTS} ({', '.join(ours)})"
        raise ReportError.of(message, where=str(path), hint=AGAIN)
    return found
