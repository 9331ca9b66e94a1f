"""Tests of the prompt of in-context reranking: its tokens, its spans, its length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.core.text import well_formed
from irkit.models.lm.model import CausalLM
from irkit.stages.rerank.icr_prompt import INSTRUCTIONS, IcrPrompt, make_prompt, separator

LATE = INSTRUCTIONS["general"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return open_tiny(tiny_lm(tmp_path_factory.mktemp("lm") / "model", layers=1))


def sentence_pieces() -> object:
    """A tokeniser as Mistral's: SentencePiece, with a space set before every text, and bytes for what it does not know."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = ["▁", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789[].,:/"]
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *letters,
        "▁t",
        "▁th",
        "▁the",
        "▁w",
    ]
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "w")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    fast.chat_template = "{{ bos_token }}{% for m in messages %}[INST]{{ m['content'] }}[/INST]{% endfor %}"
    fast.add_special_tokens({"additional_special_tokens": ["[INST]", "[/INST]"]})
    return fast


def like_llama3() -> object:
    """A byte-level tokeniser with Llama 3's pattern, in which line ends join the full stop before them."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(["the wing. \n\nthe lift.\n\nthe wing.\n\n \n\n"] * 20, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<|end|>")
    fast.chat_template = (
        "{{ bos_token }}{% for m in messages %}user\n\n{{ m['content'] }}<|end|>answer\n\n{% endfor %}"
    )
    return fast


def with_tokenizer(model: CausalLM, tokenizer: object) -> CausalLM:
    made = CausalLM.__new__(CausalLM)
    made.__dict__.update(model.__dict__ | {"tokenizer": tokenizer})
    return made


def documents_of(model: CausalLM, prompt: IcrPrompt) -> list[np.ndarray]:
    first, last = prompt.prompt.reads[0].documents
    ids = prompt.prompt.segments.ids[first:last]
    return [ids[a:b] for a, b in prompt.bounds]


TEXTS = ["the wing.", "lift of the wing", "the drag of heat, and shock!", "x"]


@pytest.mark.parametrize("kind", ["byte-level", "sentence pieces", "llama 3"])
def test_tokens_are_those_of_the_whole_text(model: CausalLM, kind: str) -> None:
    tokenizer = {
        "byte-level": lambda: model.tokenizer,
        "sentence pieces": sentence_pieces,
        "llama 3": like_llama3,
    }[kind]()
    model = with_tokenizer(model, tokenizer)
    between = separator(model)
    assert between == (" \n\n" if kind == "llama 3" else "\n\n")
    prompt = make_prompt(model, " the lift? ", TEXTS)
    numbered = "".join(f"{between}[{i}] {text}" for i, text in enumerate(TEXTS, 1))
    for which, query in enumerate(["the lift?", "N/A"], start=1):
        # one blank or line end between the template and the text, never two
        blank = " " if kind == "sentence pieces" else ""
        message = f"{blank}Here are some paragraphs:{numbered}{between}{LATE}{between}Query: {query}"
        whole = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        found = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        segments, read = prompt.prompt.segments, prompt.prompt.reads[which - 1]
        rows = segments.ids[segments.bounds[which] : segments.bounds[which + 1]]
        shared = segments.ids[: segments.bounds[1]]
        assert [*shared, *rows] == found["input_ids"]
        assert read.rows == tuple(segments.bounds[which : which + 2])
        assert segments.positions[read.rows[0]] == len(shared)
        ends = np.array(found["offset_mapping"])[:, 1]
        assert int((ends <= whole.index(LATE)).sum()) == len(shared)
        for text, number, (start, stop) in zip(
            TEXTS, range(1, 5), prompt.bounds + read.documents[0], strict=True
        ):
            begin = whole.index(f"[{number}] {text}{between}")
            inside = (ends > begin) & (ends <= begin + len(f"[{number}] {text}"))
            assert np.flatnonzero(inside).tolist() == list(range(start, stop))


def test_the_first_and_last_token_read_are_of_documents(model: CausalLM) -> None:
    prompt = make_prompt(model, "lift", TEXTS)
    first, last = prompt.prompt.reads[0].documents
    assert prompt.bounds[0, 0] == 0 and prompt.bounds[-1, 1] == last - first
    assert (prompt.bounds[1:, 0] > prompt.bounds[:-1, 1]).all()
    assert [model.tokenizer.decode(ids) for ids in documents_of(model, prompt)] == list(prompt.texts)


def test_rows_of_the_query_alone(model: CausalLM) -> None:
    prompt = make_prompt(model, "lift of {wing}", TEXTS, rows="query")
    for read, text in zip(prompt.prompt.reads, ["lift of {wing}", "N/A"], strict=True):
        ids = prompt.prompt.segments.ids[read.rows[0] : read.rows[1]]
        assert model.tokenizer.decode(ids) == f" {text}"


def test_instructions_and_calibration(model: CausalLM) -> None:
    asked = make_prompt(model, "lift", TEXTS, instruction="qa", calibrate=False)
    assert len(asked.prompt.reads) == 1 and len(asked.prompt.segments) == 2
    rows = asked.prompt.segments.ids[slice(*asked.prompt.reads[0].rows)]
    assert model.tokenizer.decode(rows).startswith(f"{INSTRUCTIONS['qa']}\n\nQuery: lift<|end|>")
    own = make_prompt(model, "lift", TEXTS, instruction="{Find} the %s")
    rows = own.prompt.segments.ids[slice(*own.prompt.reads[0].rows)]
    assert model.tokenizer.decode(rows).startswith("{Find} the %s\n\nQuery: lift")


def test_the_query_that_calibrates_is_read_once(model: CausalLM) -> None:
    prompt = make_prompt(model, "\nN/A ", TEXTS)
    assert len(prompt.prompt.segments) == 2
    assert prompt.prompt.reads[0] == prompt.prompt.reads[1]


def test_a_model_without_a_template(tmp_path: Path) -> None:
    model = open_tiny(tiny_lm(tmp_path / "model", layers=1, chat=False))
    prompt = make_prompt(model, "lift", TEXTS)
    segments = prompt.prompt.segments
    start = model.tokenizer.decode(segments.ids[: segments.bounds[1]])
    assert start.startswith("<s> Here are some paragraphs:\n\n[1] the wing.")
    assert (
        model.tokenizer.decode(segments.ids[slice(*prompt.prompt.reads[0].rows)]) == f"{LATE}\n\nQuery: lift"
    )


hostile = st.text(max_size=40) | st.sampled_from(
    [
        "",
        " ",
        "<|end|>",
        "<s>",
        "{0} {x}",
        "%s",
        "[2] x\n\n[3] y",
        "\ud800 x",
        "北京 😀\u200d",
        "\n\n",
        "\x00",
        "N/A",
    ]
)


@given(st.lists(hostile, min_size=1, max_size=5), hostile)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_text(model: CausalLM, texts: list[str], query: str) -> None:
    prompt = make_prompt(model, query, texts)
    segments = prompt.prompt.segments
    special = set(model.tokenizer.all_special_ids)
    for number, (ids, text) in enumerate(zip(documents_of(model, prompt), texts, strict=True), 1):
        assert len(ids) and not special & set(ids.tolist())
        whole = f"[{number}] {well_formed(text).strip()}".rstrip()
        assert model.tokenizer.decode(ids) == whole
        assert len(prompt.pieces(number - 1)) == len(ids)
        assert "".join(prompt.pieces(number - 1)) == whole
    rows = segments.ids[slice(*prompt.prompt.reads[0].rows)]
    told = model.tokenizer.decode(rows)
    assert told == f"{LATE}\n\nQuery: {well_formed(query).strip()}<|end|>\n<|answer|>\n"
    template = model.tokenizer.encode("<|end|>\n<|answer|>\n", add_special_tokens=False)
    assert sum(each in special for each in rows.tolist()) == sum(each in special for each in template) == 2


def test_long_documents_are_cut_and_the_query_is_not(model: CausalLM) -> None:
    texts = ["the wing " * 3000, "short", "the drag " * 2000]
    query = "lift " * 300
    prompt = make_prompt(model, query, texts)
    segments = prompt.prompt.segments
    assert prompt.cut == 2
    assert model.positions is not None and segments.positions.max() < model.positions
    assert segments.positions.max() >= model.positions - 2  # what fits is used
    lengths = np.diff(prompt.bounds)[:, 0]
    assert lengths[0] == lengths[2] and "".join(prompt.pieces(1)) == "[2] short"
    assert texts[0].startswith("".join(prompt.pieces(0)).removeprefix("[1] "))
    rows = segments.ids[slice(*prompt.prompt.reads[0].rows)]
    assert model.tokenizer.decode(rows) == f"{LATE}\n\nQuery: {query.strip()}<|end|>\n<|answer|>\n"


def test_there_is_room_for_the_query_that_calibrates(model: CausalLM) -> None:
    alone, calibrated = (
        make_prompt(model, "x", ["the wing " * 3000], calibrate=calibrate).prompt.segments
        for calibrate in (False, True)
    )
    longer = max(calibrated.bounds[2] - calibrated.bounds[1], calibrated.bounds[3] - calibrated.bounds[2])
    assert longer > alone.bounds[2] - alone.bounds[1]  # "N/A" has more tokens than the query
    assert model.positions is not None and calibrated.positions.max() < model.positions
    assert alone.positions.max() < model.positions


def test_a_query_without_a_token_is_read_at_the_last_one_before_it(model: CausalLM) -> None:
    prompt = make_prompt(model, "", TEXTS, rows="query")
    first, last = prompt.prompt.reads[0].rows
    assert model.tokenizer.decode(prompt.prompt.segments.ids[first:last]) == " "  # of "Query: "


def test_what_cannot_fit_is_refused(model: CausalLM) -> None:
    with pytest.raises(
        ModelError,
        match=r"icr, query 'q7': the model has 4096 positions[\s\S]*2 documents[\s\S]*depth or window",
    ):
        make_prompt(model, "lift " * 5000, ["the wing", "the drag"], where="icr, query 'q7'")
    with pytest.raises(ModelError, match="600 documents"):
        make_prompt(model, "lift", ["the wing and the drag and the heat of the flow"] * 600)
    assert make_prompt(model, "lift", ["x"] * 300).cut == 0  # short ones are not cut at all


def test_no_limit_where_the_model_names_none(model: CausalLM) -> None:
    free = with_tokenizer(model, model.tokenizer)
    free.positions = None
    assert len(make_prompt(free, "lift", ["the wing " * 3000]).prompt.segments.ids) > 6000
