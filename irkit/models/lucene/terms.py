"""The terms of many texts: cut in Java by several threads, and taken over one text at a time.

In Java the function would read::

    byte[] terms(String text) {
        return String.join("\\n", AnalyzerUtils.analyze(analyzer, text)).getBytes(UTF_8);
    }

As in ``hits.py`` it is put together from method handles. No analyser here writes a term with a line break in it:
every tokenizer ends a term there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from irkit.core.text import well_formed
from irkit.models.lucene.analysis import AnalyzerName, analyzer
from irkit.models.lucene.jvm import java_class, spread, using_java


class TermCutter:
    """Cuts texts into terms.

    Args:
        how: the analyser.
        where: what errors are about.
    """

    def __init__(self, how: AnalyzerName, where: str) -> None:
        self._where = where
        with using_java(where):
            self._function = _function(analyzer(how))

    def joined(self, texts: Sequence[str], *, threads: int = 1) -> list[str]:
        """Return each text's terms in their order, each ended by a line break: "" for a text without any."""
        with using_java(self._where):
            found = spread(self._function, [well_formed(text) for text in texts], threads)
        return [each.decode("utf-8") + "\n" if each else "" for each in found]

    def terms(self, texts: Sequence[str], *, threads: int = 1) -> list[list[str]]:
        """Return each text's terms, in their order."""
        return [each.split("\n")[:-1] for each in self.joined(texts, threads=threads)]


def _function(by: Any) -> Any:
    """Return the handle (String) -> byte[] of the function that the module's text shows."""
    h, method = (
        java_class("java.lang.invoke.MethodHandles"),
        java_class("java.lang.invoke.MethodType").methodType,
    )
    named, public = java_class("java.lang.Class").forName, h.publicLookup()
    string, items = named("java.lang.String"), named("java.util.List")
    charset = named("java.nio.charset.Charset")
    analyze = public.findStatic(
        named("io.anserini.analysis.AnalyzerUtils"),
        "analyze",
        method(items, [named("org.apache.lucene.analysis.Analyzer"), string]),
    )
    join = public.findStatic(
        string,
        "join",
        method(string, [named("java.lang.CharSequence"), named("java.lang.Iterable")]),
    )
    encode = public.findVirtual(string, "getBytes", method(named("[B"), [charset]))
    utf8 = java_class("java.nio.charset.Charset").forName("UTF-8")
    cut = h.insertArguments(analyze, 0, by)
    joined = h.insertArguments(join, 0, "\n").asType(method(string, [items]))
    bytes_of = h.insertArguments(encode, 1, utf8)
    return h.filterReturnValue(h.filterReturnValue(cut, joined), bytes_of)
