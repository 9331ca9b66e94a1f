"""A toy problem: queries whose relevant document stands in a known linear relation to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tiny import WORDS

from irkit.config.yaml import Located
from irkit.pipeline.context import Silent
from irkit.train.examples import Example, Examples
from irkit.train.recipe import Recipe, read_recipe

COLOURS, ANIMALS = WORDS[10:13], WORDS[13:16]


def toy_recipe(**changes: Any) -> Recipe:
    data: dict[str, Any] = {
        "name": "toy",
        "kind": "adapter",
        "data": ["irkit/limit-synthetic"],
        "negatives": {"pipeline": ["bm25"]},
        "validation": {"every": 5, "patience": 50},
        "training": {"epochs": 10, "batch": 8, "lr": 0.01, "checkpoint": 4, "temperature": 0.1},
        "options": {"rank": 8},
    }
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) and key in data else value
    return read_recipe(Located(data, "recipe"))


def toy_examples() -> Examples:
    """A number word asks for the text that holds the next number: no untrained encoder knows that."""
    numbers, queries = WORDS[:10], []
    documents = [f"{number} {other}" for number in numbers for other in (*COLOURS, *ANIMALS)]
    for i in range(9):
        for j, other in enumerate((*COLOURS, *ANIMALS)):
            right, wrong = (i + 1) * 6 + j, i * 6 + j
            text = f"{numbers[i]} {other}"
            queries.append(Example(text, (right,), (wrong, (wrong + 1) % 60), "toy", held=j == i % 6))
    return Examples(documents, queries, toy_recipe().to_data(), {"sources": []})


class Killing(Silent):
    """Progress that stops the process after some steps of training."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Any]:
        def advance(n: int) -> None:
            self.left -= n if label.startswith("training") else 0
            if self.left == 0:
                raise KeyboardInterrupt

        yield advance
