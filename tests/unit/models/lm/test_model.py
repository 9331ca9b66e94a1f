"""Tests of language models: loading, tokens, templates, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.models.lm import loading
from irkit.models.lm.model import CausalLM, Template
from irkit.models.lm.segments import Read, Segments
from irkit.models.resolve import ResolvedModel


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return open_tiny(tiny_lm(tmp_path_factory.mktemp("models") / "llama"))


def test_shape(model: CausalLM) -> None:
    assert (model.layers, model.heads, model.key_heads, model.head_dim, model.positions) == (
        4,
        4,
        2,
        16,
        4096,
    )


def test_names_of_special_tokens_are_text_unless_asked_for(model: CausalLM) -> None:
    text = "a<|end|>"
    plain, special = model.encode([text])[0], model.encode([text], special=True)[0]
    assert special[-1] == model.tokenizer.convert_tokens_to_ids("<|end|>")
    assert special[-1] not in plain
    assert model.tokenizer.decode(plain) == text


@pytest.mark.parametrize("text", ["", "{braces} \n\n lines", "wing 的升力 🙂", "  spaces  ", "a" * 5000])
def test_places_tell_where_tokens_lie(model: CausalLM, text: str) -> None:
    ids, places = model.encode_places(text)
    np.testing.assert_array_equal(ids, model.encode([text])[0])
    assert len(places) == len(ids)
    assert set(range(len(text))) == {at for start, stop in places for at in range(start, stop)}


def test_template(model: CausalLM, tmp_path: Path) -> None:
    assert model.template() == Template("<s><|user|>\n", "<|end|>\n<|answer|>\n")
    assert open_tiny(tiny_lm(tmp_path / "plain", chat=False)).template() == Template("<s>", "")


def test_a_template_that_loses_the_message(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.tokenizer, "chat_template", "nothing")
    with pytest.raises(ModelError, match="drops the message"):
        model.template()


def test_a_folder_that_is_no_language_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert-like-nothing"}')
    with pytest.raises(ModelError, match="the language model cannot be loaded") as caught:
        open_tiny(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_no_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path / "models"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="the language model cannot be loaded"):
        CausalLM(ResolvedModel("x", file, "f", "unknown", "here"), device="cpu")
    assert not [path for path in (tmp_path / "models" / "converted").iterdir() if path.is_dir()]


def test_a_file_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path))
    made: list[Path] = []

    def convert(file: Path, folder: Path) -> None:
        made.append(tiny_lm(folder))

    monkeypatch.setattr(loading, "_convert", convert)
    file = tmp_path / "model.gguf"
    file.touch()
    model = ResolvedModel("x", file, "fingerprint", "unknown", "here")
    assert loading.converted(model) == loading.converted(model)
    assert len(made) == 1
    assert not made[0].exists()  # it was made under another name, and renamed when it was whole
    assert CausalLM(model, device="cpu").layers == 4


def test_attention_of_another_kind_is_refused(tmp_path: Path) -> None:
    """GPT-OSS has a learnt sink in every softmax."""
    from tiny_lm import _tokenizer
    from transformers import GptOssConfig, GptOssForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": 512, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1,
    }  # fmt: skip
    GptOssForCausalLM(GptOssConfig(**shape)).save_pretrained(tmp_path)
    _tokenizer(True).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"cannot be (read|loaded)"):
        open_tiny(tmp_path).read(Segments.of([([7, 8, 9], 0, (0, 0))]))


def test_a_model_whose_layers_do_not_ask_is_refused(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with attention of its own code never calls irkit's function."""
    layer = model.model.model.layers[2].self_attn
    monkeypatch.setattr(layer, "forward", lambda hidden_states, **_: (hidden_states, None))
    with pytest.raises(ModelError, match=r"of its layers to 3, transformers called \[0, 1, 3\]"):
        model.read(Segments.of([([7, 8, 9], 0, (0, 0))]))


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gemma"])
@pytest.mark.parametrize("blocks", [False, True])
def test_half_precision_ranks_as_single_precision_does(family: str, blocks: bool, tmp_path: Path) -> None:
    from scipy.stats import kendalltau

    folder = tiny_lm(tmp_path, family, spread=0.1)
    rng = np.random.default_rng(0)
    first, query = rng.integers(5, 400, 20), rng.integers(5, 400, 12)
    documents = [rng.integers(5, 400, length) for length in rng.integers(5, 40, 30)]
    bounds = np.cumsum([0, *map(len, documents)])
    end = 20 + int(bounds[-1])
    if blocks:
        parts = [(first, 0, (0, 0)), *((each, 20, (0, 20)) for each in documents), (query, 200, (0, end))]
        read = Read((end + 10, end + 12), (20, end), "documents")
    else:
        parts = [(np.concatenate([first, *documents]), 0, (0, 0)), (query, end, (0, end))]
        read = Read((end, end + 12), (20, end))
    scores = []
    for dtype in ("float32", "bfloat16"):
        total = torch.zeros(end - 20)
        open_tiny(folder, dtype=dtype).read(
            Segments.of(parts),
            reads=[read],
            sink=lambda _layer, _read, weights, total=total: total.add_(weights.sum(0)),
        )
        scores.append(np.add.reduceat(total.numpy(), bounds[:-1]))
    assert kendalltau(*scores)[0] >= 0.99
