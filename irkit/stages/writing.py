"""What the stages share that have texts written by a language model: its options, and where its texts come from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from irkit.core.errors import ConfigError, DataError, Problem
from irkit.core.fingerprint import file_sha256, fingerprint
from irkit.models.resolve import identify
from irkit.models.writers.posting import fault_of, host_of
from irkit.models.writers.prepared import read_texts
from irkit.models.writers.writer import Sampling, Writer
from irkit.pipeline.context import Context
from irkit.pipeline.options import OptionError
from irkit.pipeline.stage import EXECUTION
from irkit.stages.authors import Author, Prepared, Written
from irkit.stages.encoding import libraries

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM

_CHAT = "/chat/completions"


class WriterOptions(BaseModel):
    """Who writes: a model on this machine, one behind an endpoint (``url``), or nobody any more (``file``).

    What a model writes is kept in the store, in the ledger ``texts``, by the hash of writer, prompt and sampling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    model: str = "smollm2"
    """A name of the catalogue, a local folder, a GGUF file's folder, or a hub id; with ``url``, the model's name there."""
    url: str | None = None
    """Of an endpoint that speaks OpenAI's chat completions: https://api.example.com/v1."""
    file: str | None = None
    """A file of texts that were written before: .jsonl, .json or .tsv, also with .gz behind."""
    by: Literal["id", "text"] = "id"
    """Whether the file's texts belong to the ids of queries (or documents), or to queries of the same text."""
    field: str | None = None
    """The field of the file's JSON objects that holds the text, or a list of texts; dots lead into fields: metadata.reasoning."""
    temperature: float | None = Field(default=None, ge=0, le=5, allow_inf_nan=False)
    """0 for the most probable words; the published one of the method unless given."""
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    """Draw from the fewest words that together have this probability; as published unless given."""
    max_tokens: PositiveInt | None = None
    """Tokens of a text at most; as published, or what the method needs, unless given."""
    seed: NonNegativeInt = 0
    """Of the random numbers."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Of the local model's weights and arithmetic."""
    trust_remote_code: bool = False
    """Run code that comes with the local model. Read it first."""
    key_variable: str | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """The environment variable that holds the endpoint's key. The key itself never goes into an experiment."""
    timeout: float = Field(default=60.0, gt=0, allow_inf_nan=False, json_schema_extra=dict(EXECUTION))
    """Seconds within which an endpoint's answer must be complete."""
    retries: NonNegativeInt = Field(default=5, json_schema_extra=dict(EXECUTION))
    """How often a request is made again after a timeout, HTTP 429 or 5xx, or an answer that makes no sense."""
    concurrency: PositiveInt = Field(default=4, le=256, json_schema_extra=dict(EXECUTION))
    """Requests under way at the same time."""
    budget_requests: NonNegativeInt | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """Stop after so many requests of a run, retries included: those of all stages and collections that name this endpoint, this
    model there, and these budgets."""
    budget_tokens: NonNegativeInt | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """Make no further request when so many tokens were read and written, counted as requests are. Nobody knows what a text takes
    before it is there, so the requests under way then may exceed it."""
    batch_tokens: PositiveInt = Field(default=1 << 15, json_schema_extra=dict(EXECUTION))
    """Tokens of one call of the local model on an accelerator; halved when memory runs out."""
    device: str | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """A torch device for the local model; the best there is unless given."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        # url and key_variable are looked at here, and not by validators of their own, whose errors repeat what was written: a key
        fault = None if self.url is None else fault_of(self.url)
        if fault:
            hint = "write url: https://api.example.com/v1, and the name of the key's variable as key_variable"
            raise OptionError(f"url: {fault}", hint)
        name = self.key_variable
        if name is not None and not (name.isidentifier() and name.isascii() and len(name) <= 64):
            message = "key_variable: this is the name of an environment variable, not a key"
            raise OptionError(message, "write key_variable: OPENAI_API_KEY")
        if self.url is not None and self.file is not None:
            raise ValueError("texts come from url or from file, not from both")
        if self.url is None and self.key_variable is not None:
            raise ValueError("key_variable is for an endpoint: add its url")
        if self.url is not None and "model" not in self.model_fields_set:
            raise ValueError("name the model that the endpoint is to use: model")
        if self.file is None and (self.field is not None or self.by != "id"):
            raise ValueError("by and field are for a file of texts: add file")
        return self

    def meaning(self) -> dict[str, Any]:
        """Return the options that can change a text, as JSON values: those of another source do not count."""
        sampling = {"temperature", "top_p", "max_tokens", "seed"}
        if self.file is not None:
            ours = {"by", "field"}  # the file counts by its content
        else:
            ours = {"model", "url", *sampling} | (set() if self.url else {"dtype", "trust_remote_code"})
        return self.model_dump(mode="json", include=ours)

    def identity(self, context: Context, ids: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
        """Return what else decides the texts: the model's fingerprint and the libraries, or the file's digest. Loads nothing.

        Args:
            context: with the workspace.
            ids: as for :meth:`open`. Results are kept by the texts of queries, so which id a text has decides too.

        Raises:
            ModelError: when there is no such model.
            DataError: when there is no such file.
        """
        if self.file is not None:
            named = {} if ids is None or self.by == "text" else {"ids": fingerprint(ids)}
            return {"texts": self._digest(self._path(context.workspace, self.file)), **named}
        if self.url is not None:
            return {"endpoint": self.address}
        return {"model": identify(self.model, context.workspace), "libraries": libraries()}

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the options as far as it can be known without asking: of the stages' ``faults``."""
        if self.file is not None and not self._path(base, self.file).is_file():
            message = f"there is no file {self.file!r}"
            return [("llm", Problem(message, hint=f"paths start from {base}"))]
        return []

    @property
    def address(self) -> str:
        """The whole address of the endpoint's chat completions."""
        url = (self.url or "").rstrip("/")
        return url if url.endswith(_CHAT) else url + _CHAT

    def sampling(self, usual: Sampling) -> Sampling:
        """Return how texts are sampled: as the options say, else as a method's usual one does."""
        return Sampling(
            usual.temperature if self.temperature is None else self.temperature,
            usual.top_p if self.top_p is None else self.top_p,
            self.max_tokens or usual.max_tokens,
            self.seed,
        )

    def open(self, context: Context, ids: Mapping[str, Sequence[str]] | None = None) -> Author:
        """Return where the texts come from. A local model is loaded when the first text is wanted.

        Args:
            context: store, counts and notes.
            ids: the names by which owners go in a file that is asked by id; by their own name unless given.

        Raises:
            ConfigError: when the environment lacks the endpoint's key.
            DataError: when the file cannot be read, lacks an owner of ``ids``, or has different texts for ids of one owner.
        """
        if self.file is not None:
            path = self._path(context.workspace, self.file)
            author = Prepared(path, read_texts(path, self.by, self.field), ids if self.by == "id" else None)
            context.notes["texts"] = f"from {path.name}"
            author.check(list(ids or ()))
            return author
        return Written(self._writer(context), context)

    def _writer(self, context: Context) -> Writer:
        if self.url is None:
            from irkit.models.writers.local import LocalWriter

            identity = {**self.identity(context), "dtype": self.dtype, "code": self.trust_remote_code}
            return LocalWriter(
                lambda: self._load(context), identity, budget=self.batch_tokens, notes=context.notes
            )
        from irkit.models.writers.budget import Budget
        from irkit.models.writers.endpoint import EndpointWriter, Service
        from irkit.models.writers.retrying import Retrying

        host = host_of(self.url)
        plain = " (not encrypted)" if self.url.startswith("http:") else ""
        context.notes["endpoint"] = f"{host}{plain}, model {self.model}"
        limits = self.budget_requests, self.budget_tokens
        budget = context.shared.setdefault(("budget", self.address, self.model, *limits), Budget(*limits))
        service = Service(self.address, host, self.model, self.timeout, self.concurrency, self.key_variable)
        return EndpointWriter(
            service,
            self._key() if context.runtime.writes else None,
            retrying=Retrying(self.retries),
            budget=budget,
            notes=context.notes,
            counts=context.counts,
            say=context.progress.say,
        )

    def _load(self, context: Context) -> CausalLM:
        from irkit.models.device import use_threads
        from irkit.models.lm.model import CausalLM
        from irkit.models.resolve import resolve

        use_threads(context.runtime.threads)
        model = resolve(self.model, context.workspace)
        context.notes.update(said := model.notes())
        if "trained_for" in said:
            context.warn(f"{self.model} was trained for {said['trained_for']}")
        return CausalLM(
            model,
            dtype=self.dtype,
            device=self.device or context.runtime.device,
            trust_remote_code=self.trust_remote_code,
            attention="sdpa",
            notes=context.notes,
        )

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key or not key.isprintable() or not key.isascii():
            message = (
                f"the environment variable {self.key_variable} {'holds no key' if key else 'is not set'}"
            )
            raise ConfigError.of(
                message, where="llm.key_variable", hint=f"set it: export {self.key_variable}=..."
            )
        return key

    @staticmethod
    def _path(base: Path, file: str) -> Path:
        return base / Path(file).expanduser()

    @staticmethod
    def _digest(path: Path) -> str:
        try:
            return file_sha256(path)
        except OSError as error:
            message = f"the file of texts cannot be read: {error.strerror or error}"
            raise DataError.of(message, where=str(path), hint="check llm.file") from error


def _llm(value: Any) -> Any:
    """Read a bare name as that of the model."""
    if not isinstance(value, str):
        return value
    if "://" in value:
        raise OptionError("this is an address", "write llm: {url: https://api.example.com/v1, model: NAME}")
    return {"model": value}


Llm = Annotated[WriterOptions, BeforeValidator(_llm, json_schema_input_type=str | WriterOptions)]
"""The option ``llm`` of a stage: who writes; a bare name is that of a model."""
