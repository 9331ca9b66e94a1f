"""Running a model so that the output of an input depends on that input alone.

A batch is usually padded to its longest member, so the arithmetic of a text, and with it the last bits of
its vector, depends on its companions. Here every input is padded to a width that only its own length decides
(the next multiple of 16 tokens), and only inputs of one width share a batch. On the CPU the outputs are then
bit-identical for every batch size, order and number of threads (a test measures it; of MKL it takes ``MKL_CBWR``, which
:mod:`irkit` sets); on an accelerator the
matrix library may choose another kernel for another batch size: on an H200 that moved MiniLM's unit vectors by
at most 5e-7 in float32; in bfloat16 they stayed within 2e-2 of the float32 ones (``eval/bench/gpu_dense.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.models.device import is_out_of_memory
from irkit.models.flops import counted
from irkit.models.loading import positions

Features: TypeAlias = dict[str, Any]

WIDTH = 16
_ROWS = 8
_HEADLESS = {"Transformer", "Pooling", "Normalize", "MultiVectorMask"}
_TOKENISE = 1024
"""How many inputs are tokenised at a time."""


@dataclass(frozen=True)
class Layout:
    """What a tokeniser's features look like.

    Attributes:
        left: whether it pads on the left.
        pad: the id of the padding token.
        limit: the most positions the model takes, None for no limit. Inputs are no longer than that, so it only keeps padding
            within it.
        head: whether layers follow that multiply one vector an input, not one a token: on the CPU their last bits change with the
            number of inputs unless that is a multiple of the vector unit's, so batches are filled up to a multiple of 8.
    """

    left: bool = False
    pad: int = 0
    limit: int | None = None
    head: bool = False

    @classmethod
    def of(cls, model: Any) -> Layout:
        """Read it off a sentence-transformers model."""
        from sentence_transformers import CrossEncoder

        tokeniser = getattr(model, "tokenizer", None)
        return cls(
            getattr(tokeniser, "padding_side", "right") == "left",
            getattr(tokeniser, "pad_token_id", None) or 0,
            positions(model) or model.max_seq_length,
            isinstance(model, CrossEncoder) or not all(_is_headless(module) for module in model),
        )


Done: TypeAlias = tuple[NDArray[np.int64], Features, Features]
"""The numbers of a batch's inputs, its features, and the model's output."""


class Runner:
    """Runs a forward pass over any number of inputs in batches of one width.

    On the CPU, batches run side by side, each in one thread: threads that share one small product wait for each other more than
    they compute, and wait longest where other programs want the cores too.

    Attributes:
        batch_size: the most inputs of a batch. Halved, for good, whenever the device runs out of memory.
    """

    def __init__(self, device: str, batch_size: int, notes: dict[str, Any], threads: int = 1) -> None:
        self.device = device
        self.batch_size = batch_size
        self._notes = notes
        self._threads = threads if device == "cpu" else 1

    def run(
        self,
        inputs: Sequence[Any],
        layout: Layout,
        tokenise: Callable[[list[Any]], Features],
        forward: Callable[[Features], Features],
        most: Callable[[int], int] | None = None,
    ) -> Iterator[Done]:
        """Yield, batch by batch, the numbers of its inputs, its features, and what ``forward`` made of them.

        Args:
            inputs: texts or pairs of texts.
            layout: how the tokeniser pads.
            tokenise: makes features of inputs, padded to the longest.
            forward: the forward pass.
            most: how many inputs of a width may be in one batch, where that can be fewer than ``batch_size``.
        """
        work = self._batches(inputs, layout, tokenise, forward, most)
        for done in self._side_by_side(work) if self._threads > 1 else (batch() for batch in work):
            yield from done

    def _batches(
        self,
        inputs: Sequence[Any],
        layout: Layout,
        tokenise: Callable[[list[Any]], Features],
        forward: Callable[[Features], Features],
        most: Callable[[int], int] | None,
    ) -> Iterator[Callable[[], list[Done]]]:
        """Yield the work of each batch, to be called in any thread."""
        for start in range(0, len(inputs), _TOKENISE):
            part = list(inputs[start : start + _TOKENISE])
            features = tokenise(part)
            for width, rows in _widths(features, len(part), layout):
                at = 0
                while at < len(rows):
                    size = min(self.batch_size, most(width)) if most and width else self.batch_size
                    some = rows[at : at + size]
                    at += len(some)
                    if width:
                        filled = self._filled(some, layout)
                        batch = _fit(features, filled, width, layout)
                    else:
                        batch = tokenise([part[row] for row in some])
                    yield partial(self._solve, forward, batch, some + start)

    def _side_by_side(self, work: Iterator[Callable[[], list[Done]]]) -> Iterator[list[Done]]:
        """Yield the results in the order of the work, which is taken up only a little ahead of them."""
        import torch

        before = torch.get_num_threads()
        pool = ThreadPoolExecutor(self._threads, "encode", initializer=torch.set_num_threads, initargs=(1,))
        try:
            under_way: deque[Future[list[Done]]] = deque()
            for batch in work:
                under_way.append(pool.submit(counted(batch)))
                if len(under_way) > self._threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)  # the workers' setting reaches the whole process

    def _filled(self, rows: NDArray[np.int64], layout: Layout) -> NDArray[np.int64]:
        missing = -len(rows) % _ROWS if layout.head and self.device == "cpu" else 0
        return np.concatenate([rows, np.repeat(rows[-1:], missing)])

    def _solve(
        self, forward: Callable[[Features], Features], batch: Features, rows: NDArray[np.int64]
    ) -> list[Done]:
        """Run a batch; where the device has too little memory, its halves."""
        import torch

        size = len(rows)
        try:
            with torch.inference_mode():
                there = {k: v.to(self.device) if hasattr(v, "to") else v for k, v in batch.items()}
                return [(rows, _first(there, size), _first(forward(dict(there)), size))]
        except RuntimeError as error:
            if not is_out_of_memory(error) or size == 1:
                raise
        half = size // 2
        self.batch_size = min(self.batch_size, half)
        self._notes["batch_size"] = f"{self.batch_size}: the device ran out of memory at {size}"
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        first = _first(batch, half)
        rest = {k: v[half:] if getattr(v, "ndim", 0) > 0 else v for k, v in batch.items()}
        return self._solve(forward, first, rows[:half]) + self._solve(forward, rest, rows[half:])


def _is_headless(module: Any) -> bool:
    """Whether a module of sentence-transformers multiplies no vector, or one a token."""
    return (
        type(module).__name__ in _HEADLESS or getattr(module, "module_input_name", None) == "token_embeddings"
    )


def _first(features: Features, size: int) -> Features:
    """Drop the results of the inputs that filled the batch up."""
    return {key: value[:size] if getattr(value, "ndim", 0) > 0 else value for key, value in features.items()}


def _widths(features: Features, n: int, layout: Layout) -> Iterator[tuple[int | None, NDArray[np.int64]]]:
    """Yield each width and the inputs that have it, the widest first: a lack of memory shows at once.

    The width is None for a model that does not pad, such as static embeddings.
    """
    mask = features.get("attention_mask")
    if mask is None or mask.ndim != 2 or len(mask) != n:
        yield None, np.arange(n)
        return
    expansion = features.get("query_expansion_positions")
    counted = (mask != 0) if expansion is None else (mask != 0) | expansion
    length = counted.sum(dim=1).numpy()
    width = np.maximum(1, -(-length // WIDTH)) * WIDTH
    if layout.limit is not None:
        width = np.maximum(np.minimum(width, layout.limit), length)
    for each in np.unique(width)[::-1]:
        yield int(each), np.flatnonzero(width == each)


def _fit(features: Features, rows: NDArray[np.int64], width: int, layout: Layout) -> Features:
    """Take some inputs' features, cut or padded to ``width`` positions."""
    import torch

    index = torch.from_numpy(rows)
    shape = features["attention_mask"].shape
    fitted = dict(features)
    for key, value in features.items():
        if isinstance(value, torch.Tensor) and value.shape[:1] == shape[:1]:
            taken = value[index]
            is_text = value.shape == shape
            fitted[key] = (
                _column(taken, width, layout, layout.pad if key == "input_ids" else 0) if is_text else taken
            )
    return fitted


def _column(tensor: Any, width: int, layout: Layout, fill: int) -> Any:
    import torch

    tensor = tensor[:, -width:] if layout.left else tensor[:, :width]
    missing = width - tensor.shape[1]
    sides = (missing, 0) if layout.left else (0, missing)
    return torch.nn.functional.pad(tensor, sides, value=fill) if missing else tensor
