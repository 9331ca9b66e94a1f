"""Opens a collection: from the store where it was built before, else from its source."""

from __future__ import annotations

from pathlib import Path

from irkit.core.errors import DataError, nearest
from irkit.data import beir, limit, local, synthetic
from irkit.data.build import OnProgress, build_docs, build_topics
from irkit.data.collection import Collection
from irkit.data.docstore import DocStore
from irkit.data.irds import IrdsSource
from irkit.data.source import Source
from irkit.data.spec import LocalSpec
from irkit.data.topics import load_topics
from irkit.data.variant import VariantSource
from irkit.store import Artifact, Recipe, Store
from irkit.store.digests import DigestCache

# Of the files of an artifact, of what its warnings count, and of how sources are read: count up when any of it changes.
_DOCS = 1
_TOPICS = 3

OWN_NAMES = (*limit.NAMES, synthetic.NAME)


def resolve(spec: str | LocalSpec, *, base: Path, store: Store) -> Source:
    """Find the provider of a collection and check what can be checked without reading the collection.

    Args:
        spec: an id (``beir/scifact/test``, ``bright/pony?queries=gpt4_reason``, ``irkit/limit-small``,
            ``local:<folder>?split=test``) or a mapping of local files.
        base: the folder at which relative paths start.
        store: remembers the digests of local files.

    Raises:
        DataError: for a file or folder that does not exist, an unknown ``irkit/`` id, or impossible parameters.
    """
    digests = DigestCache(store.root / "digests.json")
    if isinstance(spec, LocalSpec):
        return local.LocalSource(spec, base, digests)
    if spec.startswith(local.PREFIX):
        return local.LocalSource(local.local_spec(spec), base, digests)
    name = spec.partition("?")[0]
    if name == synthetic.NAME:
        return synthetic.SyntheticSource(spec)
    if spec in limit.NAMES:
        return limit.LimitSource(spec)
    if spec.startswith("irkit/"):
        raise DataError.of("no such collection", where=spec, hint=nearest(name, OWN_NAMES))
    if spec in beir.NAMES:
        return beir.licensed_source(spec, base, digests)
    return VariantSource(spec, base, digests) if "?" in spec else IrdsSource(spec)


def is_built(spec: str | LocalSpec, store: Store, *, base: Path) -> bool:
    """Whether :func:`open_collection` would find everything in the store. Raises as :func:`resolve` does."""
    topics = store.find(_topics_recipe(resolve(spec, base=base, store=store)))
    return topics is not None and store.find(Recipe("docs", topics.meta["docs"])) is not None


def _topics_recipe(source: Source) -> Recipe:
    policy = source.policy.identity()
    return Recipe("topics", {"format": _TOPICS, "source": dict(source.topics_identity()), "policy": policy})


def open_collection(
    spec: str | LocalSpec, store: Store, *, base: Path, on_progress: OnProgress | None = None
) -> Collection:
    """Open a collection; build it in the store when that has not been done yet.

    What was built opens without network and without ir-datasets. Local files are known by the SHA-256 of their bytes: a changed
    file is another collection.

    Args:
        spec: see :func:`resolve`.
        store: where the documents ("docs") and the queries and judgements ("topics") are kept.
        base: the folder at which relative paths start.
        on_progress: called now and then while documents are read.

    Raises:
        DataError: for a collection that does not exist or cannot be used, naming file and line or id.
        DependencyError: when ir-datasets needs a package that is missing.
        StoreError: when the store cannot be written or is damaged.
    """
    source = resolve(spec, base=base, store=store)
    recipe = _topics_recipe(source)
    topics = store.find(recipe)
    docs = store.find(Recipe("docs", topics.meta["docs"])) if topics else None
    if docs is None:
        docs = _docs(source, store, on_progress)
    docstore, content = DocStore(docs.path), str(docs.meta["content"])
    if (
        topics and topics.meta["content"] != content
    ):  # codes of documents that have since been built anew from other content
        store.remove(topics.path)
        topics = None
    if topics is None:
        topics = store.get(
            recipe, lambda build: build_topics(source, docstore, content, build) | {"docs": docs.recipe}
        )
    queries, qrels = load_topics(topics.path)
    return Collection(
        name=source.name,
        docs=docstore,
        queries=queries,
        qrels=qrels,
        policy=source.policy,
        docs_fingerprint=content,
        fingerprint=str(topics.meta["fingerprint"]),
        warnings={
            kind: (int(number), str(first))
            for artifact in (docs, topics)
            for kind, (number, first) in artifact.meta["warnings"].items()
        },
    )


def _docs(source: Source, store: Store, on_progress: OnProgress | None) -> Artifact:
    recipe = Recipe("docs", {"format": _DOCS, **source.docs_identity()})
    return store.get(recipe, lambda build: build_docs(source.docs(build.folder), build, on_progress))
