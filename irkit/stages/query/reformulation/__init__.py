"""The methods of generative reformulation: what each asks a language model, and what it makes of the answer."""

from irkit.stages.query.reformulation.method import Method, Target
from irkit.stages.query.reformulation.methods import METHODS

__all__ = ["METHODS", "Method", "Target"]
