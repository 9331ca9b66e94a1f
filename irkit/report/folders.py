"""Which folders hold the results of runs, and what to give in their place."""

from __future__ import annotations

from pathlib import Path

RESULTS, PER_QUERY = "results.json", "per_query.json"
_OF_A_RUN = (RESULTS, PER_QUERY, "experiment.yaml", "report.html")


def run_folders(folder: Path) -> list[Path]:
    """Return the folder of a run itself, or those of the runs in a folder of such; itself where there is none in it."""
    if (folder / RESULTS).exists() or not folder.is_dir():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{RESULTS}")) or [folder]


def folder_hint(file: Path) -> str:
    """Return what to give in place of a file: the folder of its run."""
    if file.suffix in (".yaml", ".yml") and file.name != "experiment.yaml":
        return f"give the folder of its run: eval/runs/{file.stem}"
    if file.name in _OF_A_RUN and file.parent.name:
        return f"give its folder: {file.parent}"
    return "give the folder of a finished run: eval/runs/<experiment>"
