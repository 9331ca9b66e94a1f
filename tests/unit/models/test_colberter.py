"""Tests of ColBERTer: every step against the paper's formulas written as loops, the published format, its errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_colberter import CLS, DIM, PIECES, save_colberter

from irkit.core.errors import ConfigError, ModelError
from irkit.models import resolve
from irkit.models.colberter import ColBERTer
from irkit.models.colberter_files import is_colberter
from irkit.models.opening import open_encoder
from irkit.models.words import word_id

TEXTS = [
    "The cat, the unwanted cat.",
    "unwanted UNWANTED wanted dogs",
    "",
    "river",
    " . ",
    "don't café-cat \U0001f917 漢字 dog\ttab",
    "cat dog river want " * 9,
]

Published = Callable[..., Path]


@pytest.fixture
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Saves a tiny ColBERTer."""
    return lambda **options: save_colberter(tmp_path_factory.mktemp("colberter"), **options)


def load(folder: Path, **options: Any) -> ColBERTer:
    return ColBERTer(resolve(str(folder)), **{"device": "cpu", **options})


def weights(folder: Path) -> dict[str, np.ndarray]:
    import torch

    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    return {name: value.double().numpy() for name, value in state.items()}


def reference(folder: Path, text: str, side: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The paper's section 3, step by step: the sentence vector, and the vector of each unique whole word that is kept."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    state, config = weights(folder), json.loads((folder / "config.json").read_text())
    model = AutoModel.from_config(_config(folder)).eval().double()
    model.load_state_dict(
        {
            k[11:]: torch.tensor(v)
            for k, v in state.items()
            if k.startswith("bert_model.") and "position_ids" not in k
        }
    )
    encoding = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text)
    limit = 30 if side == "query" else 200
    ids = encoding.ids if len(encoding.ids) <= limit else [*encoding.ids[: limit - 1], encoding.ids[-1]]
    with torch.no_grad():
        hidden = model(torch.tensor([ids])).last_hidden_state[0].numpy()
    sentence = state["compressor_retrieval.weight"] @ hidden[0] + state["compressor_retrieval.bias"]
    pieces: dict[str, list[np.ndarray]] = {}
    for row in range(1, len(ids) - 1):
        start, end = encoding.offsets[row]
        pieces.setdefault(_whole_word(text, start, end), []).append(
            state["compressor.weight"] @ hidden[row] + state["compressor.bias"]
        )
    words = {}
    for word, vectors in pieces.items():
        vector = sum(vectors) / len(vectors)
        if side == "document":
            gate = max(
                0.0, (state["stop_word_reducer.weight"] @ vector + state["stop_word_reducer.bias"]).item()
            )
            if gate <= 0:
                continue
            vector = gate * vector
        if config["second_compress_dim"] > 0:
            vector = state["mini_compressor.weight"] @ vector + state["mini_compressor.bias"]
        words[word] = vector
    return sentence, words


def _config(folder: Path) -> Any:
    from transformers import DistilBertConfig

    return DistilBertConfig.from_pretrained(folder / "backbone")


def _whole_word(text: str, start: int, end: int) -> str:
    """The run of letters around a piece, lower-cased; a punctuation mark is a word of its own."""

    def part_of_word(character: str) -> bool:
        return not character.isspace() and character not in ".,'-"

    if part_of_word(text[start]):
        while start > 0 and part_of_word(text[start - 1]):
            start -= 1
        while end < len(text) and part_of_word(text[end]):
            end += 1
    return text[start:end].lower()


