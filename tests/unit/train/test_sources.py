"""Made queries in a recipe: what their documents are, what is no negative of theirs, and which written ones stay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import toys

from irkit.api.workspace import Workspace
from irkit.config.yaml import Located, parse_yaml
from irkit.core.errors import ConfigError, DataError
from irkit.models.writers.writer import Job, Prompt, Sampling, Text
from irkit.stages.writing import WriterOptions
from irkit.train.examples import Examples
from irkit.train.prepare import prepare
from irkit.train.recipe import Recipe, read_recipe
from irkit.train.run import stored
from irkit.train.sources.written import cleaned, prompt

DATA = {"path": "data", "split": "test", "name": "data"}
TOPICS = ["cats", "dogs", "stars", "rivers", "stones", "trees"]


def body(topic: str) -> str:
    words = " ".join(f"{topic}{i}" for i in range(12))
    return (
        f"All {words} are here. Many people like {topic} for their {words}. Nobody knows why {topic} are so."
    )


def recipe(*sources: Any, **more: Any) -> Recipe:
    mined = {"pipeline": ["toy"], "keep": 8}
    data = {"name": "mine", "kind": "adapter", "data": list(sources), "negatives": mined, **more}
    return read_recipe(Located({"training": {"group": 1}, **data}, "recipe"))


@pytest.fixture
def workspace(tmp_path: Path, toy_stages: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Eight documents with titles: d6 is d0 under another title, d7 is too short. The queries ask for d0 and d1."""
    monkeypatch.chdir(tmp_path)
    rows = [{"_id": f"d{i}", "title": f"all about {t}", "text": body(t)} for i, t in enumerate(TOPICS)]
    rows.append({"_id": "d6", "title": "also all about them", "text": body("cats").upper()})
    rows.append({"_id": "d7", "title": "all about nothing", "text": "about nothing"})
    folder = Path("data")
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    queries = [{"_id": "q0", "text": "about cats"}, {"_id": "q1", "text": "about dogs"}]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td1\t2\n")
    return Workspace(tmp_path, tmp_path / "indexes")


def texts(examples: Examples, numbers: Sequence[int]) -> list[str]:
    return [examples.documents[number] for number in numbers]


def test_titles_ask_for_bodies_among_bodies(workspace: Workspace) -> None:
    examples = prepare(recipe({"collection": DATA, "task": "title"}), workspace)
    documents = [text.casefold() for text in examples.documents]  # a copy differs in case
    asked = {query.text: query for query in examples.queries}
    assert set(asked) == {f"all about {topic}" for topic in TOPICS} | {"also all about them"}
    assert examples.origin["sources"][0]["skipped"] == {"body of fewer than 20 words": 1}
    for topic in TOPICS:
        query = asked[f"all about {topic}"]
        assert [documents[i] for i in query.positives] == [body(topic).casefold()]
        wrong = sorted(documents[i] for i in query.negatives)
        assert wrong == sorted(body(other).casefold() for other in TOPICS if other != topic)
    assert not any(text.startswith("all about") for text in documents)
    cats, copy = asked["all about cats"], asked["also all about them"]
    assert cats.positives == copy.positives, "copies are one document"
    assert len(examples.documents) == len(TOPICS)


def test_judged_queries_can_ask_for_bodies(workspace: Workspace) -> None:
    sources = {"collection": DATA}, {"collection": DATA, "titles": False}
    examples = prepare(recipe(*sources, validation={"share": 0.2}), workspace)
    assert [source["task"] for source in examples.origin["sources"]] == [
        "data queries",
        "data queries without titles",
    ]
    whole, bare = ([q for q in examples.queries if q.task == s["task"]] for s in examples.origin["sources"])
    for query, other in zip(whole, bare, strict=True):
        assert query.text == other.text and query.held == other.held
        topic = query.text.removeprefix("about ")
        assert texts(examples, query.positives) == [f"all about {topic} {body(topic)}"]
        assert texts(examples, other.positives) == [body(topic)]
        (same,) = other.positives
        assert examples.parts[same] and examples.relevant[examples.queries.index(query)] >= {same}
        found = [text.casefold() for text in texts(examples, other.negatives)]
        assert sorted(found) == sorted(body(each).casefold() for each in TOPICS if each != topic)


