"""Tests of building the token store: restarts, shards, and what is not encoded again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tiny_tokens import ALL, DIM, TEXTS, FakeEncoder, digests, opened

from irkit.pipeline.context import Context
from irkit.stages import encoding
from irkit.stages.multivector import reduce


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "SHARD", 7)
    monkeypatch.setattr(reduce, "SHARD", 7)


@pytest.mark.parametrize("options", [ALL, {"codec": "int8"}, {"prune": "attention"}, {"dim": 8}])
def test_without_raw_vectors_the_bytes_are_the_same(
    make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, options: Mapping[str, Any]
) -> None:
    monkeypatch.setattr(reduce, "_SCALES", 100 * options.get("dim", DIM))
    monkeypatch.setattr(reduce, "_CENTROIDS", 200 * options.get("dim", DIM))
    kept, lean = make_context(TEXTS), make_context(TEXTS, store="lean")
    opened(kept, options)
    encoder = FakeEncoder()
    opened(lean, options, encoder, keep_raw=False)
    assert digests(kept, "token-store") == digests(lean, "token-store")
    assert {each.kind for each in lean.store.artifacts()} == {"token-store"}
    assert len(TEXTS) < len(encoder.encoded) < 2 * len(TEXTS)  # the corpus once, and the sample
    again = FakeEncoder()
    opened(lean, options, again)  # the same key, so nothing is left to do
    assert again.encoded == []


def test_what_is_in_the_store_is_not_encoded_again(make_context: Callable[..., Context]) -> None:
    context, encoder = make_context(TEXTS), FakeEncoder()
    opened(context, {}, encoder)
    assert len(encoder.encoded) == len(TEXTS)
    opened(context, {"pool": 2}, encoder)
    opened(context, {"codec": "int8"}, encoder, keep_raw=False)
    assert len(encoder.encoded) == len(TEXTS)


def test_an_interrupted_encoding_goes_on(make_context: Callable[..., Context]) -> None:
    whole, broken = make_context(TEXTS), make_context(TEXTS, store="broken")
    opened(whole, {})
    with pytest.raises(KeyboardInterrupt):
        opened(broken, {}, FakeEncoder(fail_at=20))
    rest = FakeEncoder()
    opened(broken, {}, rest)
    assert rest.encoded == TEXTS[14:]  # two shards of seven were finished
    assert digests(whole, "tokens") == digests(broken, "tokens")


@pytest.mark.parametrize("keep_raw", [True, False])
def test_an_interrupted_reduction_goes_on(
    make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, keep_raw: bool
) -> None:
    whole, broken = make_context(TEXTS), make_context(TEXTS, store="broken")
    opened(whole, ALL)
    calls: list[int] = []
    reduction = reduce.Reduction.__call__

    def counted(self: reduce.Reduction, block: Any) -> Any:
        calls.append(len(block.offsets) - 1)
        if fail and len(calls) > 9:  # six for the sample, three of the shards
            raise KeyboardInterrupt
        return reduction(self, block)

    monkeypatch.setattr(reduce.Reduction, "__call__", counted)
    fail = True
    with pytest.raises(KeyboardInterrupt):
        opened(broken, ALL, keep_raw=keep_raw)
    fail, encoder = False, FakeEncoder()
    calls.clear()
    opened(broken, ALL, encoder, keep_raw=keep_raw)
    assert calls == [7, 7, 5]  # neither the sample nor the first three shards again
    assert encoder.encoded == ([] if keep_raw else TEXTS[21:])
    assert digests(whole, "token-store") == digests(broken, "token-store")


def test_shards_change_no_byte(make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is drawn in groups of a shard's size, so only what is learnt from all documents is compared."""
    small, large = make_context(TEXTS), make_context(TEXTS, store="large")
    opened(small, {"dim": 8, "words": True})
    monkeypatch.setattr(encoding, "SHARD", 1000)
    opened(large, {"dim": 8, "words": True})
    assert digests(small, "token-store") == digests(large, "token-store")
    assert digests(small, "tokens") == digests(large, "tokens")
