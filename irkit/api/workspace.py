"""The workspace: a folder with ``pipelines/``, ``indexes/`` (the store) and ``eval/runs/`` (results)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irkit.config.experiment import CollectionSpec, Experiment, load_experiment
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.data.open import open_collection, resolve
from irkit.exec.executor import Executor
from irkit.exec.plan import NodePlan, plan
from irkit.exec.search import Searcher
from irkit.pipeline.context import Context, Progress, Runtime, Silent
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.stage import Stage
from irkit.store import Store


@dataclass(frozen=True)
class Workspace:
    """Where and how to compute.

    Attributes:
        root: the folder against which relative paths are resolved.
        store_root: the folder of the store; None for $IRKIT_STORE, else ``indexes/`` of the workspace.
        runtime: device and threads.
        progress: shows what is being done; silent by default.
        shared: what the stages of one run have in common, set for a run; each context has its own when None.
    """

    root: Path = field(default_factory=Path.cwd)
    store_root: Path | None = None
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=Silent)
    shared: dict[Any, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def store(self) -> Store:
        """The store of the workspace."""
        chosen = os.environ.get("IRKIT_STORE")
        root = self.store_root or (Path(chosen) if chosen else self.root / "indexes")
        return Store(
            root,
            on_wait=lambda recipe: self.progress.say(f"waiting: another irkit is at work on {recipe.kind}"),
        )

    @property
    def runs(self) -> Path:
        """The folder under which each experiment's results have a folder of their own."""
        return self.root / "eval" / "runs"

    def load(self, path: Path | str, settings: Sequence[str] = ()) -> Experiment:
        """Read an experiment file; collections that cannot be there, and files that stages name, are problems of their lines.

        Raises:
            ConfigError: naming every problem of the file at once, each with ``file:line``.
        """
        return load_experiment(
            path, settings, lambda spec: resolve(spec, base=self.root, store=self.store), self.root
        )

    def open(self, collection: CollectionSpec) -> Collection:
        """Open a collection; the first time, its tables are built in the store."""
        return open_collection(collection, self.store, base=self.root)

    def context(self, collection: Collection) -> Context:
        """Return what stages are given to work with on a collection."""
        shared = {} if self.shared is None else self.shared
        return Context(collection, self.store, self.runtime, self.progress, self.root, shared=shared)

    def rankings(self, pipeline: Pipeline | Stage, collection: CollectionSpec) -> tuple[Collection, Rankings]:
        """Run one pipeline over all queries of a collection; what is in the store is not computed again."""
        opened = self.open(collection)
        node = Pipeline.of(pipeline).graph()
        return opened, Executor(self.context(opened), [node]).rankings(node)

    def searcher(self, pipeline: Pipeline | Stage, collection: Collection) -> Searcher:
        """Open a pipeline on a collection, to be called with queries of one's own."""
        return Searcher(self.context(collection), Pipeline.of(pipeline).graph())

    def search(
        self, pipeline: Pipeline | Stage, collection: CollectionSpec, *texts: str
    ) -> list[list[tuple[str, float]]]:
        """Answer queries with a pipeline: per text the (docno, score) of its hits, best first."""
        opened = self.open(collection)
        found = self.searcher(pipeline, opened)(Queries.of(texts))
        return [list(zip(opened.docs.docnos(doc), score.tolist(), strict=True)) for doc, score in found]

    def plan(self, experiment: Experiment) -> Mapping[str, list[NodePlan]]:
        """Return, by collection, what running the experiment would compute and why."""
        ends = {name: pipeline.graph() for name, pipeline in experiment.pipelines.items()}
        return {
            name: plan(
                self.context(self.open(spec)), ends
            )  # opening builds the tables: their content names everything else
            for name, spec in experiment.collections.items()
        }
