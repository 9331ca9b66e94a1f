"""How texts are cut into terms: the analysers of Anserini and Lucene, by name."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from irkit.core.text import well_formed
from irkit.models.lucene.jvm import java_class

AnalyzerName: TypeAlias = Literal[
    "porter", "krovetz", "snowball", "none", "whitespace",
    "ar", "bn", "da", "de", "es", "fa", "fi", "fr", "hi", "hu", "id", "it", "ja", "ko",
    "nl", "no", "pl", "pt", "ru", "sv", "te", "tr", "uk", "zh",
]  # fmt: skip
"""``porter`` (Anserini's default), ``krovetz``, ``snowball`` and ``none`` cut English by the Unicode standard,
lower it, drop possessives and Lucene's 33 stop words, and differ in the stemmer. ``whitespace`` takes what stands
between white space as it is. The others are Lucene's analysers for the language of that ISO 639 code, as Anserini
chooses them."""


def analyzer(name: AnalyzerName) -> Any:
    """Return Lucene's analyser of this name."""
    english = java_class("io.anserini.analysis.DefaultEnglishAnalyzer")
    match name:
        case "porter" | "krovetz":
            return english.newStemmingInstance(name)
        case "none":
            return english.newNonStemmingInstance()
        case "whitespace":
            return java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")()
        case "snowball":
            return _snowball()
    return java_class("io.anserini.analysis.AnalyzerMap").getLanguageSpecificAnalyzer(name)


def analyze(by: Any, text: str) -> list[str]:
    """Return the terms into which a Lucene analyser cuts the text, in their order."""
    terms = java_class("io.anserini.analysis.AnalyzerUtils").analyze(by, well_formed(text))
    return [terms.get(i) for i in range(terms.size())]


def _snowball() -> Any:
    builder = java_class("org.apache.lucene.analysis.custom.CustomAnalyzer").builder()

    def options(**values: str) -> Any:
        result = java_class("java.util.HashMap")()
        for key, value in values.items():
            result.put(key, value)
        return result

    result = builder.withTokenizer("standard", options())
    for name, values in (
        ("englishPossessive", {}),
        ("lowercase", {}),
        ("stop", {}),
        ("snowballPorter", {"language": "English"}),
    ):
        result = result.addTokenFilter(name, options(**values))
    return result.build()
