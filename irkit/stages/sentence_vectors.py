"""One vector a document, encoded once and shared by every stage that compares sentence vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from irkit.pipeline.context import Context
from irkit.stages.encoding import EncoderOptions, encode_documents
from irkit.store import Build, Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Vectors
    from irkit.models.opening import TextEncoder

Similarity = Literal["dot", "cosine"] | None


def vectors_recipe(options: EncoderOptions, context: Context, similarity: Similarity = None) -> Recipe:
    """Return the recipe of a collection's vectors: the same for every stage that wants them from this encoder.

    Args:
        options: the encoder's.
        context: with the collection.
        similarity: how they are compared; as the model says for None.
    """
    return Recipe("vectors", {**options.documents_spec(context), "similarity": similarity})


def is_cosine(encoder: TextEncoder, similarity: Similarity = None) -> bool:
    """Whether vectors are compared by their cosine: they are then kept with length 1."""
    return (similarity or encoder.similarity) == "cosine"


def open_vectors(
    options: EncoderOptions, context: Context, encoder: TextEncoder, similarity: Similarity = None
) -> Vectors:
    """Map the documents' vectors, ``float32[N, dim]``, row = document code; make them where the store lacks them."""
    recipe, cosine = vectors_recipe(options, context, similarity), is_cosine(encoder, similarity)
    kept = context.artifact(recipe, lambda build: _build(build, context, encoder, cosine))
    vectors: Vectors = np.load(kept.file("vectors.npy"), mmap_mode="r", allow_pickle=False)
    return vectors


def scaled(vectors: Vectors, cosine: bool) -> Vectors:
    """Bring vectors to length 1 where they are compared by their cosine."""
    from irkit.models.encoder import unit

    return unit(vectors) if cosine else vectors


def _build(build: Build, context: Context, encoder: TextEncoder, cosine: bool) -> dict[str, Any]:
    def write(texts: Any, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, scaled(encoder.vectors(texts, "document"), cosine), allow_pickle=False)

    shards = encode_documents(context, build, "encoding documents", write)
    shape = (len(context.collection.docs), encoder.dim)
    if shape[0] == 0:
        np.save(build.path("vectors.npy"), np.zeros(shape, np.float32), allow_pickle=False)
        return {"documents": 0, "dim": shape[1]}
    out = np.lib.format.open_memmap(build.path("vectors.npy"), mode="w+", dtype=np.float32, shape=shape)
    row = 0
    for shard in shards:
        part = np.load(shard, allow_pickle=False)
        out[row : row + len(part)] = part
        row += len(part)
    out.flush()
    return {"documents": shape[0], "dim": shape[1], **context.notes}
