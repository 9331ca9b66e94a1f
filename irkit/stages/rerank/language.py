"""What the rerankers with a language model share: their options, the documents' texts and the order they are given in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from irkit.core.errors import ModelError, Problem
from irkit.core.fingerprint import fingerprint
from irkit.core.rankings import CodeArray
from irkit.data.docstore import DocStore
from irkit.models.device import use_threads
from irkit.models.lm.heads import load_heads
from irkit.models.resolve import identify, read_config, resolve
from irkit.pipeline.context import Context
from irkit.pipeline.options import OptionError
from irkit.pipeline.stage import EXECUTION
from irkit.stages.encoding import libraries

if TYPE_CHECKING:
    from irkit.models.lm.heads import Heads
    from irkit.models.lm.model import CausalLM

_WORD = re.compile(r"\S+")


def _seed(value: Any) -> Any:
    """Read ``true`` as the seed 0 and ``false`` as none."""
    if isinstance(value, bool):
        return 0 if value else None
    if value is None or isinstance(value, int):
        return value
    raise OptionError("this is no seed", "write true, or a seed such as 7")


def _number(value: Any) -> Any:
    """Refuse ``true``, which pydantic would read as 1."""
    if isinstance(value, bool):
        raise OptionError("this says of how many queries", "write a number, such as 3; 0 for none")
    return value


def _heads(value: Any) -> Any:
    """Refuse what is no text and no list of texts at one go: pydantic would tell what is wrong for either."""
    texts = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    if value is None or isinstance(value, str) or texts:
        return value
    message = "this must be layer-head, each of a list, or the name of a list or file"
    raise OptionError(message, "write layer-head, e.g. [11-0, 13-4]")


Seed = Annotated[
    NonNegativeInt | None, BeforeValidator(_seed, json_schema_input_type=bool | NonNegativeInt | None)
]
HeadsOption = Annotated[str | tuple[str, ...] | None, BeforeValidator(_heads)]


class ModelOptions(BaseModel):
    """The options of a reranker that gives query and candidates to a causal language model.

    Class attributes:
        learned_as: the kind of training that makes models for the stage; "" for none.
    """

    learned_as: ClassVar[str] = ""

    model: str = "smollm2"
    """A name of the catalogue, a local folder, a GGUF file's folder, or a hub id ``org/name[@revision]``."""
    depth: PositiveInt | None = 20
    """Rerank the first so many; the others keep their order and distances below them. All for null."""
    words: PositiveInt | None = 300
    """Of a document, title included, that the model reads. All for null."""
    shuffle: NonNegativeInt | None = None
    """The seed of a random order in which the model gets the candidates, instead of the order of the stage before: what remains of
    a method's quality then is its own."""
    order_control: Seed = Field(default=None, json_schema_extra=dict(EXECUTION))
    """Run the pipeline a second time, as "NAME (shuffled)", with this seed as ``shuffle``; true is the seed 0. Scores of this stage
    itself stay as they are."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Of the model's weights and arithmetic."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Read it first."""
    batch_tokens: PositiveInt = Field(default=1 << 15, json_schema_extra=dict(EXECUTION))
    """Tokens of one forward pass on an accelerator, in which several queries may share it; halved when memory runs out."""
    device: str | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """A torch device; the best there is unless given."""

    @model_validator(mode="after")
    def _controlled_once(self) -> Self:
        if self.order_control is not None and self.shuffle is not None:
            message = "the candidates are shuffled already: leave out 'shuffle', and order_control shows both orders"
            raise ValueError(message)
        return self

    def model_identity(self, context: Context) -> dict[str, Any]:
        """Return the model's fingerprint and the libraries' versions. Loads nothing.

        Raises:
            ModelError: when there is no such model.
        """
        return {"model": identify(self.model, context.workspace), "libraries": libraries()}

    def load_model(self, context: Context, attention: str = "irkit") -> CausalLM:
        """Load the model, downloading it where that is needed.

        Args:
            context: device, threads, and where notes go.
            attention: transformers' name of the attention function.

        Raises:
            ModelError: when there is no such model, or it cannot be loaded.
            ConfigError: when the device is not there.
        """
        from irkit.models.lm.model import CausalLM

        use_threads(context.runtime.threads)
        model = resolve(self.model, context.workspace)
        context.notes.update(said := model.notes(self.learned_as))
        if "trained_for" in said:
            context.warn(f"{self.model} was trained for {said['trained_for']}")
        return CausalLM(
            model,
            dtype=self.dtype,
            device=self.device or context.runtime.device,
            trust_remote_code=self.trust_remote_code,
            attention=attention,
            notes=context.notes,
        )

    def passages(self, docs: DocStore, codes: CodeArray) -> list[str]:
        r"""Return what the model reads of documents: "title\ntext", or the text alone where there is no title; the first words."""
        return [self._passage(docs.title(int(code)), docs.body(int(code))) for code in codes]

    def _passage(self, title: str, body: str) -> str:
        return first_words(f"{title}\n{body}" if title else body, self.words)

    def given(self, count: int, query: str) -> NDArray[np.int64]:
        """Return in which order a query's candidates are given to the model, best first: their places, ``int64[count]``.

        That of the stage before; with ``shuffle`` a random one that the seed and the query's text decide, so that it is the
        same whatever other queries there are.
        """
        if self.shuffle is None:
            return np.arange(count)
        seed = int(fingerprint([self.shuffle, query])[:16], 16)
        return np.random.Generator(np.random.PCG64(seed)).permutation(count)


