"""Finding heads from end to end, with a tiny model of random weights over toy collections."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import toys
from tiny_lm import open_tiny, tiny_lm

from irkit.api.heads import Detection, candidates, detect_heads, split_of
from irkit.api.workspace import Workspace
from irkit.core.errors import ConfigError, DataError, ModelError
from irkit.data.collection import EvalPolicy
from irkit.data.spec import LocalSpec
from irkit.models.lm.heads import Heads, read_heads
from irkit.pipeline.context import Runtime
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


def test_missed_relevant_documents_take_the_last_places_up_to_half() -> None:
    gains = np.array([1, 2, 0, 1])  # of 1, 7, 8, 9
    found, worth = candidates(codes(3, 8, 1, 4, 5), codes(1, 7, 8, 9), gains, 5)
    # half of 5 is 2: 1 is there, 7 is the best that is not, and takes the place of 5
    assert found.tolist() == [3, 8, 1, 4, 7]
    assert worth.tolist() == [0, 0, 1, 0, 2]
    found, worth = candidates(codes(3, 8, 1, 4, 5), codes(1, 7, 8, 9), gains, 6)
    assert found.tolist() == [3, 8, 1, 4, 7, 9]  # and 9, of gain 1, for half of 6 is 3: 5 makes room
    assert candidates(codes(1, 7, 9), codes(1, 7, 8, 9), gains, 3)[0].tolist() == [1, 7, 9]
    assert candidates(codes(3, 4, 5, 6), codes(3), np.array([1]), 2)[0].tolist() == [3, 4]
    assert candidates(codes(), codes(3), np.array([1]), 2)[0].tolist() == [3]


def test_the_split_is_taken_from_where_it_is_written() -> None:
    assert split_of(LocalSpec(path="data", split="train")) == "train"
    assert split_of(LocalSpec(docs="a", queries="b", qrels="c")) is None
    assert split_of("local:some/folder?split=mine") == "mine"
    assert split_of("beir/scifact/train") == "train"
    assert split_of("msmarco-passage/dev/small") is None
    assert split_of("cranfield") is None


def test_interrupted_work_leaves_nothing(lm: Path, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> Heads:
        raise KeyboardInterrupt

    monkeypatch.setattr(Criterion, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        detect_heads(DATA, place, how(lm))
    assert not list(place.root.rglob("*heads*"))
