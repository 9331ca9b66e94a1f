"""Runs and judgements without a corpus: the protocol, from files to values, against pytrec_eval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irkit.core.errors import DataError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import EvalPolicy
from irkit.evaluate.anyrun import read_any_run
from irkit.evaluate.metrics import evaluate
from irkit.evaluate.pooled import Judged, Names, Pooled, pool
from irkit.evaluate.runfile import write_run

trec = pytest.importorskip("pytrec_eval")

METRICS = {
    "ndcg@10": "ndcg_cut_10",
    "map": "map",
    "recall@100": "recall_100",
    "mrr": "recip_rank",
    "precision@10": "P_10",
    "success@1": "success_1",
}
Table = Mapping[str, Mapping[str, float]]


def write(path: Path, run: Table) -> Path:
    """As a careless tool would: unsorted, all ranks 0."""
    lines = [f"{q} Q0 {d} 0 {s!r} t\n" for q, docs in run.items() for d, s in docs.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def files(folder: Path, run: Table, gains: Table, excluded: Mapping[str, list[str]]) -> Pooled:
    (folder / "qrels").write_text(
        "".join(f"{q}\t0\t{d}\t{g}\n" for q, docs in gains.items() for d, g in docs.items()), "utf-8"
    )
    pairs = "".join(f"{q}\t{d}\n" for q, docs in excluded.items() for d in docs)
    (folder / "exclude").write_text(pairs, "utf-8")
    judged = Judged.read(folder / "qrels", exclude=folder / "exclude" if pairs else None)
    return pool({"r": read_any_run(write(folder / "run", run))}, judged)


def values(pooled: Pooled, metrics: list[str], level: int = 1) -> dict[str, dict[str, float]]:
    found = evaluate(
        pooled.rankings["r"],
        pooled.qrels,
        metrics,
        pooled.documents,
        exclude=pooled.queries.exclude,
        relevance_level=level,
    )
    return {m: dict(zip(pooled.queries.qid, array.tolist(), strict=True)) for m, array in found.items()}


def oracle(run: Table, gains: Table, excluded: Mapping[str, list[str]], level: int = 1) -> dict[str, Table]:
    """trec_eval -c on the run without what is excluded; pytrec_eval reads outside its memory for gains below -1."""
    left = {q: {d: s for d, s in docs.items() if d not in excluded.get(q, ())} for q, docs in run.items()}
    truth = {q: {d: max(int(g), -1) for d, g in docs.items()} for q, docs in gains.items()}
    measures = {"ndcg_cut", "map", "recall", "recip_rank", "P", "success"}
    found = trec.RelevanceEvaluator(truth, measures, relevance_level=level).evaluate(
        {q: docs for q, docs in left.items() if docs}
    )
    return {m: {q: found[q][m] if q in found else 0.0 for q in gains} for m in METRICS.values()}


docno = st.sampled_from(["d1", "d10", "d2", "D1", "é", "z", "中文", "\U0001f600", "a-b", "q1", "%41", "50%"])
qid = st.sampled_from(["q1", "q2", "q3", "q4"])
score = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, 1e-40, 16777216.0, 16777217.0]) | st.floats(-9, 9)
run_of = st.dictionaries(qid, st.dictionaries(docno, score, min_size=1), min_size=1)
gains_of = st.dictionaries(
    qid, st.dictionaries(docno, st.sampled_from([-2, -1, 0, 1, 2, 3]), min_size=1), min_size=1
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run_of, gains_of, st.dictionaries(qid, st.lists(docno, unique=True)), st.sampled_from([1, 2]))
def test_equals_trec_eval_from_files(
    tmp_path: Path, run: Table, gains: Table, excluded: Mapping[str, list[str]], level: int
) -> None:
    """Ties (also those that only float32 sees), missing queries, graded and negative gains, exclusions, odd ids."""
    excluded = {q: docs for q, docs in excluded.items() if q in gains}
    if not run.keys() & gains.keys():
        with pytest.raises(DataError, match="none of the run's queries is judged"):
            files(tmp_path, run, gains, excluded)
        return
    ours = values(files(tmp_path, run, gains, excluded), list(METRICS), level)
    theirs = oracle(run, gains, excluded, level)
    for metric, name in METRICS.items():
        assert ours[metric] == pytest.approx(theirs[name], abs=1e-9), metric


@pytest.mark.parametrize("seed", range(50))
def test_equals_trec_eval_on_random_runs(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"doc{n}" for n in range(300)]
    run: dict[str, dict[str, float]] = {}
    gains: dict[str, dict[str, float]] = {"always": {"doc1": 1}}
    excluded: dict[str, list[str]] = {}
    for number in range(15):
        q = f"q{number}"
        if rng.random() < 0.85:
            docs = rng.choice(names, rng.integers(1, 250), replace=False).tolist()
            ties = rng.random() < 0.7
            run[q] = {d: float(rng.integers(0, 9)) / 4 if ties else float(rng.normal()) for d in docs}
        if rng.random() < 0.9:
            pool_of = rng.choice(names, rng.integers(1, 60), replace=False).tolist()
            gains[q] = {d: int(rng.choice([-2, -1, 0, 0, 1, 2, 3])) for d in pool_of}
            excluded[q] = rng.choice(names, rng.integers(0, 30), replace=False).tolist()
    ours = values(files(tmp_path, run, gains, excluded), list(METRICS))
    theirs = oracle(run, gains, excluded)
    for metric, name in METRICS.items():
        assert ours[metric] == pytest.approx(theirs[name], abs=1e-9), metric


def judged(folder: Path, qrels: str, **options: object) -> Judged:
    (folder / "qrels.txt").write_text(qrels, encoding="utf-8")
    return Judged.read(folder / "qrels.txt", **options)  # type: ignore[arg-type]


def pooled(folder: Path, run: str, qrels: str, **options: object) -> Pooled:
    (folder / "run.txt").write_text(run, encoding="utf-8")
    return pool({"r": read_any_run(folder / "run.txt")}, judged(folder, qrels, **options))


def order(found: Pooled, names: list[str]) -> list[list[str]]:
    return [[sorted(names)[code] for code in docs.tolist()] for docs, _ in found.rankings["r"]]


def test_the_score_decides_and_the_rank_column_is_told_about(tmp_path: Path) -> None:
    found = pooled(
        tmp_path,
        "q1 Q0 a 1 1 t\nq1 Q0 b 2 2 t\nq2 Q0 a 1 5 t\nq2 Q0 b 2 5 t\nq3 Q0 b 1 2 t\nq3 Q0 a 2 1 t\nq9 Q0 a 1 1 t\n",
        "q1 0 a 1\nq2 0 a 1\nq3 0 b 1\nq4 0 a 1\n",
    )
    assert order(found, ["a", "b"]) == [["b", "a"], ["b", "a"], ["b", "a"], []]
    assert found.warnings == {
        "query whose rank column contradicts its scores (the scores count)": (1, "r: 'q1'"),
        "query with ties in another order than by docno, descending": (1, "r: 'q2'"),
        "query of a run without judgements (left out, as trec_eval does)": (1, "r: 'q9'"),
        "judged query that a run lacks (it counts 0)": (1, "r: 'q4'"),
    }


def test_ties_as_ranked(tmp_path: Path) -> None:
    """Only equal scores are ordered by the rank column; without numbers there, by the file."""
    run = "q Q0 c 1 1 t\nq Q0 b 3 5 t\nq Q0 a 2 5 t\n"
    assert order(pooled(tmp_path, run, "q 0 a 1\n", ties="rank"), ["a", "b", "c"]) == [["a", "b", "c"]]
    unranked = run.replace(" 3 5", " x 5")
    assert order(pooled(tmp_path, unranked, "q 0 a 1\n", ties="rank"), ["a", "b", "c"]) == [["b", "a", "c"]]
    assert order(pooled(tmp_path, unranked, "q 0 a 1\n"), ["a", "b", "c"]) == [["b", "a", "c"]]
    plain, other = judged(tmp_path, "q 0 a 1\n"), judged(tmp_path, "q 0 a 1\n", ties="rank")
    assert plain.fingerprint != other.fingerprint and other.protocol()["ties"] == "rank"


def test_a_document_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        pooled(tmp_path, "q Q0 a 1 2 t\np Q0 a 1 2 t\nq Q0 b 2 1 t\nq Q0 a 3 0 t\n", "q 0 a 1\np 0 a 1\n")
    (problem,) = caught.value.problems
    assert problem.message == "document 'a' appears again for query 'q'"
    assert problem.where == f"{tmp_path / 'run.txt'}:4" and f"{tmp_path / 'run.txt'}:1" in (
        problem.hint or ""
    )


def test_exclusions_come_from_three_places_and_before_every_cutoff(tmp_path: Path) -> None:
    (tmp_path / "queries").write_text(
        '{"_id": "q", "text": "x", "metadata": {"excluded_ids": ["a"]}}\n{"_id": "p", "text": "y"}\n'
    )
    (tmp_path / "exclude").write_text("query-id\tcorpus-id\nq\tb\nq\tnowhere\n")
    run = "".join(f"q Q0 {d} 1 {9 - i} t\n" for i, d in enumerate("abcde"))
    found = pooled(
        tmp_path,
        run,
        "q 0 c -100\nq 0 d 1\nother 0 d 1\n",
        queries=tmp_path / "queries",
        exclude=tmp_path / "exclude",
    )
    assert values(found, ["mrr", "success@1", "ndcg@1"]) == {
        "mrr": {"q": 1.0},
        "success@1": {"q": 1.0},
        "ndcg@1": {"q": 1.0},
    }
    assert found.queries.qid == ("q",)
    assert found.warnings["judgement of a query that does not exist"] == (1, "qrels.txt:3 'other'")


def test_self_matches(tmp_path: Path) -> None:
    run, qrels = "a Q0 a 1 9 t\na Q0 b 2 8 t\n", "a 0 b 1\n"
    kept = pooled(tmp_path, run, qrels)
    assert values(kept, ["mrr"])["mrr"] == {"a": 0.5}
    assert kept.warnings["query id is also a document id and policy.drop_self is off"][0] == 1
    dropped = pooled(tmp_path, run, qrels, policy=EvalPolicy(drop_self=True))
    assert values(dropped, ["mrr"])["mrr"] == {"a": 1.0}
    assert dropped.warnings == {}


def test_a_query_that_excludes_itself_by_name_is_no_cause_for_doubt(tmp_path: Path) -> None:
    (tmp_path / "exclude").write_text("a a\n")
    found = pooled(tmp_path, "a Q0 a 1 9 t\na Q0 b 2 8 t\n", "a 0 b 1\n", exclude=tmp_path / "exclude")
    assert found.warnings == {} and values(found, ["mrr"])["mrr"] == {"a": 1.0}


def test_our_own_files_and_their_ids(tmp_path: Path) -> None:
    """irkit writes an id's spaces as %20; a file of another tool means what it says, unless only the judgements know better."""

    class Ours:
        docs, queries = Names(["a b", "c%20d"]), Queries(("q 1",), ("",))

    write_run(tmp_path / "ours", Rankings.from_lists([[0, 1]], [[2, 1]]), Ours())
    (tmp_path / "theirs").write_text("q%201 Q0 a%20b 1 2 t\nq%201 Q0 c%20d 2 1 t\n")
    qrels = judged(tmp_path, "q 1\ta b\t1\n")
    runs = {name: read_any_run(tmp_path / name) for name in ("ours", "theirs")}
    found = pool(runs, qrels)
    assert found.rankings["ours"] == found.rankings["theirs"]
    assert found.documents == 2
    alone = pool({"theirs": runs["theirs"]}, judged(tmp_path, "q 1\tc%20d\t1\n"))
    assert alone.rankings["theirs"].doc.tolist() == [0, 1]  # a%20b, c%20d


