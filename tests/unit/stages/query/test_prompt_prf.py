"""PromptPRF: features belong to documents, are written once, and stand behind the query."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from misbehaving import Endpoint, endpoint, user, well
from tiny_lm import tiny_lm
from toys import toy_collection

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch
from irkit.stages.forms import TOLD
from irkit.stages.query.prompt_prf import PromptPrf
from irkit.stages.query.reformulation.prompts import FEATURES
from irkit.store import Store
from irkit.testing import check_stage


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    if "prompt-prf" not in registry.stage_names():
        registry.register("prompt-prf", PromptPrf)


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return toy_collection(tmp_path / "collection")


@pytest.fixture
def served() -> Iterator[Endpoint]:
    with endpoint() as made:
        made.plan = lambda _n, body: well(
            body, f"about {user(body).rpartition('Passage: ')[2][:9]}\nand more"
        )
        yield made


def remote(served: Endpoint) -> dict[str, Any]:
    return {"url": served.url, "model": "m", "retries": 0}


def ranked(*lists: list[int]) -> Rankings:
    return Rankings.from_lists(
        [np.array(each, np.int32) for each in lists],
        [np.arange(len(each), 0, -1, dtype=np.float32) for each in lists],
    )


def run(stage: PromptPrf, queries: list[str], rankings: Rankings, context: Context) -> Queries:
    found = stage.run(Batch(Queries.of(queries), (rankings,)), stage.prepare(context))
    assert isinstance(found, Queries)
    return found


def feature(collection: Collection, code: int) -> str:
    return f"about {' '.join(collection.docs.text(code).split())[:9]} and more".replace("  ", " ")


def test_features_of_the_first_documents_stand_behind_the_query(
    served: Endpoint, collection: Collection, tmp_path: Path
) -> None:
    stage = PromptPrf(llm=remote(served), fb_docs=2)
    context = Context(collection, Store(tmp_path / "s"))
    found = run(stage, ["q one", "none", "q {two}"], ranked([2, 0, 1], [], [0, 2]), context)
    two, zero = feature(collection, 2), feature(collection, 0)
    assert found.text == (
        f"q one\n\nKeywords of relevant passages:\n{two}\n{zero}",
        "none",
        f"q {{two}}\n\nKeywords of relevant passages:\n{zero}\n{two}",
    )
    assert found.columns[TOLD][0][0].startswith("prompt-prf: keywords of 2 documents: ")
    assert found.columns[TOLD][1] == ["prompt-prf: the query as it was, for it has no documents"]
    assert len(served.requests) == 2, "once for each document, whatever the query"
    text = " ".join(collection.docs.text(0).split())
    assert {user(body) for body in served.requests} >= {f"{FEATURES['keywords']}\n\nPassage: {text}"}
    assert served.requests[0]["temperature"] == 0
    assert not any("q one" in user(body) for body in served.requests)


def test_another_feature_is_asked_anew_and_the_same_is_not(
    served: Endpoint, collection: Collection, tmp_path: Path
) -> None:
    store = Store(tmp_path / "s")
    for kind, paid in (("keywords", 1), ("keywords", 1), ("summary", 2), ("essay", 3)):
        stage = PromptPrf(feature=kind, llm=remote(served))
        found = run(stage, ["q"], ranked([1]), Context(collection, store))
        assert f"{kind.capitalize()} of relevant" in found.text[0]
        assert len(served.requests) == paid


def test_ahead_writes_all_and_gives_the_same(
    served: Endpoint, collection: Collection, tmp_path: Path
) -> None:
    later = run(
        PromptPrf(llm=remote(served)), ["q"], ranked([1, 0]), Context(collection, Store(tmp_path / "a"))
    )
    assert len(served.requests) == 2
    stage = PromptPrf(llm=remote(served), ahead=True)
    context = Context(collection, Store(tmp_path / "b"))
    opened = stage.prepare(context)
    filled = sum(bool(collection.docs.text(code).strip()) for code in range(len(collection.docs)))
    before = len(served.requests)
    assert before == 2 + filled
    found = stage.run(Batch(Queries.of(["q"]), (ranked([1, 0]),)), opened)
    assert isinstance(found, Queries)
    assert found.text == later.text
    assert len(served.requests) == before
    assert stage.meaning() == PromptPrf(llm=remote(served)).meaning()


def test_without_documents_or_belief_the_query_stays(
    served: Endpoint, collection: Collection, tmp_path: Path
) -> None:
    context = Context(collection, Store(tmp_path / "s"))
    gated = {"gate": {"least": 0.99}}
    for options in ({"fb_docs": 0}, gated):
        stage = PromptPrf(llm=remote(served), **options)
        assert run(stage, ["q"], ranked([2, 1, 0]), context).text == ("q",)
    assert not served.requests


def test_a_file_goes_by_documents(collection: Collection, tmp_path: Path) -> None:
    path = tmp_path / "features.tsv"
    docs = collection.docs
    path.write_text("".join(f"{docs.docno(code)}\tfeature {code}\n" for code in range(len(docs))))
    stage = PromptPrf(llm={"file": str(path)}, fb_docs=2)
    found = run(stage, ["q"], ranked([1, 0]), Context(collection, Store(tmp_path / "s"), workspace=tmp_path))
    assert found.text == ("q\n\nKeywords of relevant passages:\nfeature 1\nfeature 0",)


def test_contract(tmp_path: Path) -> None:
    model = tiny_lm(tmp_path / "lm", layers=1)
    llm = {"model": str(model), "dtype": "float32", "device": "cpu", "max_tokens": 4}
    stage = make_stage("prompt-prf", llm=llm, words=8)
    check_stage(stage, tmp_path, other_execution={"ahead": True})
