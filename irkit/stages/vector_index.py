"""Vector indexes: exact search with one answer on every device, and faiss's approximate ones, behind one
interface.

Exact search happens in two steps. A fast one (faiss on the CPU, torch on an accelerator, in float32 and in
whatever order the library adds) finds candidates. Then the candidates get their scores: the products of
float32 numbers, exact in float64, added up in one fixed order, rounded once to float32. Which documents can
be among the best is decided with the error bound of the first step, so the result is the exact one, ties at
the end included, and does not depend on library, device, batch or number of threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import DependencyError
from irkit.core.rankings import Rankings

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]

_MARGIN = 32
"""Candidates beyond the depth: enough that a second look is rare."""
_BLOCK = 1 << 16
"""Rows of the matrix that are looked at together in torch."""


def faiss() -> Any:
    """Return the module faiss.

    Raises:
        DependencyError: when it is not installed.
    """
    if find_spec("faiss") is None:
        hint = "install it with: pip install 'irkit[cpu]' (on a CUDA machine: 'irkit[gpu]')"
        raise DependencyError.of("faiss is not installed", where="faiss", hint=hint)
    import faiss as module

    return module


def exact_scores(query: Floats, vectors: Floats) -> Floats:
    """Return the dot products of one query with some rows: ``float32[n]``, each a function of its two vectors alone."""
    products = np.multiply(vectors, query, dtype=np.float64)
    scores: Floats = products.sum(axis=1).astype(np.float32)
    return scores


def error_bound(query: Floats, longest: float) -> float:
    """Bound the error of a float32 dot product with any row, in any order of addition, plus that of rounding
    the exact one.

    |fl(q.x) - q.x| <= gamma_d |q|.|x| with gamma_d = d u / (1 - d u) and u = 2^-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., eq. 3.5); |q|.|x| <= ||q|| ||x||. The factor 2 covers the
    roundings of this calculation.
    """
    unit = 2.0**-24
    steps = (len(query) + 2) * unit
    norm = float(np.sqrt(np.square(query, dtype=np.float64).sum()))
    return 2.0 * steps / (1.0 - steps) * norm * longest


def best(codes: Codes, scores: Floats, depth: int) -> tuple[Codes, Floats]:
    """Return the best ``depth`` of one query's candidates in the canonical order."""
    order = np.lexsort((-codes, -scores))[:depth]
    return codes[order], scores[order]


class VectorIndex(ABC):
    """Finds the rows with the greatest dot products.

    Attributes:
        vectors: ``float32[N, dim]``, mapped from disk; row = document code.
    """

    def __init__(self, vectors: Floats) -> None:
        self.vectors = vectors

    @abstractmethod
    def search(self, queries: Floats, depth: int) -> Rankings:
        """Return the best ``depth`` rows of every query (``float32[Q, dim]``), with canonical ties."""


class Flat(VectorIndex):
    """Exact search by looking at every row.

    Attributes:
        library: ``faiss`` or ``torch``: what finds the candidates. The result is the same.
    """

    def __init__(
        self, vectors: Floats, *, device: str = "cpu", threads: int = 1, library: str | None = None
    ) -> None:
        """Open the index: torch on an accelerator or where faiss is missing, else faiss, unless ``library`` says."""
        super().__init__(vectors)
        self._device, self._threads = device, threads
        self.library = library or ("faiss" if device == "cpu" and find_spec("faiss") else "torch")
        squares = [np.square(part, dtype=np.float64).sum(axis=1).max() for part in _blocks(vectors)]
        self._longest = float(np.sqrt(max(squares, default=0.0)))

    def search(self, queries: Floats, depth: int) -> Rankings:
        """Return exactly the best ``depth`` rows of every query, with canonical ties at the end too."""
        total = len(self.vectors)
        depth = min(depth, total)
        if depth == 0 or len(queries) == 0:
            return Rankings.empty(len(queries))
        wanted = min(depth + _MARGIN, total)
        approximate, rows = self._candidates(np.ascontiguousarray(queries, dtype=np.float32), wanted)
        found = [
            self._settle(query, near, np.sort(codes), depth)
            for query, near, codes in zip(queries, approximate, rows, strict=True)
        ]
        return Rankings.from_lists([codes for codes, _ in found], [scores for _, scores in found])

    def _settle(self, query: Floats, near: Floats, candidates: Codes, depth: int) -> tuple[Codes, Floats]:
        """Return the best of one query, given its candidates (ascending) and their float32 scores (in any order)."""
        codes, scores = best(candidates, exact_scores(query, self.vectors[candidates]), depth)
        last, slack = float(scores[-1]), error_bound(query, self._longest)
        if len(candidates) == len(self.vectors) or float(near.min()) + slack < last:
            return codes, scores
        return self._all_above(query, last - slack, depth)  # a row that was not looked at may belong here

    def _all_above(self, query: Floats, threshold: float, depth: int) -> tuple[Codes, Floats]:
        """Return the best of all rows whose float32 score reaches the threshold: many, where documents repeat."""
        codes, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
        for number, part in enumerate(_blocks(self.vectors)):
            near = np.flatnonzero(part @ query >= threshold)
            codes = np.concatenate([codes, near + number * _BLOCK])
            scores = np.concatenate([scores, exact_scores(query, part[near])])
            codes, scores = best(codes, scores, depth)
        return codes, scores

    def _candidates(self, queries: Floats, wanted: int) -> tuple[Floats, Codes]:
        if self.library == "torch":
            return self._torch_top(queries, wanted)
        module = faiss()
        module.omp_set_num_threads(self._threads)
        near, rows = module.knn(queries, self.vectors, wanted, metric=module.METRIC_INNER_PRODUCT)
        return near, rows

    def _torch_top(self, queries: Floats, wanted: int) -> tuple[Floats, Codes]:
        """Return the ``wanted`` greatest float32 dot products of every query and their rows, block by block of rows."""
        import torch

        torch.set_float32_matmul_precision("highest")  # the error bound is that of float32, not of TF32
        asked = torch.from_numpy(queries).to(self._device)
        near = torch.empty((len(queries), 0), device=self._device)
        rows = torch.empty((len(queries), 0), dtype=torch.int64, device=self._device)
        first = 0
        for part in self._resident or map(self._move, _blocks(self.vectors)):
            scores = asked @ part.T
            top = torch.topk(scores, min(wanted, scores.shape[1]), dim=1)
            near = torch.cat([near, top.values], dim=1)
            rows = torch.cat([rows, top.indices + first], dim=1)
            top = torch.topk(near, min(wanted, near.shape[1]), dim=1)
            near, rows = top.values, rows.gather(1, top.indices)
            first += len(part)
        return near.cpu().numpy(), rows.cpu().numpy()

    @cached_property
    def _resident(self) -> list[Any] | None:
        """The matrix in blocks on the GPU, where half of its free memory holds them; None: they are moved at each search."""
        import torch

        if (
            self._device.startswith("cuda")
            and self.vectors.nbytes < torch.cuda.mem_get_info(self._device)[0] // 2
        ):
            return [self._move(part) for part in _blocks(self.vectors)]
        return None

    def _move(self, part: Floats) -> Any:
        import torch

        return torch.from_numpy(np.array(part)).to(self._device)


def _blocks(vectors: Floats) -> list[Floats]:
    return [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]
