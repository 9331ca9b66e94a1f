"""Many hits cross from Java to Python as one array of bytes.

Reading a hit's two fields through JNI takes longer than Lucene needs to find it. So the copying happens in
Java, in a function put together from Java's own method handles (``java.lang.invoke``): no compiled class of
ours has to be shipped. In Java it would read::

    Object encode(ScoreDoc[] hits) {
        ByteBuffer buffer = ByteBuffer.allocate(Math.multiplyExact(hits.length, 8));
        for (int i = 0; i < hits.length; i++)
            buffer = buffer.putFloat(hits[i].score).putInt(hits[i].doc);
        return buffer.array();
    }
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.models.lucene.jvm import java_class

HIT = np.dtype([("score", ">f4"), ("doc", ">i4")])
"""A hit as ``encode`` writes it: Java's byte order."""


def decode(results: Sequence[bytes]) -> NDArray[Any]:
    """Return the hits (of dtype ``HIT``) of the results, one after the other."""
    return np.frombuffer(b"".join(results), dtype=HIT)


class Search:
    """A function in Java from a query, or from a text, to the bytes of its hits.

    Args:
        searcher: the IndexSearcher.
        generator: Anserini's QueryGenerator that makes queries of texts.
        analyzer: how it cuts them.
        field: the field they are about.
    """

    def __init__(self, searcher: Any, generator: Any, analyzer: Any, field: str) -> None:
        h, t = java_class("java.lang.invoke.MethodHandles"), _types()
        public = h.publicLookup()
        search = public.findVirtual(t.Searcher, "search", t.method(t.TopDocs, t.Query, t.int)).bindTo(
            searcher
        )
        build = public.findVirtual(
            t.Generator, "buildQuery", t.method(t.Query, t.String, t.Analyzer, t.String)
        ).bindTo(generator)
        build = h.insertArguments(h.insertArguments(build, 1, analyzer), 0, field)
        self._of_query = h.filterReturnValue(search, _encode())  # (Query, int) -> byte[]
        self._of_text = h.filterArguments(self._of_query, 0, build)  # (String, int) -> byte[]

    def of_texts(self, depth: int) -> Any:
        """Return the method handle (String) -> byte[]: from a text to its best ``depth`` hits."""
        return _bound(self._of_text, depth)

    def of_queries(self, depth: int) -> Any:
        """Return the method handle (Query) -> byte[]: from a Lucene query to its best ``depth`` hits."""
        return _bound(self._of_query, depth)


def _bound(handle: Any, depth: int) -> Any:
    number = java_class("java.lang.Integer")(depth)
    return java_class("java.lang.invoke.MethodHandles").insertArguments(handle, 1, number)


class _types:  # noqa: N801
    """The Java types that the handles are made from."""

    def __init__(self) -> None:
        named = java_class("java.lang.Class").forName
        self.int, self.float = java_class("java.lang.Integer").TYPE, java_class("java.lang.Float").TYPE
        self.Object, self.String, self.Math = (
            named(f"java.lang.{name}") for name in ("Object", "String", "Math")
        )
        self.Buffer, self.Bytes = named("java.nio.ByteBuffer"), named("[B")
        self.Searcher, self.Query, self.TopDocs, self.Hit = (
            named(f"org.apache.lucene.search.{name}")
            for name in ("IndexSearcher", "Query", "TopDocs", "ScoreDoc")
        )
        self.Hits = named("[Lorg.apache.lucene.search.ScoreDoc;")
        self.Analyzer = named("org.apache.lucene.analysis.Analyzer")
        self.Generator = named("io.anserini.search.query.QueryGenerator")

    @staticmethod
    def method(result: Any, *parameters: Any) -> Any:
        """Return the MethodType with this result and these parameters."""
        make = java_class("java.lang.invoke.MethodType").methodType
        return make(result, list(parameters)) if parameters else make(result)


@cache
def _encode() -> Any:
    """Return the handle (TopDocs) -> Object of the function that the module's text shows."""
    h, t = java_class("java.lang.invoke.MethodHandles"), _types()
    public = h.publicLookup()

    def put(name: str, field: str, kind: Any) -> Any:  # (buffer, hit) -> buffer
        return h.filterArguments(
            public.findVirtual(t.Buffer, name, t.method(t.Buffer, kind)),
            1,
            public.findGetter(t.Hit, field, kind),
        )

    both = h.collectArguments(
        put("putInt", "doc", t.int), 0, put("putFloat", "score", t.float)
    )  # (buffer, hit, hit)
    both = h.permuteArguments(both, t.method(t.Buffer, t.Buffer, t.Hit), 0, 1, 1)
    body = h.collectArguments(both, 1, h.arrayElementGetter(t.Hits))  # (buffer, hits, i)
    body = h.permuteArguments(body, t.method(t.Buffer, t.Buffer, t.int, t.Hits), 0, 2, 1)
    times = public.findStatic(t.Math, "multiplyExact", t.method(t.int, t.int, t.int))
    size = h.filterReturnValue(
        h.arrayLength(t.Hits), h.insertArguments(times, 1, java_class("java.lang.Integer")(HIT.itemsize))
    )
    allocated = h.filterReturnValue(size, public.findStatic(t.Buffer, "allocate", t.method(t.Buffer, t.int)))
    filled = h.countedLoop(h.arrayLength(t.Hits), allocated, body)
    array = public.findVirtual(t.Buffer, "array", t.method(t.Bytes)).asType(t.method(t.Object, t.Buffer))
    return h.filterArguments(
        h.filterReturnValue(filled, array), 0, public.findGetter(t.TopDocs, "scoreDocs", t.Hits)
    )
