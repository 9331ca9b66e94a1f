"""Where a recipe's examples come from: the options of a source of queries, and of the negatives that are mined for them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, field_validator

from irkit.core.errors import ConfigError
from irkit.data.spec import LocalSpec
from irkit.data.tasks import TaskOptions
from irkit.stages.writing import WriterOptions

OF_ALL = ("title", "inverse-cloze", "generated")
"""Tasks that need no judgements: their queries are made of any document unless the source says otherwise."""
PARTS = ("title", "inverse-cloze")
"""Tasks whose queries ask for a part of a document, so that all their documents are read without titles."""
_WRITTEN = ("writer", "shots", "keep_rank")

TaskName = Literal["queries", "keyword", "passage-part", "title", "inverse-cloze", "generated"]


class DataSource(BaseModel):
    """Queries with relevant documents: those of a collection's judgements, or made from its documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str | LocalSpec
    """An id, or a mapping of local files; of a split that nothing is to be judged on later."""
    task: TaskName = "queries"
    """``queries``: the judged ones. ``keyword`` and ``passage-part`` are generated as ``irkit make-task`` does. ``title``: a title
    asks for the rest of its document. ``inverse-cloze``: a sentence asks for it (Lee et al., 2019, arXiv 1906.00300).
    ``generated``: a language model writes them (Promptagator: Dai et al., 2022, arXiv 2209.11755)."""
    queries: PositiveInt | None = None
    """How many queries, or documents for those that are made, are drawn; all unless given."""
    lengths: tuple[PositiveInt, ...] = TaskOptions.lengths
    """Of passage-part: in words."""
    terms: tuple[PositiveInt, PositiveInt] = TaskOptions.terms
    """Of keyword: the fewest and the most."""
    all_docs: bool | None = None
    """Make queries from any document, not only from those that are relevant to a judged query; so it is unless said otherwise for
    title, inverse-cloze and generated."""
    titles: bool = True
    """Read documents with their titles, where they have any: title and inverse-cloze never do. Where all have titles, a model
    learns to look at nothing else."""
    exclude: tuple[str | LocalSpec, ...] = ()
    """Collections with the same document ids: of what is relevant in them no query is generated. Name the tasks here that the
    result is to be judged on."""
    writer: WriterOptions | None = None
    """Of generated: who writes, as ``llm`` of the stage ``reformulate``; SmolLM2-135M unless given."""
    shots: NonNegativeInt = 4
    """Of generated: judged queries of the collection that the prompt shows with their documents; fewer where there are fewer."""
    keep_rank: PositiveInt = 10
    """Of generated: a query stays when the negatives' pipeline finds its document among so many."""

    @field_validator("writer", mode="before", json_schema_input_type=str | WriterOptions | None)
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) and "://" not in value else value

    @property
    def made(self) -> TaskOptions | None:
        """How queries are generated as ``irkit make-task`` does; None for others."""
        if self.task not in ("keyword", "passage-part"):
            return None
        return TaskOptions(self.task, self.queries, 0, self.lengths, self.terms, bool(self.all_docs))

    @property
    def bodies(self) -> bool:
        """Whether all documents are read without their titles."""
        return self.task in PARTS or not self.titles

    @property
    def any_document(self) -> bool:
        """Whether queries are made from documents that are relevant to no judged query, too."""
        return self.task in OF_ALL if self.all_docs is None else self.all_docs

    def check(self) -> None:
        """Check what cannot be seen from one option alone.

        Raises:
            ConfigError: for a number that cannot be, for judged queries with ``exclude`` or of no split, and for options of another
                task.
        """
        _ = self.made
        if self.exclude and self.task == "queries":
            hint = "leave exclude out, or generate queries: task: keyword"
            raise ConfigError.of("judged queries are taken as they are", where="exclude", hint=hint)
        local = self.collection if isinstance(self.collection, LocalSpec) else None
        if self.task == "queries" and local and local.path and "split" not in local.model_fields_set:
            # what is measured on is called test, and is the default everywhere else
            hint = f"collection: {{path: {local.path}, split: train}}"
            raise ConfigError.of(
                "say which split's judgements are learned from", where="collection", hint=hint
            )
        fields = type(self).model_fields
        for name in _WRITTEN if self.task != "generated" else ():
            if getattr(self, name) != fields[name].default:
                message = f"queries of the task {self.task!r} are written by nobody"
                raise ConfigError.of(message, where=name, hint=f"leave {name} out, or say task: generated")


class Negatives(BaseModel):
    """Documents that a pipeline finds and that are not judged relevant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: PositiveInt = 50
    """How deep in its rankings negatives are looked for."""
    skip: NonNegativeInt = 0
    """How many of its best hits are passed over: many of them are relevant and not judged."""
    keep: PositiveInt = 16
    """How many of a query are kept, best first; which of them a step uses is drawn."""
    positives: Literal["all", "found"] = "all"
    """Which relevant documents are learned from: ``found`` are those that the pipeline finds within ``depth``; a query for which it
    finds none is left out. Where the others are many, lists teach that what is relevant is unlike the query."""
