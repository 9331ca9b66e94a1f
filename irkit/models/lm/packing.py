"""Many prompts in few forward passes: packed to a budget of tokens, and halved when the device has too little memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from irkit.core.errors import ModelError
from irkit.models.lm.fitting import fitting
from irkit.models.lm.segments import Read, Segments

if TYPE_CHECKING:
    from torch import Tensor

    from irkit.models.lm.model import CausalLM
else:
    Tensor: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt, and which attention in it is wanted."""

    segments: Segments
    reads: tuple[Read, ...]


class Collector(Protocol):
    """Takes one prompt's attention, layer by layer, read by read; tensors stay on the device until it is asked."""

    def take(self, layer: int, read: int, weights: Tensor) -> None:
        """Take ``float32[heads, documents' tokens]`` of a layer."""
        ...


C = TypeVar("C", bound=Collector)


def read_prompts(
    model: CausalLM,
    prompts: Sequence[Prompt],
    collector: Callable[[Prompt], C],
    *,
    layers: Collection[int] | None = None,
    budget: int = 1 << 15,
    notes: dict[str, Any] | None = None,
) -> Iterator[C]:
    """Yield every prompt's attention, in the order of the prompts.

    Prompts share a forward pass up to a budget of tokens on an accelerator. On the CPU each has its own, for there is nothing to
    gain, and a query's scores then depend on that query alone, to the last bit.

    Args:
        model: whose attention is read.
        prompts: what is read.
        collector: makes what takes one prompt's attention; called again when a pass has to be repeated.
        layers: that are wanted; all for None.
        budget: tokens of a pass; a longer prompt has a pass of its own.
        notes: takes the budget that was found to fit.

    Raises:
        ModelError: when one prompt alone needs more memory than the device has.
    """
    sizes = [len(prompt.segments.ids) for prompt in prompts]

    def run(start: int, stop: int) -> list[C]:
        some = prompts[start:stop]
        return _read(model, some, [collector(prompt) for prompt in some], layers)

    def refuse(alone: int) -> ModelError:
        return ModelError.of(
            f"the device has too little memory for a prompt of {sizes[alone]} tokens",
            where=model.name,
            hint="take fewer or shorter documents (depth, window, words), a smaller dtype, or another device",
        )

    def halved(budget: int, start: int, stop: int) -> None:
        if notes is not None:
            failed = sum(sizes[start:stop])
            notes["batch_tokens"] = f"{budget}: the device ran out of memory at {failed}"

    yield from fitting(sizes, budget, run, refuse, share=model.device != "cpu", halved=halved)


def _read(
    model: CausalLM, prompts: Sequence[Prompt], into: list[C], layers: Collection[int] | None
) -> list[C]:
    packed, moved = Segments.pack([prompt.segments for prompt in prompts])
    reads, owners = [], []
    for number, (prompt, by) in enumerate(zip(prompts, moved, strict=True)):
        reads += [read.moved(by) for read in prompt.reads]
        owners += [(number, read) for read in range(len(prompt.reads))]

    def sink(layer: int, read: int, weights: Tensor) -> None:
        owner, which = owners[read]
        into[owner].take(layer, which, weights)

    model.read(packed, reads=reads, sink=sink, layers=layers)
    return into
