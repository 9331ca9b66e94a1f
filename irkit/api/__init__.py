"""The Python interface: run, plan and search experiments and pipelines in a workspace."""

from irkit.api.run import run
from irkit.api.workspace import Workspace

__all__ = ["Workspace", "run"]
