"""One pipeline on one collection, measured in a process of its own: what is loaded there, nothing else has loaded before."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from irkit.api.measured import Outcome, Task, measure_pipeline
from irkit.api.workspace import Workspace
from irkit.config.experiment import Experiment, read_experiment
from irkit.config.yaml import parse_yaml
from irkit.core import errors
from irkit.core.errors import IrkitError, Problem, StageError
from irkit.pipeline.context import Runtime
from irkit.report.results import Record

_TASK, _OUTCOME = "task.json", "outcome.json"


class _Order(Record):
    """What the other process is told."""

    experiment: str
    root: str
    store: str
    runtime: dict[str, Any]
    task: dict[str, Any]


class _Answer(Record):
    """What it answers: an outcome, or an error and its problems."""

    outcome: Outcome | None = None
    error: str | None = None
    problems: tuple[tuple[str, str | None, str | None], ...] = ()


def measure_apart(task: Task, experiment: Experiment, workspace: Workspace) -> Outcome:
    """Measure a pipeline in another process.

    Raises:
        IrkitError: what the measurement raised there, or where that process was killed.
    """
    order = _Order(
        experiment=experiment.to_yaml(full=True),
        root=str(workspace.root),
        store=str(workspace.store.root.absolute()),
        runtime=asdict(workspace.runtime),
        task=asdict(task),
    )
    with TemporaryDirectory(prefix="irkit-measure-") as temporary:
        folder = Path(temporary)
        (folder / _TASK).write_text(order.model_dump_json(), encoding="utf-8")
        # What libraries print belongs to no result of ours: it goes where errors go
        command = [sys.executable, "-m", __name__, str(folder)]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False)
        if ended.returncode:
            raise _broken(ended.returncode, task)
        answer = _Answer.model_validate_json((folder / _OUTCOME).read_text(encoding="utf-8"))
    if answer.outcome is None:
        kind = getattr(errors, answer.error or "", IrkitError)
        raise kind(*(Problem(*each) for each in answer.problems))
    return answer.outcome


def _broken(code: int, task: Task) -> Exception:
    where = f"{task.pipeline} on {task.collection}"
    if code < 0:
        hint = "where memory ran out: fewer --queries, or smaller batches"
        message = f"the process that measured it was killed by {signal.Signals(-code).name}"
        return StageError.of(message, where=where, hint=hint)
    return RuntimeError(f"the process that measured {where} failed; what it said stands above")


def main(folder: Path) -> None:
    """Do what the order in ``folder`` says, and write the answer there."""
    order = _Order.model_validate_json((folder / _TASK).read_text(encoding="utf-8"))
    workspace = Workspace(Path(order.root), Path(order.store), Runtime(**order.runtime))
    try:
        experiment = read_experiment(parse_yaml(order.experiment, "experiment"), base=workspace.root)
        task = Task(**order.task)
        collection = workspace.open(experiment.collections[task.collection])
        end = experiment.pipelines[task.pipeline].graph()
        answer = _Answer(outcome=measure_pipeline(task, replace(workspace, shared={}), collection, end))
    except IrkitError as error:
        problems = [(each.message, each.where, each.hint) for each in error.problems]
        answer = _Answer(error=type(error).__name__, problems=tuple(problems))
    (folder / _OUTCOME).write_text(answer.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
