"""Finding the attention heads of a language model that say best which document answers a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from irkit.api.workspace import Workspace
from irkit.config.experiment import CollectionSpec
from irkit.core.errors import ConfigError, DataError
from irkit.core.fingerprint import fingerprint
from irkit.core.rankings import CodeArray
from irkit.data.collection import Collection
from irkit.data.spec import split_of
from irkit.models.lm.heads import Heads
from irkit.models.resolve import resolve
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Stage
from irkit.stages.rerank.head_selection import Criterion, Gains, Values, best, check_count, tied_at_cut
from irkit.stages.rerank.head_values import JudgedList, Reading, head_values
from irkit.stages.rerank.language import LanguageModelOptions


@dataclass(frozen=True)
class Detection:
    """How heads are looked for.

    Attributes:
        criterion: what makes a head good.
        top: how many of the best are taken.
        queries: how many queries are read, drawn from those that have a relevant document; all where there are fewer.
        depth: documents of a list: the first stage's best.
        add_relevant: whether a list without any relevant document is given one, the best that the first stage missed, so that every
            query can be used; otherwise the query is left out.
        seed: of the draw of queries, and of the order in which the model reads each list.
        instruction: "qa", "general", or the text of another; as of the stage ``icr``.
        rows: whose attention is read: "suffix" or "query"; as of the stage ``icr``.
        model: with ``model``, ``words``, ``dtype``, ``device``, ``batch_tokens``, ``trust_remote_code``; the rest is not used.
        first_stage: a retriever or a pipeline; BM25 unless given.

    Raises:
        ConfigError: for a number that cannot be, or a blank instruction.
    """

    criterion: Criterion = field(default_factory=Criterion)
    top: int = 16
    queries: int = 256
    depth: int = 20
    add_relevant: bool = True
    seed: int = 0
    instruction: str = "general"
    rows: Literal["suffix", "query"] = "suffix"
    model: LanguageModelOptions = field(default_factory=LanguageModelOptions)
    first_stage: Pipeline | Stage | None = None

    def __post_init__(self) -> None:
        """Check the numbers and the instruction."""
        least = {"top": 1, "queries": 1, "depth": 2, "seed": 0}
        for name, number in least.items():
            if getattr(self, name) < number:
                message = f"{getattr(self, name)} is too small"
                raise ConfigError.of(message, where=name, hint=f"give {number} or more")
        if not self.instruction.strip():
            raise ConfigError.of("it is blank", where="instruction", hint="give general, qa, or a text")
        object.__setattr__(self, "instruction", self.instruction.strip())  # as icr has it

    @property
    def reading(self) -> Reading:
        """How the lists are read."""
        return Reading(self.model, self.instruction, self.rows)


def detect_heads(
    collection: CollectionSpec, workspace: Workspace | None = None, how: Detection | None = None
) -> Heads:
    """Find the best heads of a model on a collection's judged queries.

    Choose other queries than those that the heads are to be judged on: what was found on which is written into the result.

    Args:
        collection: as an experiment names it: an id, or local files.
        workspace: where and how; the current folder when None.
        how: method, model and numbers.

    Returns:
        the heads, best first, with their values and with what they were found on; ``save`` writes the file that
        ``icr: {heads: file}`` takes. Heads of the same value are taken by layer, then head, ascending; where the cut goes through
        such heads, ``detection["tied_at_cut"]`` has those that were taken and those left out.

    Raises:
        IrkitError: for anything a user can mend.
    """
    workspace, how = workspace or Workspace(), how or Detection()
    opened = workspace.open(collection)
    context = workspace.context(opened)
    lists = judged_lists(opened, workspace, how)
    resolved = resolve(how.model.model, workspace.root)
    model = how.model.load_model(context)
    check_count(how.top, model.layers * model.heads)
    with workspace.progress.task(f"heads of {model.name}, queries", len(lists)) as advance:
        worth, cut = head_values(lists, opened.docs, model, how.criterion, how.reading, advance)
    pairs, values = best(worth, how.top)
    return Heads(
        pairs,
        model=model.name,
        method=how.criterion.method,
        source="irkit heads detect",
        model_fingerprint=resolved.fingerprint,
        shape=(model.layers, model.heads),
        scores=values,
        detection=_record(collection, opened, how, lists, cut) | _ties(worth, how.top),
    )


def _ties(worth: Values, top: int) -> dict[str, Any]:
    """Return for the record which heads the cut could not tell apart, where there are any."""
    taken, left = (Heads(pairs).names() for pairs in tied_at_cut(worth, top))
    return {"tied_at_cut": {"taken": taken, "left_out": left}} if left else {}


def judged_lists(collection: Collection, workspace: Workspace, how: Detection) -> list[JudgedList]:
    """Draw queries, and retrieve and shuffle their lists: what :func:`irkit.stages.rerank.head_values.head_values` reads.

    Args:
        collection: with judgements.
        workspace: where the first stage's results are kept.
        how: ``queries``, ``depth``, ``add_relevant``, ``seed`` and ``first_stage``; the rest is not used.

    Raises:
        DataError: when no query can be used.
    """
    queries, qrels, count = collection.queries, collection.qrels, len(collection.docs)
    good = [
        row
        for row, text in enumerate(queries.text)
        if text.strip() and np.any((qrels[row][1] > 0) & (qrels[row][0] < count))
    ]
    if not good:
        hint = "heads are found on queries with judgements; see the collection's splits"
        raise DataError.of("no query has a relevant document", where=collection.name, hint=hint)
    drawn = np.random.Generator(np.random.PCG64(how.seed)).permutation(np.array(good))[: how.queries]
    rows = sorted(drawn.tolist())
    first = how.first_stage or make_stage("bm25", k=how.depth)
    found = workspace.searcher(first, collection)(queries.take(rows))
    lists = []
    for row, (docs, _) in zip(rows, found, strict=True):
        judged, gains = qrels[row]
        known = judged < count
        if queries.exclude:
            known &= ~np.isin(judged, queries.exclude[row])
        chosen, worth = candidates(
            docs, judged[known], gains[known].astype(np.int64), how.depth, add=how.add_relevant
        )
        if np.any(worth > 0) and np.any(worth <= 0):
            order = _shuffled(len(chosen), how.seed, queries.text[row])
            added = not np.isin(chosen, docs[: how.depth]).all()
            lists.append(JudgedList(queries.qid[row], queries.text[row], chosen[order], worth[order], added))
    if not lists:
        message = f"of {len(rows)} queries, none has a list with both relevant and other documents"
        hint = "take a deeper list (depth), more queries, or another first stage"
        raise DataError.of(message, where=collection.name, hint=hint)
    if len(lists) < how.queries:
        usable = (
            f"{len(good)} have a relevant document, and of {len(rows)} lists {len(lists)} hold others too"
        )
        workspace.progress.say(f"{len(lists)} queries are read, not {how.queries}: {usable}")
    return lists


def candidates(
    found: CodeArray, judged: CodeArray, gains: Gains, depth: int, *, add: bool
) -> tuple[CodeArray, Gains]:
    """Return the documents of a query's list and their gains: what was found.

    Args:
        found: ``int32[n]``, the first stage's codes, best first.
        judged: ``int32[m]``, judged codes, of documents that may be retrieved.
        gains: ``int64[m]``; relevant is what is above 0.
        depth: the longest list.
        add: whether a list without any relevant document ends with one, of the highest gain; where the list is full it takes the
            place of the last.
    """
    found = found[:depth]
    gain_of = dict(zip(judged.tolist(), gains.tolist(), strict=True))
    relevant = [code for code, gain in gain_of.items() if gain > 0]
    codes = found
    if add and relevant and not np.isin(found, relevant).any():
        best_missed = min(relevant, key=lambda code: (-gain_of[code], code))
        codes = np.append(found[: depth - 1], np.int32(best_missed))
    return codes, np.array([gain_of.get(code, 0) for code in codes.tolist()], np.int64)


def _shuffled(count: int, seed: int, query: str) -> NDArray[np.int64]:
    """Return the random order of a query's list, which other queries have no part in."""
    own = int(fingerprint([seed, query])[:16], 16)
    return np.random.Generator(np.random.PCG64(own)).permutation(count)


def _record(
    spec: CollectionSpec, collection: Collection, how: Detection, lists: Sequence[JudgedList], cut: int
) -> dict[str, Any]:
    first = Pipeline.of(how.first_stage or make_stage("bm25", k=how.depth))
    return {
        "collection": collection.name,
        "split": split_of(spec),
        "fingerprint": collection.fingerprint,
        "queries": len(lists),
        "seed": how.seed,
        "depth": how.depth,
        "add_relevant": how.add_relevant,
        "relevant_added": sum(each.added for each in lists),
        "first_stage": first.to_data(),
        "options": how.criterion.options(),
        "instruction": how.instruction,
        "rows": how.rows,
        "words": how.model.words,
        "dtype": how.model.dtype,
        "documents_cut": cut,
        "qids": [each.qid for each in lists],
    }