def test_runs_and_judgements_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the run's queries is judged: it has queries like '7'"):
        pooled(tmp_path, "7 Q0 a 1 1 t\n", "q 0 a 1\n")
    with pytest.raises(DataError, match="judges the document 'a' twice"):
        judged(tmp_path, "q 0 a 1\nq 0 a 2\n")
    with pytest.raises(DataError, match="does not exist"):
        Judged.read(tmp_path / "absent")
    (tmp_path / "queries").write_text("z\ttext\n")
    with pytest.raises(DataError, match="no query has a judgement"):
        judged(tmp_path, "q 0 a 1\n", queries=tmp_path / "queries")
    (tmp_path / "exclude").write_text("z\ta\n")
    with pytest.raises(DataError, match="names queries like 'z', queries have ids like 'q'"):
        judged(tmp_path, "q 0 a 1\n", exclude=tmp_path / "exclude")


@pytest.mark.parametrize(
    ("text", "message"),
    [("q a b\n", "3 columns, not 2"), ("\n", "excludes nothing"), ('{"_id": "q"}\n', "nothing")],
)
def test_exclusions_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "exclude").write_text(text)
    with pytest.raises(DataError, match=message):
        judged(tmp_path, "q 0 a 1\n", exclude=tmp_path / "exclude")


def test_the_fingerprint_is_of_the_protocol_alone(tmp_path: Path) -> None:
    first = judged(tmp_path, "q 0 a 1\np 0 b 2\n").fingerprint
    assert judged(tmp_path, "p\tb\t2\nq\ta\t1\n").fingerprint == first
    (tmp_path / "exclude").write_text("q\tb\n")
    others = [
        judged(tmp_path, "q 0 a 2\np 0 b 2\n"),
        judged(tmp_path, "q 0 a 1\np 0 b 2\n", policy=EvalPolicy(drop_self=True)),
        judged(tmp_path, "q 0 a 1\np 0 b 2\n", policy=EvalPolicy(relevance_level=2)),
        judged(tmp_path, "q 0 a 1\np 0 b 2\n", exclude=tmp_path / "exclude"),
    ]
    assert len({first, *(each.fingerprint for each in others)}) == 5
