"""Queries that a document's own text gives: titles, and sentences with the rest of their documents."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.api.workspace import Workspace
from irkit.data.docstore import DocStore
from irkit.data.draws import Draws
from irkit.data.spec import LocalSpec
from irkit.data.tasks_views import (
    BODY_WORDS,
    SENTENCE_WORDS,
    body_of,
    cloze,
    cloze_parts,
    cut,
    plain,
    sentences,
    title_parts,
)

LONG = " ".join(f"word{i}" for i in range(BODY_WORDS))


def docs_of(folder: Path, *pairs: tuple[str, str]) -> DocStore:
    (folder / "data" / "qrels").mkdir(parents=True)
    lines = [
        json.dumps({"_id": f"d{i}", "title": title, "text": body}) for i, (title, body) in enumerate(pairs)
    ]
    (folder / "data" / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "data" / "queries.jsonl").write_text('{"_id": "q", "text": "x"}\n', encoding="utf-8")
    (folder / "data" / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq\td0\t1\n", encoding="utf-8"
    )
    return Workspace(folder, folder / "store").open(LocalSpec(path="data", split="test")).docs


def test_titles_ask_for_bodies_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    docs = docs_of(
        tmp_path,
        ("Cats  and dogs", f"{LONG} end"),
        ("", LONG),
        ("Two words", LONG),
        ("Three good words", LONG.rpartition(" ")[0]),
    )
    skipped: Counter[str] = Counter()
    assert list(title_parts(docs, range(4), skipped)) == [("Cats and dogs", 0)]
    assert skipped == {
        "no title": 1,
        "title of fewer than 3 words": 1,
        "body of fewer than 20 words": 1,
    }


@pytest.mark.parametrize(
    ("title", "body", "wanted"),
    [
        ("On Cats", "ON CATS. They sleep.", "They sleep."),
        ("On Cats", "On catsuits. They sell.", "On catsuits. They sell."),
        ("On Cats", "They sleep, on cats", "They sleep, on cats"),
        ("", " They sleep. ", "They sleep."),
    ],
)
def test_a_body_that_begins_with_its_title_loses_it(
    tmp_path: Path, title: str, body: str, wanted: str
) -> None:
    assert body_of(docs_of(tmp_path, (title, body)), 0) == wanted


def test_copies_are_alike_but_for_case_and_spaces() -> None:
    assert plain(" A  b\n") == plain("a B") != plain("a b c")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One is. Two are! Three?", ["One is.", "Two are!", "Three?"]),
        ('He said "yes." She left.', ['He said "yes."', "She left."]),
        ("Some, e.g. this one. Next", ["Some, e.g. this one.", "Next"]),
        ("It rose by 3.5 % (see Fig). 4 more.", ["It rose by 3.5 % (see Fig).", "4 more."]),
        ("A heading\n\nThe text", ["A heading", "The text"]),
        ("  ", []),
    ],
)
def test_sentences(text: str, wanted: list[str]) -> None:
    assert [text[start:stop] for start, stop in sentences(text)] == wanted


@given(st.text(alphabet="ab A.!?\n\"')", max_size=200))
def test_sentences_hold_all_words_once(text: str) -> None:
    spans = sentences(text)
    assert " ".join(text[start:stop] for start, stop in spans).split() == text.split()
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


WORDS = st.sampled_from(["cat", "Dog", "moon.", "Sun!", "e.g.", "3.5", "why?", "\n\n", "tree"])


@settings(max_examples=200)
@given(st.lists(WORDS, max_size=80), st.integers(0, 1000))
def test_a_sentence_and_the_rest_are_the_text(words: list[str], seed: int) -> None:
    body = " ".join(words).strip()
    found = cloze(body, Draws(str(seed)))
    fit = [body[a:b] for a, b in sentences(body)]
    total = len(body.split())
    fit = [each for each in fit if SENTENCE_WORDS <= len(each.split()) <= total - BODY_WORDS]
    assert (found is None) == (not fit)
    if found is None:
        return
    query, rest = found
    assert query in fit and query in body
    if rest != body:
        assert Counter(query.split()) + Counter(rest.split()) == Counter(body.split())
    assert len(rest.split()) >= BODY_WORDS
    assert found == cloze(body, Draws(str(seed)))


def test_a_tenth_of_the_sentences_stays() -> None:
    body = f"This sentence has five words. {LONG}. Another one of those is here."
    kept = sum(cloze(body, Draws(f"draw {i}"))[1] == body for i in range(2000))  # type: ignore[index]
    assert 140 <= kept <= 260, "200, with a standard deviation of 13"


def test_documents_of_one_sentence_give_none(tmp_path: Path) -> None:
    docs = docs_of(tmp_path, ("t", f"This sentence has five words. {LONG.capitalize()}"), ("t", LONG))
    skipped: Counter[str] = Counter()
    (part,) = cloze_parts(docs, [0, 1], skipped, 3)
    assert (part.query, part.doc) == ("This sentence has five words.", 0)
    assert skipped == {"no sentence with 20 other words": 1}
    assert list(cloze_parts(docs, [0], skipped, 3)) == [part], "the same seed, the same sentence"


def test_copies_lose_the_same_sentence() -> None:
    body = f"This sentence has five words. {LONG}. Another one of those is here. And so it goes on."
    found = {seed: cut(body, seed) for seed in range(20)}
    for seed, each in found.items():
        other = cut(body.replace(" A", "  A"), seed)
        assert each is not None and other is not None and each[0] == other[0]
    assert len({each[0] for each in found.values() if each}) > 1, "another seed, another sentence"
