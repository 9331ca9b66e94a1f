"""A causal language model on this machine: its tokens, its template, and its attention."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2.exceptions import TemplateError
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.core.text import well_formed
from irkit.models.device import pick_device
from irkit.models.lm.attention import NAME, carrying_out, register
from irkit.models.lm.layers import quicken
from irkit.models.lm.loading import load_language_model
from irkit.models.lm.plan import Keep, Past, Plan, Sink
from irkit.models.lm.segments import Read, Segments
from irkit.models.loading import Dtype
from irkit.models.resolve import ResolvedModel

_MARK = "\u2063content\u2063"

_DATE = "26 Jul 2024"
"""The day that templates are told it is: the one that Llama's take where nothing says another."""
_PARTS = {
    "%d": "26", "%-d": "26", "%e": "26", "%m": "07", "%-m": "7", "%b": "Jul", "%B": "July", "%y": "24", "%Y": "2024", "%a": "Fri",
    "%A": "Friday", "%j": "208", "%H": "00", "%I": "12", "%M": "00", "%S": "00", "%p": "AM", "%F": "2024-07-26",
    "%D": "07/26/24", "%T": "00:00:00",
}  # fmt: skip
# transformers gives templates a clock, and takes no function in its place; a macro of its name is found before it
_CLOCK = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f"|replace('{part}', '{text}')" for part, text in _PARTS.items())
    + " }}{% endmacro %}\n"
)


@dataclass(frozen=True)
class Template:
    """What stands before and after the content of the user's message in a chat with the model, up to where the model answers."""

    prefix: str
    suffix: str


