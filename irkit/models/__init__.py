"""Models: names become files on disk with a fingerprint and a licence; files become encoders that run the same way everywhere."""

from irkit.models.catalogue import ModelStatus, list_models
from irkit.models.fetch import pull
from irkit.models.resolve import ResolvedModel, identify, resolve

__all__ = ["ModelStatus", "ResolvedModel", "identify", "list_models", "pull", "resolve"]