def test_short_bodies_are_no_answers(workspace: Workspace) -> None:
    qrels, head = Path("data/qrels/test.tsv"), "query-id\tcorpus-id\tscore\n"
    said = recipe({"collection": DATA, "titles": False}, {"collection": DATA, "task": "title"})

    def judged() -> tuple[list[str], Any]:
        examples = prepare(said, workspace)
        source = examples.origin["sources"][0]
        asked = [query for query in examples.queries if query.task == source["task"]]
        return [text for query in asked for text in texts(examples, query.positives)], source.get("skipped")

    qrels.write_text(f"{head}q0\td0\t1\nq1\td7\t1\nq1\td1\t2\n")
    assert judged() == ([body("cats"), body("dogs")], None)
    qrels.write_text(f"{head}q0\td7\t1\nq1\td1\t2\n")
    assert judged() == ([body("dogs")], {"without titles too short": 1})
    qrels.write_text(f"{head}q0\td7\t1\n")
    with pytest.raises(DataError, match="no query has a relevant document with 20 words"):
        judged()


def test_cloze_queries_ask_for_the_rest(workspace: Workspace) -> None:
    whole = {topic: body(topic) for topic in TOPICS}
    examples = prepare(recipe({"collection": DATA, "task": "inverse-cloze"}), workspace)
    removed = 0
    for query in examples.queries:
        (rest,) = texts(examples, query.positives)
        own = next(text for text in (*whole.values(), body("cats").upper()) if query.text in text)
        if rest.casefold() != own.casefold():
            removed += 1
            words = f"{query.text} {rest}".casefold().split()
            assert Counter(words) == Counter(own.casefold().split())
        assert own.casefold() not in [text.casefold() for text in texts(examples, query.negatives)]
    assert removed >= 4 and len(examples.queries) == 7


def test_whole_and_partial_documents_have_numbers_of_their_own(workspace: Workspace) -> None:
    sources = {"collection": DATA}, {"collection": DATA, "task": "title", "queries": 3}
    said = recipe(*sources, validation={"share": 0.2})
    examples = prepare(said, workspace)
    for query, place in zip(examples.queries, [0, 0, -1, -1, -1], strict=True):
        assert examples.origin["places"][query.positives[0]][0] == place
    assert stored(said, examples, workspace)(said.options) is None
    for query, relevant in zip(examples.queries, examples.relevant, strict=True):
        assert set(query.positives) <= relevant and relevant.isdisjoint(query.negatives)


def test_the_other_form_of_a_document_is_no_negative(workspace: Workspace) -> None:
    sources = {"collection": DATA}, {"collection": DATA, "task": "title"}
    examples = prepare(recipe(*sources, validation={"share": 0.2}), workspace)
    judged = next(i for i, query in enumerate(examples.queries) if query.text == "about dogs")
    titled = next(i for i, query in enumerate(examples.queries) if query.text == "all about dogs")
    assert examples.relevant[judged] == examples.relevant[titled]
    assert sorted(texts(examples, sorted(examples.relevant[judged]))) == sorted(
        [body("dogs"), f"all about dogs {body('dogs')}"]
    )
    assert [examples.parts[examples.queries[i].positives[0]] for i in (judged, titled)] == [False, True]
    bare = Examples(examples.documents, examples.queries, {})
    assert not bare.parts.any() and len(bare.parts) == len(bare.documents)
    assert bare.relevant[judged] == set(examples.queries[judged].positives)
    assert bare.fingerprint != examples.fingerprint


def test_which_documents_are_drawn(workspace: Workspace) -> None:
    title = {"collection": DATA, "task": "title"}
    relevant = prepare(recipe({**title, "all_docs": False}), workspace)
    assert {query.text for query in relevant.queries} == {"all about cats", "all about dogs"}
    less = prepare(recipe({**title, "exclude": [DATA]}), workspace)
    assert {query.text for query in less.queries}.isdisjoint({"all about cats", "all about dogs"})
    assert less.origin["sources"][0]["excluded"] == 2
    with pytest.raises(DataError, match="every passage is excluded"):
        prepare(recipe({**title, "exclude": [DATA], "all_docs": False}), workspace)
    drawn = [
        tuple(q.text for q in prepare(recipe({**title, "queries": 3}, seed=seed), workspace).queries)
        for seed in (0, 0, 1, 2)
    ]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1 and len(drawn[0]) == 3


def test_a_collection_without_titles_gives_none(workspace: Workspace) -> None:
    toys.write_beir(Path("plain"), {"d0": body("cats"), "d1": body("dogs")})
    with pytest.raises(DataError, match="no document gives a query: 2 x no title"):
        prepare(recipe({"collection": {"path": "plain"}, "task": "title"}), workspace)


def written(**queries: str) -> dict[str, Any]:
    lines = [json.dumps({"id": docno, "text": text}) for docno, text in queries.items()]
    Path("written.jsonl").write_text("\n".join(lines) + "\n")
    return {"collection": DATA, "task": "generated", "writer": {"file": "written.jsonl"}}


