"""Teachers: which documents they score, with what, and what is said where they cannot."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys

from irkit.api.workspace import Workspace
from irkit.config.yaml import Located, parse_yaml
from irkit.core.errors import ConfigError, DataError
from irkit.data.spec import LocalSpec
from irkit.pipeline.registry import make_stage
from irkit.train.examples import Example, Examples
from irkit.train.prepare import prepare
from irkit.train.recipe import Recipe, read_recipe
from irkit.train.sources.documents import Documents
from irkit.train.teacher.pipeline import completed
from irkit.train.teacher.scores import taught

DATA = {"path": "data", "split": "test", "name": "data"}


pytestmark = pytest.mark.usefixtures("toy_stages")


def recipe(**more: Any) -> Recipe:
    data: dict[str, Any] = {"name": "mine", "kind": "multivector", "data": [{"collection": DATA}], **more}
    if "teacher" in more:
        data["options"] = {"distil": {}}
    return read_recipe(Located({"training": {"group": 1}, **data}, "recipe"))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    toys.write_beir(Path("data"))
    return Workspace(tmp_path, tmp_path / "indexes")


def some(*bodies: str) -> Documents:
    documents = Documents()
    docs = SimpleNamespace(title=lambda code: "", body=lambda code: bodies[code])
    for code, body in enumerate(bodies):
        documents.part(body, SimpleNamespace(docs_fingerprint="made up", docs=docs), code)  # type: ignore[arg-type]
    return documents


def share(query: str, text: str) -> float:
    """What ``toy-rerank`` computes, said differently."""
    words = set(text.split())
    return len(words & set(query.split())) / len(words)


def test_a_reranker_scores_each_querys_own_documents(workspace: Workspace) -> None:
    documents = some("a b c", "a", "b b d e", "c")
    queries = [Example("a b", (0,), (2, 1)), Example("c", (3, 0), ()), Example("a b", (1,), (3,))]
    pipeline = recipe(teacher={"pipeline": ["toy-rerank"]}).teacher
    assert pipeline is not None
    found, facts = taught(pipeline, documents, queries, workspace)
    texts = documents.texts()
    for before, after in zip(queries, found, strict=True):
        wanted = [share(before.text, texts[doc]) for doc in (*before.positives, *before.negatives)]
        assert after.scores == pytest.approx(wanted)
        assert (after.text, after.positives, after.negatives) == (
            before.text,
            before.positives,
            before.negatives,
        )
    assert facts["reranks"] and (facts["scores"], facts["missing"]) == (7, 0)
    assert facts["pipeline"] == ["toy-rerank"]


def test_a_retriever_scores_what_it_finds(workspace: Workspace) -> None:
    pipeline = recipe(teacher={"pipeline": ["toy", "toy-rerank"]}).teacher
    assert pipeline is not None
    (query,), facts = taught(pipeline, some("a b", "c d"), [Example("a", (0,), (1,))], workspace)
    assert query.scores is not None and query.scores[0] == 0.5 and math.isnan(query.scores[1])
    assert not facts["reranks"] and (facts["scores"], facts["missing"]) == (1, 1)
    with pytest.raises(DataError, match="gives none of the documents a score"):
        taught(pipeline, some("a b", "c d"), [Example("x", (0,), (1,))], workspace)


def test_results_are_computed_once(workspace: Workspace) -> None:
    pipeline = recipe(teacher={"pipeline": ["toy-rerank"]}).teacher
    assert pipeline is not None
    queries = [Example("a", (0,), (1,))]
    first = taught(pipeline, some("a b", "c d"), queries, workspace)
    assert taught(pipeline, some("a b", "c d"), queries, workspace) == first
    assert toys.queries_run("toy-rerank") == 1
    taught(pipeline, some("a b", "c d"), [Example("a", (1,), (0,))], workspace)
    assert toys.queries_run("toy-rerank") == 2, "other candidates"


def test_titles_count_where_documents_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same document is read with its title for a judged query, and without it for the title."""
    monkeypatch.chdir(tmp_path)
    toys.write_beir(Path("data"))
    body = " ".join(f"w{i}" for i in range(24))
    row = {"_id": "d1", "title": "one two three", "text": body}
    other = {"_id": "d2", "title": "four five six", "text": body.replace("w", "v")}
    third = {"_id": "d3", "title": "seven eight nine", "text": body.replace("w", "x")}
    Path("data/corpus.jsonl").write_text("\n".join(map(json.dumps, (row, other, third))) + "\n")
    sources = [{"collection": DATA}, {"collection": DATA, "task": "title"}]
    said = recipe(data=sources, teacher={"pipeline": ["toy-rerank"]}, validation={"share": 0.1})
    examples = prepare(said, Workspace(tmp_path, tmp_path / "indexes"))
    titled = next(query for query in examples.queries if query.text == "one two three")
    assert examples.documents[titled.positives[0]] == body and titled.scores == (0.0,)
    judged = next(query for query in examples.queries if query.text == "a b")
    assert examples.documents[judged.positives[0]] == f"one two three {body}"
    assert examples.origin["places"][judged.positives[0]] == [0, 0]
    assert examples.origin["places"][titled.positives[0]] == [-1, -1]
    assert examples.origin["teacher"]["documents"] == len(examples.documents)


