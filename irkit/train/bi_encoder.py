"""What the kinds that start from a bi-encoder share: its options, and opening it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from irkit.core.errors import ModelError
from irkit.models.resolve import ResolvedModel
from irkit.pipeline.stage import EXECUTION
from irkit.train.kinds import find_model
from irkit.train.learner import Surroundings

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder


class BiEncoderOptions(BaseModel):
    """Which bi-encoder, and how it reads texts; names and meanings are those of the stage ``dense``."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = "minilm"
    """A name of the catalogue, a local folder, or a hub id ``org/name[@revision]``."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of a frozen model's weights and arithmetic; a model that is trained has float32."""
    max_length: PositiveInt | None = None
    """Truncate texts to this many tokens; the model's own limit unless given."""
    query_prompt: str | None = None
    document_prompt: str | None = None
    similarity: Literal["dot", "cosine"] | None = None
    """How vectors are compared; as the model says unless given."""
    batch_size: PositiveInt = Field(default=32, json_schema_extra=dict(EXECUTION))
    """Texts a batch where the frozen model encodes them."""


def open_bi_encoder(options: BiEncoderOptions, place: Surroundings) -> tuple[Encoder, ResolvedModel]:
    """Load the encoder.

    Raises:
        ModelError: when it cannot be loaded, or gives token vectors only.
    """
    from irkit.models.device import use_threads
    from irkit.models.encoder import Encoder

    use_threads(place.threads)
    model = find_model(options.model, place)
    encoder = Encoder(
        model,
        dtype=options.dtype,
        max_length=options.max_length,
        prompts={"query": options.query_prompt, "document": options.document_prompt},
        device=place.device,
        batch_size=options.batch_size,
    )
    if encoder.multi_vector:
        hint = "take a bi-encoder, such as minilm"
        raise ModelError.of("the model gives token vectors only", where=options.model, hint=hint)
    return encoder, model


def is_cosine(options: BiEncoderOptions, encoder: Encoder) -> bool:
    """Whether vectors are compared by their cosine."""
    return (options.similarity or encoder.similarity) == "cosine"


def identity(options: BiEncoderOptions, model: ResolvedModel) -> dict[str, Any]:
    """Return what decides the vectors of a text, as JSON values."""
    decisive = set(BiEncoderOptions.model_fields) - {"batch_size"}
    return {**options.model_dump(mode="json", include=decisive), "model": model.fingerprint}


@contextmanager
def with_dropout(encoder: Encoder) -> Iterator[None]:
    """Have the encoder's model drop out, as its configuration says, inside the block.

    On CUDA attention is computed step by step there: the gradients of torch's fused kernels differ from run to run as long as
    algorithms that are not deterministic are no errors, and some other step may have no other one.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    encoder.loaded.train()
    try:
        with sdpa_kernel(SDPBackend.MATH) if encoder.device.startswith("cuda") else nullcontext():
            yield
    finally:
        encoder.loaded.eval()
