"""How many documents of a collection hold each token of a model's vocabulary: counted once, kept in the store.

A token counts in a document when the tokeniser makes it of the document's whole text, title included: without prompt, special
tokens and truncation, which say nothing of the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.models.resolve import identify
from irkit.pipeline.context import Context
from irkit.stages.encoding import EncoderOptions, encode_documents, libraries
from irkit.store import Build, Recipe

COUNTING = 1
"""Of the frequencies in the store: counts up when tokens come to be counted otherwise."""

TokenFrequencies = NDArray[np.uint32]


def token_frequencies_recipe(options: EncoderOptions, context: Context) -> Recipe:
    """Return the recipe of a collection's document frequencies in the tokens of this model."""
    spec = {
        "counting": COUNTING,
        "docs": context.collection.docs_fingerprint,
        "model": identify(options.model, context.workspace),
        "libraries": {"transformers": libraries()["transformers"]},
    }
    return Recipe("frequencies", spec)


def open_token_frequencies(
    options: EncoderOptions, context: Context, tokenizer: Any, vocabulary: int
) -> TokenFrequencies:
    """Return in how many documents each token is, ``uint32[vocabulary]``; count where the store lacks them.

    Args:
        options: the encoder's.
        context: with the collection.
        tokenizer: the encoder's, of transformers.
        vocabulary: how many token ids the model has.
    """
    kept = context.artifact(
        token_frequencies_recipe(options, context),
        lambda build: _build(build, context, tokenizer, vocabulary),
    )
    found: TokenFrequencies = np.load(kept.file("documents.npy"), allow_pickle=False)
    return found


def rarity(documents: TokenFrequencies, count: int) -> NDArray[np.float32]:
    """Return each token's idf over that of a token that no document has, ``float32[vocabulary]``, between 0 and 1.

    ``idf = log(1 + (N - df + 0.5) / (df + 0.5))``, Lucene's form of BM25's (Robertson and Zaragoza, 2009, section 3.3); above 0
    for any df. Relative, so that its size does not depend on the collection's, and a gate trained on one is of use on another.

    Args:
        documents: how many hold each token.
        count: N, how many there are.
    """
    held = documents.astype(np.float64)
    idf = np.log1p((count - held + 0.5) / (held + 0.5))
    share: NDArray[np.float32] = (idf / np.log1p((count + 0.5) / 0.5)).astype(np.float32)
    return share


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the token ids in texts, ascending, and how many texts hold each, both ``uint32[k]``."""
    given = list(texts)
    ids = tokenizer(given, add_special_tokens=False, truncation=False, padding=False, verbose=False)[
        "input_ids"
    ]
    each = [np.unique(np.array(of_text, np.uint32)) for of_text in ids]
    found, held = np.unique(np.concatenate([np.zeros(0, np.uint32), *each]), return_counts=True)
    return found, held.astype(np.uint32)


def _build(build: Build, context: Context, tokenizer: Any, vocabulary: int) -> dict[str, Any]:
    def write(texts: Sequence[str], path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.stack(count_tokens(tokenizer, texts)), allow_pickle=False)

    total = np.zeros(vocabulary, np.uint32)
    for shard in encode_documents(context, build, "counting tokens", write):
        found, held = np.load(shard, allow_pickle=False)
        total[found] += held
    np.save(build.path("documents.npy"), total, allow_pickle=False)
    return {"documents": len(context.collection.docs), "tokens": int((total > 0).sum())}