def test_maxsim_scores_as_it_does_in_a_search(workspace: Workspace, tiny_encoder: Path) -> None:
    texts = ["cat dog river", "moon", "stone tree sun cat"]
    toys.write_beir(Path("same"), dict(zip("xyz", texts, strict=True)))
    stage = make_stage("maxsim", model=str(tiny_encoder))
    (hits,) = workspace.search(stage, LocalSpec(path="same", split="test"), "cat moon")
    pipeline = recipe(teacher={"pipeline": [{"maxsim": {"model": str(tiny_encoder)}}]}).teacher
    assert pipeline is not None
    (query,), _ = taught(pipeline, some(*texts), [Example("cat moon", (1,), (0, 2))], workspace)
    assert query.scores == pytest.approx([dict(hits)[docno] for docno in "yxz"], abs=1e-5)
    assert len(set(query.scores or ())) == 3


def test_a_reranker_that_looks_at_fewer_documents_is_refused(
    workspace: Workspace, tiny_encoder: Path
) -> None:
    steps = [{"maxsim": {"model": str(tiny_encoder), "depth": 2}}]
    pipeline = recipe(teacher={"pipeline": steps}).teacher
    assert pipeline is not None
    with pytest.raises(ConfigError, match="looks at 2 documents, and a query has up to 3"):
        taught(pipeline, some("a", "b", "c"), [Example("a", (0,), (1, 2))], workspace)


def test_candidates_go_before_what_takes_them() -> None:
    def first(*steps: Any) -> str:
        pipeline = recipe(teacher={"pipeline": list(steps)}).teacher
        assert pipeline is not None
        return completed(pipeline).steps[0].stage.name

    assert first("maxsim") == "candidates"
    assert first("toy-words", "toy-rerank") == "candidates"
    assert first("bm25", "maxsim") == "bm25"
    assert first("toy-words", "bm25") == "toy-words"
    assert first({"fuse": {"of": [["maxsim"], ["toy-rerank"]]}}) == "candidates"
    assert first({"fuse": {"of": [["bm25"], ["toy"]]}}) == "fuse"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("teacher: maxsim", 5, "a teacher needs a pipeline"),
        ("teacher:\n  pipeline:\n    - maxsin", 7, "there is no stage 'maxsin'"),
        (
            "teacher:\n  pipeline:\n    - maxsim\n    - bm25",
            8,
            "starts anew and drops the rankings of 'maxsim'",
        ),
        ("teacher:\n  pipeline: [maxsim]\n  weight: 1", 7, "unknown option 'weight'"),
        ("teacher:\n  pipeline: []", 6, "the pipeline has no stage"),
    ],
)
def test_each_fault_is_said_with_its_line(text: str, line: int, message: str) -> None:
    whole = f"name: a\nkind: adapter\ndata: [irkit/limit-small]\ntraining: {{group: 1}}\n{text}\n"
    with pytest.raises(ConfigError) as caught:
        read_recipe(parse_yaml(whole, "r.yaml"))
    found = [(str(each.where), each.message) for each in caught.value.problems]
    assert any(where == f"r.yaml:{line}" and message in said for where, said in found), found


def test_a_recipe_with_a_teacher_reads_back_and_shares_it() -> None:
    said = recipe(teacher={"pipeline": [{"maxsim": {"model": "minilm"}}]})
    again = read_recipe(Located(said.to_data(), "again"))
    assert again.teacher == said.teacher and again.shared() == said.shared()
    assert said.shared() != recipe().shared() and recipe().teacher is None


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    queries = [Example("a", (0,), (1,), scores=(0.1, math.nan)), Example("b", (1,))]
    examples = Examples(["x", "y"], queries, {})
    examples.save(tmp_path / "e.json.gz")
    found = Examples.load(tmp_path / "e.json.gz")
    assert found.queries[0].scores is not None and found.queries[0].scores[0] == 0.1
    assert math.isnan(found.queries[0].scores[1]) and found.queries[1].scores is None
    other = Examples(["x", "y"], [Example("a", (0,), (1,), scores=(0.2, math.nan)), queries[1]], {})
    assert other.fingerprint != examples.fingerprint == found.fingerprint


def test_a_file_of_an_older_format_is_refused(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "e.json.gz"
    Examples(["x"], [Example("a", (0,))], {}).save(path)
    data = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(json.dumps({**data, "format": 1}).encode()))
    with pytest.raises(DataError, match="the file has the format 1, this irkit reads 3"):
        Examples.load(path)
