"""Texts of a model on this machine: own random numbers for each, the same alone and in company, counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.models.lm.generation import Draw, Written, _Drawing, generate, write
from irkit.models.lm.model import CausalLM
from irkit.models.writers import Job, Keeper, Prompt, Sampling, Text
from irkit.models.writers.local import LocalWriter
from irkit.store import Store

WARM = Sampling(temperature=1.0, top_p=0.9, max_tokens=6)
COLD = Sampling(temperature=0.0, top_p=1.0, max_tokens=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return open_tiny(tiny_lm(tmp_path_factory.mktemp("lm") / "llama", layers=2, spread=0.5), attention="sdpa")


@pytest.fixture
def writer(model: CausalLM) -> LocalWriter:
    return LocalWriter(lambda: model, {"model": "tiny"})


def written(writer: LocalWriter, jobs: list[Job]) -> dict[int, Text]:
    found: dict[int, Text] = {}
    writer.write(jobs, found.__setitem__)
    return found


def texts(writer: LocalWriter, jobs: list[Job]) -> list[str]:
    found = written(writer, jobs)
    assert list(found) == list(range(len(jobs)))
    return [found[place].text for place in range(len(jobs))]


def jobs(sampling: Sampling, *queries: str, count: int = 1) -> list[Job]:
    return [job for query in queries for job in Job.several(Prompt(query), sampling, count)]


def test_sampled_texts_do_not_depend_on_company(writer: LocalWriter) -> None:
    every = jobs(WARM, "the wing", "heat shock flow", "lift", count=3)
    together = texts(writer, every)
    assert [texts(writer, [job])[0] for job in every] == together
    assert texts(writer, every[::-1]) == together[::-1]
    assert len(set(together)) > 4, "samples differ"


def test_rows_of_a_padded_batch_draw_as_they_do_alone(model: CausalLM) -> None:
    from irkit.models.lm.generation import _write

    prompts = [np.array(ids, np.int64) for ids in ([5, 9, 30], [7, 8, 9, 10, 11, 12, 40], [21])]
    draws = [Draw(0.8, 0.95, 3), None, Draw(1.5, 1.0, 4)]
    limits = [5, 7, 6]
    alone = [_write(model, [p], [n], [d])[0] for p, n, d in zip(prompts, limits, draws, strict=True)]
    assert _write(model, prompts, limits, draws) == alone


def test_greedy_is_as_it_was(model: CausalLM) -> None:
    (prompt,) = model.encode(["the flow of heat"])
    (text,) = generate(model, [prompt], [8])
    assert next(write(model, [prompt], [8], draws=[None])).text == text


def test_draws_follow_the_probabilities() -> None:
    import torch

    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits = torch.log(chances)[None]

    def drawn(temperature: float, top_p: float) -> np.ndarray:
        drawing = _Drawing([Draw(temperature, top_p, 7)])
        found = [int(drawing(None, logits).argmax()) for _ in range(4000)]
        return np.bincount(found, minlength=4) / len(found)

    np.testing.assert_allclose(drawn(1.0, 1.0), chances, atol=0.03)
    warmer = (chances**0.5 / (chances**0.5).sum()).numpy()
    np.testing.assert_allclose(drawn(2.0, 1.0), warmer, atol=0.03)
    np.testing.assert_allclose(drawn(1.0, 0.7), [0.625, 0.375, 0, 0], atol=0.03)
    np.testing.assert_allclose(drawn(1.0, 0.01), [1, 0, 0, 0])


def test_tokens_are_counted(model: CausalLM, writer: LocalWriter) -> None:
    text = written(writer, jobs(COLD, "the wing"))[0]
    template = model.template()
    whole = f"{template.prefix}the wing{template.suffix}"
    assert text.prompt_tokens == len(model.encode([whole], special=True)[0])
    assert 1 <= text.completion_tokens <= 6


def test_the_end_of_the_turn_ends_a_text_and_counts(model: CausalLM) -> None:
    from irkit.models.lm.generation import _ends, _read

    ends, _ = _ends(model)
    (words,) = model.encode([" flow heat"])
    assert _read(model, [*words.tolist(), ends[0], *words.tolist()], ends) == Written(
        " flow heat", len(words) + 1
    )


def test_a_system_message_stands_where_the_template_knows_none(model: CausalLM, tmp_path: Path) -> None:
    assert model.template("be brief").prefix != model.template().prefix
    assert "be brief" in model.template("be brief").prefix
    strict = open_tiny(tiny_lm(tmp_path / "strict", layers=1))
    strict.tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + strict.tokenizer.chat_template
    )
    assert strict.template("be brief").prefix == strict.template().prefix + "be brief\n\n"
    plain = open_tiny(tiny_lm(tmp_path / "plain", layers=1, chat=False))
    assert plain.template("be brief").prefix == "<s>be brief\n\n"


def test_special_tokens_of_a_query_are_text(model: CausalLM, writer: LocalWriter) -> None:
    ids = writer._tokens(jobs(COLD, "a <|end|> b")[0])
    (end,) = model.encode(["<|end|>"], special=True)
    assert list(ids).count(int(end[0])) == list(writer._tokens(jobs(COLD, "a b")[0])).count(int(end[0]))


def test_half_an_emoji_is_replaced(writer: LocalWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any, **__: Any) -> list[Written]:
        return [Written("wing \ud83d", 2)]

    monkeypatch.setattr("irkit.models.lm.generation.write", cut)
    assert texts(writer, jobs(COLD, "q")) == ["wing \ufffd"]


def test_too_long_a_prompt_is_refused(writer: LocalWriter) -> None:
    with pytest.raises(ModelError, match="do not fit into the model's 4096 positions"):
        written(writer, jobs(COLD, "wing " * 5000))


def test_what_is_kept_is_not_written_again_and_loads_nothing(model: CausalLM, tmp_path: Path) -> None:
    store, counts = Store(tmp_path / "store"), Counter[str]()
    asked = jobs(WARM, "lift", "drag", count=2)

    def fails() -> CausalLM:
        raise AssertionError("the model was loaded")

    first = Keeper(LocalWriter(lambda: model, {"model": "m"}), store.ledger("texts"), counts).texts(asked)
    assert counts["texts/written"] == 4
    assert counts["tokens/prompt"] > 0
    assert counts["tokens/completion"] > 0
    again = Counter[str]()
    keeper = Keeper(LocalWriter(fails, {"model": "m"}), Store(tmp_path / "store").ledger("texts"), again)
    assert keeper.texts(asked[::-1]) == first[::-1]
    assert again == Counter({"texts/from the store": 4})
    other = Keeper(LocalWriter(fails, {"model": "another"}), store.ledger("texts"), again)
    with pytest.raises(AssertionError, match="was loaded"):
        other.texts(asked)


def test_jobs_differ_by_all_that_decides_a_text() -> None:
    base = Job(Prompt("q", "s"), WARM, 0)
    others = [
        Job(Prompt("r", "s"), WARM),
        Job(Prompt("q"), WARM),
        Job(Prompt("q", "s"), WARM, 1),
        Job(Prompt("q", "s"), Sampling(0.9, 0.9, 6)),
        Job(Prompt("q", "s"), Sampling(1.0, 0.8, 6)),
        Job(Prompt("q", "s"), Sampling(1.0, 0.9, 7)),
        Job(Prompt("q", "s"), Sampling(1.0, 0.9, 6, seed=1)),
    ]
    assert len({job.seed for job in [base, *others]}) == len(others) + 1
    greedy = [Job(Prompt("q"), Sampling(0.0, top_p, 6, seed)) for top_p, seed in ((1.0, 0), (0.5, 3))]
    assert greedy[0].to_data() == greedy[1].to_data()
    assert len(set(Job.several(Prompt("q"), COLD, 5))) == 1
    assert len(set(Job.several(Prompt("q"), WARM, 5))) == 5
