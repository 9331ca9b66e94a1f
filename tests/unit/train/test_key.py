"""The key of a training: what decides the weights changes it, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from toy_training import toy_examples, toy_recipe

from irkit.train.blockrank.kind import BlockRankKind
from irkit.train.kinds import kind_of
from irkit.train.loop import key_of


def key(kind: str = "blockrank", **options: Any) -> str:
    own = toy_recipe(kind=kind, options=None, training={"group": 4})
    own = own.model_copy(update={"options": kind_of(kind).Options(**options)})
    return key_of(own, toy_examples(), "a model", "cpu")


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("blockrank", "batch_tokens", 1 << 14),
        ("blockrank", "checkpointing", True),
        ("multivector", "block_tokens", 1 << 10),
        ("multivector", "batch_size", 1),
        ("adapter", "batch_size", 1),
        ("lexsembridge", "batch_size", 1),
    ],
)
def test_what_changes_only_last_bits_is_left_out(kind: str, option: str, value: Any) -> None:
    assert key(kind, **{option: value}) == key(kind)


@pytest.mark.parametrize("option", ["block_tokens", "words", "rank"])
def test_what_decides_weights_is_in_it(option: str) -> None:
    assert key(**{option: 17}) != key()


def test_a_kind_that_learns_otherwise_than_before_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(BlockRankKind, "version", BlockRankKind.version + 1)
    assert key() != before
