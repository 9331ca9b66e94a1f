"""The Python interface: run, plan and search experiments and pipelines in a workspace; compare run files."""

from irkit.api.compare import compare
from irkit.api.run import run
from irkit.api.workspace import Workspace

__all__ = ["Workspace", "compare", "run"]
