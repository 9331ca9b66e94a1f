"""Reformulated queries: each method against queries written by hand, and its options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from misbehaving import KEY
from pydantic import ValidationError
from toys import toy_collection

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.models.writers import Prompt, Sampling
from irkit.pipeline import registry
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch
from irkit.stages.forms import ORIGINAL, TOLD, terms_of, with_terms
from irkit.stages.query.reformulate import Reformulate, WritingState
from irkit.stages.query.reformulation.prompts import GENQR


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    if "reformulate" not in registry.stage_names():
        registry.register("reformulate", Reformulate)


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return toy_collection(tmp_path / "collection")


class Planted:
    """An author that writes down what it is asked, and answers "<owner> <number>"."""

    def __init__(self) -> None:
        self.prompts: list[Sequence[Prompt]] = []
        self.sampling: Sampling | None = None
        self.owners: list[str] = []

    def texts(
        self, owners: Sequence[str], prompts: Sequence[Sequence[Prompt]], count: int, sampling: Sampling
    ) -> list[list[str]]:
        self.owners += owners
        self.prompts += prompts
        self.sampling = sampling
        return [[f"t{number}" for number in range(len(each) * count)] for each in prompts]


def run(
    collection: Collection, query: str, upstream: tuple[Rankings, ...] = (), **options: Any
) -> tuple[str, Planted]:
    author = Planted()
    stage = make_stage("reformulate", **options)
    assert isinstance(stage, Reformulate)
    found = stage.run(Batch(Queries.of([query]), upstream), WritingState(author, collection.docs))
    return found.text[0], author


def prompt(author: Planted) -> Prompt:
    ((only,),) = author.prompts
    return only


# -- what each method asks and makes ---------------------------------------------------------------------------------------------


def test_query2doc(collection: Collection) -> None:
    text, author = run(collection, "who flies?", method="query2doc")
    assert text == "who flies? who flies? who flies? who flies? who flies? t0"
    assert prompt(author) == Prompt(
        "Write a passage that answers the given query:\n\nQuery: who flies?\nPassage:"
    )
    assert author.sampling == Sampling(temperature=1.0, top_p=1.0, max_tokens=128)
    assert run(collection, "q", method="query2doc", target="dense")[0] == "q [SEP] t0"
    assert run(collection, "q", method="query2doc", repeat=2)[0] == "q q t0"
    _, author = run(collection, "q", method="query2doc", examples=[["a{b}?", "c"], ["d?", "e"]])
    assert prompt(author).user == (
        "Write a passage that answers the given query:\n\n"
        "Query: a{b}?\nPassage: c\n\nQuery: d?\nPassage: e\n\nQuery: q\nPassage:"
    )


def test_genqr(collection: Collection) -> None:
    text, author = run(collection, "cold {war}", method="genqr")
    assert text == "cold {war} t0"
    assert prompt(author).user == (
        "Improve the search effectiveness by suggesting expansion terms for the query: cold {war}"
    )
    _, author = run(collection, "q", method="genqr", instruction=10)
    assert prompt(author).user == f"{GENQR[9]}: q"
    assert run(collection, "q", method="genqr", texts=3, repeat=5)[0] == "q q q q q t0 t1 t2"


def test_genqr_ensemble(collection: Collection) -> None:
    text, author = run(collection, "q", method="genqr-ensemble")
    assert text == "q t0 t1 t2 t3 t4 t5 t6 t7 t8 t9"
    assert [each.user for each in author.prompts[0]] == [f"{instruction}: q" for instruction in GENQR]
    assert len(set(GENQR)) == 10


def test_genqr_ensemble_reads_documents_behind_a_retriever(collection: Collection) -> None:
    ranked = Rankings.from_lists([np.arange(4)], [np.arange(4, 0, -1.0)])
    texts = [" ".join(collection.docs.text(code).split()) for code in range(4)]
    _, author = run(collection, "q", (ranked,), method="genqr-ensemble")
    assert author.prompts[0][1].user == (
        f"Based on the given context information {chr(10).join(texts)}, {GENQR[1]}: q"
    )
    _, author = run(collection, "q", (ranked,), method="genqr", fb_docs=2, words=1)
    first = "\n".join(text.split()[0] for text in texts[:2])
    assert prompt(author).user == f"Based on the given context information {first}, {GENQR[0]}: q"
    for plain in ({"fb_docs": 0}, {}):
        given = (ranked,) if plain else (Rankings.empty(1),)
        _, author = run(collection, "q", given, method="genqr", **plain)
        assert prompt(author).user == f"{GENQR[0]}: q"
    with pytest.raises(ConfigError, match="put a retriever"):
        run(collection, "q", method="genqr", fb_docs=3)
    _, author = run(collection, "q", (ranked,), method="query2doc")
    assert "context" not in prompt(author).user


def test_hyde_for_words(collection: Collection) -> None:
    text, author = run(collection, "q", method="hyde")
    assert text == "q t0 t1 t2 t3 t4 t5 t6 t7"
    assert prompt(author) == Prompt("Please write a passage to answer the question.\nQuestion: q\nPassage:")
    assert author.sampling == Sampling(temperature=0.7, top_p=1.0, max_tokens=512)
    _, author = run(collection, "q", method="hyde", task="scifact")
    assert prompt(author).user.endswith("support/refute the claim.\nClaim: q\nPassage:")


def test_mugi(collection: Collection) -> None:
    # 5 texts of 2 characters and 4 spaces are 14 characters
    text, author = run(collection, "q", method="mugi")
    assert text == "q q t0 t1 t2 t3 t4"  # 14 // 1 // 5 = 2
    assert run(collection, "q", method="mugi", adaptive=2)[0] == "q q q q q q q t0 t1 t2 t3 t4"
    assert run(collection, "qq", method="mugi", adaptive=2)[0] == "qq qq qq t0 t1 t2 t3 t4"  # 14 // 2 // 2
    assert run(collection, "a long query", method="mugi")[0] == "a long query t0 t1 t2 t3 t4"  # 0, so once
    assert run(collection, "q", method="mugi", target="dense")[0] == "q t0 t1 t2 t3 t4"
    assert run(collection, "q", method="mugi", texts=1, repeat=0)[0] == "t0"
    assert prompt(author).system is not None
    assert "relevant to the following query: 'q'. The passage" in prompt(author).user


def test_cot(collection: Collection) -> None:
    text, author = run(collection, "first line\nsecond", method="cot")
    assert text == "t0"
    assert prompt(author).user.startswith(
        "first line second\n\nInstructions:\n1. Identify the essential problem.\n2."
    )
    assert prompt(author).user.endswith("3. Draft an answer with as many thoughts as you have.\n")
    assert run(collection, "q", method="cot", repeat=1)[0] == "q t0"


def test_a_blank_query_stays_and_nobody_is_asked(collection: Collection) -> None:
    text, author = run(collection, "  ")
    assert text == "  "
    assert author.prompts == [[]]


def test_what_was_said_stands_on_one_line_and_forms_of_the_old_text_go(collection: Collection) -> None:
    class Lines(Planted):
        def texts(self, *_: Any) -> list[list[str]]:
            return [["two\n  lines "]]

    before = with_terms(Queries.of(["q"]), "porter", [{"q": 2.0}])
    stage = Reformulate(method="cot")
    found = stage.run(Batch(before), WritingState(Lines(), collection.docs))
    assert found.text == ("two lines",)
    assert terms_of(found, "porter") == [None]
    assert found.columns[ORIGINAL] == ["q"]
    assert "two lines" in found.columns[TOLD][0][0]


def test_files_are_asked_by_the_first_text(collection: Collection) -> None:
    author = Planted()
    state = WritingState(author, collection.docs)
    once = Reformulate(method="cot").run(Batch(Queries.of(["q"])), state)
    Reformulate(method="cot").run(Batch(once), state)
    assert author.owners == ["q", "q"]
    assert author.prompts[1][0].user.startswith("t0\n\n")


# -- options -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "hyde", "target": "dense"}, "take the stage hyde"),
        ({"method": "replace"}, "takes its texts from a file"),
        ({"method": "query2doc", "fb_docs": 3}, "reads no documents"),
        ({"llm": {"url": "https://h/v1"}}, "name the model"),
        ({"llm": {"url": "https://h/v1", "model": "m", "file": "t.json"}}, "not from both"),
        ({"llm": {"url": "file:///etc/passwd", "model": "m"}}, "https:// or http://"),
        ({"llm": {"url": "https://me:secret@h/v1", "model": "m"}}, "no user, password"),
        ({"llm": {"url": "https://h/v1", "model": "m", "key_variable": KEY}}, "not a key"),
        ({"llm": {"key_variable": "K"}}, "add its url"),
        ({"llm": {"field": "x"}}, "add file"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Reformulate(**options)
    assert said in str(caught.value)


def test_a_key_or_password_in_the_wrong_place_is_not_repeated() -> None:
    for llm in (
        {"url": "https://h/v1", "model": "m", "key_variable": KEY},
        {"url": f"https://u:{KEY}@h/v1", "model": "m"},
    ):
        with pytest.raises(ConfigError) as caught:
            make_stage("reformulate", llm=llm)
        assert KEY not in str(caught.value)


def test_how_an_endpoint_is_asked_is_no_part_of_the_meaning() -> None:
    plain = Reformulate(llm={"url": "https://h/v1", "model": "m"})
    patient = Reformulate(
        llm={
            "url": "https://h/v1",
            "model": "m",
            "key_variable": "K",
            "timeout": 3,
            "retries": 9,
            "budget_tokens": 7,
        }
    )
    assert plain.meaning() == patient.meaning()
    for other in (
        {"model": "n"},
        {"url": "https://i/v1"},
        {"temperature": 0.1},
        {"seed": 3},
        {"max_tokens": 9},
    ):
        assert Reformulate(llm={"url": "https://h/v1", "model": "m", **other}).meaning() != plain.meaning()
    assert Reformulate(llm={"batch_tokens": 5, "device": "cpu"}).meaning() == Reformulate().meaning()


def test_nothing_heavy_is_imported_by_the_stages() -> None:
    code = (
        "import sys; import irkit.stages.query.reformulate, irkit.stages.query.hyde, irkit.stages.query.prompt_prf;"
        "irkit.stages.query.reformulate.Reformulate(); print([m for m in ('torch', 'transformers', 'urllib.request',"
        "'sentence_transformers', 'faiss', 'numba', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout.replace("'", '"')) in ([], ["urllib.request"])
