"""TREC's own text formats: documents between <DOC> tags, topics between <top> tags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from irkit.core.errors import DataError
from irkit.data.docstore import Document
from irkit.data.reading import lines
from irkit.data.source import Topic, check_id

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_TITLE = re.compile(r"<(TITLE|HEADLINE|HL|TTL)\b[^<>]*>(.*?)</\1>", re.I | re.S)
_TEXT = re.compile(r"<TEXT\b[^<>]*>(.*?)</TEXT>", re.I | re.S)
_DOCNO = re.compile(r"<DOCNO>(.*?)</DOCNO>", re.I | re.S)
_NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^<\n]*)", re.I)
_TOPIC = re.compile(r"<title>\s*(?:Topic:)?\s*([^<]*)", re.I)
_AROUND = (
    "<?",
    "<!",
    "<root",
    "</root",
    "<topics",
    "</topics",
    "<docs",
    "</docs",
)  # what may stand around documents


def trec_documents(path: Path) -> Iterator[tuple[int, Document]]:
    """Yield (line of <DOC>, document): the title of <TITLE>, <HEADLINE>, <HL> or <TTL>; the body of <TEXT>, else all but the title.

    Raises:
        DataError: for a document without end or id, or text between documents.
    """
    for number, block in _blocks(path, "doc"):
        docno = _DOCNO.search(block)
        name = check_id(docno.group(1).strip() if docno else "", "document", f"{path}:{number}")
        title = _TITLE.search(block)
        texts = _TEXT.findall(block)
        body = "\n".join(texts) if texts else _TITLE.sub(" ", _DOCNO.sub(" ", block), count=1)
        yield number, Document(name, _plain(title.group(2)) if title else "", _plain(body))


def trec_topics(path: Path) -> Iterator[tuple[int, Topic]]:
    """Yield (line of <top>, query): its number and title, as title-only runs use it.

    Raises:
        DataError: for a topic without end or number, or text between topics.
    """
    for number, block in _blocks(path, "top"):
        qid, title = _NUMBER.search(block), _TOPIC.search(block)
        name = check_id(qid.group(1).strip() if qid else "", "query", f"{path}:{number}")
        yield number, Topic(name, " ".join(title.group(1).split()) if title else "")


def _plain(markup: str) -> str:
    return " ".join(_TAG.sub(" ", markup).split())


def _blocks(path: Path, tag: str) -> Iterator[tuple[int, str]]:
    """Yield (line of the opening tag, what lies between it and the closing tag)."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    start, block = 0, list[str]()
    for number, line in lines(path):
        text = line.strip()
        opens = text.lower().startswith(opening)
        if opens and start:
            raise DataError.of(
                f"a second {opening} before {closing}",
                where=f"{path}:{number}",
                hint=f"the first is at line {start}",
            )
        if opens:
            start, text = number, text[len(opening) :]
        elif not start:
            if text and not text.lower().startswith(_AROUND):
                raise DataError.of(
                    f"{text[:40]!r} stands outside of {opening} ... {closing}", where=f"{path}:{number}"
                )
            continue
        if closing in text.lower().removesuffix(closing):
            raise DataError.of(
                f"text after {closing} on its line", where=f"{path}:{number}", hint="begin a new line there"
            )
        if text.lower().endswith(closing):
            block.append(text[: -len(closing)])
            yield start, "\n".join(block)
            start, block = 0, []
        else:
            block.append(text)
    if start:
        raise DataError.of(
            f"{opening} without {closing}", where=f"{path}:{start}", hint="the file may be cut short"
        )
