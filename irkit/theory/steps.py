"""The steps of free embeddings: InfoNCE by its closed form, Adam, lengths set back to one; on a GPU replayed as one graph.

What a step costs on an accelerator is the reading and writing of the scores, [starts, m, n] in float32: five times, in three matrix
products and a softmax. Where they are few it is the starting of some fifteen kernels instead; a CUDA graph of many steps
starts them at once, and makes exactly the steps that would be made without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FIRST, SECOND, TINY = 0.9, 0.999, 1e-8
"""Adam's usual constants."""


class Steps:
    """Vectors of several starts and Adam's memory of them.

    Attributes:
        points: float32 [starts, m + n, d], the queries before the documents.
        relevant: int64 [starts, m, k].
    """

    def __init__(self, points: Tensor, relevant: Tensor, rate: float, temperature: float, every: int) -> None:
        """Begin at ``points``; ``every`` is how many steps are usually made at once."""
        import torch

        self.points, self.relevant = points, relevant
        self.rate, self.temperature, self.every = rate, temperature, every
        self._first, self._second = torch.zeros_like(points), torch.zeros_like(points)
        self._gradient = torch.empty_like(points)
        self._factors = torch.empty(2, every, device=points.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._seen = False  # whether these kernels have run in these sizes
        self._forget()

    def advance(self, done: int, steps: int) -> list[list[float]]:
        """Make some steps behind the first ``done`` and return each start's losses; the device is waited for once.

        Args:
            done: steps made so far.
            steps: how many more; at most ``every``.
        """
        import torch

        at = torch.arange(done + 1, done + steps + 1, dtype=torch.float64)
        # Adam: rate * first / (1 - FIRST^t) / (sqrt(second / (1 - SECOND^t)) + TINY); what depends on t goes into the divisor
        shrink = (1 - FIRST**at) / self.rate
        self._factors[:, :steps] = torch.stack([shrink / (1 - SECOND**at).sqrt(), shrink * TINY]).float()
        if self._graph is not None and steps == self.every:
            self._graph.replay()
        elif self._seen and steps == self.every and self.points.is_cuda:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._make(steps)
            self._graph.replay()
        else:  # the first time, also on a GPU: a graph is recorded from kernels that have run
            self._make(steps)
            self._seen = True
        found: list[list[float]] = self._losses[:steps].T.tolist()
        return found

    def keep(self, places: list[int]) -> None:
        """Go on with these starts alone."""
        self.points, self._first = self.points[places], self._first[places]
        self._second, self._gradient = self._second[places], self._gradient[places]
        self.relevant = self.relevant[: len(places)]
        self._forget()

    def _forget(self) -> None:
        import torch

        self._losses = torch.zeros(self.every, len(self.points), device=self.points.device)
        self._graph, self._seen = None, False

    def _make(self, steps: int) -> None:
        import torch

        for at in range(steps):
            loss = loss_and_gradient(self.points, self.relevant, self.temperature, self._gradient)
            self._losses[at] = loss
            self._first.lerp_(self._gradient, 1 - FIRST)
            self._second.mul_(SECOND).addcmul_(self._gradient, self._gradient, value=1 - SECOND)
            divisor = self._second.sqrt().mul_(self._factors[0, at]).add_(self._factors[1, at])
            self.points.addcdiv_(self._first, divisor, value=-1)
            self.points.div_(torch.linalg.vector_norm(self.points, dim=2, keepdim=True))


def loss_and_gradient(points: Tensor, relevant: Tensor, temperature: float, gradient: Tensor) -> Tensor:
    """Compute InfoNCE by its closed form, in half the passes of automatic differentiation.

    With the scores s = q.x / temperature and p = softmax of s over all n documents, the loss of a query is -mean over its k
    relevant documents of log p, whose derivative by s is p - 1/k on relevant documents and p on others.

    Args:
        points: float [starts, m + n, d], the queries before the documents.
        relevant: int64 [starts, m, k].
        temperature: of the scores.
        gradient: like ``points``; is overwritten with the derivative of each start's own loss.

    Returns:
        each start's loss, the mean over its queries [starts].
    """
    import torch

    m, k = relevant.shape[1:]
    queries, documents = points[:, :m], points[:, m:]
    none = points.new_empty(1, 1, 1)  # what beta=0 ignores
    scores = torch.baddbmm(none, queries, documents.transpose(1, 2), beta=0, alpha=1 / temperature)
    slope = torch.softmax(scores, 2)
    del scores
    loss = slope.gather(2, relevant).log_().mean((1, 2)).neg_()
    slope.scatter_add_(2, relevant, slope.new_full((1, 1, 1), -1 / k).expand(relevant.shape))
    gradient[:, :m] = torch.bmm(slope, documents)
    # a start at a time: cuBLAS splits one long product among all processors, but not a batch of them (eleven times slower)
    for start in range(len(points)):
        gradient[start, m:] = slope[start].T @ queries[start]
    gradient.mul_(1 / (m * temperature))
    return loss
