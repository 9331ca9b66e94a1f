"""faiss's approximate indexes: built once, the same way every time, and searched query by query."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from irkit.core.errors import ConfigError
from irkit.core.rankings import Rankings
from irkit.stages.vector_index import Floats, VectorIndex, best, exact_scores, faiss

BUILD = 1
"""Of an index in the store: counts up when the code starts to build it otherwise."""

_POINTS_PER_CENTROID = 39
"""Below it faiss warns that k-means has too few points."""


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HnswOptions(_Options):
    """A graph of near neighbours (Malkov and Yashunin, 2018). Fast; takes the memory of the vectors and more."""

    m: int = Field(default=32, ge=2)
    """Neighbours a node has on the upper levels; twice as many on the lowest."""
    ef_construction: PositiveInt = 200
    """How many candidates are kept while a node is inserted."""
    ef_search: PositiveInt = 128
    """How many candidates are kept while searching; at least the depth is."""


class IvfPqOptions(_Options):
    """Cells of k-means with product-quantised vectors (Jegou et al., 2011). Small; needs some thousand documents."""

    nlist: PositiveInt | None = None
    """Cells; 4 sqrt(N) unless given, and no more than there are documents for."""
    m: PositiveInt = 48
    """Bytes a document; must divide the dimension."""
    nprobe: PositiveInt = 32
    """Cells that are searched."""
    refine: PositiveInt = 4
    """Candidates, as a multiple of the depth, whose exact scores are computed."""


def faiss_identity() -> dict[str, str]:
    """Return the version of faiss, for fingerprints."""
    for name in ("faiss-cpu", "faiss-gpu"):
        try:
            return {"faiss": version(name)}
        except PackageNotFoundError:
            continue
    faiss()  # raises with the command that installs it, unless faiss came without pip
    return {"faiss": "unknown"}


def build_spec(kind: Literal["hnsw", "ivf-pq"], hnsw: HnswOptions, ivf_pq: IvfPqOptions) -> dict[str, Any]:
    """Return the options that decide the index itself, without those that decide only how it is searched."""
    if kind == "hnsw":
        return {"build": BUILD, "index": kind, **hnsw.model_dump(include={"m", "ef_construction"})}
    return {"build": BUILD, "index": kind, **ivf_pq.model_dump(include={"nlist", "m"})}


def build_index(
    vectors: Floats, kind: Literal["hnsw", "ivf-pq"], hnsw: HnswOptions, ivf_pq: IvfPqOptions, to: Path
) -> None:
    """Build an index over all rows and write it.

    One thread only: with more, HNSW's graph depends on which thread came first, and k-means on how its sums
    were split. The seeds are faiss's fixed ones. So the same vectors give the same index.

    Raises:
        DependencyError: when faiss is missing.
        ConfigError: when ``ivf-pq`` cannot be trained on so few documents, or ``m`` does not divide the
            dimension.
    """
    module = faiss()
    module.omp_set_num_threads(1)
    total, dim = vectors.shape
    if kind == "hnsw":
        index = module.IndexHNSWFlat(dim, hnsw.m, module.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = hnsw.ef_construction
    else:
        nlist = ivf_pq.nlist or max(1, min(int(4 * total**0.5), total // _POINTS_PER_CENTROID))
        if total < max(256, nlist):
            hint = "use index: flat, which is exact and fast at this size"
            raise ConfigError.of(
                f"ivf-pq needs at least {max(256, nlist)} documents, here are {total}",
                where="index",
                hint=hint,
            )
        if dim % ivf_pq.m:
            hint = f"choose one of {[m for m in range(1, dim + 1) if dim % m == 0]}"
            raise ConfigError.of(
                f"m = {ivf_pq.m} does not divide the dimension {dim}", where="ivf_pq.m", hint=hint
            )
        quantizer = module.IndexFlatIP(dim)
        index = module.IndexIVFPQ(quantizer, dim, nlist, ivf_pq.m, 8, module.METRIC_INNER_PRODUCT)
        index.train(np.ascontiguousarray(vectors))
    for start in range(0, total, 65536):
        index.add(np.ascontiguousarray(vectors[start : start + 65536]))
    to.parent.mkdir(parents=True, exist_ok=True)
    module.write_index(index, str(to))


class FaissIndex(VectorIndex):
    """An approximate index: it finds candidates, which then get their exact scores as in exact search.

    Which documents become candidates is approximate, but decided query by query: it does not depend on the
    batch or the threads.
    """

    def __init__(
        self, vectors: Floats, file: Path, *, threads: int, hnsw: HnswOptions, ivf_pq: IvfPqOptions
    ) -> None:
        super().__init__(vectors)
        self._module, self._threads = faiss(), threads
        self._hnsw, self._ivf_pq = hnsw, ivf_pq
        self._index = self._module.read_index(str(file))

    def search(self, queries: Floats, depth: int) -> Rankings:
        """Return ``depth`` rows of every query by the index's choice, scored exactly, with canonical ties among them."""
        depth = min(depth, len(self.vectors))
        if depth == 0 or len(queries) == 0:
            return Rankings.empty(len(queries))
        module = self._module
        module.omp_set_num_threads(self._threads)
        module.cvar.distance_compute_blas_threshold = (
            1 << 30
        )  # cells are chosen query by query, whatever the batch
        is_hnsw = hasattr(self._index, "hnsw")
        if is_hnsw:
            wanted = depth
            options = module.SearchParametersHNSW(efSearch=max(self._hnsw.ef_search, depth))
        else:
            wanted = min(depth * self._ivf_pq.refine, len(self.vectors))
            options = module.SearchParametersIVF(nprobe=self._ivf_pq.nprobe)
        _, rows = self._index.search(np.ascontiguousarray(queries), wanted, params=options)
        found = []
        for query, codes in zip(queries, rows, strict=True):
            there = np.sort(codes[codes >= 0])  # -1 where the index found fewer
            found.append(best(there, exact_scores(query, self.vectors[there]), depth))
        return Rankings.from_lists([codes for codes, _ in found], [scores for _, scores in found])
