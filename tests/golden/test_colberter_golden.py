"""The released ColBERTer prints the scores of its authors' example.

https://github.com/sebastian-hofstaetter/colberter, minimal_colberter_usage_example.ipynb; runs where the checkpoint is in
the local cache of the hub: ``irkit models pull sebastian-hofstaetter/colberter-128-32-msmarco``.
"""

from __future__ import annotations

import pytest

from irkit.models import resolve
from irkit.models.hub import cached_snapshot

MODEL = "sebastian-hofstaetter/colberter-128-32-msmarco"
QUERY = "what is the transformers library"
PASSAGES = [
    "We are very happy to show you the \U0001f917 Transformers library for pre-trained language models. We are helping the "
    "community work together towards the goal of advancing NLP \U0001f525.",
    "Hmm I don't like this new movie about transformers that i got from my local library. Those transformers are robots?",
]
SCORES = [39.04731750488281, 32.5419807434082]
SENTENCE_PARTS = [16.83791732788086, 15.022980690002441]


@pytest.mark.model
def test_the_authors_example() -> None:
    if cached_snapshot(MODEL, None) is None:
        pytest.skip(f"{MODEL} is not on this machine")
    from irkit.models.colberter import ColBERTer

    model = ColBERTer(resolve(MODEL), device="cpu")
    assert (model.dim, model.token_dim, model.exact_match) == (128, 32, False)
    weight = model.merge_weight
    sentence = weight * (model.vectors(PASSAGES, "document") @ model.vectors([QUERY], "query")[0])
    assert sentence.tolist() == pytest.approx(SENTENCE_PARTS, abs=1e-3)
    asked, words = model.tokens([QUERY], "query").vectors, model.tokens(PASSAGES, "document")
    refined = [(asked @ words[passage].T).max(axis=1).sum() for passage in range(2)]
    fused = [part + (1 - weight) * rest for part, rest in zip(sentence, refined, strict=True)]
    assert fused == pytest.approx(SCORES, abs=2e-3)
