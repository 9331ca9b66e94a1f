"""A Lucene index in which internal order is trec_eval's order.

Lucene breaks ties of score by its internal document number, ascending. So the documents are added in
descending order of their codes: the internal number of document ``code`` is ``N - 1 - code``, and what Lucene
returns is exact and canonical, also at the cutoff, with no second sort."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from irkit.core.errors import DataError
from irkit.core.text import well_formed
from irkit.data.docstore import DocStore
from irkit.models.lucene.analysis import AnalyzerName, analyzer
from irkit.models.lucene.java import anserini_version
from irkit.models.lucene.jvm import java_class, java_list, using_java
from irkit.store import Build, Recipe

FOLDER = "lucene"
"""The folder of the index in the artifact."""
FIELD, ID = "contents", "id"
"""Anserini's names of the fields: its own searchers open the index as well."""
LONGEST_ID = 32766
"""The largest number of bytes of a term in Lucene."""

_BUFFER_MB = 64.0
_BATCH = 500


def recipe(docs_fingerprint: str, analyzer: AnalyzerName, *, docvectors: bool = False) -> Recipe:
    """Return the recipe of an index over the "title body" of documents.

    Args:
        docs_fingerprint: of the documents.
        analyzer: how texts are cut into terms.
        docvectors: keep every document's terms and counts, which pseudo-relevance feedback reads.
    """
    spec = {
        "docs": docs_fingerprint,
        "analyzer": analyzer,
        "docvectors": docvectors,
        "anserini": anserini_version(),
        "layout": 1,
    }
    return Recipe("lucene", spec)


def build_index(
    build: Build,
    docs: DocStore,
    how: AnalyzerName,
    *,
    docvectors: bool = False,
    shard: int = 20_000,
    advance: Callable[[int], None] = lambda _n: None,
) -> Mapping[str, Any]:
    """Write the index in shards that an interrupted build finds again, then merge them into one segment.

    Args:
        build: where to write.
        docs: the documents; one without text keeps its place.
        how: the analyser.
        docvectors: see :func:`recipe`.
        shard: documents in a shard; it cannot change any result.
        advance: told how many more documents are done, those in shards found included.

    Returns:
        The manifest's meta.

    Raises:
        StoreError: when the index cannot be written.
        DataError: for a document id longer than Lucene can hold.
    """

    def write(path: Path, codes: range) -> None:
        writer = _writer(path, how, java_class("org.apache.lucene.index.NoMergePolicy").INSTANCE)
        with _closing(writer):
            row = _Row(docvectors)
            for start in range(0, len(codes), _BATCH):
                some = codes[start : start + _BATCH]
                for docno, text in zip(docs.docnos(some), docs.texts(some), strict=True):
                    writer.addDocument(row.filled(docno, text))
                advance(len(some))

    with using_java(str(build.folder)):
        shards = []
        for last in range(len(docs) - 1, -1, -shard):
            codes = range(last, max(last - shard, -1), -1)
            name = f"{codes[0]}-{codes[-1]}"
            if build.has_shard(name):
                advance(len(codes))
            shards.append(build.shard(name, partial(write, codes=codes)))
        _merge(build.path(FOLDER), shards, how)
        version = java_class("org.apache.lucene.util.Version").LATEST.toString()
    return {"documents": len(docs), "lucene": str(version)}


def directory(path: Path) -> Any:
    """Return Lucene's Directory of a folder, without a lock file: the store's lock keeps others out."""
    place = java_class("java.nio.file.Paths").get(str(path))
    return java_class("org.apache.lucene.store.FSDirectory").open(
        place, java_class("org.apache.lucene.store.NoLockFactory").INSTANCE
    )


# -- inside ------------------------------------------------------------------------------------------


def _writer(path: Path, how: AnalyzerName, policy: Any) -> Any:
    config = java_class("org.apache.lucene.index.IndexWriterConfig")(analyzer(how))
    config.setRAMBufferSizeMB(_BUFFER_MB)
    config.setMergePolicy(policy)
    config.setMergeScheduler(java_class("org.apache.lucene.index.SerialMergeScheduler")())
    return java_class("org.apache.lucene.index.IndexWriter")(directory(path), config)


@contextmanager
def _closing(writer: Any) -> Iterator[None]:
    """Commit what was written, or, after an error, nothing."""
    try:
        yield
    except BaseException:
        writer.rollback()
        raise
    writer.close()


class _Row:
    """One Lucene document, filled again and again: making new ones costs more than indexing."""

    def __init__(self, docvectors: bool) -> None:
        field = java_class("org.apache.lucene.document.Field")
        self._bytes = java_class("org.apache.lucene.util.BytesRef")
        kind = java_class("org.apache.lucene.document.FieldType")()
        kind.setIndexOptions(java_class("org.apache.lucene.index.IndexOptions").DOCS_AND_FREQS)
        kind.setStoreTermVectors(docvectors)
        kind.freeze()
        yes = java_class("org.apache.lucene.document.Field$Store").YES
        self._id = java_class("org.apache.lucene.document.StringField")(
            ID,
            "",
            yes,
            signature="(Ljava/lang/String;Ljava/lang/String;Lorg/apache/lucene/document/Field$Store;)V",
        )
        self._value = java_class("org.apache.lucene.document.BinaryDocValuesField")(ID, self._bytes(b""))
        self._text = field(
            FIELD,
            "",
            kind,
            signature="(Ljava/lang/String;Ljava/lang/CharSequence;Lorg/apache/lucene/index/IndexableFieldType;)V",
        )
        self._document = java_class("org.apache.lucene.document.Document")()
        for each in (self._id, self._value, self._text):
            self._document.add(each)

    def filled(self, docno: str, text: str) -> Any:
        docno = well_formed(docno)
        raw = docno.encode("utf-8")
        if len(raw) > LONGEST_ID:
            hint = "give the document a shorter id"
            raise DataError.of(
                f"the id has {len(raw)} bytes, Lucene can hold {LONGEST_ID}",
                where=f"{docno[:60]}...",
                hint=hint,
            )
        self._id.setStringValue(docno)
        self._value.setBytesValue(self._bytes(raw))
        self._text.setStringValue(well_formed(text))
        return self._document


def _merge(path: Path, shards: list[Path], how: AnalyzerName) -> None:
    """Merge the segments of all shards, in their order, into one: no search can tell how the work was cut."""
    readers = [
        java_class("org.apache.lucene.index.DirectoryReader").open(directory(shard)) for shard in shards
    ]
    segments = [leaf.reader() for reader in readers for leaf in _items(reader.leaves())]
    writer = _writer(path, how, java_class("org.apache.lucene.index.LogDocMergePolicy")())
    with _closing(writer):
        if segments:
            _add_indexes().invokeWithArguments(java_list([writer, *segments]))
    for reader in readers:
        reader.close()


def _add_indexes() -> Any:
    """Return IndexWriter.addIndexes(CodecReader...) as a method handle: pyjnius would take addIndexes(Directory...)."""
    named = java_class("java.lang.Class").forName
    kind = java_class("java.lang.invoke.MethodType").methodType(
        java_class("java.lang.Long").TYPE, named("[Lorg.apache.lucene.index.CodecReader;")
    )
    public = java_class("java.lang.invoke.MethodHandles").publicLookup()
    return public.findVirtual(named("org.apache.lucene.index.IndexWriter"), "addIndexes", kind)


def _items(items: Any) -> list[Any]:
    return [items.get(i) for i in range(items.size())]
