"""What the stages with an encoder share: their options, and encoding a collection once, shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, PositiveInt

from irkit.models.catalogue import catalogue
from irkit.models.device import use_threads
from irkit.models.resolve import identify, resolve
from irkit.pipeline.context import Context
from irkit.pipeline.stage import EXECUTION
from irkit.store import Build

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder

ENCODING = 2
"""Of the vectors and tokens in the store: counts up when documents come to be encoded or written otherwise."""

SHARD = 512
"""Documents a shard: some ten seconds of work on a laptop, which is what a killed run loses."""


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
    batch_size: PositiveInt = Field(default=32, json_schema_extra=dict(EXECUTION))
    """Texts a batch; halved when the device runs out of memory."""
    device: str | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """A torch device; the best there is unless given."""

    def encoder_identity(self, context: Context) -> dict[str, Any]:
        """Return what decides the vectors besides the options: the model, the prompts that the catalogue gives it, and the
        libraries. Loads nothing.

        Raises:
            ModelError: when there is no such model.
        """
        entry = catalogue().get(self.model)
        return {
            "model": identify(self.model, context.workspace),
            "prompts": entry.prompts if entry else {},
            "libraries": libraries(),
        }

    def documents_spec(self, context: Context) -> dict[str, Any]:
        """Return what decides the vectors of a collection's documents, as the spec of an artifact."""
        return {
            "encoding": ENCODING,
            "docs": context.collection.docs_fingerprint,
            **self.encoder_identity(context),
            "dtype": self.dtype,
            "max_length": self.max_length,
            "prompt": self.document_prompt,
            "trust_remote_code": self.trust_remote_code,
        }

    def documents_options(self) -> dict[str, Any]:
        """Return the options that decide the vectors of documents, as they were given."""
        ours = {"model", "dtype", "max_length", "document_prompt", "trust_remote_code"}
        return self.model_dump(mode="json", include=ours)

    def load_encoder(self, context: Context) -> TextEncoder:
        """Load the encoder, downloading the model where that is needed.

        Raises:
            ModelError: when there is no such model, or it cannot be loaded.
            ConfigError: when the device is not there, or ``max_length`` is more than the model's.
        """
        from irkit.models.opening import open_encoder

        use_threads(context.runtime.threads)
        return open_encoder(
            resolve(self.model, context.workspace),
            dtype=self.dtype,
            max_length=self.max_length,
            prompts={"query": self.query_prompt, "document": self.document_prompt},
            trust_remote_code=self.trust_remote_code,
            device=self.device or context.runtime.device,
            batch_size=self.batch_size,
            threads=context.runtime.threads,
            notes=context.notes,
        )


def libraries() -> dict[str, str]:
    """Return the versions, without patch level, of the libraries whose arithmetic decides a model's output."""
    names = ("sentence-transformers", "transformers", "torch")
    return {name: ".".join(version(name).split(".")[:2]) for name in names}


def encode_documents(
    context: Context, build: Build, label: str, write: Callable[[Sequence[str], Path], None]
) -> list[Path]:
    """Encode a collection's documents, in the order of their codes, and return the shards in that order.

    Args:
        context: the collection, and where to show progress.
        build: the artifact under way; shards that an interrupted build finished are kept.
        label: what the progress bar says.
        write: encodes some texts and writes the file or folder of their shard.
    """
    docs = context.collection.docs
    return document_shards(context, build, label, lambda codes, path: write(docs.texts(codes), path))


def document_shards(
    context: Context, build: Build, label: str, write: Callable[[range, Path], None]
) -> list[Path]:
    """Work through a collection's documents, in the order of their codes, and return the shards in that order.

    Args:
        context: the collection, and where to show progress.
        build: the artifact under way; shards that an interrupted build finished are kept.
        label: what the progress bar says.
        write: writes the file or folder of the shard of these documents.
    """
    count = len(context.collection.docs)
    ranges = [range(start, min(start + SHARD, count)) for start in range(0, count, SHARD)]
    names = [f"{part.start:010d}-{part.stop:010d}" for part in ranges]
    done = sum(len(part) for part, name in zip(ranges, names, strict=True) if build.has_shard(name))
    shards: list[Path] = []
    with context.progress.task(label, count, done) as advance:
        for part, name in zip(ranges, names, strict=True):
            fresh = not build.has_shard(name)
            shards.append(build.shard(name, lambda path, part=part: write(part, path)))  # type: ignore[misc]
            if fresh:
                advance(len(part))
    return shards
