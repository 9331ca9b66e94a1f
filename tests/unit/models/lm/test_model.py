"""Tests of language models: loading, tokens, templates, and what cannot be read."""

from __future__ import annotations

from datetime import datetime
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
from irkit.stages.rerank.blockrank_prompt import Frame


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


def test_halves_of_surrogate_pairs_are_read_as_unknown_characters(model: CausalLM) -> None:
    text = b"a \xff b".decode("utf-8", "surrogateescape")  # as a byte of the command line that is not UTF-8
    assert model.tokenizer.decode(model.encode([text])[0]) == "a \ufffd b"
    np.testing.assert_array_equal(model.encode([text])[0], model.encode(["a \ufffd b"])[0])
    for part, expected in zip(model.encode_places(text), model.encode_places("a \ufffd b"), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_template(model: CausalLM, tmp_path: Path) -> None:
    assert model.template() == Template("<s><|user|>\n", "<|end|>\n<|answer|>\n")
    assert open_tiny(tiny_lm(tmp_path / "plain", chat=False)).template() == Template("<s>", "")


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        ("{{ strftime_now('%B %-d, %Y') }}", "July 26, 2024"),
        ("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", "2024-07-26 00:00:00"),
        ("{{ date_string if date_string is defined else strftime_now('%s') }}", "26 Jul 2024"),
        (
            "  {%- macro day() %}{% set now = strftime_now('%A') %}{{ now }}{% endmacro %}\n{{ day() }}",
            "Friday",
        ),
    ],
)
def test_templates_do_not_know_what_day_it_is(
    asks: str, told: str, model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import chat_template_utils

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2031, 2, 3, 4, 5, 6)

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    plain = str(model.tokenizer.chat_template)
    monkeypatch.setattr(model.tokenizer, "chat_template", asks + plain)
    assert model.template() == Template(f"{told}<s><|user|>\n", "<|end|>\n<|answer|>\n")
    assert Frame.of(model).before == f"{told}<s><|user|>\n"


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


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), OSError(28, "No space left on device"), None])
def test_a_conversion_that_breaks_off_leaves_nothing(
    reason: BaseException | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None stands for a killed process, which cannot clear up: the next one does."""
    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path / "models"))
    model = ResolvedModel("x", tmp_path / "model.gguf", "fingerprint", "unknown", "here")
    begun: list[Path] = []

    def convert(_file: Path, folder: Path) -> None:
        folder.mkdir()
        begun.append(folder)
        if len(begun) == 1:
            (folder / "half").touch()
            if reason:
                raise reason
            raise ConnectionAbortedError

    monkeypatch.setattr(loading, "_convert", convert)
    with monkeypatch.context() as patch:
        if reason is None:
            patch.setattr(loading.shutil, "rmtree", lambda *_given, **_options: None)
        with pytest.raises((ModelError, KeyboardInterrupt)) as caught:
            loading.converted(model)
    assert begun[0].exists() == (reason is None)
    if isinstance(reason, OSError):
        assert isinstance(caught.value, ModelError)
        for part in ("No space left on device", str(tmp_path / "models"), "IRKIT_MODELS"):
            assert part in str(caught.value)
    folder = loading.converted(model)
    assert list(folder.iterdir()) == []
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def test_a_file_that_safetensors_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    from safetensors.torch import save_file

    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path / "models"))

    def convert(_file: Path, folder: Path) -> None:
        folder.mkdir()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, before[1]))
        try:
            save_file({"weights": torch.zeros(1 << 14)}, folder / "model.safetensors")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(loading, "_convert", convert)
    with pytest.raises(ModelError, match=r"cannot be written: .*File too large"):
        loading.converted(ResolvedModel("x", tmp_path / "model.gguf", "f", "unknown", "here"))
    assert not [path for path in (tmp_path / "models" / "converted").iterdir() if path.is_dir()]


def test_a_folder_in_which_nobody_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path / "file" / "models"))
    (tmp_path / "file").touch()  # no folder can be made here, not even by root
    model = ResolvedModel("x", tmp_path / "model.gguf", "fingerprint", "unknown", "here")
    with pytest.raises(ModelError, match="the converted model cannot be written") as caught:
        loading.converted(model)
    assert str(tmp_path / "file" / "models") in str(caught.value)
    assert "IRKIT_MODELS" in str(caught.value)


def test_a_converted_model_is_used_where_nobody_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRKIT_MODELS", str(tmp_path))
    monkeypatch.setattr(loading, "_convert", lambda _file, folder: folder.mkdir())
    model = ResolvedModel("x", tmp_path / "model.gguf", "fingerprint", "unknown", "here")
    folder = loading.converted(model)

    def refused(*_given: Any, **_options: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(loading, "FileLock", refused)
    assert loading.converted(model) == folder


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


def test_attention_that_looks_ahead_is_refused(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.model.model.layers[1].self_attn, "is_causal", False)
    with pytest.raises(ModelError, match="it uses attention that is not causal"):
        model.read(Segments.of([([7, 8, 9], 0, (0, 0))]))
