"""The mapping by which an experiment names local files as a collection."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from irkit.data.collection import EvalPolicy

SPLITS = ("train", "dev", "val", "validation", "test")
"""Last parts of the ids of collections that name a split."""


class LocalSpec(BaseModel):
    """A collection from local files: a BEIR folder (``path``, ``split``), or three files (``docs``, ``queries``, ``qrels``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = Field(
        None, description="BEIR folder: corpus.jsonl, queries.jsonl (or .gz of both), qrels/<split>.tsv"
    )
    split: str = Field("test", description="The judgements to use: the file qrels/<split>.tsv of the folder")
    docs: str | None = Field(
        None, description="Documents: JSON Lines, 'id <tab> [title <tab>] text', or TREC text; may be gzip"
    )
    queries: str | None = Field(
        None, description="Queries: JSON Lines, 'id <tab> text', or TREC topics; may be gzip"
    )
    qrels: str | None = Field(
        None, description="Judgements: TREC's four columns or BEIR's three; may be gzip"
    )
    name: str | None = Field(None, description="What reports call the collection", min_length=1)
    policy: EvalPolicy = Field(default_factory=EvalPolicy, description="How the collection is evaluated")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        files = {"docs": self.docs, "queries": self.queries, "qrels": self.qrels}
        missing = [name for name, value in files.items() if value is None]
        if self.path is not None and len(missing) < 3:
            raise ValueError(
                "give either 'path' (a BEIR folder) or 'docs', 'queries' and 'qrels' (files), not both"
            )
        if self.path is None and len(missing) == 3:
            raise ValueError("give 'path' (a BEIR folder), or 'docs', 'queries' and 'qrels' (files)")
        if self.path is None and missing:
            raise ValueError(
                f"{' and '.join(repr(name) for name in missing)} missing: three files make a collection"
            )
        if self.path is None and "split" in self.model_fields_set:
            raise ValueError("'split' belongs to 'path'; name the judgements with 'qrels'")
        return self


def split_of(collection: str | LocalSpec) -> str | None:
    """Return the split that a collection's judgements are of; None where neither its id nor its files say one."""
    if isinstance(collection, LocalSpec):
        return collection.split if collection.path is not None else None
    last = collection.partition("?split=")[2] or collection.partition("?")[0].rpartition("/")[2]
    return last if last in SPLITS or "?split=" in collection else None
