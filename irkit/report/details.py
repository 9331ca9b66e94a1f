"""What a run keeps for those who look into it: the funnel of every pipeline, and some queries with their documents."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from irkit.report.results import Record

DETAILS: Final = "details.json"


class FunnelStep(Record):
    """One stage of a pipeline that gives rankings, on the way of the documents to its end."""

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


class Funnel(Record):
    """How many relevant documents survive each stage of a pipeline, summed over the judged queries of a collection.

    ``missed``, the sum of the steps' ``lost``, and the last step's ``relevant`` make ``total`` when the pipeline has no branches. A
    document that one branch of a fusion loses and another keeps counts as lost by that branch's stage all the same.
    """

    collection: str
    pipeline: str
    k: int
    """The cutoff of ``top``: that of the experiment's first metric, or 10."""
    total: int
    """Relevant documents of the judged queries, those that the collection lacks among them."""
    missed: int
    """In the output of no first stage."""
    queries: int
    """Judged queries with a relevant document."""
    steps: list[FunnelStep]


class Text(Record):
    """The beginning of a document's text; None where the run knows no texts (run files)."""

    docno: str
    text: str | None = None
    more: bool = False
    """Whether the text goes on."""


class Relevant(Record):
    """A relevant document of a query, and where each pipeline has it."""

    doc: int
    """Its number in ``Details.documents``."""
    gain: int
    ranks: dict[str, list[int | None]]
    """For each pipeline its rank, from 1, after each step of the pipeline's funnel; None where it is not there."""


class Hits(Record):
    """The first documents of one query in one pipeline, best first."""

    docs: list[int]
    """Numbers in ``Details.documents``."""
    scores: list[float]
    gains: list[int | None]
    """None for what is not judged."""


class QueryDetails(Record):
    """One query as the explorer shows it."""

    qid: str
    text: str | None
    """None where the run knows no texts."""
    relevant: list[Relevant]
    more_relevant: int = 0
    """How many relevant documents are left out here."""
    hits: dict[str, Hits]


class Details(Record):
    """Some queries of a collection: where pipelines differ most, what was explained or changed, and the worst."""

    collection: str
    documents: list[Text]
    queries: list[QueryDetails]
    chosen: Literal["all", "some"] = "some"
    """Whether all judged queries are here."""


class DetailsFile(Record):
    """What ``details.json`` holds, and which run it belongs to."""

    schema_version: Literal[1] = 1
    experiment: str
    created: str
    funnels: list[Funnel] = Field(default_factory=list)
    details: list[Details] = Field(default_factory=list)
