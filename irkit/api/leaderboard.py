"""Many experiments in one leaderboard, with its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from irkit.config.defaults import LEADERBOARD
from irkit.core.alone import alone
from irkit.core.errors import ConfigError, Problem
from irkit.core.files import write_atomically
from irkit.report import leaderboard_page as pages
from irkit.report.folders import folder_hint, run_folders
from irkit.report.leaderboard import Leaderboard, leaderboard
from irkit.report.leaderboard_history import (
    HISTORY,
    Changes,
    changes,
    history_text,
    load_history,
    past_means,
    snapshot_of,
    with_snapshot,
)
from irkit.report.leaderboard_view import make_view
from irkit.report.results import RESULTS, Results, read_results

_LOCK = ".leaderboard.lock"


@dataclass(frozen=True)
class Made:
    """A leaderboard that was written.

    Attributes:
        changes: what changed since the last one of its kind: falsy when nothing did; None for the first.
        skipped: files given that hold no results.
    """

    board: Leaderboard
    folder: Path
    changes: Changes | None
    skipped: tuple[Path, ...]


def make_leaderboard(
    runs: Sequence[str | Path],
    *,
    output: Path | str = LEADERBOARD,
    metric: str | None = None,
    average: str | None = None,
    collections: Sequence[str] = (),
    controls: bool = False,
    title: str = "Leaderboard",
) -> Made:
    """Rank the pipelines of many experiments together and write the page, Markdown, CSV and the history.

    The files are written one by one, each whole or not at all; calling again after an interruption completes them. The same
    experiments in another order make the same files. Processes that write to one folder do so one after the other,
    each adding to the history of the one before.

    Args:
        runs: folders of finished runs, folders of such folders, or files ``results.json``.
        output: the folder to write: ``leaderboard.html``, ``.md``, ``.csv``, and ``.json``, the history, which is added to.
        metric: ndcg@10 when None and any experiment has it, else the first that all have.
        average: one that the experiments name; the mean over all collections in view when None.
        collections: those to rank on, by name or a part of it; all when empty.
        controls: whether order controls take part.
        title: of the page.

    Raises:
        ConfigError: when there is nothing to rank, or a name means nothing.
        ReportError: for results that cannot be read, a collection that two experiments judge differently, and a history that is
            damaged, before anything is written; and for a folder that cannot be written.
    """
    paths, skipped = _files(runs)
    read = [(str(path), read_results(path)) for path in paths]
    if not read:
        if skipped:
            files = (
                Problem(
                    "there is no experiment to rank: this is a file, not the folder of a run",
                    str(path),
                    folder_hint(path),
                )
                for path in skipped
            )
            raise ConfigError(*files)
        hint = "give folders of finished runs, for example eval/runs/*"
        raise ConfigError.of("there is no experiment to rank", hint=hint)
    read.sort(key=lambda each: (each[1].provenance.created, each[1].experiment, each[0]))
    folder = Path(output)
    load_history(folder)  # a damaged one is told of before anything is made
    view = make_view(read, metric, average, collections)
    board = leaderboard([results for _, results in read], view, controls=controls)
    if not board.rows:
        hint = "; ".join(f"{path} has {', '.join(_metrics(results))}" for path, results in read)
        raise ConfigError.of(f"no pipeline has a {view.metric} on the collections in view", hint=hint)
    ours = version("irkit")
    with alone(folder, _LOCK):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        snapshot = snapshot_of(board, now, ours)
        history, found = with_snapshot(load_history(folder), snapshot)
        alike = history.like(snapshot)
        shown = pages.Shown(
            title=title,
            board=board,
            date=alike[-1].date,
            irkit=ours,
            snapshots=len(alike),
            changes=changes(alike[-2], alike[-1]) if len(alike) > 1 else None,
            past=past_means(alike),
        )
        texts = {"html": pages.page(shown), "md": pages.markdown(shown), "csv": pages.csv(shown)}
        write_atomically(folder / HISTORY, history_text(history))
        for ending, text in texts.items():
            write_atomically(folder / f"leaderboard.{ending}", text)
    return Made(board, folder, found, tuple(skipped))


def _files(runs: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Return the files of results that are meant, each once, and files that hold none (a README among the runs)."""
    found: dict[Path, Path] = {}
    skipped = []
    for run in map(Path, runs):
        inside = [folder / RESULTS for folder in run_folders(run)]
        if run.is_file():
            inside = [run]
            if run.suffix != ".json":
                skipped.append(run)
                continue
        for path in inside:
            found.setdefault(path.resolve(), path)
    return list(found.values()), skipped


def _metrics(results: Results) -> list[str]:
    return list(dict.fromkeys(score.metric for score in results.scores)) or ["no score"]
