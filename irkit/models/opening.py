"""Opening an encoder: which class reads a model's folder, and what every one of them offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from irkit.models.encoder import Encoder, Side
from irkit.models.kinds import model_type
from irkit.models.loading import Dtype
from irkit.models.ragged import Ragged
from irkit.models.resolve import ResolvedModel


class TextEncoder(Protocol):
    """What stages ask of an encoder: :class:`irkit.models.encoder.Encoder` says what each member means."""

    @property
    def name(self) -> str:
        """The model as written in the experiment."""
        ...

    @property
    def device(self) -> str:
        """The torch device that it runs on."""
        ...

    @property
    def multi_vector(self) -> bool:
        """Whether it gives token vectors only, and decides itself which tokens count."""
        ...

    @property
    def similarity(self) -> Literal["cosine", "dot"]:
        """The similarity under which ``vectors`` are meant to be compared."""
        ...

    @property
    def dim(self) -> int:
        """The dimension of ``vectors``."""
        ...

    @property
    def token_dim(self) -> int:
        """The dimension of the vectors of ``tokens``."""
        ...

    def vectors(self, texts: Sequence[str], side: Side) -> NDArray[np.float32]:
        """Return one vector a text, ``float32[n, dim]``."""
        ...

    def tokens(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        special: bool = True,
        words: bool = False,
        salience: bool = False,
    ) -> Ragged:
        """Return one vector a token, ``float32[T, token_dim]``."""
        ...


class EncoderArguments(TypedDict, total=False):
    """What every class of encoders takes: :class:`irkit.models.encoder.Encoder` says what each means."""

    dtype: Dtype
    max_length: int | None
    prompts: dict[str, str | None] | None
    device: str | None
    batch_size: int
    threads: int
    notes: dict[str, Any] | None


def open_encoder(
    model: ResolvedModel, *, trust_remote_code: bool = False, **arguments: Unpack[EncoderArguments]
) -> TextEncoder:
    """Load a model with the class that reads its folder; the arguments are those of :class:`irkit.models.encoder.Encoder`.

    Raises:
        ModelError: when the model is no encoder, or cannot be loaded.
        ConfigError: when the device is not there, or ``max_length`` is more than the model's.
    """
    if model.path.is_dir() and model_type(model.path) == "ColBERTer":
        from irkit.models.colberter import ColBERTer
        from irkit.models.colberter_trained import WordEncoder

        if model.trained is not None:
            return WordEncoder.load(model, trust_remote_code=trust_remote_code, **arguments)
        return ColBERTer(model, **arguments)
    return Encoder(model, trust_remote_code=trust_remote_code, **arguments)
