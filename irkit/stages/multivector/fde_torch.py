"""Document encodings on accelerators: by a Triton kernel on CUDA, else by torch; from the same random numbers as on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.stages.multivector import maxsim_gpu
from irkit.stages.multivector.fde import FdeEncoder, checked

_DISTANCE = 1 << 24
_NOBODY = 1 << 30
_WIDEST, _MOST_BITS = 128, 7
"""Coordinates of a partition, and bits of its number, for which the kernel's tiles fit a multiprocessor."""


class TorchDocuments:
    """Encodes documents as :meth:`FdeEncoder.documents` does, up to rounding.

    Coordinates differ by some 1e-6 of their size, for products and sums are added in another order (on CUDA in one that may change
    from run to run); a token that close to a hyperplane may change its partition.
    """

    def __init__(self, encoder: FdeEncoder, device: str) -> None:
        """Move the encoder's matrices to a torch device."""
        import torch

        self.encoder, self._device = encoder, device
        self._fused = _fused(encoder, device)
        self._matrix = torch.from_numpy(np.array(encoder.matrix)).to(device)
        self._sketch = None
        if encoder.sketch is not None:
            self._sketch = tuple(torch.from_numpy(part).to(device) for part in encoder.sketch)

    def documents(self, offsets: NDArray[np.int64], vectors: NDArray[Any]) -> Any:
        """Encode documents; arguments and errors as for :meth:`FdeEncoder.documents`.

        Returns:
            ``torch.float32[N, size]`` on the device. While it works, some four times as much is needed there.
        """
        import torch

        config, width, step = self.encoder.config, self.encoder.width, self.encoder.step
        ends = torch.from_numpy(checked(offsets, vectors, self.encoder.dim)).to(self._device)
        texts, repetitions, partitions = len(ends) - 1, config.repetitions, 1 << config.k_sim
        if self._fused and vectors.dtype == np.float16:
            return self._reduced(self._fused(ends, torch.from_numpy(np.array(vectors)).to(self._device)))
        torch.set_float32_matmul_precision("highest")  # TF32 would move tokens across hyperplanes
        tokens = torch.from_numpy(np.array(vectors)).to(self._device).float()
        product = tokens @ self._matrix
        count = len(tokens)
        every = torch.arange(repetitions, device=self._device)
        doc = torch.repeat_interleave(
            torch.arange(texts, device=self._device), ends.diff(), output_size=count
        )
        block = (doc[:, None] * repetitions + every) * partitions + self._partitions(product)
        block = block.reshape(-1)  # of token 0 in all repetitions, then of token 1, ...
        drawn = repetitions if step else 1
        values = product[:, : width * drawn].reshape(count, drawn, width)
        values = values.expand(count, repetitions, width).reshape(-1, width)
        blocks = texts * repetitions * partitions
        out = torch.zeros((blocks, width), device=self._device).index_add_(0, block, values)
        members = torch.bincount(block, minlength=blocks)
        out /= members.clamp(min=1)[:, None]
        if config.fill_empty:
            local = torch.arange(count, device=self._device) - ends[doc]
            near = torch.full((blocks,), _NOBODY, dtype=torch.int64, device=self._device)
            near.scatter_reduce_(0, block, local.repeat_interleave(repetitions), "amin")
            near = _nearest(near.view(-1, partitions), config.k_sim)
            empty = torch.nonzero((members == 0) & (near < _NOBODY)).view(
                -1
            )  # not of documents without tokens
            owner, repetition = empty // (repetitions * partitions), empty // partitions % repetitions
            out[empty] = values[(ends[owner] + near[empty] % _DISTANCE) * repetitions + repetition]
        return self._reduced(out.view(texts, -1))

    def _reduced(self, out: Any) -> Any:
        """Apply the final count sketch, where there is one."""
        import torch

        if self._sketch is None:
            return out
        places, signs = self._sketch
        return torch.zeros((len(out), self.encoder.size), device=self._device).index_add_(
            1, places, out * signs
        )

    def _partitions(self, product: Any) -> Any:
        """Return the partition of every token in every repetition, ``int64[T, R]``."""
        import torch

        repetitions, bits = self.encoder.config.repetitions, self.encoder.config.k_sim
        sides = (
            product[:, product.shape[1] - repetitions * bits :].reshape(len(product), bits, repetitions) > 0
        )
        weights = 2 ** torch.arange(bits, device=self._device)
        return (sides * weights[:, None]).sum(dim=1)


def _fused(encoder: FdeEncoder, device: str) -> Callable[[Any, Any], Any] | None:
    """Return the compiled kernel for these options, as a function of offsets and vectors; None where it does not serve."""
    import torch

    config, drawn = encoder.config, encoder.projections
    small = encoder.width <= _WIDEST and config.k_sim <= _MOST_BITS
    if not (device.startswith("cuda") and maxsim_gpu.available() and small):
        return None
    scale = 1.0
    if drawn.projections is None:
        projection = torch.eye(encoder.dim).expand(config.repetitions, -1, -1)
    else:
        scale = float(np.abs(drawn.projections).max(initial=0.0)) or 1.0
        projection = torch.from_numpy(drawn.projections) / scale
    if not torch.equal(projection.half().float(), projection):  # given from outside: not signs
        return None
    planes = torch.from_numpy(np.array(drawn.hyperplanes)).to(device)
    signs = projection.half().contiguous().to(device)
    columns = encoder.config.repetitions * encoder.width << config.k_sim

    def encode(offsets: Any, vectors: Any) -> Any:
        from irkit.stages.multivector.fde_triton import encode as launch

        out = torch.empty((len(offsets) - 1, columns), device=device)
        launch(vectors, offsets, planes, signs, scale, config.fill_empty, out)
        return out

    return encode


def _nearest(near: Any, bits: int) -> Any:
    """Return the least of distance * 2^24 + token over all corners of the hypercube, as in ``fde_cpu``, flat."""
    import torch

    for j in range(bits):
        pairs = near.view(len(near), -1, 2, 1 << j)
        near = torch.minimum(pairs, pairs.flip(2) + _DISTANCE).view(len(near), -1)
    return near.reshape(-1)
