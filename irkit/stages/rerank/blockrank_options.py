"""The options of BlockRank, and who decides those that the experiment leaves open: a model that irkit trained, else irkit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, model_validator

from irkit.core.errors import ConfigError, ModelError, Problem
from irkit.models.lm.heads import Heads, load_heads
from irkit.models.resolve import own_options
from irkit.models.trained import DESCRIPTION
from irkit.pipeline.context import Context
from irkit.pipeline.options import OptionError
from irkit.pipeline.stage import EXECUTION, Stage
from irkit.stages.rerank.blockrank_prompt import FAR, Frame, Question, Signal, sliding_window
from irkit.stages.rerank.language import HeadsOption, LanguageModelOptions, first_words, heads_faults

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM

Layout = Literal["released", "query-free"]
Lowercase = bool | Literal["capitals"]
_CAPITALS = 4
"""Words of a text in capitals; fewer may be a name."""

_OPEN = ("layout", "signal", "lowercase", "layer", "block_tokens", "query_position")
"""Options that are None where the experiment leaves them open."""
_NOT_KEPT = "documents can be kept in layout query-free only; in this one they see the query"
_FREE = "add layout: query-free, or leave cache_gb out"


@dataclass(frozen=True)
class Decided:
    """What holds after the experiment, the model and irkit have each decided what the one before left open.

    Attributes:
        layout, signal, lowercase, layer, words, block_tokens, query_position: as the options. Layer and position are None where
            the shape of the model decides; words None for all.
        own: those of them that the model decided.
        against: layout, signal, case and layer as the model was trained, where the experiment has others.
    """

    layout: Layout = "released"
    signal: Signal = "answer"
    lowercase: Lowercase = False
    layer: int | None = None
    words: int | None = 300
    block_tokens: int = 512
    query_position: int | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Any] = field(default_factory=dict)

    def passage(self, text: str) -> str:
        """Return what is read of a document, given title and text in one line, as the checkpoint knows it."""
        return self._cased(first_words(text, self.words).strip())

    def question(self, name: str, query: str, model: CausalLM, frame: Frame) -> Question:
        """Return what a query adds to its documents.

        Args:
            name: of the query, for errors.
            query: its text.
            model: whose tokeniser and positions.
            frame: the model's template.

        Raises:
            ModelError: when the model has too few positions for the query.
        """
        text = self._cased(query)
        return Question.of(
            name,
            frame.first(model, text if self.layout == "released" else None),
            frame.last(model, text, self.signal),
            positions=model.positions,
            start=self.query_position or (None if sliding_window(model) else FAR),
            firm=self.query_position is not None,
            limit=self.block_tokens,
        )

    def _cased(self, text: str) -> str:
        capitals = text.isupper() and len(text.split()) >= _CAPITALS
        return text.lower() if self.lowercase is True or (self.lowercase and capitals) else text


class BlockRankOptions(LanguageModelOptions, Stage):
    """The options of the stage."""

    learned_as: ClassVar[str] = "blockrank"

    layout: Layout | None = None
    """``released``: the query is in the instruction, as the released checkpoint has it. ``query-free``: it is not, so
    what a document is to the model does not depend on the query, and can be kept. Unless given, the model's own where irkit trained
    it, else ``released``."""
    signal: Signal | None = None
    """The tokens whose attention is read. ``answer``: the "[" that begins the answer and the token before it, as the paper has it.
    ``question``: all from the query's first, where it stands behind the documents, to that "[". Unless given, the model's own where
    irkit trained it, else ``answer``."""
    lowercase: Lowercase | None = None
    """Read queries and documents in lower case; ``capitals``: those alone of four words or more without a small letter, as queries
    of old collections are. Unless given, the model's own where irkit trained it, else false."""
    words: PositiveInt | Literal["own"] | None = "own"  # type: ignore[assignment]
    """Of a document, title included, that the model reads. ``own``: as the model was trained where irkit trained it, else 300. All
    for null."""
    layer: NonNegativeInt | None = None
    """The layer, from 0, whose attention is read; the model is left there. Unless given, the model's own where irkit trained it,
    else the last of the first 65 %: 20 of 32."""
    heads: HeadsOption = None
    """Read these heads instead of all heads of a layer: a published list, a file of heads, or ``[layer-head, ...]``."""
    stable_ids: bool | None = None
    """The ID that the model reads belongs to the document and not to its place in the list. In layout ``released`` its place among
    the candidates by docno, in ``query-free`` its number in the collection. True for ``query-free`` unless given."""
    query_position: PositiveInt | None = None
    """The position of the question's first token. Unless given, the model's own where irkit trained it, else 16384; right behind
    the longest document of the list where the model has too few positions for that, or layers that do not see so far."""
    block_tokens: PositiveInt | None = None
    """Tokens of a document's block, its ID included; the end of a longer document is cut. Unless given, the model's own where irkit
    trained it, else 512."""
    cache_gb: PositiveFloat | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """Gigabytes of the device on which documents are kept from query to query in layout ``query-free``. Null to keep none."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.cache_gb is not None and self.layout == "released":
            raise OptionError(f"cache_gb: {_NOT_KEPT}", _FREE)
        if self.heads is not None and self.layer is not None:
            raise ValueError("heads and layer: give one of them; the heads say their layers")
        return self

    def meaning(self) -> dict[str, Any]:
        """Return the options that can change a result, those that are left open as irkit decides them; ``identity`` says where
        the model does.
        """
        plain = self._filled({})
        shown = {name: getattr(plain, name) for name in ("layout", "signal", "lowercase")}
        shown |= {"words": plain.words, "block_tokens": plain.block_tokens}
        return super().meaning() | shown

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the list of heads, and with keeping documents in the layout that the model decides."""
        found = heads_faults(self.heads, self.model, base)
        try:
            said = own_options(self.model, base)
            if said is not None:  # the model is here, and can be asked
                self._checked(self._filled(self._own(said)))
        except ConfigError as error:
            found += [("cache_gb", problem) for problem in error.problems]
        except ModelError:  # told when the model is named or loaded
            pass
        return found

    def identity(self, context: Context) -> dict[str, Any]:
        """Return the model's fingerprint, the heads' and the libraries' versions, and the options that the model decides.

        Raises:
            ModelError: when there is no such model or list of heads.
            ConfigError: when documents cannot be kept in the layout that the model decides.
        """
        found, own = self.listed_heads(context), self.decided(context.workspace).own
        more = ({} if found is None else {"heads": found.fingerprint}) | ({"own": dict(own)} if own else {})
        return self.model_identity(context) | more

    def listed_heads(self, context: Context) -> Heads | None:
        """Return the heads that the option names; None where it names none."""
        return None if self.heads is None else load_heads(self.heads, context.workspace)

    def decided(self, workspace: Path) -> Decided:
        """Return what holds: the experiment's options, else the model's own, else irkit's. Loads no model.

        Raises:
            ModelError: when there is no such model, or it says something that is no option.
            ConfigError: when documents are to be kept in a layout in which they see the query.
        """
        said = own_options(self.model, workspace, ask=True) or {}
        decided = self._checked(self._filled(self._own(said)))
        plain = {name: getattr(Decided(), name) for name in ("layout", "signal", "lowercase")}
        # what a trained model does not say it learnt as irkit has it
        learnt: dict[str, Any] = {**plain, **said} if said else {}
        given = {name: getattr(self, name) for name in ("layout", "signal", "lowercase", "layer")}
        firm = [name for name, value in given.items() if value is not None and learnt.get(name) is not None]
        return replace(decided, against={name: learnt[name] for name in firm if learnt[name] != given[name]})

    def _own(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that are left open, and that the model says something of."""
        left = {name: getattr(self, name) is None for name in _OPEN}
        left |= {"layer": self.layer is None and self.heads is None, "words": self.words == "own"}
        own = {name: said[name] for name, is_open in left.items() if is_open and name in said}
        if own.get("words") == "own":
            del own["words"]
        try:
            made = type(self)(**own)
        except ValidationError as error:
            first = error.errors()[0]
            message = f"its {DESCRIPTION} says of {'.'.join(map(str, first['loc']))}: {first['msg']}"
            hint = "correct it, or train the model again"
            raise ModelError.of(message, where=self.model, hint=hint) from error
        read = {name: getattr(made, name) for name in own}  # as they were understood
        return {name: value for name, value in read.items() if value is not None or name == "words"}

    def _filled(self, own: Mapping[str, Any]) -> Decided:
        given = {name: getattr(self, name) for name in _OPEN}
        firm: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.words != "own":
            firm["words"] = self.words
        return Decided(**(firm | dict(own)), own=own)

    def _checked(self, decided: Decided) -> Decided:
        if self.cache_gb is not None and decided.layout != "query-free":
            raise ConfigError.of(_NOT_KEPT, where="cache_gb", hint=_FREE)
        return decided
