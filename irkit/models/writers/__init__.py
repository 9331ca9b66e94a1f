"""Texts that language models write: on this machine, behind an endpoint, or written before and read from a file."""

from irkit.models.writers.keeping import Keeper
from irkit.models.writers.writer import Job, Prompt, Sampling, Text, Writer

__all__ = ["Job", "Keeper", "Prompt", "Sampling", "Text", "Writer"]
