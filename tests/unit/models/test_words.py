"""Whole words from token ids, for the three families of tokenisers and for those that cannot tell."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import WORDS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from irkit.core.errors import ModelError
from irkit.models import resolve
from irkit.models.encoder import Encoder
from irkit.models.words import WordIds, word_id


def named(word: str) -> int:
    return int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:4], "little")


def wordpiece() -> PreTrainedTokenizerFast:
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *"abcdefgh",
        *(f"##{c}" for c in "abcdefgh"),
        *"#,.!'-",
        "##ing",
    ]
    tokeniser = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokeniser.normalizer = normalizers.Lowercase()
    tokeniser.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokeniser.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokeniser, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def unigram() -> PreTrainedTokenizerFast:
    pieces = [
        "<pad>",
        "</s>",
        "<unk>",
        "▁",
        *"abcdefghABCDEFGH",
        *(f"▁{c}" for c in "ab"),
        *"#,.!'-",
        "▁(",
        "ab",
    ]
    tokeniser = Tokenizer(models.Unigram([(piece, -float(len(piece) == 1)) for piece in pieces], unk_id=2))
    tokeniser.pre_tokenizer = pre_tokenizers.Metaspace()
    tokeniser.decoder = decoders.Metaspace()
    tokeniser.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokeniser, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


def byte_level() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = {piece: i for i, piece in enumerate([*alphabet, "ab", "Ġa", "Ġab", "ĠĠ"])}
    merges = [("a", "b"), ("Ġ", "a"), ("Ġa", "b"), ("Ġ", "Ġ")]
    tokeniser = Tokenizer(models.BPE(pieces, merges))
    tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokeniser.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokeniser)
    fast.add_special_tokens({"pad_token": "<|pad|>"})
    return fast


FAMILIES = {"wordpiece": wordpiece, "unigram": unigram, "byte-level": byte_level}


def words_of(tokeniser: Any, text: str) -> list[int]:
    """Name the words of a text, each once, in order; 0 left out."""
    ids = np.array([tokeniser.encode(text)], np.int64)
    found = WordIds(tokeniser, "tiny")(ids)[0].tolist()
    starts = [i for i in range(len(found)) if i == 0 or found[i] != found[i - 1]]
    return [found[i] for i in starts if found[i]]


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_make_words_and_punctuation_its_own(family: str) -> None:
    found = words_of(FAMILIES[family](), "abc Bad, (gab's) d-e. fed")
    expected = ["abc", "bad", ",", "(", "gab", "'", "s", ")", "d", "-", "e", ".", "fed"]
    if family != "byte-level":  # the others do not know these pieces
        expected = [word for word in expected if word not in "s()" or (family, word) == ("unigram", "(")]
    assert found == [named(word) for word in expected]


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=8))
def test_a_word_has_one_name_wherever_it_stands(family: str, words: list[str]) -> None:
    distinct = [word for i, word in enumerate(words) if i == 0 or word != words[i - 1]]
    assert words_of(FAMILIES[family](), " ".join(distinct)) == [named(word) for word in distinct]


def test_equal_words_side_by_side_are_two_occurrences_of_one() -> None:
    tokeniser = wordpiece()
    ids = np.array([tokeniser.encode("bad bad")])
    assert WordIds(tokeniser, "tiny")(ids)[0].tolist() == [0, *[named("bad")] * 6, 0]


def test_bytes_of_one_letter_stay_together() -> None:
    assert words_of(byte_level(), "caffè ñandú\n\n日本") == [
        named(word) for word in ("caffè", "ñandú", "日本")
    ]


def test_white_space_alone_is_no_word() -> None:
    tokeniser = byte_level()
    ids = np.array([tokeniser.encode("a   b")])
    found = WordIds(tokeniser, "tiny")(ids)[0].tolist()
    assert found == [named("a"), 0, named("b"), named("b")]  # the last space belongs to what follows


def test_a_batch_is_its_texts_one_by_one_and_padding_is_no_word() -> None:
    for make in FAMILIES.values():
        tokeniser = make()
        texts = ["abc bad", "", "a", "fed, gab abc"]
        batch = tokeniser(texts, padding=True, return_tensors="np")
        whole = WordIds(tokeniser, "tiny")(batch["input_ids"])
        for text, row, mask in zip(texts, whole, batch["attention_mask"], strict=True):
            ids = np.array([tokeniser.encode(text)], np.int64).reshape(1, -1)
            assert row[mask == 1].tolist() == WordIds(tokeniser, "tiny")(ids)[0].tolist()
            assert not row[mask == 0].any()


def test_special_and_unknown_tokens_and_markers_are_no_words() -> None:
    tokeniser = wordpiece()
    tokeniser.add_tokens(["[Q] "])
    ids = np.array([tokeniser.encode("[Q] bad xyz abc")])
    assert WordIds(tokeniser, "tiny", ["[Q] "])(ids)[0].tolist() == [
        *[0, 0],
        *[named("bad")] * 3,
        0,
        *[named("abc")] * 3,
        0,
    ]


def test_the_name_is_the_published_one() -> None:
    assert word_id("Straße".encode()) == int(
        hashlib.sha256("straße".encode()).hexdigest()[6:8]
        + hashlib.sha256("straße".encode()).hexdigest()[4:6]
        + hashlib.sha256("straße".encode()).hexdigest()[2:4]
        + hashlib.sha256("straße".encode()).hexdigest()[:2],
        16,
    )
    assert word_id(b"  ") == 0


def test_remembered_words_are_forgotten_not_confused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irkit.models.words._REMEMBERED", 2)
    assert words_of(wordpiece(), "abc bad fed gab abc bad") == [
        named(word) for word in ("abc", "bad", "fed", "gab", "abc", "bad")
    ]


@pytest.mark.parametrize(
    "model",
    [models.BPE({"a": 0, "b</w>": 1}, []), models.WordLevel({"a": 0}, unk_token="a")],
    ids=["bpe", "words"],
)
def test_a_tokeniser_that_marks_no_words_is_an_error(model: Any) -> None:
    with pytest.raises(ModelError, match="does not say where words begin") as error:
        WordIds(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model)), "odd")
    assert "odd" in str(error.value)


def test_an_encoder_gives_words_beside_its_vectors(tiny_encoder: Path, tiny_xtr: Path) -> None:
    encoder = Encoder(resolve(str(tiny_encoder)), device="cpu", batch_size=3)
    some = ["red cat", "", " ".join(WORDS), "sun"]
    tokens = encoder.tokens(some, "document", words=True)
    assert np.array_equal(tokens.vectors, encoder.tokens(some, "document").vectors)
    assert encoder.tokens(some, "document").words is None
    assert tokens.words is not None
    assert tokens.words.dtype == np.uint32
    assert tokens.words[:4].tolist() == [0, named("red"), named("cat"), 0]
    bare = encoder.tokens(some, "document", special=False, words=True)
    assert bare.words is not None
    assert bare.words.tolist() == [named(word) for text in some for word in text.split()]
    nothing = encoder.tokens([], "document", words=True)
    assert (nothing.vectors.shape, nothing.words.shape) == ((0, 32), (0,))  # type: ignore[union-attr]
    xtr = Encoder(resolve(str(tiny_xtr)), device="cpu").tokens(["RED zebra,"], "query", words=True).words
    assert xtr is not None
    assert xtr.tolist() == [named("red"), *[named("zebra")] * (len(xtr) - 3), named(","), 0]