@pytest.mark.parametrize("side", ["query", "document"])
@pytest.mark.parametrize("mini", [-1, 1])
def test_every_step_is_the_papers(published: Published, side: Any, mini: int) -> None:
    folder = published(mini=mini)
    model = load(folder)
    sentences, words = model.vectors(TEXTS, side), model.tokens(TEXTS, side)
    assert (model.dim, model.token_dim) == (CLS, 1 if mini == 1 else DIM)
    assert sentences.shape == (len(TEXTS), CLS)
    dropped = 0
    for number, text in enumerate(TEXTS):
        sentence, expected = reference(folder, text, side)
        np.testing.assert_allclose(sentences[number], sentence, rtol=2e-5, atol=1e-4)
        assert len(words[number]) == len(expected)
        start, stop = words.offsets[number : number + 2]
        assert words.words is not None
        assert words.words[start:stop].tolist() == [
            word_id(word.encode()) for word in expected
        ]  # in this order
        for got, wanted in zip(words[number], expected.values(), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-4)
        dropped += len(reference(folder, text, "query")[1]) - len(expected)
    assert (dropped > 0) == (side == "document")  # the gates close for some words, and never for a query's


def test_a_document_can_lose_all_its_words(published: Published) -> None:
    model = load(published(bias=-1e4))
    found = model.tokens(TEXTS, "document")
    assert found.offsets.tolist() == [0] * (len(TEXTS) + 1)
    assert found.vectors.shape == (0, DIM)
    assert len(model.tokens(TEXTS, "query").vectors) > 0


def test_a_word_has_the_id_of_the_released_tokeniser(published: Published) -> None:
    """The lower-cased word as the text has it, accents and all, though its pieces have none."""
    digest = hashlib.sha256("café".encode()).digest()
    expected = digest[0] + 256 * digest[1] + 256**2 * digest[2] + 256**3 * digest[3]
    found = load(published()).tokens(["CAFÉ"], "query").words
    assert found is not None and found.dtype == np.uint32
    assert found.tolist() == [expected]


def test_the_score_is_the_papers(published: Published) -> None:
    """Sigmoid-weighted sum of the [CLS] product and, for each query word, its best word of the document."""
    folder = published(bias=2.0)
    model, sigmoid = load(folder), 1 / (1 + np.exp(-0.7))
    assert model.merge_weight == pytest.approx(sigmoid, abs=1e-7)
    query, document = TEXTS[0], TEXTS[1]
    cls_q, words_q = reference(folder, query, "query")
    cls_d, words_d = reference(folder, document, "document")
    refined = sum(max(float(q @ d) for d in words_d.values()) for q in words_q.values())
    expected = sigmoid * float(cls_q @ cls_d) + (1 - sigmoid) * refined
    cls = float(model.vectors([query], "query")[0] @ model.vectors([document], "document")[0])
    best = (model.tokens([query], "query").vectors @ model.tokens([document], "document").vectors.T).max(
        axis=1
    )
    got = model.merge_weight * cls + (1 - model.merge_weight) * float(best.sum())
    assert got == pytest.approx(expected, rel=1e-5)


def test_vectors_do_not_depend_on_companions(published: Published) -> None:
    folder = published()
    some = TEXTS * 3 + ["cat " * n for n in range(1, 40)]
    order = np.random.default_rng(0).permutation(len(some))
    sentences, words = load(folder).vectors(some, "document"), load(folder).tokens(some, "document")
    for batch_size, threads in [(1, 1), (5, 2), (64, 1)]:
        other = load(folder, batch_size=batch_size, threads=threads)
        assert np.array_equal(other.vectors([some[i] for i in order], "document"), sentences[order])
        found = other.tokens([some[i] for i in order], "document")
        for place, number in enumerate(order):
            assert np.array_equal(found[place], words[number])


def test_lengths_are_those_of_training_unless_given(published: Published) -> None:
    folder = published(bias=1e3)
    text = "river " * 300 + "cat dog"
    plain, long = load(folder), load(folder, max_length=256)
    short = load(folder, max_length=8)
    cut = {"query": "river " * 28, "document": "river " * 198}
    for side, same in cut.items():
        assert np.array_equal(plain.vectors([text], side), plain.vectors([same], side))  # type: ignore[arg-type]
        assert np.array_equal(short.vectors([text], side), plain.vectors(["river " * 6], side))  # type: ignore[arg-type]
    assert np.array_equal(long.vectors([text], "query"), plain.vectors([text], "query"))
    assert not np.array_equal(long.vectors([text], "document"), plain.vectors([text], "document"))
    with pytest.raises(ConfigError, match="more than the model's 256"):
        load(folder, max_length=257)


