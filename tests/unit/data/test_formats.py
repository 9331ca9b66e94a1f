from __future__ import annotations

from pathlib import Path

import pytest

from irkit.core.errors import DataError
from irkit.data import formats
from irkit.data.docstore import Document
from irkit.data.source import Judgement, Topic

TREC_DOCS = """<DOC>
<DOCNO> FT-1 </DOCNO>
<HEADLINE>Oil
prices</HEADLINE>
<TEXT>
<P>Up again, 3 < 4.</P>
</TEXT>
<TEXT>More.</TEXT>
</DOC>

<doc><docno>FT-2</docno> no <b>sections</b> here</doc>
"""

TREC_TOPICS = """<top>
<num> Number: 401
<title> foreign minorities,
 Germany
<desc> Description:
What language?
</top>
<top>
<num>402</num><title>Topic: behavioral genetics</title></top>
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    return path


def test_documents_of_three_formats(tmp_path: Path) -> None:
    expected = [Document("a", "T", "x y"), Document("b", "", "z")]
    for text in (
        '{"_id": "a", "title": "T", "text": "x y"}\n\n{"id": "b", "contents": "z"}\n',
        "a\tT\tx y\nb\t\tz\n",
        "<DOC>\n<DOCNO>a</DOCNO><TITLE>T</TITLE><TEXT>x\ny</TEXT>\n</DOC>\n<DOC>\n<DOCNO>b</DOCNO>z\n</DOC>\n",
    ):
        assert [document for _, document in formats.documents(write(tmp_path, text)).rows()] == expected
    assert [d for _, d in formats.documents(write(tmp_path, "a\tx y\n")).rows()] == [Document("a", "", "x y")]


def test_trec_documents_have_titles_sections_and_places(tmp_path: Path) -> None:
    rows = list(formats.documents(write(tmp_path, TREC_DOCS)).rows())
    assert rows == [
        (1, Document("FT-1", "Oil prices", "Up again, 3 < 4. More.")),
        (11, Document("FT-2", "", "no sections here")),
    ]


def test_queries_of_three_formats(tmp_path: Path) -> None:
    for text in ('{"_id": "1", "text": "a b"}\n{"qid": 2, "query": "c"}\n', "1\ta b\n2\tc\n"):
        assert [t for _, t in formats.topics(write(tmp_path, text)).rows()] == [
            Topic("1", "a b"),
            Topic("2", "c"),
        ]
    assert list(formats.topics(write(tmp_path, TREC_TOPICS)).rows()) == [
        (1, Topic("401", "foreign minorities, Germany")),
        (8, Topic("402", "behavioral genetics")),
    ]


def test_judgements_of_every_layout(tmp_path: Path) -> None:
    expected = [Judgement("q", "d1", 2), Judgement("q", "d2", -1)]
    for text in (
        "query-id\tcorpus-id\tscore\nq\td1\t2\nq\td2\t-1\n",
        "q\td1\t2\r\nq\td2\t-1\r\n",
        "q 0 d1 2\nq  Q0  d2  -1\n",
        "q\t0\td1\t2\nq\t0\td2\t-1\n",
        '{"query-id": "q", "corpus-id": "d1", "score": 2}\n{"query-id": "q", "corpus-id": "d2", "score": -1}\n',
    ):
        assert [j for _, j in formats.judgements(write(tmp_path, text)).rows()] == expected
    table = formats.judgements(write(tmp_path, "query-id\tcorpus-id\tscore\nq 1\tAda Lovelace\t1\n"))
    assert list(table.rows()) == [(2, Judgement("q 1", "Ada Lovelace", 1))]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("<DOC>\n<DOCNO>a</DOCNO>\n", 1, "<doc> without </doc>"),
        ("<DOC>\n<DOCNO>a</DOCNO>\n<DOC>\n</DOC>", 3, "a second <doc>"),
        ("<DOC>\n<TEXT>a</TEXT>\n</DOC>", 1, "the document has no id"),
        ("<DOC>\n<DOCNO>a</DOCNO>\n</DOC>\nstray\n", 4, "'stray' stands outside"),
        ("<DOC><DOCNO>a</DOCNO></DOC><DOC><DOCNO>b</DOCNO></DOC>\n", 1, "text after </doc>"),
    ],
)
def test_broken_trec_markup(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as raised:
        list(formats.documents(path).rows())
    assert raised.value.problems[0].where == f"{path}:{line}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        formats.documents(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        formats.documents(tmp_path)
