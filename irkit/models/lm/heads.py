"""Attention heads of a language model that were found to say which document answers the query, and the file they are kept in.

A file is one JSON object::

    {
      "irkit_heads": 1,
      "method": "qrhead-ndcg",
      "source": "irkit heads detect",
      "model": {"name": "smollm2", "fingerprint": "...", "layers": 30, "heads": 9},
      "heads": ["13-4", "11-0"],
      "scores": [0.61, 0.58],
      "detection": {"collection": "beir/scifact", "split": "train", "queries": 256, "seed": 0}
    }

``heads`` is best first; a head is written ``layer-head``, both counted from 0, a layer's heads as its queries have them.
``scores`` (of the criterion ``method``, one a head) and ``detection`` (what a detection was given) may be missing, as may the
model's fingerprint and shape.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from irkit.core.errors import ModelError, Problem, nearest
from irkit.core.files import write_atomically
from irkit.core.fingerprint import fingerprint

Pair = tuple[int, int]

VERSION = 1
_VERSION_KEY = "irkit_heads"
_HEAD = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_KEYS = (_VERSION_KEY, "method", "source", "model", "heads", "scores", "detection")
_MODEL_KEYS = ("name", "fingerprint", "layers", "heads")


@dataclass(frozen=True)
class Heads:
    """Some heads of a model.

    Attributes:
        pairs: (layer, head), both from 0, best first; at least one, none twice.
        model: the name of the model they were found in; "" where nothing says so.
        method: the criterion that found them.
        source: where the list comes from: a paper and a file, a command.
        model_fingerprint: of that model; None for a published list.
        shape: layers and query heads a layer of that model; None where nothing says so.
        scores: the criterion's value of each head, or nothing.
        detection: what the detection was given: collection, split, queries, seed.
    """

    pairs: tuple[Pair, ...]
    model: str = ""
    method: str = "given"
    source: str = ""
    model_fingerprint: str | None = None
    shape: tuple[int, int] | None = None
    scores: tuple[float, ...] = ()
    detection: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_layer(self) -> dict[int, tuple[int, ...]]:
        """The heads of each layer that has any; layers and heads ascending."""
        layers = sorted({layer for layer, _ in self.pairs})
        return {layer: tuple(sorted(h for each, h in self.pairs if each == layer)) for layer in layers}

    @property
    def last(self) -> int:
        """The last layer that has any: no model needs to run further."""
        return max(layer for layer, _ in self.pairs)

    @property
    def fingerprint(self) -> str:
        """Of what decides a score: which heads, whatever their order and wherever they come from."""
        return fingerprint(sorted(self.pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def names(self) -> list[str]:
        """Return the heads as text, ``layer-head``, best first."""
        return [f"{layer}-{head}" for layer, head in self.pairs]

    def check(self, layers: int, heads: int, model: str, identity: str | None = None) -> None:
        """Make sure that these heads can be those of a model.

        Args:
            layers: of the model.
            heads: query heads a layer.
            model: its name, for the error.
            identity: its fingerprint, where it is known.

        Raises:
            ModelError: when it has another shape or fingerprint than the model they were found in, or lacks one of them.
        """
        hint = "find this model's own heads with: irkit heads detect"
        if self.shape is not None and self.shape != (layers, heads):
            message = (
                f"the heads are those of {self.model}, {self.shape[0]} layers of {self.shape[1]} heads; "
                f"this model has {layers} layers of {heads}"
            )
            raise ModelError.of(message, where=model, hint=hint)
        if None not in (identity, self.model_fingerprint) and identity != self.model_fingerprint:
            message = f"the heads were found in another model of this shape, {self.model}"
            other = "if it is the same one by another way, delete the model's fingerprint in the file"
            raise ModelError.of(message, where=model, hint=f"{hint}; {other}")
        missing = [f"{layer}-{head}" for layer, head in self.pairs if layer >= layers or head >= heads]
        if missing:
            message = f"the model has no head {', '.join(missing)}: it has {layers} layers of {heads} heads, counted from 0"
            raise ModelError.of(message, where=model, hint=hint)

    def doubts(self, model: str, source: str, collection: str, content: str) -> list[str]:
        """Return what should be known of results with these heads: that they are another model's, or judged where they were found.

        Args:
            model: the name of the model that they are used with.
            source: where that comes from.
            collection: the name of the collection on whose queries they are used, its split included.
            content: its fingerprint.
        """
        found = []
        name = self.model.rpartition("/")[2].casefold()
        if self.model_fingerprint is None and name not in f"{model} {source}".casefold():
            found.append(f"found for {self.model}, used with {model}")
        if self.detection.get("collection") == collection or self.detection.get("fingerprint") == content:
            found.append(f"found on the queries of {collection}, on which they are used here")
        return found

    def to_data(self) -> dict[str, Any]:
        """Return the object of a file of heads."""
        model: dict[str, Any] = {"name": self.model}
        if self.model_fingerprint is not None:
            model["fingerprint"] = self.model_fingerprint
        if self.shape is not None:
            model |= {"layers": self.shape[0], "heads": self.shape[1]}
        data: dict[str, Any] = {
            _VERSION_KEY: VERSION,
            "method": self.method,
            "source": self.source,
            "model": model,
            "heads": self.names(),
        }
        if self.scores:
            data["scores"] = list(self.scores)
        if self.detection:
            data["detection"] = dict(self.detection)
        return data

    def to_text(self) -> str:
        """Return the text of a file of heads: one key a line."""
        lines = [
            f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
            for key, value in self.to_data().items()
        ]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            ReportError: when it cannot be written.
        """
        write_atomically(path, self.to_text())


