"""The run files of an experiment: TREC's form, one a collection and pipeline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from irkit.config.experiment import Experiment
from irkit.data.collection import Collection
from irkit.evaluate.runfile import write_run
from irkit.exec.executor import Executor
from irkit.pipeline.graph import Node


def write_run_file(
    folder: Path,
    name: str,
    pipeline: str,
    executor: Executor,
    node: Node,
    collection: Collection,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write the run file of a pipeline, unless it is there, of the same rankings of the same queries.

    Raises:
        IrkitError: when the folder cannot be written.
    """
    path = _run_file(folder, name, pipeline)
    recipe = executor.recipe(node)
    marker = f"irkit-{recipe.base[:16]}-{recipe.part}-{collection.fingerprint[:16]}"
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            if any(marker in line for line in takewhile(lambda line: line.startswith("#"), file)):
                return  # written by an earlier run, from the same rankings of the same queries
    with suppress(OSError):  # write_run says what is wrong with the folder
        path.parent.mkdir(parents=True, exist_ok=True)
    write_run(
        path,
        executor.rankings(node),
        collection,
        tag=pipeline,
        header={**(metadata or {}), "rankings": marker},
    )


def _run_file(folder: Path, collection: str, pipeline: str) -> Path:
    """Return where a run file stands: one folder per collection, whatever slashes and dots its name has."""
    safe = re.sub(r"^\.", "%2E", quote(collection, safe=" =,+"))
    return folder / "runs" / safe / f"{pipeline}.trec"


def drop_old_runs(folder: Path, experiment: Experiment) -> None:
    """Remove the run files of pipelines and collections that the experiment no longer has, and the folders they leave empty.

    Those of collections and pipelines that ``--only`` and ``--pipeline`` left out stay.
    """
    ours = {_run_file(folder, c, p) for c in experiment.collections for p in experiment.pipelines}
    for path in list((folder / "runs").glob("*/*.trec")):
        if path not in ours:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # other files stand there
                path.parent.rmdir()
