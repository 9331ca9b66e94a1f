"""ColBERTer's reduction: what is left of a document's words, what it takes, and what it costs in quality.

    irkit train pipelines/train/multivector-words.yaml -o W
    python eval/bench/word_reduction.py --collection SCIFACT NFCORPUS CRANFIELD --models irkit/minilm-words W/few W/labels --work X

A row is a way to keep a collection, through the stages as they are shipped. `maxsim` over the encoder's tokens: as they are, and by
PCA. `colberter` with the encoder alone (whole words without stop words, as they are and by PCA), and with the trained folders: all
documents are candidates, so sentence vectors and words score every one (`100`: only those with the 100 best sentence vectors).
Columns: the share of a document's unique whole words that is dropped (of trained models by their gates; they are to be trained on
`--model`, and to read as much of a document); vectors a document, the sentence vector included; bytes a document, files of the
store; nDCG@10; its difference to PCA-32 of all tokens, with the p-value of the paired t-test (Holm over a collection's rows); and
whether the row is on the Pareto front: no other one has a better score and fewer bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from multivector_heads import DEPTH, Way, ndcg, opened
from numpy.typing import NDArray

from irkit.api.workspace import Workspace
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.evaluate.significance import holm, t_test
from irkit.report.pairs import TIE
from irkit.stages.multivector.colberter import Colberter
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.storage import measure_storage

BASELINE = "MaxSim, PCA-32"
FEW = 100
"""Candidates of the second score of `colberter`."""


@dataclass(frozen=True)
class Row:
    """What there is to say of one way on one collection; ``words`` are a document's, None where tokens are not merged."""

    name: str
    vectors: float
    size: float
    exact: NDArray[np.float64]
    few: NDArray[np.float64] | None = None
    words: float | None = None
    whole: float | None = None


def token_row(way: Way, collection: Collection, workspace: Workspace) -> Row:
    """Measure `maxsim` over all documents."""
    stage, context = MaxSim(**way.options), workspace.context(collection)
    state = stage.prepare(context)
    asked = stage.asked_tokens(state.encoder, state.tokens, collection.queries)
    found = state.scorer.search(asked, DEPTH).without(collection.queries.exclude)
    kept, documents = context.store.find(stage.token_recipes(context)[-1]), len(collection.docs)
    assert kept is not None, "prepare made it"
    vectors = float(state.tokens.offsets[-1]) / documents
    return Row(way.name, vectors, kept.bytes / documents, ndcg(found, collection))


def word_row(way: Way, collection: Collection, workspace: Workspace) -> Row:
    """Measure `colberter`."""
    context, documents = workspace.context(collection), len(collection.docs)
    stage = Colberter(**way.options, k=DEPTH, candidates=documents)
    state = stage.prepare(context)

    def found(stage: Colberter) -> Rankings:
        asked = collection.queries
        return stage.search(asked, stage.k, state).without(asked.exclude)

    exact = ndcg(found(stage), collection)
    few = ndcg(found(stage.model_copy(update={"k": FEW, "candidates": FEW})), collection)
    storage = measure_storage(stage, context)
    words, size = storage.kept / documents, (storage.sentence_bytes + storage.word_bytes) / documents
    whole = storage.merged.before / documents if storage.merged else None
    return Row(way.name, words + 1, size, exact, few, words, whole)


def table(name: str, rows: list[Row]) -> None:
    """Print the rows of a collection as Markdown."""
    whole = next(row.whole for row in rows if row.whole)
    (against,) = (row.exact for row in rows if row.name == BASELINE)
    deltas = {row.name: row.exact - against for row in rows if row.name != BASELINE}
    settled = {key: np.where(np.abs(each) <= TIE, 0.0, each) for key, each in deltas.items()}
    ps = dict(zip(settled, holm([t_test(each) for each in settled.values()]), strict=True))
    titles = (
        name,
        "words dropped",
        "vectors",
        "bytes",
        "nDCG@10",
        "to PCA-32",
        "p (Holm)",
        str(FEW),
        "front",
    )
    print(f"\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for row in rows:
        score = row.exact.mean()
        beaten = any(each.size < row.size and each.exact.mean() > score for each in rows)
        cells = [
            row.name,
            "" if row.words is None else f"{1 - row.words / whole:.1%}",
            f"{row.vectors:.1f}",
            f"{row.size:,.0f}",
            f"{score:.4f}",
            f"{deltas[row.name].mean():+.4f}" if row.name in deltas else "",
            f"{ps[row.name]:.4f}" if row.name in ps else "",
            "" if row.few is None else f"{row.few.mean():.4f}",
            "" if beaten else "yes",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    options, collections = opened(__doc__, "--models", "what they were trained on")
    plain: dict[str, Any] = {"model": options.model}
    tokens = [Way("MaxSim, as they are", plain)]
    tokens += [Way(f"MaxSim, PCA-{dim}", {**plain, "tokens": {"dim": dim}}) for dim in (64, 32)]
    words = [Way("words, as they are", plain), Way("words, PCA-32", {**plain, "tokens": {"dim": 32}})]
    words += [Way(each, {"model": each}) for each in options.models]
    for name, collection, workspace in collections:
        rows = [token_row(way, collection, workspace) for way in tokens]
        table(name, rows + [word_row(way, collection, workspace) for way in words])


if __name__ == "__main__":
    main()