def test_written_queries_stay_that_find_their_documents(workspace: Workspace) -> None:
    named = {f"d{i}": f"Query: people like {topic}" for i, topic in enumerate(TOPICS)}
    named |= {"d2": "stones people like", "d3": "", "d6": "about cats", "d7": "nothing at all"}
    named["d3"] = "rivers"
    source = {**written(**named), "keep_rank": 1}
    examples = prepare(recipe(source), workspace)
    kept = {query.text: texts(examples, query.positives)[0] for query in examples.queries}
    wanted = {f"people like {topic}": f"all about {topic} {body(topic)}" for topic in TOPICS}
    del wanted["people like stars"], wanted["people like rivers"]
    cats = "people like cats"
    assert {key: text for key, text in kept.items() if key not in (cats, "nothing at all")} == {
        key: text for key, text in wanted.items() if key != cats
    }
    (facts,) = examples.origin["sources"]
    assert facts["skipped"]["no query was written"] == 1, "one word is no query"
    assert facts["skipped"]["an example was written once more"] == 1, "that of d6"
    assert facts["skipped"]["its document is not found"] >= 1, "that of d2"
    assert facts["shots"] == 2 and facts["generated"]
    for query in examples.queries:
        assert query.positives[0] not in query.negatives and query.negatives


def test_written_queries_that_find_nothing_are_an_error(workspace: Workspace) -> None:
    source = {**written(**{f"d{i}": "zzz yyy" for i in range(8)})}
    with pytest.raises(DataError, match="of 8 written queries none finds its document among the best 10"):
        prepare(recipe(source), workspace)
    source = {**written(**{f"d{i}": "zzz" for i in range(8)})}
    with pytest.raises(DataError, match="no document gives a query: 8 x no query was written"):
        prepare(recipe(source), workspace)


