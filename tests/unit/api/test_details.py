"""What a run keeps for those who look into it, on a collection where every number can be worked out by hand.

The stage ``toy`` counts the words that query and document share; of equal ones the later document is first:

    q1 "a b": d2 d1 d5 d3      q2 "c d" without d4: d6 d3 d1      q3 "e": d5 d3      q4 "zzz": nothing
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys

from irkit.api import Workspace, run, stored_details
from irkit.api import details as api_details
from irkit.api.compare import compare
from irkit.api.details import Source, Track, beginning, collection_details
from irkit.config.experiment import Experiment
from irkit.config.report import ReportOptions
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.core.text import well_formed
from irkit.data.collection import Qrels
from irkit.data.spec import LocalSpec
from irkit.evaluate import funnel
from irkit.pipeline.graph import fuse
from irkit.pipeline.registry import make_stage
from irkit.report import budget
from irkit.report.details import DETAILS, Details, DetailsFile, QueryDetails, load_details
from irkit.report.results import load_results
from irkit.store import Store

QRELS = {
    "q1": {"d1": 1, "d3": 2, "d4": 1, "d2": -1},
    "q2": {"d6": 1, "d1": 1, "gone": 1, "d4": 1},  # d4 is excluded
    "q3": {"d5": 0, "d3": 1},
    "q4": {"d2": 1},
}
"""Eight relevant documents of four queries; q5 is not judged."""


@pytest.fixture
def workspace(tmp_path: Path, toy_stages: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    folder = toys.write_beir(tmp_path / "data")
    lines = [
        json.dumps({"_id": qid, "text": text, "excluded_ids": ["d4"] if qid == "q2" else []})
        for qid, text in toys.QUERIES.items()
    ]
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f"{qid}\t{docno}\t{gain}" for qid, row in QRELS.items() for docno, gain in row.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return Workspace(tmp_path)


def experiment(**options: Any) -> Experiment:
    toy = toys.toy
    feedback = toy(k=1) >> make_stage("toy-feedback") >> toy(k=4)
    return Experiment.of(
        "mine",
        collections=[LocalSpec(path="data")],
        pipelines={
            "line": toy(k=3) >> make_stage("toy-rerank") >> make_stage("cutoff", k=1),
            "fused": fuse(toy(k=1), feedback, k=2),
        },
        metrics=["recall@2"],
        baseline="line",
        report={"hits": 2, "characters": 3, **options},
    )


def kept(experiment: Experiment, workspace: Workspace) -> DetailsFile:
    results, folder = run(experiment, workspace)
    return load_details(folder, results)


def details(experiment: Experiment, workspace: Workspace) -> tuple[Details, dict[str, QueryDetails]]:
    (found,) = kept(experiment, workspace).details
    return found, {query.qid: query for query in found.queries}


def test_the_funnels(workspace: Workspace) -> None:
    line, fused = kept(experiment(), workspace).funnels
    assert (line.collection, line.pipeline, line.k, line.queries) == ("data/test", "line", 2, 4)
    # toy finds d1 of q1, d6 and d1 of q2, d3 of q3: at 2, 1, 3, 2. Reranking keeps that order. The cut leaves d6.
    assert [
        (step.stage, step.label, step.inputs, step.relevant, step.top, step.lost) for step in line.steps
    ] == [
        ("toy", "toy (k=3)", [], 4, 3, 0),
        ("toy-rerank", "toy-rerank", [0], 4, 3, 0),
        ("cutoff", "cutoff (k=1)", [1], 1, 1, 3),
    ]
    assert (line.total, line.missed, line.left_out) == (8, 3, [])
    assert line.outside == 1  # "gone"
    # what feedback looks at is no step; after it q3 asks for "a e"
    assert [(step.label, step.inputs, step.relevant, step.top, step.lost) for step in fused.steps] == [
        ("toy (k=1)", [], 1, 1, 0),  # d6
        ("toy (k=4)", [], 5, 3, 0),  # d1 and d3 of q1 at 2 and 4, d6 and d1 of q2 at 1 and 3, d3 of q3 at 2
        ("fuse (k=2)", [0, 1], 3, 3, 2),  # d2 d1, d6 d3, d5 d3
    ]
    assert (fused.total, fused.outside, fused.missed) == (8, 1, 2)


def test_the_queries_and_their_documents(workspace: Workspace) -> None:
    found, queries = details(experiment(), workspace)
    names = [text.docno for text in found.documents]
    # what feedback changed and won most by, then the worst
    assert (list(queries), found.chosen, found.over_budget) == (["q3", "q1", "q4", "q2"], "all", 0)
    assert queries["q1"].text == "a b"
    assert [(names[each.doc], each.gain, each.ranks) for each in queries["q1"].relevant] == [
        ("d3", 2, {"line": [None, None, None], "fused": [None, 4, None]}),
        ("d1", 1, {"line": [2, 2, None], "fused": [None, 2, 2]}),
        ("d4", 1, {"line": [None, None, None], "fused": [None, None, None]}),
    ]
    assert [(names[each.doc], each.ranks["fused"]) for each in queries["q2"].relevant] == [
        ("d1", [None, 3, None]),
        ("d6", [1, 1, 1]),
        ("gone", [None, None, None]),
    ]
    assert [each.outside for each in queries["q1"].relevant + queries["q2"].relevant] == [False] * 5 + [True]
    hits = {
        pipeline: ([names[doc] for doc in hits.docs], hits.gains)
        for pipeline, hits in queries["q1"].hits.items()
    }
    assert hits == {"line": (["d2"], [-1]), "fused": (["d2", "d1"], [-1, 1])}
    assert queries["q2"].hits["fused"].gains == [1, None]
    assert queries["q3"].hits["line"].scores == [0.5]
    assert queries["q1"].hits["fused"].scores == pytest.approx([2 / 61, 1 / 62])
    assert queries["q4"].hits["line"].docs == []
    texts = {text.docno: (text.text, text.more) for text in found.documents}
    assert texts == {
        "d1": ("a b", True),
        "d2": ("a b", False),
        "d3": ("b c", True),
        "d4": ("d", False),
        "d5": ("a e", False),
        "d6": ("c c", True),
        "gone": (None, False),
    }


def test_what_changed_is_kept_even_where_there_is_room_for_fewer(workspace: Workspace) -> None:
    found, queries = details(experiment(queries=1), workspace)
    assert (list(queries), found.chosen) == (["q3", "q1"], "some")
    assert len(found.documents) == len({text.docno for text in found.documents}) < 7


def test_what_a_stage_explained_is_kept_also_of_queries_without_judgements(workspace: Workspace) -> None:
    (workspace.root / "data" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td3\t1\n")
    look = toys.toy(k=2) >> make_stage("toy-look", explanations=2)
    asked = Experiment.of(
        "look", collections=[LocalSpec(path="data")], pipelines={"one": look}, metrics=["mrr"]
    )
    found, queries = details(asked, workspace)
    assert (list(queries), found.chosen) == (["q1", "q2", "q3"], "all")
    assert queries["q1"].relevant == [] and len(queries["q1"].hits["one"].docs) == 2
    (funnel,) = kept(asked, workspace).funnels
    assert (funnel.k, funnel.total, funnel.queries) == (10, 1, 1)


@pytest.mark.parametrize(
    ("options", "queries", "over"), [({"queries": 0}, 0, 0), ({"bytes": 10}, 0, 4), ({"bytes": 10**6}, 4, 0)]
)
def test_a_run_may_keep_less(
    workspace: Workspace, options: Mapping[str, int], queries: int, over: int
) -> None:
    found, _ = details(experiment(**options), workspace)
    assert (len(found.queries), found.over_budget) == (queries, over)
    assert bool(found.documents) is bool(queries)


def test_without_characters_there_is_no_text(workspace: Workspace) -> None:
    found, _ = details(experiment(characters=0), workspace)
    assert {(text.text, text.more) for text in found.documents} == {(None, False)}


def test_texts_are_cut_by_characters_and_can_be_written_whatever_they_hold(workspace: Workspace) -> None:
    documents = [
        {"_id": "d1", "title": "a\U0001f600", "text": "b c"},
        {"_id": "d2", "title": "", "text": "a \ud83d b"},  # half a character
        {"_id": "d3", "title": "</script>", "text": ""},
    ]
    lines = [json.dumps(each) for each in documents]
    (workspace.root / "data" / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    queries = [{"_id": "q1", "text": "a \ud83d"}, {"_id": "q2", "text": "b"}]
    (workspace.root / "data" / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n")
    (workspace.root / "data" / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t1\nq2\td3\t1\n"
    )
    found, shown = details(experiment(characters=4), workspace)
    assert {text.docno: (text.text, text.more) for text in found.documents} == {
        "d1": ("a\U0001f600 b", True),
        "d2": ("a \ufffd ", True),
        "d3": ("</sc", True),
    }
    assert shown["q1"].text == "a \ufffd"


def test_a_second_run_reads_no_ranking(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept(experiment(), workspace)

    def refuse(*_: object) -> None:
        raise AssertionError("looked into again")

    monkeypatch.setattr(stored_details, "collection_details", refuse)
    again = kept(experiment(), workspace)
    assert (again.funnels, again.details) == (first.funnels, first.details)
    with pytest.raises(AssertionError, match="looked into again"):
        run(experiment(hits=1), workspace)
    kept(experiment(bytes=10), workspace)  # a limit asks for nothing new


def test_more_relevant_documents_than_are_shown_are_counted(workspace: Workspace) -> None:
    rows = "".join(f"q1\tx{number:02}\t1\n" for number in range(25)) + "q1\td3\t3\n"
    (workspace.root / "data" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    _, queries = details(experiment(), workspace)
    shown = queries["q1"].relevant
    assert (len(shown), queries["q1"].more_relevant) == (20, 6)
    assert [each.gain for each in shown] == [3, *[1] * 19]


def test_rankings_that_the_store_lost_are_not_computed_again(workspace: Workspace, toy_stages: Path) -> None:
    first = kept(experiment(), workspace)
    store = Store(workspace.root / "indexes")
    for artifact in list(store.artifacts()):
        stage = artifact.recipe.get("stage")
        if artifact.kind == "details" or stage == "toy-rerank":
            store.remove(artifact.path)
    before = toys.calls("run")
    line, fused = kept(experiment(), workspace).funnels
    assert toys.calls("run") == before
    assert [(step.stage, step.inputs, step.relevant, step.lost) for step in line.steps] == [
        ("toy", [], 4, 0),
        ("cutoff", [0], 1, 3),
    ]
    assert line.left_out == ["toy-rerank"] and fused == first.funnels[1]


def test_a_stage_after_a_first_one_that_is_lost_is_no_first_stage(workspace: Workspace) -> None:
    kept(experiment(), workspace)
    store = Store(workspace.root / "indexes")
    for artifact in list(store.artifacts()):
        if artifact.kind == "details" or artifact.recipe.get("stage") == "toy":
            store.remove(artifact.path)
    line, fused = kept(experiment(), workspace).funnels
    assert [(step.stage, step.inputs, step.relevant, step.lost, step.unknown) for step in line.steps] == [
        ("toy-rerank", [], 4, 0, True),
        ("cutoff", [0], 1, 3, False),
    ]
    assert (line.missed, line.missed_told) == (3, "not found, or lost up to toy-rerank")
    assert [(step.stage, step.unknown) for step in fused.steps] == [("fuse", True)]
    assert fused.missed == 4  # two of them the fusion lost


def test_long_texts_are_cut_before_they_are_looked_at(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.root / "data"
    long = {"_id": "d1", "title": "", "text": "a " + "\ud83d\ude00" * 5000}
    (folder / "corpus.jsonl").write_text(json.dumps(long) + "\n")
    queries = [{"_id": "q1", "text": "a " + "b" * 100_000}, {"_id": "q2", "text": "a" + " " * 1999}]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t1\n")
    looked: list[int] = []
    monkeypatch.setattr(
        api_details, "well_formed", lambda text: looked.append(len(text)) or well_formed(text)
    )
    found, shown = details(experiment(characters=4), workspace)
    assert found.documents[0].text == "a \U0001f600\U0001f600" and found.documents[0].more
    assert (len(shown["q1"].text or ""), shown["q1"].more) == (2000, True)
    assert (len(shown["q2"].text or ""), shown["q2"].more) == (2000, False)
    assert max(looked) <= 2 * 2000 + 2
    _, shown = details(experiment(characters=3000), workspace)
    assert len(shown["q1"].text or "") == 3000


@pytest.mark.parametrize("surrogates", [True, False])
@pytest.mark.parametrize("length", range(12))
def test_the_beginning_is_that_of_the_whole(length: int, surrogates: bool) -> None:
    text = "x" + "\ud83d\ude00" * length if surrogates else "ab" * length
    whole = well_formed(text)
    for characters in range(8):
        assert beginning(text, characters) == (whole[:characters], len(whole) > characters)


def test_excluded_documents_are_no_hits_and_some_hits_have_no_scores() -> None:
    class Letters:
        def __len__(self) -> int:
            return 4

        def docno(self, code: int) -> str:
            return "abcd"[code]

        def text(self, code: int) -> str:
            return ""

    codes = [np.array([3], np.int32), np.array([], np.int32)]
    qrels = Qrels(np.array([0, 1, 2]), np.array([0, 1], np.int32), np.array([1, 1], np.int32))
    ranked = Rankings.from_lists([np.array([3, 2, 0], np.int32)] * 2, [np.array([3, 2, 1], np.float32)] * 2)
    source = Source("c", Queries(("p", "q"), ("", ""), exclude=tuple(codes)), qrels, 1, Letters(), {})
    track = Track([("run file", "run file")], [()], lambda: [ranked])
    for has_scores, scores in ((True, [2.0, 1.0]), (False, [])):
        asked = dataclasses.replace(source, has_scores=has_scores)
        (of_p, of_q) = collection_details(asked, {"one": track}, [0, 1], 10, ReportOptions()).details.queries
        assert [of_p.hits["one"].scores, len(of_p.hits["one"].docs), len(of_q.hits["one"].docs)] == [
            scores,
            2,
            3,
        ]


def _stored(workspace: Workspace) -> set[str]:
    return {each.key for each in Store(workspace.root / "indexes").artifacts() if each.kind == "details"}


def test_what_they_are_made_from_names_them_and_the_store_keeps_the_last(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def another(asked: Experiment) -> bool:
        run(asked, workspace)
        seen.append(_stored(workspace))
        return seen[-1] not in seen[:-1]

    assert another(experiment())
    assert not another(experiment())
    assert another(experiment(queries=1))  # other rows
    assert another(experiment(hits=1))
    assert another(dataclasses.replace(experiment(), metrics=("recall@1",)))  # another k
    code = stored_details.code_of
    with monkeypatch.context() as patch:
        patch.setattr(stored_details, "code_of", lambda modules: f"{code(modules)} and more")
        assert another(experiment())
    assert {len(keys) for keys in seen} == {1}
    judged = workspace.root / "data" / "qrels" / "test.tsv"
    judged.write_text(judged.read_text().replace("q4\td2\t1", "q4\td2\t2"))
    assert another(experiment())  # another collection
    assert len(seen[-1]) == 2


def test_the_code_is_known_by_its_text() -> None:
    assert {api_details, budget, funnel} <= set(stored_details.MADE_BY)
    assert stored_details.code_of([budget]) != stored_details.code_of([funnel])


def test_run_files_are_pipelines_of_one_step(workspace: Workspace) -> None:
    _, folder = run(experiment(), workspace)
    root = workspace.root
    runs = {name: next(folder.glob(f"runs/*/{name}.trec")) for name in ("fused", "line")}
    results, out = compare(
        runs, root / "data" / "qrels" / "test.tsv", queries=root / "data" / "queries.jsonl",
        metrics=["recall@2"], output=root / "out",
    )  # fmt: skip
    found = load_details(out, results)
    assert [
        (funnel.pipeline, funnel.total, funnel.missed, [(s.stage, s.relevant, s.top) for s in funnel.steps])
        for funnel in found.funnels
    ] == [("fused", 8, 5, [("run file", 3, 3)]), ("line", 8, 7, [("run file", 1, 1)])]
    assert {funnel.outside for funnel in found.funnels} == {0}  # nobody knows what the collection has
    (of_collection,) = found.details
    assert {query.qid: query.text for query in of_collection.queries} == {
        "q1": "a b", "q2": "c d", "q3": "e", "q4": "zzz",
    }  # fmt: skip
    assert {text.text for text in of_collection.documents} == {None}
    results, out = compare(runs, root / "data" / "qrels" / "test.tsv", output=root / "out")
    (of_collection,) = load_details(out, results).details
    assert {query.text for query in of_collection.queries} == {None}


def test_a_run_writes_the_details_before_its_results(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = run(experiment(), workspace)
    assert load_results(folder)[0].experiment == "mine"
    (folder / "results.json").unlink()
    (folder / DETAILS).unlink()
    (folder / "results.json").mkdir()  # nobody can write it
    with pytest.raises(Exception, match=re.escape("results.json")):
        run(experiment(), workspace)
    assert (folder / DETAILS).is_file()
