"""Fine-grained tasks: what a query is made of, what is relevant to it, and that nothing else answers it as well."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irkit.core.errors import ConfigError, DataError
from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.data.salient import WordCounts, stop_words, words_of
from irkit.data.spec import LocalSpec
from irkit.data.task_files import write_task
from irkit.data.tasks import Task, TaskOptions, gold_passages, make_queries
from irkit.store import Store

Opened = Callable[..., Collection]

RARE = [
    "quark",
    "gluon",
    "lepton",
    "boson",
    "meson",
    "hadron",
    "baryon",
    "muon",
    "pion",
    "kaon",
    "neutrino",
    "photon",
    "graviton",
    "axion",
]
COMMON = ["cell", "study", "result", "method", "group"]


def text(seed: int, length: int = 40) -> str:
    """Words of a document: common ones, and a rare one every fourth word."""
    random = np.random.Generator(np.random.PCG64(seed))
    return " ".join(
        f"{random.choice(RARE)}{seed}" if i % 4 == 0 else str(random.choice(COMMON)) for i in range(length)
    )


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def make(docs: dict[str, tuple[str, str]], relevant: dict[str, list[str]]) -> Collection:
        folder = tmp_path / f"c{len(list(tmp_path.iterdir()))}"
        (folder / "qrels").mkdir(parents=True)
        lines = [json.dumps({"_id": d, "title": t, "text": b}) for d, (t, b) in docs.items()]
        (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
        queries = [json.dumps({"_id": q, "text": f"about {q}"}) for q in relevant]
        (folder / "queries.jsonl").write_text("\n".join(queries) + "\n")
        rows = [f"{q}\t{d}\t1" for q, found in relevant.items() for d in found]
        (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n")
        return open_collection(
            LocalSpec(path=str(folder), split="train"), Store(tmp_path / "store"), base=tmp_path
        )

    return make


@pytest.fixture
def ten(opened: Opened) -> Collection:
    docs = {f"d{i}": (f"Title {i}", text(i)) for i in range(10)}
    return opened(docs, {"q1": ["d1", "d2", "d3"], "q2": ["d3", "d4"]})


def test_salience_is_tf_idf_over_the_collection() -> None:
    counts = WordCounts(["alpha beta the", "alpha gamma", "alpha delta delta 2024 it's"])
    tf, df, n = {"alpha": 1, "delta": 2}, {"alpha": 3, "delta": 1}, 3
    worth = {w: (1 + log(tf[w])) * log((n + 1) / (df[w] + 0.5)) for w in tf}
    assert worth["delta"] > worth["alpha"] > 0
    assert counts.salient("Alpha the delta Delta 2024 at") == ["delta", "Alpha"]


def test_the_terms_are_the_most_salient_in_the_order_of_the_passage(ten: Collection) -> None:
    counts = WordCounts(ten.docs)
    for query in make_queries(ten, TaskOptions("keyword")).queries:
        body = ten.docs.body(query.doc)
        terms = query.text.split()
        assert 3 <= len(terms) <= 8
        assert set(terms) == set(counts.salient(body)[: len(terms)])
        places = [words_of(body).index(term) for term in terms]
        assert places == sorted(places)
        assert not stop_words() & set(terms)


def test_parts_are_of_the_passage_and_of_each_length(ten: Collection) -> None:
    made = make_queries(ten, TaskOptions("passage-part", lengths=(16, 32, 64)))
    lengths = Counter(query.words for query in made.queries)
    assert lengths == {16: 4, 32: 4} and made.skipped == {"passage too short": 4}  # they have 40 words
    for query in made.queries:
        assert f" {query.text} " in f" {ten.docs.body(query.doc)} "
        assert query.qid.startswith(f"part{query.words}-")


def test_passages_are_the_relevant_documents_unless_all_are_asked_for(ten: Collection) -> None:
    sources = {ten.docs.docno(code) for code in gold_passages(ten, TaskOptions("keyword"))}
    assert sources == {"d1", "d2", "d3", "d4"}
    assert len(gold_passages(ten, TaskOptions("keyword", all_docs=True))) == 10
    assert len(make_queries(ten, TaskOptions("keyword", queries=2)).queries) == 2


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(task=st.sampled_from(["keyword", "passage-part"]), seed=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_task(ten: Collection, task: Task, seed: int) -> None:
    options = TaskOptions(task, seed=seed, lengths=(16,), queries=3)
    assert make_queries(ten, options) == make_queries(ten, options)


def test_another_seed_gives_another_task(ten: Collection) -> None:
    first, second = (make_queries(ten, TaskOptions("passage-part", seed=s, lengths=(16,))) for s in (0, 1))
    assert {q.text for q in first.queries} != {q.text for q in second.queries}


def test_a_copy_of_the_document_is_relevant_too(opened: Opened) -> None:
    docs = {"d1": ("A", text(1)), "d2": ("a", text(1).upper()), "d3": ("A", text(3))}
    collection = opened(docs, {"q": ["d1"]})
    for task in ("keyword", "passage-part"):
        made = make_queries(collection, TaskOptions(task, lengths=(16,)))  # type: ignore[arg-type]
        assert [(q.doc, q.copies) for q in made.queries] == [(0, (1,))]


def test_a_part_that_stands_in_another_document_is_drawn_anew(opened: Opened) -> None:
    shared, own = text(1, 18), text(2, 60)
    collection = opened({"d1": ("", f"{shared} {own}"), "d2": ("", f"x {shared} y")}, {"q": ["d1"]})
    found = set()
    for seed in range(20):
        made = make_queries(collection, TaskOptions("passage-part", seed=seed, lengths=(16,)))
        found |= {query.text for query in made.queries}
    assert found and not any(part in shared for part in found)


def test_a_passage_all_of_whose_parts_stand_in_another_document_gives_none(opened: Opened) -> None:
    shared = text(1, 18)
    docs = {"d1": ("", shared), "d2": ("", f"x {shared.upper()} y"), "d3": ("", text(3))}
    made = make_queries(
        opened(docs, {"q": ["d1", "d3"]}), TaskOptions("passage-part", lengths=(16,), queries=2)
    )
    assert [query.doc for query in made.queries] == [2]
    assert made.skipped == {"another document answers it as well": 1}


def test_words_are_the_same_whatever_their_case_also_where_that_adds_letters(opened: Opened) -> None:
    docs = {"d1": ("", "İstanbul gluon lepton"), "d2": ("", "gluon lepton İstanbul x"), "d3": ("", text(5))}
    made = make_queries(opened(docs, {"q": ["d1", "d3"]}), TaskOptions("keyword"))
    assert [query.doc for query in made.queries] == [2]


def test_nothing_is_left_of_a_folder_that_cannot_be_written(
    ten: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_facts: object) -> str:
        raise OSError(28, "No space left on device")

    options = TaskOptions("keyword")
    monkeypatch.setattr("irkit.data.task_files._readme", full)
    with pytest.raises(DataError, match="No space left"):
        write_task(ten, options, make_queries(ten, options), tmp_path / "new", "test")
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


def test_terms_that_another_document_holds_are_added_to(opened: Opened) -> None:
    docs = {"d1": ("", "quark gluon lepton boson meson"), "d2": ("", "lepton gluon quark x")}
    docs |= {f"e{i}": ("", "cell boson meson") for i in range(5)}
    collection = opened(docs, {"q": ["d1"]})
    for seed in range(10):
        (query,) = make_queries(collection, TaskOptions("keyword", seed=seed, terms=(3, 5))).queries
        assert len(query.text.split()) > 3  # the three rarest stand in d2 too


def test_what_cannot_be_told_apart_is_left_out_and_counted(opened: Opened) -> None:
    docs = {"d1": ("", "quark gluon lepton"), "d2": ("", "quark gluon lepton meson"), "d3": ("", text(5))}
    made = make_queries(opened(docs, {"q": ["d1", "d3"]}), TaskOptions("keyword"))
    assert [query.doc for query in made.queries] == [2]
    assert made.skipped == {"another document answers it as well": 1}


def test_a_task_is_a_collection_of_its_own(ten: Collection, tmp_path: Path) -> None:
    options = TaskOptions("keyword", seed=7)
    made = make_queries(ten, options)
    write_task(ten, options, made, tmp_path / "task", "train")
    spec = LocalSpec(path=str(tmp_path / "task"), split="train")
    task = open_collection(spec, Store(tmp_path / "store"), base=tmp_path)
    assert task.docs_fingerprint == ten.docs_fingerprint  # so indexes are shared
    assert list(task.queries.text) == [query.text for query in made.queries]
    for row, query in enumerate(made.queries):
        assert task.qrels[row][0].tolist() == [query.doc]
    facts = json.loads((tmp_path / "task" / "task.json").read_text())
    assert facts["seed"] == 7 and facts["from"]["fingerprint"] == ten.fingerprint
    assert (tmp_path / "task" / "README.md").is_file()
    write_task(ten, options, made, tmp_path / "again", "train")
    for path in (tmp_path / "task").rglob("*"):
        if path.is_file():
            same = tmp_path / "again" / path.relative_to(tmp_path / "task")
            assert same.read_bytes() == path.read_bytes()


def test_a_folder_is_not_written_over(ten: Collection, tmp_path: Path) -> None:
    options = TaskOptions("keyword")
    made = make_queries(ten, options)
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="already"):
        write_task(ten, options, made, tmp_path / "there", "train")
    with pytest.raises(DataError, match="name of a file"):
        write_task(ten, options, made, tmp_path / "new", "a/b")
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name or path.name == "new"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": (15,)}, "16 to 256 words, not 15"),
        ({"lengths": (16, 257)}, "not 16, 257"),
        ({"lengths": ()}, "not none"),
        ({"lengths": (16, 16)}, "twice"),
        ({"terms": (4, 3)}, "no range"),
        ({"queries": 0}, "at least one"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TaskOptions("passage-part", **options)  # type: ignore[arg-type]


def test_a_collection_that_gives_nothing_is_refused(opened: Opened) -> None:
    short = opened({"d1": ("", "two words")}, {"q": ["d1"]})
    with pytest.raises(DataError, match="no passage gives a query: 1 x passage too short"):
        make_queries(short, TaskOptions("keyword"))
    folder = opened({"d1": ("", text(1))}, {"q": ["d1"]})
    none = Collection(
        folder.name, folder.docs, folder.queries, folder.qrels.take([]), folder.policy, "x", "y"
    )
    with pytest.raises(DataError, match="no document is relevant"):
        make_queries(none, TaskOptions("keyword"))
