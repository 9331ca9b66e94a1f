"""Low-rank adapters of a frozen encoder's vectors: x' = x + U V x, kept in a folder of their own.

The form is ADDER's (Khatry et al., "Augmented Embeddings for Custom Retrievals", arXiv 2310.05380): a residual of rank r for
the vectors of queries, or for those of queries and documents, learnt without touching the model. The documents' own vectors
are never made anew:

    q' . d' = q' . (d + U_d V_d d) = ((I + U_d V_d)^T q') . d

so both sides fold into the query's vector, exactly. What is compared is the dot product of adapted vectors: they are not brought
back to length 1. For the query's side that moves no ranking; an adapted document that has grown longer counts for more, in
training as in search.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.core.files import appearing
from irkit.core.fingerprint import file_sha256, fingerprint

FORMAT = 1
"""Of the folder: counts up when an older irkit could no longer read it."""
WEIGHTS, DESCRIPTION = "adapter.safetensors", "adapter.json"

Floats = NDArray[np.float32]
_AGAIN = "train the adapter again, or copy its folder again"


@dataclass(frozen=True, eq=False)
class LowRank:
    """The residual U V of one side.

    Attributes:
        U: ``float32[dim, rank]``.
        V: ``float32[rank, dim]``.
    """

    U: Floats
    V: Floats

    def __post_init__(self) -> None:
        if self.U.ndim != 2 or self.U.shape != self.V.shape[::-1] or 0 in self.U.shape:
            raise ValueError(f"U is {self.U.shape} and V {self.V.shape}, not [dim, rank] and [rank, dim]")

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        return int(self.U.shape[0])

    @property
    def rank(self) -> int:
        """The rank of the residual, at most."""
        return int(self.U.shape[1])

    def of(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        """Return x + U V x of every row, ``float64[n, dim]``."""
        return _add(vectors, self.V, self.U)

    def transposed(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        """Return x + (U V)^T x of every row, ``float64[n, dim]``."""
        return _add(vectors, self.U.T, self.V.T)


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter and what it belongs to.

    Attributes:
        query: the residual of the queries' side.
        document: that of the documents' side, None where the documents' vectors stay as they are.
        model: the model whose vectors it adapts, as written where it was trained.
        fingerprint: of that model (:func:`irkit.models.resolve.identify`).
        similarity: ``cosine`` where it was trained on vectors of length 1, ``dot`` on vectors as the model gives them.
        trained: on what and how, JSON values, for people.
    """

    query: LowRank
    document: LowRank | None
    model: str
    fingerprint: str
    similarity: str = "cosine"
    trained: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.document is not None and self.document.dim != self.query.dim:
            raise ValueError(f"{self.query.dim} dimensions of queries, {self.document.dim} of documents")
        if self.similarity not in ("cosine", "dot"):
            raise ValueError(f"similarity is {self.similarity!r}, neither 'cosine' nor 'dot'")

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        return self.query.dim

    @cached_property
    def content(self) -> str:
        """A digest of everything that decides what it makes of a vector."""
        tensors = {name: [list(each.shape), each.tobytes().hex()] for name, each in self._tensors().items()}
        return fingerprint({"tensors": tensors, "model": self.fingerprint, "similarity": self.similarity})

    def of_query(self, vectors: NDArray[Any]) -> Floats:
        """Return the vectors that are compared with the documents' unchanged ones, ``float32[n, dim]``.

        They hold the change of both sides. Computed in float64, a row by itself, and rounded once; a row that the
        adapter does not change keeps its bits.
        """
        asked = self.query.of(vectors)
        if self.document is not None:
            asked = self.document.transposed(asked)
        return asked.astype(np.float32)

    def of_document(self, vectors: NDArray[Any]) -> Floats:
        """Return documents' adapted vectors, ``float32[n, dim]``: for training and tests, for search does without them."""
        return (
            np.array(vectors, np.float32)
            if self.document is None
            else self.document.of(vectors).astype(np.float32)
        )

    def query_side(self) -> Adapter:
        """Return the adapter without the documents' side."""
        return Adapter(self.query, None, self.model, self.fingerprint, self.similarity, self.trained)

    def check(self, model: str, model_fingerprint: str, dim: int, similarity: str) -> None:
        """Refuse vectors that the adapter was not made for.

        Raises:
            ModelError: when they are of another model, dimension or similarity.
        """
        if model_fingerprint != self.fingerprint:
            message = f"the adapter belongs to the model {self.model!r}, and not to this one"
            raise ModelError.of(
                message, where=model, hint=f"set model: {self.model}, or train an adapter for it"
            )
        if dim != self.dim:
            message = f"the adapter changes vectors of {self.dim} dimensions, the model gives {dim}"
            raise ModelError.of(message, where=model, hint=_AGAIN)
        if similarity != self.similarity:
            message = f"the adapter was trained for similarity {self.similarity}, and vectors are compared by {similarity}"
            raise ModelError.of(message, where=model, hint=f"set similarity: {self.similarity} on the stages")

    def save(self, folder: Path) -> None:
        """Write the folder: the whole of it appears by one rename, in place of an adapter that was there before.

        A process that is killed between two renames leaves the old adapter beside it, in a hidden folder ending in ``.old``.

        Raises:
            ModelError: when something else is there, or the operating system refuses.
        """
        from safetensors import SafetensorError

        if folder.exists() and not _is_adapter_or_empty(folder):
            hint = "choose a folder that is new or empty"
            message = "something else than an adapter is there"
            raise ModelError.of(message, where=str(folder), hint=hint)
        try:
            with appearing(folder, replace=True) as partial:
                self._write(partial)
        except (OSError, SafetensorError) as error:  # safetensors has an error of its own for a full disk
            reason = error.strerror if isinstance(error, OSError) else None
            message, hint = (
                f"the adapter cannot be written: {reason or error}",
                "choose a folder that you may write to",
            )
            raise ModelError.of(message, where=str(folder), hint=hint) from error

    def _write(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file(self._tensors(), folder / WEIGHTS)
        said = {
            "format": FORMAT,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "similarity": self.similarity,
            "dim": self.dim,
            "rank": {side: part.rank for side, part in self._sides().items()},
            "weights": file_sha256(folder / WEIGHTS),
            "trained": dict(self.trained),
        }
        (folder / DESCRIPTION).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")

    def _sides(self) -> dict[str, LowRank]:
        return {"query": self.query} | ({} if self.document is None else {"document": self.document})

    def _tensors(self) -> dict[str, Floats]:
        return {
            f"{side}.{name}": np.ascontiguousarray(getattr(part, name), np.float32)
            for side, part in self._sides().items()
            for name in ("U", "V")
        }

    @classmethod
    def load(cls, folder: Path) -> Adapter:
        """Read what :meth:`save` wrote.

        Raises:
            ModelError: when the folder or a file is missing, damaged, or of a later format.
        """
        said = _description(folder)
        tensors = _weights(folder, said)
        try:
            sides = {side: LowRank(tensors[f"{side}.U"], tensors[f"{side}.V"]) for side in said["rank"]}
            made = cls(
                sides["query"],
                sides.get("document"),
                str(said["model"]),
                str(said["fingerprint"]),
                said["similarity"],
                said["trained"],
            )
            if {side: part.rank for side, part in sides.items()} != said["rank"] or made.dim != said["dim"]:
                raise ValueError("the tensors have other shapes than it says")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            message = f"the adapter is damaged: {missing}"
            raise ModelError.of(message, where=str(folder / DESCRIPTION), hint=_AGAIN) from error
        return made


def _is_adapter_or_empty(path: Path) -> bool:
    return path.is_dir() and ((path / DESCRIPTION).is_file() or not any(path.iterdir()))


def _description(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION
    if not file.is_file():
        message = "the folder holds no adapter" if folder.is_dir() else "there is no such folder"
        hint = f"give the folder that holds {DESCRIPTION}; a relative path starts from the workspace"
        raise ModelError.of(message, where=str(folder), hint=hint)
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        version = int(said["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError.of("the adapter is damaged: no such JSON", where=str(file), hint=_AGAIN) from error
    if version != FORMAT:
        message = f"the adapter has format {version}, and this irkit reads {FORMAT}"
        raise ModelError.of(message, where=str(file), hint="update irkit, or train the adapter again")
    return dict(said)


def _weights(folder: Path, said: Mapping[str, Any]) -> dict[str, Floats]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = folder / WEIGHTS
    try:
        if file_sha256(file) != said.get("weights"):
            raise ValueError(f"other bytes than {DESCRIPTION} promises")
        tensors = load_file(file)
        wrong = [
            name for name, each in tensors.items() if each.dtype != np.float32 or not np.isfinite(each).all()
        ]
        if wrong:
            raise ValueError(f"{wrong[0]} is not of finite float32 numbers")
    except (OSError, ValueError, SafetensorError) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise ModelError.of(f"the weights are damaged: {reason}", where=str(file), hint=_AGAIN) from error
    return tensors


def _add(vectors: NDArray[Any], inner: NDArray[Any], outer: NDArray[Any]) -> NDArray[np.float64]:
    """Return x + outer (inner x) of every row: each by itself and in one order, so that its companions move no bit."""
    wide = np.array(vectors, np.float64)
    first, second = (np.ascontiguousarray(each, np.float64) for each in (inner, outer))
    for row in wide:
        change = (second * (first * row).sum(axis=1)).sum(axis=1)
        np.add(row, change, out=row, where=change != 0)  # -0.0 + 0.0 would be another number
    return wide
