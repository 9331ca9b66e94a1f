"""What the tests' tiny models know."""

from __future__ import annotations

WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "red",
    "green",
    "blue",
    "cat",
    "dog",
    "fish",
    "tree",
    "stone",
    "river",
    "moon",
    "sun",
]
