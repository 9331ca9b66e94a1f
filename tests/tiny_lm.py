"""Small language models of random weights, saved in transformers' format: every family whose attention is read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from irkit.models.lm.model import CausalLM
from irkit.models.resolve import resolve

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3")

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|user|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|answer|>\n{% endif %}"
)
SPECIAL = ["<s>", "<|user|>", "<|end|>", "<|answer|>", "<pad>"]

_WORDS = (
    "the a of and to in is query document documents here are some paragraphs please find information that are relevant "
    "following above wing lift drag boundary layer flow heat shock pressure N/A \n\n [1] [2] [3] answer"
)


def _classes() -> dict[str, tuple[Any, Any]]:
    import transformers as t

    return {
        "llama": (t.LlamaConfig, t.LlamaForCausalLM),
        "mistral": (t.MistralConfig, t.MistralForCausalLM),
        "qwen2": (t.Qwen2Config, t.Qwen2ForCausalLM),
        "qwen3": (t.Qwen3Config, t.Qwen3ForCausalLM),
        "gemma": (t.GemmaConfig, t.GemmaForCausalLM),
        "gemma2": (t.Gemma2Config, t.Gemma2ForCausalLM),
        "gemma3": (t.Gemma3TextConfig, t.Gemma3ForCausalLM),
    }


@cache
def _tokenizer(chat: bool) -> Any:
    """Train a byte-level BPE tokeniser on a few words: every text has tokens, and common words have one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([_WORDS] * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        additional_special_tokens=SPECIAL[1:4],
    )
    tokenizer.chat_template = TEMPLATE if chat else None
    return tokenizer


def tiny_lm(
    folder: Path,
    family: str = "llama",
    *,
    layers: int = 4,
    chat: bool = True,
    spread: float = 0.2,
    **config: Any,
) -> Path:
    """Save a model of random weights and its tokeniser.

    Args:
        folder: to be made.
        family: of :data:`FAMILIES`.
        layers: of the model, each with 4 heads of 16 coordinates over 2 key heads.
        chat: whether the tokeniser has a chat template.
        spread: the standard deviation of the weights; with the one given, attention is far from even.
        config: goes to the model's configuration.
    """
    import torch

    kind, model_class = _classes()[family]
    shape: dict[str, Any] = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
    }
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = model_class(kind(**{**shape, **config}))
    for weights in model.parameters():
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=spread)
    torch.random.set_rng_state(state)
    model.save_pretrained(folder)
    _tokenizer(chat).save_pretrained(folder)
    return folder


def open_tiny(folder: Path, **options: Any) -> CausalLM:
    """Load such a model on the CPU, in float32 unless said otherwise."""
    return CausalLM(resolve(str(folder)), **{"device": "cpu", "dtype": "float32", **options})