class Author:
    """Writes the last word but a few of the passage, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Prompt] = []
        self.sampling: Sampling | None = None

    def texts(
        self, owners: Sequence[str], prompts: Sequence[Sequence[Prompt]], count: int, sampling: Sampling
    ) -> list[list[str]]:
        self.asked += [each for (each,) in prompts]
        self.sampling = sampling
        assert count == 1 and all(owner.startswith("d") for owner in owners)
        return [["people like " + each.user.rpartition("all about ")[2].split()[0]] for (each,) in prompts]


def test_the_prompt_shows_judged_queries_and_then_the_document(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    author = Author()
    monkeypatch.setattr(WriterOptions, "open", lambda *_: author)
    source = {
        "collection": DATA,
        "task": "generated",
        "queries": 3,
        "shots": 1,
        "writer": {"temperature": 0.3},
    }
    examples = prepare(recipe(source), workspace)
    assert len(author.asked) == 3 and author.sampling is not None
    assert (author.sampling.temperature, author.sampling.max_tokens) == (0.3, 64)
    for each in author.asked:
        assert each.user.count("Passage: ") == 2 and each.user.endswith("\nQuery:")
        assert ("Query: about cats" in each.user) != ("Query: about dogs" in each.user)
    assert examples.origin["sources"][0]["shots"] == 1
    author.asked.clear()
    prepare(recipe({**source, "shots": 0}), workspace)
    assert all(
        "Passage: " not in each.user and "What is this text about" in each.user for each in author.asked
    )


class Machine:
    """A made-up writer that counts its jobs."""

    identity = MappingProxyType({"model": "made up"})
    jobs = 0

    def write(self, jobs: Sequence[Job], keep: Callable[[int, Text], None]) -> None:
        self.jobs += len(jobs)
        for number, job in enumerate(jobs):
            topic = job.prompt.user.rpartition("Passage: a")[2].split()[2]
            keep(number, Text(f"people like {topic}", 1, 1))


def test_what_is_written_is_kept_in_the_store(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(WriterOptions, "_writer", lambda *_: machine)
    source = {"collection": DATA, "task": "generated", "queries": 4}
    first = prepare(recipe(source), workspace)
    assert machine.jobs == 4 and first.queries
    assert prepare(recipe(source), workspace) == first and machine.jobs == 4
    prepare(recipe({**source, "queries": 5}), workspace)
    assert machine.jobs == 5, "one more"


def test_long_documents_are_cut_in_the_prompt() -> None:
    asked = prompt([("a  query", "xx " * 500)], "yy " * 500)
    assert (asked.user.count("xx"), asked.user.count("yy")) == (80, 250)
    assert "Query: a query\n" in asked.user


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cats and dogs", "cats and dogs"),
        ('\n\n Query:  "cats  and dogs"\nPassage: more', "cats and dogs"),
        ("**cats**\n", "cats"),
        ("This text is about a study on cats, about dogs", "cats, about dogs"),
        (" \n ", ""),
    ],
)
def test_a_query_is_cut_out_of_what_was_written(text: str, wanted: str) -> None:
    assert cleaned(text) == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("task: titles", "task"),
        ("task: title, keep_rank: 3", "keep_rank: queries of the task 'title' are written by nobody"),
        ("shots: 2", "shots: queries of the task 'queries' are written by nobody"),
        ("task: keyword, writer: smollm2", "writer: queries of the task 'keyword'"),
        ("task: generated, keep_rank: 0", "keep_rank"),
        ("task: generated, shots: -1", "shots"),
        ("task: generated, writer: {modl: x}", "unknown option 'modl'"),
        ("task: generated, writer: {file: none.jsonl}", "there is no file 'none.jsonl'"),
        ("exclude: [irkit/limit-small]", "judged queries are taken as they are"),
    ],
)
def test_each_fault_is_said_with_its_line(tmp_path: Path, source: str, message: str) -> None:
    mined = "negatives: {pipeline: [bm25]}"
    text = f"name: a\nkind: adapter\ndata:\n  - {{collection: irkit/limit-small, {source}}}\n{mined}\n"
    with pytest.raises(ConfigError) as caught:
        read_recipe(parse_yaml(text, "r.yaml"), base=tmp_path)
    found = [(str(each.where), each.message) for each in caught.value.problems]
    assert any(where == "r.yaml:4" and message in said for where, said in found), found


def test_written_queries_need_a_pipeline_that_finds_them() -> None:
    text = "name: a\nkind: adapter\ntraining: {group: 1}\ndata:\n  - {collection: irkit/limit-small, task: generated}\n"
    with pytest.raises(
        ConfigError, match="kept where the negatives' pipeline finds their documents"
    ) as caught:
        read_recipe(parse_yaml(text, "r.yaml"))
    assert str(caught.value.problems[0].where) == "r.yaml:5"


def test_a_recipe_of_every_task_reads_back(workspace: Workspace) -> None:
    sources = [
        {"collection": DATA, "task": "generated", "writer": "smollm2", "shots": 2},
        {"collection": DATA, "task": "title", "all_docs": False},
        {"collection": DATA, "task": "inverse-cloze"},
    ]
    said = recipe(*sources)
    assert said.data[0].writer == WriterOptions(model="smollm2")
    assert [source.any_document for source in said.data] == [True, False, True]
    assert read_recipe(Located(said.to_data(), "again")).data == said.data


def test_cloze_negatives_are_cut_as_they_are_for_their_own_queries(workspace: Workspace) -> None:
    examples = prepare(recipe({"collection": DATA, "task": "inverse-cloze"}), workspace)
    relevant = {query.positives[0] for query in examples.queries}
    wrong = {number for query in examples.queries for number in query.negatives}
    assert wrong and wrong <= relevant
    kept = {body(topic).casefold() for topic in TOPICS}
    for number, form in enumerate(examples.forms):
        assert form == (1 if examples.documents[number].casefold() in kept else 2)
    assert not any("about nothing" in text for text in examples.documents), "too short to be cut"


def test_what_is_relevant_and_not_found_is_no_negative(workspace: Workspace) -> None:
    """d3 is relevant to the first query, and has no word of it; what the second asks for is not found at all."""
    lines = Path("data/queries.jsonl").read_text() + '{"_id": "q2", "text": "zzz"}\n'
    Path("data/queries.jsonl").write_text(lines.replace("about cats", "cats"))
    rows = ["q0\td0\t1", "q0\td3\t1", "q0\td6\t1", "q1\td1\t1", "q2\td2\t1"]
    Path("data/qrels/test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    mined = {"pipeline": ["toy"], "keep": 8}
    own = {"collection": DATA, "titles": True}
    examples = prepare(recipe(own, negatives={**mined, "positives": "found"}), workspace)
    cats, dogs = sorted(examples.queries, key=lambda query: query.text, reverse=True)
    assert (cats.text, dogs.text) == ("cats", "about dogs")
    assert examples.origin["sources"][0]["skipped"] == {"no relevant document is found": 1}
    assert examples.origin["sources"][0]["queries"] == 2
    assert len(cats.positives) == 2 and len(cats.ahead) == 2
    (stars,) = cats.also
    assert "rivers" in examples.documents[stars]
    row = examples.queries.index(cats)
    assert stars in examples.relevant[row] and stars not in (*cats.positives, *cats.negatives)
    every = prepare(recipe(own, negatives=mined), workspace)
    assert {query.text for query in every.queries} == {"cats", "about dogs", "zzz"}
    cats = next(query for query in every.queries if query.text == "cats")
    assert len(cats.positives) == 3 and len(cats.ahead) == 2 and cats.also == ()
    assert "rivers" in every.documents[cats.positives[2]], "what was not found comes last"
    nothing = recipe({"collection": DATA}, negatives={**mined, "positives": "found", "depth": 1, "skip": 0})
    Path("data/qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td2\t1\n")
    with pytest.raises(DataError, match="of 1 queries none finds a relevant document"):
        prepare(nothing, workspace)
