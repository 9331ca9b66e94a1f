"""Finding heads from end to end, with a tiny model of random weights over toy collections."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from tiny_lm import open_tiny, tiny_lm

from irkit.api.heads import Detection, candidates, detect_heads, judged_lists
from irkit.api.workspace import Workspace
from irkit.core.errors import ConfigError, DataError, ModelError
from irkit.data.collection import EvalPolicy
from irkit.data.spec import LocalSpec, split_of
from irkit.models.lm.heads import read_heads
from irkit.pipeline.context import Context, Runtime
from irkit.stages.rerank.head_selection import METHODS, Criterion
from irkit.stages.rerank.icr_prompt import make_prompt
from irkit.stages.rerank.language import LanguageModelOptions

pytestmark = pytest.mark.usefixtures("toy_stages")

DATA = LocalSpec(path="data")
WORDS = ["wing", "lift", "drag", "flow", "heat", "shock", "pressure", "boundary", "layer"]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    toys.write_beir(tmp_path / "data")
    return Workspace(tmp_path, runtime=Runtime("cpu", 1))


def how(lm: Path, method: str = "qrhead-ndcg", **options: object) -> Detection:
    given = {"top": 3, "depth": 4, "first_stage": toys.toy(k=4), **options}
    model = LanguageModelOptions(model=str(lm), dtype="float32")
    return Detection(criterion=Criterion(method), model=model, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_heads_are_found_and_kept_with_what_they_were_found_on(
    lm: Path, place: Workspace, tmp_path: Path, method: str
) -> None:
    heads = detect_heads(DATA, place, how(lm, method))
    assert len(heads) == len(heads.scores) == 3
    assert heads.scores == tuple(sorted(heads.scores, reverse=True))
    assert 0 < heads.scores[0] <= 1  # a mean over the queries
    assert (heads.method, heads.shape, heads.model) == (method, (4, 4), str(lm))
    heads.check(4, 4, "tiny")
    found = heads.detection
    assert (found["collection"], found["split"], found["seed"]) == ("data/test", "test", 0)
    # q4 finds nothing, so no document stands against the relevant one
    assert (found["queries"], found["qids"]) == (4, ["q1", "q2", "q3", "q5"])
    assert found["first_stage"] == [{"toy": {"k": 4}}]
    assert heads.model_fingerprint
    heads.save(tmp_path / "heads.json")
    assert read_heads(tmp_path / "heads.json") == heads


def test_attention_is_that_of_transformers(lm: Path, place: Workspace) -> None:
    """One query, and every head's attention on the relevant document by transformers' own eager attention."""
    import torch

    found = detect_heads(DATA, place, how(lm, "qrhead-mass", queries=1, top=16))
    (qid,) = found.detection["qids"]
    model = open_tiny(lm)
    opened = place.open(DATA)
    # the order is drawn from the seed, so it is searched for: one of the orders of the list has these values
    row = opened.queries.qid.index(qid)
    docs, gains = candidates(
        place.searcher(toys.toy(k=4), opened)(opened.queries.take([row]))[0][0],
        *map(np.asarray, opened.qrels[row]),
        4,
        add=True,
    )
    eager = open_tiny(lm, attention="eager").model.base_model
    got = dict(zip(found.pairs, found.scores, strict=True))

    def values(order: tuple[int, ...]) -> dict[tuple[int, int], float]:
        texts = [opened.docs.body(int(docs[place])) for place in order]
        made = make_prompt(model, opened.queries.text[row], texts, calibrate=False)
        ids = torch.from_numpy(made.prompt.segments.ids)[None]
        (read,) = made.prompt.reads
        with torch.inference_mode():
            attentions = eager(input_ids=ids, output_attentions=True).attentions
        target = order.index(int(np.flatnonzero(gains > 0)[0]))
        start, stop = made.bounds[target] + read.documents[0]
        return {
            (layer, head): float(rows[0, head, read.rows[0] : read.rows[1], start:stop].sum(-1).mean())
            for layer, rows in enumerate(attentions)
            for head in range(4)
        }

    wanted = [values(order) for order in permutations(range(len(docs)))]
    assert any(all(got[pair] == pytest.approx(each[pair], rel=1e-4) for pair in got) for each in wanted)


def test_the_same_seed_gives_the_same_heads_and_another_reads_other_lists(lm: Path, place: Workspace) -> None:
    first, again, other = (
        detect_heads(DATA, place, how(lm, "qrhead-mass", seed=seed, top=16)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.scores != other.scores


def test_the_prompt_is_that_of_the_options(lm: Path, place: Workspace) -> None:
    plain, *others = (
        detect_heads(DATA, place, how(lm, "qrhead-mass", **options))
        for options in ({}, {"rows": "query"}, {"instruction": "qa"})
    )
    assert all(plain.scores != other.scores for other in others)
    assert [other.detection[key] for other, key in zip(others, ("rows", "instruction"), strict=True)] == [
        "query",
        "qa",
    ]


def test_a_document_that_its_query_excludes_is_not_in_its_list(lm: Path, place: Workspace) -> None:
    toys.write_beir(place.root / "data", queries={"d1": "a b", "q1": "a b"})
    spec = LocalSpec(path="data", policy=EvalPolicy(drop_self=True))
    assert detect_heads(spec, place, how(lm)).detection["qids"] == ["q1"]


def test_drawn_queries_are_some_of_the_judged_ones(lm: Path, place: Workspace) -> None:
    drawn = {
        tuple(detect_heads(DATA, place, how(lm, queries=2, seed=seed)).detection["qids"]) for seed in range(5)
    }
    assert all(len(qids) <= 2 and set(qids) < {"q1", "q2", "q3", "q4", "q5"} for qids in drawn)
    assert len(drawn) > 1


def test_queries_without_relevant_documents_are_not_read(lm: Path, place: Workspace, tmp_path: Path) -> None:
    qrels = tmp_path / "data" / "qrels"
    (qrels / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t0\nq2\td3\t2\nq3\td99\t1\n")
    found = detect_heads(LocalSpec(path="data", split="train"), place, how(lm)).detection
    assert (found["split"], found["qids"]) == ("train", ["q2"])
    (qrels / "none.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t0\n")
    with pytest.raises(DataError, match="no query has a relevant document"):
        detect_heads(LocalSpec(path="data", split="none"), place, how(lm))
    (qrels / "alone.tsv").write_text("query-id\tcorpus-id\tscore\nq4\td1\t1\n")
    with pytest.raises(DataError, match="none has a list with both"):
        detect_heads(LocalSpec(path="data", split="alone"), place, how(lm))


def test_more_heads_than_there_are_is_found_out_before_reading(lm: Path, place: Workspace) -> None:
    with pytest.raises(ConfigError, match="17 heads cannot be taken of the model's 16"):
        detect_heads(DATA, place, how(lm, top=17))
    with pytest.raises(ModelError, match="no model 'smolm2'"):
        detect_heads(
            DATA, place, Detection(model=LanguageModelOptions(model="smolm2"), first_stage=toys.toy(k=4))
        )


@pytest.mark.parametrize("option", ["top", "queries", "depth", "seed"])
def test_numbers_that_cannot_be_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Detection(**{option: -1})  # type: ignore[arg-type]


def codes(*given: int) -> np.ndarray:
    return np.array(given, np.int32)


def test_a_missed_relevant_document_is_added_to_a_list_without_one() -> None:
    gains = np.array([1, 2, 0, 2])  # of 1, 7, 8, 9
    judged = codes(1, 7, 8, 9)

    def made(found: np.ndarray, depth: int, add: bool = True) -> tuple[list[int], list[int]]:
        docs, worth = candidates(found, judged, gains, depth, add=add)
        assert docs.dtype == np.int32
        return docs.tolist(), worth.tolist()

    assert made(codes(3, 8, 1, 4, 5), 5) == ([3, 8, 1, 4, 5], [0, 0, 1, 0, 0])  # there is one: none is added
    assert made(codes(3, 8, 1, 4, 5), 2) == (
        [3, 7],
        [0, 2],
    )  # the best that is not in it takes the last place
    assert made(codes(3, 8), 6) == ([3, 8, 7], [0, 0, 2])
    assert made(codes(), 2) == ([7], [2])
    assert made(codes(3, 8, 1, 4, 5), 2, add=False) == ([3, 8], [0, 0])
    assert candidates(codes(3), codes(3), np.array([0]), 2, add=True)[0].tolist() == [3]


def test_queries_without_a_relevant_document_are_left_out_when_none_is_added(
    lm: Path, place: Workspace
) -> None:
    with_it, without = (
        detect_heads(DATA, place, how(lm, depth=2, add_relevant=add)).detection for add in (True, False)
    )
    assert (with_it["add_relevant"], without["add_relevant"]) == (True, False)
    assert with_it["relevant_added"] == with_it["queries"] - without["queries"] > 0
    assert without["relevant_added"] == 0
    assert set(without["qids"]) < set(with_it["qids"])


def test_the_split_is_taken_from_where_it_is_written() -> None:
    assert split_of(LocalSpec(path="data", split="train")) == "train"
    assert split_of(LocalSpec(docs="a", queries="b", qrels="c")) is None
    assert split_of("local:some/folder?split=mine") == "mine"
    assert split_of("beir/scifact/train") == "train"
    assert split_of("msmarco-passage/dev/small") is None
    assert split_of("cranfield") is None


@pytest.mark.parametrize("method", METHODS)
def test_attention_that_is_not_finite_is_refused(
    lm: Path, place: Workspace, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    import torch

    load = LanguageModelOptions.load_model

    def broken(self: LanguageModelOptions, context: Context, attention: str = "irkit") -> Any:
        model = load(self, context, attention)
        with torch.no_grad():
            next(model.model.parameters()).fill_(torch.nan)
        return model

    monkeypatch.setattr(LanguageModelOptions, "load_model", broken)
    with pytest.raises(ModelError, match="query 'q1': the attention is not finite"):
        detect_heads(DATA, place, how(lm, method))


def test_documents_that_were_cut_are_counted(place: Workspace, tmp_path: Path) -> None:
    small = tiny_lm(tmp_path / "small", layers=1, max_position_embeddings=500)
    docs = {**toys.DOCS, "d1": "a b " * 2000, "d2": "a b " * 3000}
    toys.write_beir(place.root / "data", docs, {"q1": "a b", "q3": "e"})
    model = LanguageModelOptions(model=str(small), dtype="float32", words=None)
    detection = Detection(model=model, depth=4, first_stage=toys.toy(k=4), top=1, queries=99)
    found = detect_heads(DATA, place, detection).detection
    assert (found["queries"], found["documents_cut"]) == (2, 2 + 1)


def test_every_querys_list_has_an_order_of_its_own(lm: Path, place: Workspace) -> None:
    texts = {f"q{number}": "a b" + " " * number + " e" for number in range(8)}  # the same words
    toys.write_beir(place.root / "data", queries=texts)
    lists = judged_lists(place.open(DATA), place, how(lm))
    assert len({tuple(sorted(each.docs.tolist())) for each in lists}) == 1
    assert len({tuple(each.docs.tolist()) for each in lists}) > 3


def test_heads_that_the_cut_cannot_tell_apart_are_named(lm: Path, place: Workspace) -> None:
    """One query and two documents: a head's nDCG is 1 or less, so most heads are equal to others."""
    found = detect_heads(DATA, place, how(lm, queries=1, depth=2, top=16))
    assert "tied_at_cut" not in found.detection
    tops = list(found.scores).count(found.scores[0])
    assert tops > 1
    heads = detect_heads(DATA, place, how(lm, queries=1, depth=2, top=1))
    assert heads.detection["tied_at_cut"] == {
        "taken": heads.names(),
        "left_out": found.names()[1:tops],
    }
    assert found.pairs[:tops] == tuple(sorted(found.pairs[:tops]))


def test_the_instruction_is_read_as_icr_reads_it() -> None:
    assert Detection(instruction=" qa\n").instruction == "qa"
    with pytest.raises(ConfigError, match="instruction: it is blank"):
        Detection(instruction=" \n")
