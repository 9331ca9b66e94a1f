"""What an artifact is, in a few words: read off its recipe and its meta alone, whatever of them is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from irkit.core.flow import flow
from irkit.store import Artifact

_COUNTED = ("tokens", "token-store", "vectors", "faiss", "fde", "xtr-ivf", "docs", "word-counts")
_COUNTS = {
    "documents": "documents",
    "count": "documents",
    "tokens": "tokens",
    "dim": "dimensions",
    "dimensions": "dimensions",
}
_USUAL: dict[str, dict[str, Any]] = {
    "tokens": {"dtype": "float32", "max_length": None, "prompt": None, "salience": False},
    "vectors": {"dtype": "float32", "max_length": None, "prompt": None, "similarity": None},
    "token-store": {"words": False, "prune": None, "keep": 0.6, "pool": 1, "codec": "float16"},
    "fde": {
        "repetitions": 20,
        "k_sim": 5,
        "d_proj": 16,
        "projection": "dense",
        "final_dim": None,
        "fill_empty": True,
    },
}
"""What artifacts of a kind may be told apart by, with the values that go without saying."""
_ALWAYS = {"fde": ("index",), "faiss": ("index",), "xtr-ivf": ("nlist", "bits")}
"""What is said in any case."""
_MADE_OF = ("tokens", "vectors")
_HUB = "https://huggingface.co/"
_WIDE = 60


def summary(artifact: Artifact) -> str:
    """Return a few words on what an artifact is."""
    kind, recipe, meta = artifact.kind, artifact.recipe, artifact.meta
    words = [*_origin(recipe, meta), *_size(kind, meta), *_options(kind, recipe, meta)]
    return ", ".join(dict.fromkeys(words))  # a stage may have the name of its model


def _origin(recipe: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterator[str]:
    source = recipe.get("source")
    if isinstance(source, dict):  # of topics: what identifies the files, and whose they are
        source = source.get("source")
    for name in (recipe.get("stage"), source, _model(recipe, meta), recipe.get("analyzer")):
        if isinstance(name, str):
            yield name if len(name) <= _WIDE else f"...{name[-_WIDE + 3 :]}"
    metrics = recipe.get("metrics")
    if isinstance(metrics, list):
        yield from (str(metric) for metric in metrics)


def _size(kind: str, meta: Mapping[str, Any]) -> Iterator[str]:
    for key, what in _COUNTS.items() if kind in _COUNTED else ():
        if isinstance(meta.get(key), int):
            yield f"{meta[key]:,} {what}"


def _options(kind: str, recipe: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterator[str]:
    for key, usual in _USUAL.get(kind, {}).items():
        if recipe.get(key, usual) != usual:
            yield f"{key}={flow(recipe[key])}"
    known = {**recipe, **meta}  # lists that nobody asked for are counted in the meta
    yield from (f"{key}={flow(known[key])}" for key in _ALWAYS.get(kind, ()) if known.get(key) is not None)
    if _model(recipe, meta) is None:
        yield from (f"of {recipe[key][:12]}" for key in _MADE_OF if isinstance(recipe.get(key), str))


def _model(recipe: Mapping[str, Any], meta: Mapping[str, Any]) -> str | None:
    """Return the model's source as the meta says it, else what its fingerprint in the recipe says: a digest says nothing."""
    source, identity = meta.get("model"), recipe.get("model")
    if isinstance(source, str):
        return source.removeprefix(_HUB)
    if isinstance(identity, str) and identity.startswith("hub:"):
        return identity.removeprefix("hub:").partition("@")[0]
    return None
