"""Products with matrices that are learned: whole, or frozen with low-rank updates beside them (LoRA), several of one input at once.

W' x = W x + (alpha / r) B A x (Hu et al., 2021, arXiv 2106.09685, section 4.1). The modules and their initialisation are peft's;
the arithmetic is one function, because as peft's modules write it an update costs more passes over memory than its matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.models.lora import NAME

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any


class Product:
    """Linear modules of one input, as one product.

    Attributes:
        modules: of torch, or of peft with such a one inside.
    """

    def __init__(self, modules: Sequence[Any]) -> None:
        """Take modules; those with frozen weights are laid one behind the other, once."""
        import torch

        self.modules = list(modules)
        inner = [getattr(each, "base_layer", each) for each in self.modules]
        self._weights, self._biases = [each.weight for each in inner], [each.bias for each in inner]
        self._updated = [number for number, each in enumerate(self.modules) if hasattr(each, "lora_A")]
        self._frozen: Tensor | None = None
        if not any(each.requires_grad for each in self._weights):
            with torch.no_grad():
                self._frozen = torch.cat(self._weights) if len(inner) > 1 else self._weights[0]
                if len(inner) > 1:  # the modules' own lie in it, and memory holds them once
                    for each, part in zip(
                        inner, self._frozen.split([len(w) for w in self._weights]), strict=True
                    ):
                        each.weight.data = part

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """Return ``[T, all outputs]`` of ``[T, inputs]``, added to ``onto`` where that is given."""
        import torch
        from torch.nn.functional import linear

        bias = self._bias(x)
        if self._frozen is None or not self._updated:
            whole = self._frozen if self._frozen is not None else self._joined(self._weights)
            whole = whole.to(x.dtype)
            if onto is None:
                return linear(x, whole, bias)
            found = torch.addmm(onto, x, whole.t())
            return found if bias is None else found + bias
        updated = [self.modules[number] for number in self._updated]
        downs = [each.lora_A[NAME].weight for each in updated]
        ups = [each.lora_B[NAME].weight for each in updated]
        scale = float(updated[0].scaling[NAME])
        begins = [sum(len(each) for each in self._weights[:number]) for number in self._updated]
        updates: Tensor = _updating().apply(
            x, self._frozen.to(x.dtype), bias, onto, scale, begins, len(downs), *downs, *ups
        )
        return updates

    def _joined(self, parts: Sequence[Any]) -> Tensor:
        import torch

        return torch.cat(list(parts)) if len(parts) > 1 else parts[0]

    def _bias(self, x: Tensor) -> Tensor | None:
        if all(each is None for each in self._biases):
            return None
        zeros = [
            weight.new_zeros(len(weight)) if bias is None else bias
            for weight, bias in zip(self._weights, self._biases, strict=True)
        ]
        return self._joined(zeros).to(x.dtype)


@cache
def _updating() -> Any:
    import torch

    class Updating(torch.autograd.Function):  # type: ignore[misc]
        """A frozen matrix with n updates, each of some of its outputs."""

        @staticmethod
        def forward(
            ctx: Any,
            x: Tensor,
            weight: Tensor,
            bias: Tensor | None,
            onto: Tensor | None,
            scale: float,
            begins: list[int],
            count: int,
            *updates: Tensor,
        ) -> Tensor:
            downs, ups = updates[:count], updates[count:]
            down = torch.cat(downs).to(x.dtype)  # [n r, inputs]
            up = x.new_zeros(len(weight), len(down))  # [outputs, n r], zero where an update has no output
            at = 0
            for begin, each in zip(begins, ups, strict=True):
                up[begin : begin + len(each), at : at + each.shape[1]] = each * scale
                at += each.shape[1]
            inside = x @ down.t()
            if onto is None:
                found = x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())
            else:
                found = torch.addmm(onto, x, weight.t())
                if bias is not None:
                    found += bias
            found.addmm_(inside, up.t())
            ctx.save_for_backward(x, weight, down, up, inside)
            ctx.scale, ctx.begins = scale, begins
            ctx.shapes = [(len(a), len(b), b.shape[1]) for a, b in zip(downs, ups, strict=True)]
            ctx.kinds = [each.dtype for each in updates]
            return found

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            x, weight, down, up, inside = ctx.saved_tensors
            back = grad @ up
            to_x = None
            if ctx.needs_input_grad[0]:
                to_x = grad @ weight
                to_x.addmm_(back, down)
            to_down = (back.t() @ x).to(ctx.kinds[0])
            to_up = (grad.t() @ inside).to(ctx.kinds[-1]) * ctx.scale
            downs, ups, at = [], [], 0
            for begin, (rank, outputs, _) in zip(ctx.begins, ctx.shapes, strict=True):
                downs.append(to_down[at : at + rank])
                ups.append(to_up[begin : begin + outputs, at : at + rank])
                at += rank
            to_onto = grad if ctx.needs_input_grad[3] else None
            return (to_x, None, None, to_onto, None, None, None, *downs, *ups)

    return Updating
