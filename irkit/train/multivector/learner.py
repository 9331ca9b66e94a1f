"""What the learners of ``kind: multivector`` share: a head over hidden states, its first weights, objectives and validation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from irkit.core.flow import flow
from irkit.core.rankings import offsets_of
from irkit.models.ragged import Ragged
from irkit.models.resolve import ResolvedModel
from irkit.models.trained import HEAD, describe
from irkit.train.candidates import Candidates
from irkit.train.examples import Example, Examples
from irkit.train.learner import HeldOut, Learner, Surroundings
from irkit.train.multivector.late_interaction import Pair, Texts, match_loss, max_sim, mean_of_best, xtr
from irkit.train.recipe import Recipe, Training

if TYPE_CHECKING:
    import torch

    from irkit.models.encoder import Encoder, Side
    from irkit.train.distil import Distil
    from irkit.train.multivector.kind import MultiVectorOptions

_SAMPLE = 1 << 18
"""Document tokens that the first head is the PCA of."""


class TokenLearner(Learner):
    """A head, and the objectives. Special tokens of documents count and those of queries do not, as in search."""

    def __init__(
        self, recipe: Recipe, examples: Examples, place: Surroundings, encoder: Encoder, model: ResolvedModel
    ) -> None:
        import torch

        self.recipe, self.examples, self.place = recipe, examples, place
        self.encoder, self.model = encoder, model
        self.options = cast("MultiVectorOptions", recipe.options)
        self.keeps_last = self.options.objective == "match"
        self._teacher = [_teacher(query) for query in examples.queries] if self.options.distil else []
        self.pool = _pool(examples, self.options.pool)
        self._held = HeldOut(examples, self.pool)
        self.prepare()
        self.head = torch.nn.Parameter(self.first().to(place.device))

    @abstractmethod
    def prepare(self) -> None:
        """Get ready to give hidden states, those of the untrained encoder at first."""

    @abstractmethod
    def hidden(self, numbers: Sequence[int], side: Side) -> Texts:
        """Return the hidden states of the tokens that count, ``float32``, of queries or documents, by their numbers."""

    @abstractmethod
    def lengths(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Return about how many tokens documents have."""

    def tokens(self, numbers: Sequence[int], side: Side) -> Texts:
        """Return token vectors of length 1, as late interaction compares them."""
        states = self.hidden(numbers, side)
        return Texts(self.headed(states.vectors), states.lengths)

    def headed(self, states: torch.Tensor) -> torch.Tensor:
        """Return what the head makes of hidden states: ``[T, dim]``, of length 1."""
        import torch

        return torch.nn.functional.normalize(states @ self.head.T, dim=1)

    def loss(self, rows: Sequence[int], step: int) -> torch.Tensor:
        """Return the objective over the batch, with the divergence from a teacher's scores where that is asked for.

        The candidates of a query are the documents of all queries of its batch, each once. A candidate that is relevant to the
        query and not its target, or is read in another form, is left out of the softmax; its tokens can be retrieved all the same,
        as they would in a search.
        """
        drawn = Candidates.draw(self.recipe, self.examples, rows, step)
        if self.options.objective == "match":
            return self._matched(rows, drawn)
        matrices, penalty = self.judged(rows, drawn.documents)
        loss: torch.Tensor = (
            sum(drawn.loss(each, self.recipe.training.temperature) for each in matrices) + penalty
        )
        if self.options.distil is None:
            return loss
        return loss + sum(self._distilled(self.options.distil, each, rows, drawn) for each in matrices)

    def _matched(self, rows: Sequence[int], drawn: Candidates) -> torch.Tensor:
        """Return the mean over the queries of what the heads change of their best products with their own documents."""
        import torch

        asked, found, penalty = self.shortened(rows, drawn.documents)
        losses = [self.head.sum() * 0.0]
        for place, own in enumerate(drawn.own):
            some = [
                number for number in own if found.short.lengths[number]
            ]  # a text without tokens finds nothing
            if some and asked.short.lengths[place]:
                losses.append(match_loss(asked.take([place]), found.take(some)))
        return torch.stack(losses).sum() / len(rows) + penalty

    def shortened(
        self, rows: Sequence[int], numbers: Sequence[int]
    ) -> tuple[Pair, Pair, torch.Tensor | float]:
        """Return queries and documents, whose short vectors are to find what the wide ones find; and what is added to the loss."""
        wide = self.hidden(rows, "query"), self.hidden(numbers, "document")
        asked, found = (Pair(Texts(self.headed(each.vectors), each.lengths), each) for each in wide)
        return asked, found, 0.0

    def _distilled(
        self, distil: Distil, scores: torch.Tensor, rows: Sequence[int], drawn: Candidates
    ) -> torch.Tensor:
        """Return the mean of the queries' weighted divergences from the teacher, each over the query's own documents.

        Those with a score of 0, of which ``xtr`` retrieved no token, are in neither softmax: they get no gradient, and would draw
        all others down to them.
        """
        import torch

        place = np.zeros((len(rows), max(map(len, drawn.own))), np.int64)
        said = np.full(place.shape, np.nan, np.float32)
        for i, (row, own) in enumerate(zip(rows, drawn.own, strict=True)):
            place[i, : len(own)] = own
            said[i, : len(own)] = [self._teacher[row].get(drawn.documents[n], np.nan) for n in own]
        mine = scores.gather(1, torch.from_numpy(place).to(scores.device))
        teacher = torch.from_numpy(said).to(scores.device).masked_fill(mine.detach() == 0, torch.nan)
        return distil.loss(mine, teacher, self.recipe.training.temperature).mean()

    def judged(
        self, rows: Sequence[int], numbers: Sequence[int]
    ) -> tuple[list[torch.Tensor], torch.Tensor | float]:
        """Return matrices of scores, ``[Q, D]``, each of which is to put relevant documents first, that of a search before others;
        and what is added to the loss.
        """
        return [self.scores(self.tokens(rows, "query"), self.tokens(numbers, "document"))], 0.0

    def encoded(self, numbers: Sequence[int], side: Side) -> Any:
        """Return what :meth:`ranked` compares."""
        return self.tokens(numbers, side)

    def ranked(self, asked: Any, found: Any) -> torch.Tensor:
        """Return the scores of a search, ``[Q, D]``: by exact MaxSim."""
        return mean_of_best(asked, found)

    def scores(self, asked: Texts, found: Texts) -> torch.Tensor:
        """Return the objective's scores, ``[Q, D]``."""
        if self.options.objective == "contrastive":
            return max_sim(asked, found)
        most = int(np.ceil(self.options.k_share * len(found.vectors)))
        return xtr(asked, found, min(self.options.k_train, most))

    @property
    def against(self) -> str:
        """The pool, which an option may limit."""
        return f"{len(self.pool)} documents of all sources"

    def validate(self) -> dict[str, float]:
        """Return the mean nDCG@10 of the held-out queries by task, ranked against the pool by exact MaxSim."""
        import torch

        rows = self.examples.held.tolist()
        scores = np.zeros((len(rows), len(self.pool)), np.float32)
        with torch.inference_mode():
            asked = self.encoded(rows, "query")
            for places in self._blocks():
                found = self.encoded(self.pool[places].tolist(), "document")
                scores[:, places] = self.ranked(asked, found).cpu().numpy()
        return self._held.ndcg(scores)

    def _blocks(self) -> Iterator[NDArray[np.int64]]:
        """Yield places in the pool, shortest documents first, of so many tokens at a time that memory is bounded."""
        lengths = self.lengths(self.pool.tolist())
        order = np.argsort(lengths, kind="stable")
        block = np.cumsum(lengths[order]) // self.options.block_tokens
        yield from np.split(order, np.flatnonzero(np.diff(block)) + 1)

    def first(self) -> torch.Tensor:
        """Return the PCA of document tokens, ``float32[dim, hidden]``: what the stages' option ``tokens: {dim: ...}`` takes."""
        import torch

        count = len(self.examples.documents)
        order = np.random.Generator(np.random.PCG64([self.recipe.seed, 2])).permutation(count)
        hidden = self.encoder.token_dim
        moment, seen = np.zeros((hidden, hidden)), 0
        with torch.inference_mode():
            for start in range(0, count, 64):
                states = self.hidden(order[start : start + 64].tolist(), "document").vectors
                wide = torch.nn.functional.normalize(states, dim=1).cpu().double().numpy()
                moment += wide.T @ wide
                seen += len(wide)
                if seen >= _SAMPLE:
                    break
        return principal(moment, self.options.dim)

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the head's weights."""
        return [{"params": [self.head], "lr": training.lr, "weight_decay": training.weight_decay}]

    @property
    def weights(self) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """The head."""
        return {"head": self.head}

    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write the head and what it goes on top of."""
        from safetensors.torch import save_file

        save_file({"weight": self.head.detach().cpu().contiguous()}, folder / HEAD)
        options: dict[str, Any] = {
            "dim": self.options.dim,
            "normalise": True,
            "max_length": self.options.max_length,
            "query_special_tokens": False,
        }
        prompts = {name: getattr(self.options, name) for name in ("query_prompt", "document_prompt")}
        options |= {name: prompt for name, prompt in prompts.items() if prompt is not None}
        describe(folder, "multivector", (self.model.name, self.model.fingerprint), options)

    def usage(self, name: str) -> str:
        """Return the step of a pipeline that uses the model."""
        stage = "xtr" if self.options.objective == "xtr" else "maxsim"
        return f"- {stage}: {flow({'model': name})}"

    def facts(self) -> dict[str, Any]:
        """Return the number of trained weights, and of the documents that held-out queries are ranked against, how far the head
        lies from orthonormal rows, where it starts, and what :meth:`token_retrieval` says of single token vectors.
        """
        import torch

        with torch.inference_mode():
            head = self.head.double()
            values = torch.linalg.svdvals(head / (head.norm() / self.options.dim**0.5))
        trained = sum(each.numel() for group in self.groups(self.recipe.training) for each in group["params"])
        return {
            "parameters": trained,
            "pool": len(self.pool),
            "singular_values": {"greatest": float(values.max()), "least": float(values.min())},
            **({"token_retrieval": self.token_retrieval()} if self.options.reduce is None else {}),
        }

    def token_retrieval(self) -> dict[str, Any]:
        """Return, by task, the mean share of a held-out query's relevant documents of which a token is among the pool's ``k_prime``
        best for one of its own tokens. Looks go by MaxSim; this is the recall that XTR (arXiv 2304.01982) trains for.
        """
        import torch

        from irkit.stages.multivector.token_search import default_k_prime
        from irkit.stages.multivector.tokens import Tokens
        from irkit.train.multivector.retrieval import token_recall

        blocks = list(self._blocks())
        with torch.inference_mode():
            asked = _ragged(self.tokens(self.examples.held.tolist(), "query"))
            parts = [_ragged(self.tokens(self.pool[places].tolist(), "document")) for places in blocks]
        vectors = np.concatenate([part.vectors.astype(np.float16) for part in parts])
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        tokens, order = Tokens.of(offsets_of(lengths), vectors), self.pool[np.concatenate(blocks)]
        relevant = [np.flatnonzero(np.isin(order, list(each))) for each in self._held.relevant]
        k_prime = min(default_k_prime(len(vectors)), len(vectors))
        shares = token_recall(asked, tokens, relevant, k_prime, self.place.device)
        return {"k_prime": k_prime, "tokens": len(vectors), "recall": self.examples.by_task(shares)}


def principal(moment: NDArray[np.float64], dim: int) -> torch.Tensor:
    """Return the first principal directions, ``float32[dim, hidden]``, of vectors with this sum of x x^T."""
    import torch

    from irkit.stages.multivector.projection import Projection

    return torch.from_numpy(np.ascontiguousarray(Projection.of_moment(moment, dim, True).matrix.T))


def _pool(examples: Examples, most: int | None) -> NDArray[np.int64]:
    """Return the documents to rank held-out queries against: the examples' pool, or of a larger one the relevant documents and
    mined negatives of all held-out queries, however many these are, and others, evenly spread, up to that number.
    """
    pool = examples.pool
    if most is None or len(pool) <= most:
        return pool
    held = [examples.queries[row] for row in examples.held]
    wanted = {doc for query in held for doc in (*query.positives, *query.also, *query.negatives)}
    others = [doc for doc in pool.tolist() if doc not in wanted]
    room = min(max(0, most - len(wanted)), len(others))
    spread = [others[i * len(others) // room] for i in range(room)]
    return np.array(sorted(wanted.union(spread)), np.int64)


def _ragged(texts: Texts) -> Ragged:
    return Ragged(offsets_of(texts.lengths.cpu().numpy()), texts.vectors.float().cpu().numpy())


def _teacher(query: Example) -> dict[int, float]:
    """Return the teacher's scores of a query's documents, by their numbers."""
    return dict(zip((*query.positives, *query.negatives), query.scores or (), strict=False))