class CausalLM:
    """A loaded causal language model of transformers.

    Attributes:
        name: as written in the experiment.
        device: where it is.
        layers: how many it has.
        heads: query heads a layer.
        key_heads: key heads a layer.
        head_dim: coordinates of a key.
        positions: the most positions it was made for; None where nothing says so.
        tokenizer: of transformers.
        model: the whole model, with its language head, which reading attention never runs.
    """

    def __init__(
        self,
        model: ResolvedModel,
        *,
        dtype: Dtype = "bfloat16",
        device: str | None = None,
        trust_remote_code: bool = False,
        attention: str = NAME,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: a folder in transformers' format, or a GGUF file.
            dtype: of the weights and the arithmetic; attention rows are float32 always.
            device: a torch device; the best there is unless given.
            trust_remote_code: run code that comes with the model.
            attention: transformers' name of the attention function; only with irkit's can attention be read.
            notes: takes what was decided.

        Raises:
            ModelError: when it cannot be loaded, or is no causal language model.
            ConfigError: when the device is not there.
        """
        register()
        self.name = model.name
        self.device = pick_device(device)
        self.model, self.tokenizer = load_language_model(
            model, self.device, dtype, trust_remote_code, attention
        )
        quicken(self.model)
        self._shape(self.model.config.get_text_config())
        if notes is not None:
            notes |= {"device": self.device, "dtype": dtype, "model": model.source}

    @classmethod
    def around(
        cls, model: Any, tokenizer: Any, name: str, attention: str = NAME, quick: bool = True
    ) -> CausalLM:
        """Take a model of transformers that is there already, in its place and precision, and set its attention function.

        Without ``quick`` its layers stay as they are, and can be learned.
        """
        register()
        made = cls.__new__(cls)
        made.name, made.model, made.tokenizer = name, model, tokenizer
        made.device = str(next(model.parameters()).device)
        model.set_attn_implementation(attention)
        if quick:
            quicken(model)
        made._shape(model.config.get_text_config())
        return made

    def _shape(self, config: Any) -> None:
        self.layers = int(config.num_hidden_layers)
        self.heads = int(config.num_attention_heads)
        self.key_heads = int(getattr(config, "num_key_value_heads", None) or self.heads)
        self.head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)
        self.positions: int | None = getattr(config, "max_position_embeddings", None)

    def read(
        self,
        segments: Segments,
        *,
        reads: Sequence[Read] = (),
        sink: Sink | None = None,
        layers: Collection[int] | None = None,
        past: Past | None = None,
        keep: Keep | None = None,
        last: int | None = None,
    ) -> None:
        """Run the model over packed segments as far as its attention is wanted.

        Args:
            segments: the tokens, and who sees whom.
            reads: which attention is wanted.
            sink: takes it, layer by layer, read by read.
            layers: of which layers it is wanted; all for None.
            past: keys and values of the tokens before.
            keep: takes the keys and values of these tokens, layer by layer up to the last.
            last: the last layer that is run; the last of ``layers`` unless given.

        Raises:
            ModelError: when the model's attention cannot be read.
        """
        import torch

        wanted = None if layers is None else frozenset(layers)
        end = last if last is not None else (self.layers - 1 if wanted is None else max(wanted))
        plan = Plan(segments, end, reads, sink, wanted, past, keep)
        ids = torch.from_numpy(segments.ids).to(self.device)[None]
        positions = torch.from_numpy(segments.positions).to(self.device)[None]
        with torch.inference_mode(), carrying_out(plan):
            self.model.base_model(input_ids=ids, position_ids=positions, use_cache=False)
        if plan.seen != list(range(end + 1)):
            message = f"the attention of this model cannot be read: of its layers to {end}, transformers called {plan.seen}"
            raise ModelError.of(
                message, where=self.name, hint="take a Llama, Mistral, Qwen, Gemma or SmolLM model"
            )

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[NDArray[np.int64]]:
        """Return the tokens of texts, each by itself, ``int64[n]``; nothing is added and nothing cut.

        Texts are read as :func:`irkit.core.text.well_formed` gives them.

        Args:
            texts: any.
            special: whether the names of special tokens in a text (as in a template) are those tokens. In documents and
                queries they are text like any other.
        """
        if not texts:
            return []
        found = self.tokenizer(
            [well_formed(text) for text in texts],
            add_special_tokens=False,
            split_special_tokens=not special,
            return_attention_mask=False,
        )
        return [np.array(ids, np.int64) for ids in found["input_ids"]]

    def encode_places(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tokens of a text, ``int64[n]``, and where each starts and ends in it, ``int64[n, 2]``, in characters.

        The text is read, and its characters are counted, as :func:`irkit.core.text.well_formed` gives it.
        """
        found = self.tokenizer(
            well_formed(text),
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        return np.array(found["input_ids"], np.int64), np.array(found["offset_mapping"], np.int64).reshape(
            -1, 2
        )

    def render(self, messages: Sequence[Mapping[str, str]], *, answer: bool = False) -> str:
        """Return a chat as the model's template writes it, with special tokens by name.

        It depends on nothing but template and messages: a template that asks for the date is told the same one every day, and its
        default system turn, where it has one, is written.

        Args:
            messages: each with "role" and "content".
            answer: whether it ends where the model's answer begins.
        """
        template = self.tokenizer.get_chat_template()
        text = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=_CLOCK + template if "strftime_now" in template else template,
            tokenize=False,
            add_generation_prompt=answer,
            date_string=_DATE,
        )
        return str(text)

    def template(self, system: str | None = None) -> Template:
        """Return the model's chat template around one message of the user, as text with special tokens by name.

        A model without a template gets its first special token, where it has one, and nothing behind.

        Args:
            system: a message of the system before it. Where there is no template, or it takes none, it stands before the user's.
        """
        lead = f"{system}\n\n" if system else ""
        if not self.tokenizer.chat_template:
            return Template((self.tokenizer.bos_token or "") + lead, "")
        chat = [{"role": "user", "content": _MARK}]
        try:
            shown = self.render(
                [{"role": "system", "content": system}, *chat] if system else chat, answer=True
            )
        except TemplateError:  # raised by templates that know no system turn
            shown = self.render([{"role": "user", "content": lead + _MARK}], answer=True)
        before, mark, after = shown.partition(_MARK)
        if not mark:
            raise ModelError.of(
                "the chat template drops the message", where=self.name, hint="fetch the model again"
            )
        return Template(before, after)