class LanguageModelOptions(ModelOptions):
    """The options of a reranker that reads a language model's attention, and so can show what it looked at."""

    explanations: Annotated[NonNegativeInt, BeforeValidator(_number)] = Field(
        default=0, le=100, json_schema_extra=dict(EXECUTION)
    )
    """Show in the report, for the collection's first so many queries, the best three documents with what the model looked at."""

    def check_heads(self, heads: Heads, model: CausalLM, context: Context) -> None:
        """Make sure that heads can be those of the model that was loaded, and note how many they are and what is odd about them.

        Raises:
            ModelError: when they cannot.
        """
        identity = None if heads.model_fingerprint is None else identify(self.model, context.workspace)
        heads.check(model.layers, model.heads, model.name, identity)
        source, used = str(context.notes.get("model", "")), context.collection
        told = heads.doubts(model.name, source, used.name, used.fingerprint)
        count = f"{len(heads)} in {len(heads.by_layer)} of {model.layers} layers"
        context.notes["heads"] = "; ".join([count, *told])


def heads_faults(heads: str | tuple[str, ...] | None, model: str, base: Path) -> list[tuple[str, Problem]]:
    """Return what is wrong with the option ``heads``, as far as it can be known without loading the model.

    That there is no such list or file, that the file is not as it must be, and, for a model whose ``config.json`` is on this
    machine, that the model lacks one of the heads or is another than they were found in.
    """
    if heads is None:
        return []
    try:
        found = load_heads(heads, base)
        if (shape := _shape(model, base)) is not None:
            found.check(*shape, model)
    except ModelError as error:
        return [("heads", problem) for problem in error.problems]
    return []


def _shape(model: str, base: Path) -> tuple[int, int] | None:
    """Return a model's layers and query heads a layer, where its file says so."""
    try:
        config = read_config(model, base)
    except ModelError:  # of the model, not of the heads: told when it is named or loaded
        return None
    layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
    return (layers, heads) if isinstance(layers, int) and isinstance(heads, int) else None


def first_words(text: str, count: int | None) -> str:
    """Cut a text behind its first so many words; None for none. What is left stays as it is, line breaks included."""
    if count is None:
        return text
    ends = [word.end() for word in islice(_WORD.finditer(text), count)]  # what lies behind is not looked at
    return text[: ends[-1]] if ends else ""


def shortened(tokens: Sequence[NDArray[np.int64]], room: int) -> tuple[list[NDArray[np.int64]], int]:
    """Cut the longest texts, all to one length, so that together they fit into ``room`` tokens.

    Returns:
        the texts, and how many were cut. With less room than one token for each, every one is cut to nothing.
    """
    lengths = np.array([len(each) for each in tokens], np.int64)
    if lengths.sum() <= room:
        return list(tokens), 0
    low, high = 0, int(lengths.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(lengths, middle).sum() <= room else (low, middle - 1)
    return [each[:low] for each in tokens], int((lengths > low).sum())
