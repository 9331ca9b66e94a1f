"""Which of irkit's two sorts of files a YAML file is, by its keys."""

from __future__ import annotations

from typing import Any


def is_recipe(data: Any) -> bool:
    """Whether the data of a file are a recipe of ``irkit train`` rather than an experiment."""
    return isinstance(data, dict) and {"kind", "data"} <= data.keys() and "pipelines" not in data


def is_experiment(data: Any) -> bool:
    """Whether the data of a file are an experiment rather than a recipe of ``irkit train``."""
    return isinstance(data, dict) and "pipelines" in data and not {"kind", "data"} & data.keys()