def load_heads(spec: str | Sequence[str], base: Path | None = None) -> Heads:
    """Find heads.

    Args:
        spec: the heads themselves, as ``["13-18", "8-11"]`` (layer-head); the name of a list that comes with irkit; or the path of
            a file of heads. A name comes before a file of that name; ``./name`` is a file always.
        base: the folder that a relative path starts from; the current folder unless given.

    Raises:
        ModelError: when there is no such list or file, or it is not as it must be; each problem names the file and the key.
    """
    if not isinstance(spec, str):
        problems: list[Problem] = []
        pairs = _pairs(list(spec), "heads", problems)
        if problems:
            raise ModelError(*problems)
        return Heads(pairs)
    if spec in published():
        return published()[spec]
    # unlike Path's, these two raise nothing for what can be no path, such as a long text
    path = (base or Path.cwd()) / os.path.expanduser(spec)  # noqa: PTH111
    if os.path.isfile(path):  # noqa: PTH113
        return read_heads(path)
    near = nearest(spec, list(published()))
    hint = f"{near.rstrip('?')}; or write the heads as a list, [13-18, 8-11]; or find them with: irkit heads detect"
    raise ModelError.of("there is no list of heads, and no file, of this name", where=spec, hint=hint)


def read_heads(path: Path) -> Heads:
    """Read a file of heads.

    Raises:
        ModelError: when it cannot be read, or is not as it must be; each problem names the file and the key.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError.of(f"the file cannot be read: {error.strerror or error}", where=str(path)) from error
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        hint = "write it anew with: irkit heads detect"
        raise ModelError.of(f"the file is not JSON: {error}", where=str(path), hint=hint) from error
    return parse_heads(data, str(path))


@cache
def published() -> dict[str, Heads]:
    """Return the lists that come with irkit, by name: published ones, each with its source."""
    file = Path(__file__).with_name("heads.json")
    lists = json.loads(file.read_text(encoding="utf-8"))
    return {name: parse_heads(data, f"{file.name}: {name}") for name, data in lists.items()}


def parse_heads(data: object, where: str) -> Heads:
    """Check the object of a file of heads.

    Args:
        data: as JSON gave it.
        where: the file, for errors.

    Raises:
        ModelError: with every problem, each at ``file: key``.
    """
    if not isinstance(data, dict) or _VERSION_KEY not in data:
        hint = f'a file of heads is an object with "{_VERSION_KEY}": {VERSION}; irkit heads detect writes one'
        raise ModelError.of("this is no file of heads", where=where, hint=hint)
    if data[_VERSION_KEY] != VERSION or isinstance(data[_VERSION_KEY], bool):
        message = (
            f"version {data[_VERSION_KEY]!r} of the format is not known; this irkit reads version {VERSION}"
        )
        hint = "update irkit, or find the heads anew with: irkit heads detect"
        raise ModelError.of(message, where=f"{where}: {_VERSION_KEY}", hint=hint)
    problems = [
        Problem("the key is unknown", f"{where}: {key}", nearest(key, _KEYS))
        for key in data
        if key not in _KEYS
    ]
    pairs = _pairs(data.get("heads"), f"{where}: heads", problems)
    scores = _scores(data.get("scores", []), len(pairs), f"{where}: scores", problems)
    name, identity, shape = _model(data.get("model"), f"{where}: model", problems)
    method, source = (_text(data.get(key), f"{where}: {key}", problems) for key in ("method", "source"))
    detection = data.get("detection", {})
    if not isinstance(detection, dict):
        problems.append(Problem("this must be an object", f"{where}: detection"))
    if shape is not None and not problems:
        problems += [
            Problem(
                f"there is no head {layer}-{head}: the model has {shape[0]} layers of {shape[1]} heads, counted from 0",
                f"{where}: heads[{place}]",
            )
            for place, (layer, head) in enumerate(pairs)
            if layer >= shape[0] or head >= shape[1]
        ]
    if problems:
        raise ModelError(*problems)
    return Heads(pairs, name, method, source, identity, shape, scores, detection)


def _pairs(found: object, where: str, problems: list[Problem]) -> tuple[Pair, ...]:
    if not isinstance(found, list) or not found:
        problems.append(
            Problem("this must be a list of at least one head", where, 'for example ["13-18", "8-11"]')
        )
        return ()
    pairs: list[Pair] = []
    for place, each in enumerate(found):
        match = _HEAD.fullmatch(each) if isinstance(each, str) else None
        if match is None:
            hint = 'write layer-head, both counted from 0, for example "13-18"'
            problems.append(Problem(f"{each!r} is not a head", f"{where}[{place}]", hint))
            continue
        pair = (int(match[1]), int(match[2]))
        if pair in pairs:
            problems.append(Problem(f"head {each} is there twice", f"{where}[{place}]", "write it once"))
        pairs.append(pair)
    return tuple(pairs)


def _scores(found: object, count: int, where: str, problems: list[Problem]) -> tuple[float, ...]:
    if not isinstance(found, list) or not all(_is_finite(each) for each in found):
        problems.append(Problem("this must be a list of finite numbers", where))
        return ()
    if found and len(found) != count:
        problems.append(Problem(f"{len(found)} scores for {count} heads", where, "give one a head, or none"))
    return tuple(float(each) for each in found)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _model(
    found: object, where: str, problems: list[Problem]
) -> tuple[str, str | None, tuple[int, int] | None]:
    if not isinstance(found, dict):
        problems.append(Problem("this must be an object", where, 'for example {"name": "smollm2"}'))
        return "", None, None
    problems += [
        Problem("the key is unknown", f"{where}.{key}", nearest(key, _MODEL_KEYS))
        for key in found
        if key not in _MODEL_KEYS
    ]
    name = _text(found.get("name"), f"{where}.name", problems)
    identity = found.get("fingerprint")
    if identity is not None:
        identity = _text(identity, f"{where}.fingerprint", problems)
    sizes = [found.get("layers"), found.get("heads")]
    if sizes == [None, None]:
        return name, identity, None
    for key, size in zip(("layers", "heads"), sizes, strict=True):
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            problems.append(Problem("this must be a number of 1 or more", f"{where}.{key}"))
    return name, identity, (sizes[0], sizes[1])  # type: ignore[return-value]  # checked above


def _text(found: object, where: str, problems: list[Problem]) -> str:
    if isinstance(found, str):
        return found
    problems.append(Problem("this must be text", where, None if found is not None else "the key is missing"))
    return ""
