"""What ``irkit store ls`` says of each artifact: enough to tell it from its like, and never a digest or a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from irkit.cli.summary import summary
from irkit.store import Artifact, Recipe, Store

DIGEST = "9cf8ce8fba6ff86a0dc9fe957dcc2e8f80b7388bbc797e4dc4fa7dca0647be91"
RAW = "254e17b252095b7a4a39323a9a7c5e77e2898282b0864ad264e473bfbae142cc"
MODEL = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2"
NAME = "sentence-transformers/all-MiniLM-L6-v2"
ENCODED = {"encoding": 2, "model": DIGEST, "dtype": "float32", "max_length": None, "prompt": None}
NOTES = {"device": "cpu", "dtype": "float32", "model": MODEL}
STORE = {
    "codec": "float16",
    "dim": None,
    "keep": 0.6,
    "pool": 1,
    "prune": None,
    "tokens": RAW,
    "words": False,
}
FDE = {
    "d_proj": 16,
    "fill_empty": True,
    "final_dim": None,
    "index": "flat",
    "k_sim": 5,
    "projection": "dense",
    "repetitions": 20,
    "seed": 42,
    "tokens": RAW,
}


def made(folder: Path, kind: str, spec: dict[str, Any], meta: dict[str, Any]) -> Artifact:
    return Store(folder).get(Recipe(kind, spec), lambda build: meta)


@pytest.mark.parametrize(
    ("kind", "spec", "meta", "words"),
    [
        (
            "tokens",
            ENCODED,
            {"documents": 46, "tokens": 7386, "dim": 384, **NOTES},
            f"{NAME}, 46 documents, 7,386 tokens, 384 dimensions",
        ),
        (
            "tokens",
            {**ENCODED, "max_length": 64, "salience": True},
            {"documents": 46, "tokens": 7386, "dim": 384, **NOTES},
            f"{NAME}, 46 documents, 7,386 tokens, 384 dimensions, max_length=64, salience=true",
        ),
        (
            "token-store",
            {**STORE, "dim": 128, "words": True, "prune": "stop-words", "pool": 2, "codec": "residual-2"},
            {"documents": 46, "tokens": 1500, "dim": 128, "codec": "residual-2", **NOTES},
            f"{NAME}, 46 documents, 1,500 tokens, 128 dimensions, words=true, prune=stop-words, pool=2, "
            "codec=residual-2",
        ),
        (
            "fde",
            {**FDE, "index": "pq", "d_proj": None},
            {"dimensions": 61440, "documents": 5183, "index": "pq"},
            "5,183 documents, 61,440 dimensions, d_proj=null, index=pq, of 254e17b25209",
        ),
        ("fde", FDE, {"dimensions": 10240}, "10,240 dimensions, index=flat, of 254e17b25209"),
        (
            "xtr-ivf",
            {"bits": 4, "layout": 1, "nlist": None, "seed": 0, "tokens": RAW},
            {"bits": 4, "dim": 384, "documents": 46, "nlist": 923, "tokens": 7386},
            "46 documents, 7,386 tokens, 384 dimensions, nlist=923, bits=4, of 254e17b25209",
        ),
        (
            "vectors",
            {**ENCODED, "similarity": "dot"},
            {"documents": 46, "dim": 384, **NOTES},
            f"{NAME}, 46 documents, 384 dimensions, similarity=dot",
        ),
        ("docs", {"source": "limit"}, {"count": 46}, "limit, 46 documents"),
        ("topics", {"source": {"source": "limit", "qrels": DIGEST}}, {}, "limit"),
        ("rankings", {"stage": "maxsim", "tokens": None}, {"model": None}, "maxsim"),
        ("evaluation", {"metrics": ["ndcg@10", "recall@2"]}, {}, "ndcg@10, recall@2"),
        ("lucene", {"analyzer": "english", "docs": DIGEST}, {}, "english"),
    ],
)
def test_what_an_artifact_is(
    tmp_path: Path, kind: str, spec: dict[str, Any], meta: dict[str, Any], words: str
) -> None:
    assert summary(made(tmp_path, kind, spec, meta)) == words


def test_a_model_that_only_the_recipe_names(tmp_path: Path) -> None:
    artifact = made(tmp_path, "tokens", {**ENCODED, "model": "hub:org/name@0123abc"}, {})
    assert summary(artifact) == "org/name"


def test_a_long_folder_keeps_its_end(tmp_path: Path) -> None:
    words = summary(made(tmp_path, "tokens", ENCODED, {"model": f"/{'deep/' * 30}my-model"}))
    assert len(words) == 60
    assert words.startswith("...") and words.endswith("/my-model")


@pytest.mark.parametrize(
    "kind", ["tokens", "token-store", "fde", "xtr-ivf", "vectors", "faiss", "unheard-of"]
)
def test_an_artifact_that_says_nothing(tmp_path: Path, kind: str) -> None:
    assert DIGEST not in summary(made(tmp_path, kind, {"model": DIGEST, "index": None}, {"tokens": "many"}))
