"""What frozen encoders give the texts of the examples, worked out once and kept until training is over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.files import partial_of, refusals_told, tensor_errors
from irkit.core.fingerprint import fingerprint
from irkit.core.rankings import offsets_of
from irkit.train.learner import Surroundings

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder, Side
    from irkit.train.bi_encoder import BiEncoderOptions

_PART = 512
_DIGEST = "digest"


def kept(
    folder: Path, key: Mapping[str, Any], make: Callable[[], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Return arrays from the folder, or make and keep them there. A file that is not as it was written is made anew.

    Raises:
        ReportError: when they cannot be written.
    """
    from safetensors.numpy import save_file

    path = folder / f"{fingerprint(dict(key))[:32]}.safetensors"
    found = _intact(path)
    if found is not None:
        return found
    made = {name: np.ascontiguousarray(each) for name, each in make().items()}
    with refusals_told(path), tensor_errors(), partial_of(path) as partial:
        save_file(made, partial, {_DIGEST: _digest(made)})
    return made


def _intact(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a file; None where it is missing, damaged, or says nothing of its content."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
            said = file.metadata() or {}
    except (OSError, SafetensorError):
        return None
    return arrays if said.get(_DIGEST) == _digest(arrays) else None


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of arrays with their names, shapes and types: safetensors has no checksum of its own."""
    digest = hashlib.sha256()
    for name, each in sorted(arrays.items()):
        digest.update(f"{name} {each.shape} {each.dtype}\n".encode())
        digest.update(each.data)
    return digest.hexdigest()


def frozen_vectors(
    encoder: Encoder,
    texts: Sequence[str],
    side: Side,
    cosine: bool,
    place: Surroundings,
    identity: Mapping[str, Any],
) -> NDArray[np.float32]:
    """Return the vectors of texts, ``float32[n, dim]``, as the stage ``dense`` compares them."""
    from irkit.models.encoder import unit

    def make() -> dict[str, NDArray[Any]]:
        out = np.zeros((len(texts), encoder.dim), np.float32)
        with place.progress.task(f"vectors, {side} side", len(texts)) as advance:
            for start in range(0, len(texts), _PART):
                part = list(texts[start : start + _PART])
                out[start : start + len(part)] = encoder.vectors(part, side)
                advance(len(part))
        return {"vectors": unit(out) if cosine else out}

    key = {"what": "vectors", "side": side, "cosine": cosine, "texts": fingerprint(list(texts)), **identity}
    return kept(place.scratch / "vectors", key, make)["vectors"]


def document_vectors(
    encoder: Encoder,
    options: BiEncoderOptions,
    texts: Sequence[str],
    place: Surroundings,
    key: Mapping[str, Any],
) -> NDArray[np.float32]:
    """Return the vectors of the examples' documents: those that a search left in the store, or new ones."""
    from irkit.train.bi_encoder import is_cosine

    found = place.stored(options) if place.stored is not None else None
    if found is not None:
        return found
    return frozen_vectors(encoder, texts, "document", is_cosine(options, encoder), place, key)


def frozen_tokens(
    encoder: Encoder,
    texts: Sequence[str],
    side: Side,
    states: str,
    place: Surroundings,
    identity: Mapping[str, Any],
) -> dict[str, NDArray[Any]]:
    """Return the token ids of texts, and what is wanted of their hidden states.

    Args:
        encoder: the encoder.
        texts: the texts.
        side: theirs.
        states: "none"; "first", of each text's first token; or "all".
        place: where they are kept.
        identity: of the model and its options.

    Returns:
        ``offsets int64[n + 1]``, ``ids int64[T]``, ``pooled float32[n, dim]`` as the encoder gives it, and ``states``:
        ``float32[n, hidden]`` for "first", ``float32[T, hidden]`` for "all".
    """

    def make() -> dict[str, NDArray[Any]]:
        ids: list[NDArray[Any]] = [np.zeros(0, np.int64)] * len(texts)
        found: list[NDArray[Any]] = [np.zeros((0, 0), np.float32)] * len(texts)
        pooled = np.zeros((len(texts), encoder.dim), np.float32)
        with place.progress.task(f"tokens, {side} side", len(texts)) as advance:
            for start in range(0, len(texts), _PART):
                part = list(texts[start : start + _PART])
                for rows, result in encoder.passes(
                    part, side, lambda features, output: {**features, **output}
                ):
                    mask = result["attention_mask"].bool().cpu().numpy()
                    tokens = result["input_ids"].cpu().numpy()
                    hidden = result["token_embeddings"].float().cpu().numpy() if states != "none" else None
                    pooled[start + rows] = result["sentence_embedding"].float().cpu().numpy()
                    for i, row in enumerate(start + rows):
                        ids[row] = tokens[i][mask[i]]
                        if hidden is not None:
                            own = hidden[i][mask[i]]
                            found[row] = own[:1] if states == "first" else own
                advance(len(part))
        made: dict[str, NDArray[Any]] = {
            "offsets": offsets_of([len(each) for each in ids]),
            "ids": np.concatenate([np.zeros(0, np.int64), *ids]),
            "pooled": pooled,
        }
        return made | ({"states": np.concatenate(found)} if states != "none" else {})

    key = {"what": "tokens", "side": side, "states": states, "texts": fingerprint(list(texts)), **identity}
    return kept(place.scratch / "vectors", key, make)