def test_prompts_stand_before_the_text(published: Published) -> None:
    folder = published()
    prompted = load(folder, prompts={"query": "the ", "document": None})
    plain = load(folder)
    assert np.array_equal(prompted.vectors(["cat"], "query"), plain.vectors(["the cat"], "query"))
    assert np.array_equal(prompted.vectors(["cat"], "document"), plain.vectors(["cat"], "document"))


def test_safetensors_give_the_same_model(published: Published) -> None:
    assert np.array_equal(
        load(published(safe=True)).vectors(TEXTS, "query"), load(published()).vectors(TEXTS, "query")
    )


def test_the_published_models_name_is_enough_for_the_architecture(published: Published) -> None:
    """Of distilbert-base-uncased nothing is fetched; a checkpoint of another size is refused by its shapes."""
    folder = published(bert_model="distilbert-base-uncased")
    with pytest.raises(
        ModelError, match=r"missing: bert_model\.transformer\.layer\.2.*of another shape"
    ) as raised:
        load(folder)
    assert f"[{len(PIECES) + 5}, 16], not [30522, 768]" in str(raised.value)


def test_it_is_recognised(published: Published, tiny_encoder: Path, tmp_path: Path) -> None:
    assert is_colberter(published())
    assert isinstance(open_encoder(resolve(str(published())), device="cpu"), ColBERTer)
    assert not is_colberter(tiny_encoder)
    assert not is_colberter(tmp_path)
    with pytest.raises(ModelError, match="it lacks retrieval_compression_dim"):
        load(_edited(published(), retrieval_compression_dim=None))


@pytest.mark.parametrize("other", [{"special": False}, {"salience": True}])
def test_what_the_model_decides_itself_cannot_be_asked(published: Published, other: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match="decides itself which words count"):
        load(published()).tokens(["cat"], "document", **other)


def test_missing_and_left_over_weights_are_named(published: Published) -> None:
    import torch

    folder = published()
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del state["compressor.bias"]
    state["compresor.bias"] = torch.zeros(DIM)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"missing: compressor\.bias; unexpected: compresor\.bias"):
        load(folder)


def test_a_pickle_that_is_more_than_tensors_is_not_read(published: Published, tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    folder = published()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError, match="weights cannot be read"):
        load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aggregate_unique_ids": False}, "trained on word pieces"),
        ({"compression_dim": 0}, "compression_dim is 0"),
        ({"bert_model": "nowhere"}, "there is no model 'nowhere'"),
        ({"bert_model": "../outside"}, "there is no model '../outside'|no such folder"),
    ],
)
def test_a_wrong_configuration_is_said(published: Published, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(_edited(published(), **change))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pytorch_model.bin", None, "no weights"),
        ("pytorch_model.bin", b"garbage", "weights cannot be read"),
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", b"{}", "tokeniser cannot be read"),
        ("backbone/config.json", b"{", "configuration of backbone cannot be read|file cannot be read"),
        ("config.json", b"{", "file cannot be read"),
    ],
)
def test_damaged_files_are_named(
    published: Published, file: str, content: bytes | None, message: str
) -> None:
    folder = published()
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_infinite_vectors_are_an_error(published: Published) -> None:
    import torch

    folder = published()
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    state["compressor.bias"][:] = np.inf
    state["compressor_retrieval.bias"][:] = np.nan
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="not finite"):
        load(folder).tokens(["cat"], "query")
    with pytest.raises(ModelError, match="not finite"):
        load(folder).vectors(["cat"], "query")


def _edited(folder: Path, **change: Any) -> Path:
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder
