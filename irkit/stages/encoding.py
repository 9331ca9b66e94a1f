"""What the stages with an encoder share: their options, and encoding a collection once, shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, PositiveInt

from irkit.models.resolve import ResolvedModel, identify, resolve
from irkit.pipeline.context import Context
from irkit.pipeline.stage import EXECUTION
from irkit.store import Build

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder, Side

SHARD = 512
"""Documents a shard: on a laptop some ten seconds of work, which is what a killed run loses."""


class EncoderOptions(BaseModel):
    """The options of a stage that encodes texts."""

    model: str = "minilm"
    """A name of the catalogue, a local folder, or a hub id ``org/name[@revision]``."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the model's weights and arithmetic."""
    max_length: PositiveInt | None = None
    """Truncate texts to this many tokens; the model's own limit unless given."""
    query_prompt: str | None = None
    """Put before every query instead of the model's own prompt; "" for nothing."""
    document_prompt: str | None = None
    """Put before every document instead of the model's own prompt; "" for nothing."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Read it first."""
    batch_size: PositiveInt = Field(32, json_schema_extra=EXECUTION)  # type: ignore[arg-type]
    """Texts a batch; halved when the device runs out of memory."""
    device: str | None = Field(None, json_schema_extra=EXECUTION)  # type: ignore[arg-type]
    """A torch device; the best there is unless given."""

    def encoder_identity(self) -> dict[str, Any]:
        """Return what decides the vectors besides the options. Loads nothing."""
        return {"model": identify(self.model), **libraries()}

    def encoding(self, side: Side) -> dict[str, Any]:
        """Return what decides the vectors of one side, as the spec of an artifact."""
        prompt = self.query_prompt if side == "query" else self.document_prompt
        return {
            **self.encoder_identity(),
            "dtype": self.dtype,
            "max_length": self.max_length,
            "prompt": prompt,
            "trust_remote_code": self.trust_remote_code,
        }

    def load(self, context: Context) -> Encoder:
        """Load the encoder; stages with equal options share the one in memory.

        Raises:
            ModelError: when there is no such model, or it cannot be loaded.
        """
        encoder = _load(
            resolve(self.model).name,
            self.dtype,
            self.max_length,
            self.query_prompt,
            self.document_prompt,
            self.trust_remote_code,
            self.device or context.runtime.device,
        )
        use_threads(context.runtime.threads)
        encoder.attend(self.batch_size, context.notes)
        return encoder


def libraries() -> dict[str, str]:
    """Return the versions of the libraries whose arithmetic decides a model's output, without their patch level."""
    names = ("sentence-transformers", "transformers", "torch")
    return {name: ".".join(version(name).split(".")[:2]) for name in names}
