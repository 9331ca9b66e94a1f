"""Dense retrieval: one vector a text, the nearest documents by dot product or cosine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Retriever
from irkit.stages.encoding import EncoderOptions
from irkit.stages.faiss_index import (
    FaissIndex,
    HnswOptions,
    IvfPqOptions,
    build_index,
    build_spec,
    faiss_identity,
)
from irkit.stages.forms import VECTOR, vectors_of
from irkit.stages.sentence_vectors import is_cosine, open_vectors, scaled, vectors_recipe
from irkit.stages.vector_index import Flat, VectorIndex
from irkit.store import Build, Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Vectors
    from irkit.models.opening import TextEncoder


@dataclass(frozen=True)
class DenseState:
    """What ``prepare`` opens: the encoder for the queries, and the index over the documents."""

    encoder: TextEncoder
    index: VectorIndex
    cosine: bool
    space: str


class Dense(Retriever, EncoderOptions):
    """Retrieve by the vectors of any SentenceTransformer; prompts, pooling and normalisation as the model
    says.

    The default index is exact, and its result the same on every device. Queries and documents are encoded so
    that a vector depends on its own text alone; what remains on accelerators is stated in
    :mod:`irkit.models.batching`. A vector that a stage before gave a query is searched as it is, in place of the text's.
    """

    takes: ClassVar[tuple[str, ...]] = ("text", VECTOR)
    uncounted: ClassVar[str] = "the index's search, where faiss does it"

    similarity: Literal["dot", "cosine"] | None = None
    """How vectors are compared; as the model says unless given."""
    index: Literal["flat", "hnsw", "ivf-pq"] = "flat"
    """``flat`` is exact; the others are faster from some hundred thousand documents on, and approximate."""
    hnsw: HnswOptions = HnswOptions()
    ivf_pq: IvfPqOptions = IvfPqOptions()

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return {**self.encoder_identity(context), **(faiss_identity() if self.index != "flat" else {})}

    def space_of(self, form: str) -> Mapping[str, Any]:
        """Return the options that name the index, for a vector."""
        return {**self.documents_options(), "similarity": self.similarity} if form == VECTOR else {}

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipes of the documents' vectors and, where there is one, of the index over them."""
        vectors = self._vectors(context)
        return [vectors] if self.index == "flat" else [vectors, self._index(vectors)]

    def prepare(self, context: Context) -> DenseState:
        """Load the model; encode the documents and build the index where the store lacks them.

        Raises:
            ModelError: when the model cannot be loaded or is no encoder.
            DependencyError: when the index needs faiss and it is missing.
        """
        encoder = self.load_encoder(context)
        vectors = open_vectors(self, context, encoder, self.similarity)
        index: VectorIndex
        if self.index == "flat":
            index = flat = Flat(vectors, device=encoder.device, threads=context.runtime.threads)
            context.notes["index"] = f"flat, exact, by {flat.library}"
        else:
            file = context.artifact(
                self._index(self._vectors(context)), lambda build: self._build(build, vectors)
            ).file("index.faiss")
            index = FaissIndex(
                vectors, file, threads=context.runtime.threads, hnsw=self.hnsw, ivf_pq=self.ivf_pq
            )
            context.notes["index"] = f"{self.index}, approximate, by faiss"
        return DenseState(encoder, index, is_cosine(encoder, self.similarity), self._vectors(context).key)

    def search(self, queries: Queries, depth: int, state: DenseState) -> Rankings:
        """Return the best ``depth`` documents of every query."""
        if len(state.index.vectors) == 0:
            return Rankings.empty(len(queries))
        asked = vectors_of(queries, state.space)
        if asked is None:
            asked = scaled(state.encoder.vectors(queries.text, "query"), state.cosine)
        return state.index.search(asked, depth)

    def _vectors(self, context: Context) -> Recipe:
        return vectors_recipe(self, context, self.similarity)

    def _index(self, vectors: Recipe) -> Recipe:
        spec = build_spec(_approximate(self.index), self.hnsw, self.ivf_pq)
        return Recipe("faiss", {"vectors": vectors.key, **faiss_identity(), **spec})

    def _build(self, build: Build, vectors: Vectors) -> dict[str, Any]:
        build_index(vectors, _approximate(self.index), self.hnsw, self.ivf_pq, build.path("index.faiss"))
        return {"documents": len(vectors)}


def _approximate(index: str) -> Literal["hnsw", "ivf-pq"]:
    return "hnsw" if index == "hnsw" else "ivf-pq"
