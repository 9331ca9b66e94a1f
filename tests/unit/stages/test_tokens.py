"""Tests of the token store: what is written, what a reduction makes of it, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tiny_tokens import ALL, DIM, TEXTS, Fake, FakeEncoder, documents, meta, opened

from irkit.core.errors import ConfigError, ModelError
from irkit.pipeline.context import Context
from irkit.stages import encoding
from irkit.stages.multivector import reduce
from irkit.stages.multivector.columns import Column, concatenate, write
from irkit.stages.multivector.grid import normalise
from irkit.stages.multivector.options import TokenOptions
from irkit.stages.multivector.pooling import merge_words, pool_tokens
from irkit.stages.multivector.pruning import most_attended, stop_words, without_stop_words
from irkit.stages.multivector.residual import default_nlist


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "SHARD", 7)
    monkeypatch.setattr(reduce, "SHARD", 7)


def test_the_encoders_tokens_are_kept_as_they_are(make_context: Callable[..., Context]) -> None:
    context = make_context(TEXTS)
    tokens = opened(context, {})
    made = FakeEncoder().tokens(TEXTS, "document", words=True)
    assert np.array_equal(tokens.offsets, made.offsets)
    assert np.array_equal(tokens.span(0, made.offsets[-1]), made.vectors.astype(np.float16))
    assert (tokens.lengths == 0).any()
    (artifact,) = context.store.artifacts()
    assert artifact.kind == "tokens"
    assert np.array_equal(np.load(artifact.file("words.npy")), made.words)
    assert sorted(artifact.manifest["files"]) == ["offsets.npy", "tokens.npy", "words.npy"]
    queries = FakeEncoder().tokens(["cat"], "query")
    assert tokens.project(queries) is queries


def test_a_tokeniser_without_words_is_noted(make_context: Callable[..., Context]) -> None:
    context = make_context(TEXTS)
    opened(context, {}, FakeEncoder(words=False))
    (artifact,) = context.store.artifacts()
    assert "no words here" in artifact.meta["words"]
    assert not artifact.file("words.npy").exists()
    for options in ({"words": True}, {"prune": "stop-words"}):
        encoder, fresh = FakeEncoder(words=False), make_context(TEXTS, store="fresh")
        with pytest.raises(ModelError, match="no words here"):
            opened(fresh, options, encoder)
        assert encoder.encoded == []


def test_stop_words_are_dropped(make_context: Callable[..., Context]) -> None:
    tokens = opened(make_context(TEXTS), {"prune": "stop-words"})
    made = FakeEncoder().tokens(TEXTS, "document", words=True)
    assert int(tokens.offsets[-1]) < int(made.offsets[-1])
    for doc, kept in enumerate(documents(tokens)):
        names = made.words[made.offsets[doc] : made.offsets[doc + 1]]
        assert np.array_equal(kept, made[doc][without_stop_words(names)].astype(np.float16))


def test_only_the_most_attended_stay(make_context: Callable[..., Context]) -> None:
    context = make_context(TEXTS)
    tokens = opened(context, {"prune": "attention", "keep": 0.5})
    made = FakeEncoder().tokens(TEXTS, "document", salience=True)
    for doc, kept in enumerate(documents(tokens)):
        attention = made.salience[made.offsets[doc] : made.offsets[doc + 1]]
        assert np.array_equal(kept, made[doc][most_attended(attention, 0.5)].astype(np.float16))
        assert len(kept) == -(-len(attention) // 2)
    opened(context, {})
    assert sorted(each.kind for each in context.store.artifacts()) == ["token-store", "tokens", "tokens"]


@pytest.mark.parametrize("unit", [True, False])
def test_words_and_clusters_are_merged(make_context: Callable[..., Context], unit: bool) -> None:
    context, encoder = make_context(TEXTS), FakeEncoder(length=1.0 if unit else 2.0)
    bag_tokens, pooled = opened(context, {"words": True}, encoder), opened(context, {"pool": 3}, encoder)
    bags, pools = documents(bag_tokens), documents(pooled)
    assert pooled.words is None
    both = documents(opened(context, {"words": True, "pool": 2}, encoder))
    made = encoder.tokens(TEXTS, "document", words=True)
    for doc in range(len(TEXTS)):
        vectors, names = made[doc].astype(np.float16), made.words[made.offsets[doc] : made.offsets[doc + 1]]
        if not len(vectors):
            assert len(bags[doc]) == len(pools[doc]) == len(both[doc]) == 0
            continue
        bag, of_bag = merge_words(vectors, names, unit)
        assert bag_tokens.words is not None
        assert np.array_equal(bag_tokens.words[slice(*bag_tokens.offsets[doc : doc + 2])], of_bag)
        assert np.array_equal(bags[doc], bag.astype(np.float16))
        assert np.array_equal(pools[doc], pool_tokens(vectors, 3, unit).astype(np.float16))
        assert np.array_equal(both[doc], pool_tokens(bag, 2, unit, 0).astype(np.float16))
        assert len(both[doc]) == max(1, len(bag) // 2)


def test_a_projection_keeps_dot_products(make_context: Callable[..., Context]) -> None:
    context, queries = make_context(TEXTS), FakeEncoder().tokens(["cat dog", "river"], "query")
    made = FakeEncoder().tokens(TEXTS, "document").vectors.astype(np.float64)
    exact = made @ queries.vectors.T
    errors = []
    for dim in (DIM, 16, 8):
        tokens = opened(context, {"dim": dim})
        asked = tokens.project(queries)
        assert tokens.dim == asked.vectors.shape[1] == dim
        assert np.array_equal(asked.offsets, queries.offsets)
        np.testing.assert_allclose(np.linalg.norm(asked.vectors, axis=1), 1, atol=1e-5)
        similar = tokens.span(0, len(made)).astype(np.float64) @ asked.vectors.T
        errors.append(float(np.abs(similar - exact).max()))
    assert errors[0] < 1e-3
    assert errors[0] < errors[1] < errors[2]


def test_a_projection_is_the_best_of_its_rank(make_context: Callable[..., Context]) -> None:
    tokens = opened(make_context(TEXTS), {"dim": 8})
    made = FakeEncoder().tokens(TEXTS, "document").vectors.astype(np.float16).astype(np.float64)
    _, _, directions = np.linalg.svd(made, full_matrices=False)
    assert tokens.projection is not None
    matrix = tokens.projection.matrix.astype(np.float64)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=1e-5)
    np.testing.assert_allclose(np.abs((directions[:8] * matrix.T).sum(axis=1)), 1, atol=1e-4)
    expected = normalise(made @ matrix)
    np.testing.assert_allclose(tokens.span(0, len(made)), expected, atol=1e-3)


def test_vectors_without_a_fixed_length_are_projected_without_one(
    make_context: Callable[..., Context],
) -> None:
    context, encoder = make_context(TEXTS), FakeEncoder(length=3.0)
    tokens = opened(context, {"dim": DIM}, encoder)
    np.testing.assert_allclose(np.linalg.norm(tokens.span(0, 50).astype(float), axis=1), 3, atol=1e-2)
    assert tokens.longest == pytest.approx(3, abs=0.01)
    assert np.linalg.norm(tokens.project(encoder.tokens(["cat"], "query")).vectors[0]) == pytest.approx(
        3, abs=1e-3
    )
    for options in ({"codec": "residual-2"}, {"codec": "residual-4", "dim": 8, "words": True}):
        early, fresh = FakeEncoder(length=3.0), make_context(TEXTS, store="fresh")
        with pytest.raises(ConfigError, match="not of unit length") as caught:
            opened(fresh, options, early)
        assert caught.value.problems[0].where == "fake"
        assert early.encoded == []  # one word told it


@pytest.mark.parametrize("group", [0, 2, 5])
def test_vectors_have_a_fixed_length_where_all_of_the_sample_have(
    make_context: Callable[..., Context], group: int
) -> None:
    """Whichever of the sample's blocks holds the text that differs."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(TEXTS))
    odd = next(TEXTS[code] for code in order[7 * group : 7 * group + 7] if TEXTS[code])
    for texts, unit in (([odd], False), ([], True)):
        context = make_context(TEXTS, store=f"store-{unit}")
        opened(context, {"dim": 8}, FakeEncoder(odd=texts))
        assert meta(context, "token-store")["unit"] is unit


def test_a_number_that_float16_cannot_hold_is_refused(make_context: Callable[..., Context]) -> None:
    for length in (6e4, 7e5):
        context, encoder = make_context(TEXTS, store=f"store-{length}"), FakeEncoder(length=length)
        if length < 65504:
            assert opened(context, {}, encoder).longest == pytest.approx(length, rel=1e-3)
            continue
        with pytest.raises(ModelError, match="65,504") as caught:
            opened(context, {}, encoder)
        assert caught.value.problems[0].hint and caught.value.problems[0].where == "fake"
        with pytest.raises(ModelError, match="65,504"):
            opened(context, {"pool": 2}, encoder, keep_raw=False)


@pytest.mark.parametrize("codec", ["float16", "int8"])
def test_nor_one_that_a_projection_makes_too_large(make_context: Callable[..., Context], codec: str) -> None:
    class Parallel(FakeEncoder):
        def _vector(self, place: int, piece: str) -> np.ndarray:
            return np.full(DIM, 6e4)

    with pytest.raises(ModelError, match="65,504"):
        opened(make_context(TEXTS), {"dim": 1, "codec": codec}, Parallel())


def test_each_codec_learns_from_its_own_budget_and_for_the_whole_collection(
    make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduce, "_SCALES", 1 * DIM)
    monkeypatch.setattr(reduce, "_CENTROIDS", 200 * DIM)
    seen: list[tuple[int, int]] = []
    train = reduce.train_codec

    def recorded(name: str, sample: Any, tokens: int) -> Any:
        seen.append((len(sample), tokens))
        return train(name, sample, tokens)

    monkeypatch.setattr(reduce, "train_codec", recorded)
    context = make_context(TEXTS)
    total = int(opened(context, {"codec": "int8"}).offsets[-1])
    opened(context, {"codec": "residual-2"})
    (scales, _), (centroids, tokens) = seen
    assert 0 < scales < 200 <= centroids < total  # whole groups of seven documents, until there are enough
    assert tokens == pytest.approx(total, rel=0.2)
    (artifact,) = (each for each in context.store.artifacts() if each.meta.get("codec") == "residual-2")
    made = len(np.load(artifact.file("codec") / "centroids.npy"))
    assert made == min(default_nlist(tokens), centroids) > default_nlist(centroids)


def test_how_many_tokens_there_are_is_noted(make_context: Callable[..., Context]) -> None:
    made = FakeEncoder().tokens(TEXTS, "document", words=True)
    total = int(made.offsets[-1])
    for options, each, keep_raw in (
        ({}, 2 * DIM, True),
        ({"codec": "int8", "dim": 8}, 8, True),
        ({"codec": "residual-2", "pool": 2}, 2 + DIM // 4, False),
        (ALL, 2 + 16 // 4, True),
    ):
        context = make_context(TEXTS, store=f"store-{each}")
        left = int(opened(context, options, keep_raw=keep_raw).offsets[-1])
        count = f"{left:,} of {total:,}" if options else f"{total:,}"
        assert context.notes["tokens"] == f"{count} tokens, {each} bytes each"


def test_pieces_and_words_are_counted(make_context: Callable[..., Context]) -> None:
    made = FakeEncoder().tokens(TEXTS, "document", words=True)
    of_docs = [made.words[a:b] for a, b in zip(made.offsets[:-1], made.offsets[1:], strict=True)]
    words = [set(each.tolist()) - {0} for each in of_docs]
    for keep_raw in (True, False):
        context = make_context(TEXTS, store=f"store-{keep_raw}")
        opened(context, {"words": True, "prune": "stop-words"}, keep_raw=keep_raw)
        said = meta(context, "token-store")
        assert said["encoded"] == len(made.words)
        assert said["pieces"] == np.count_nonzero(made.words) < said["encoded"]
        assert said["words_before"] == sum(len(each) for each in words)
        assert said["words_after"] == sum(len(each - set(stop_words().tolist())) for each in words)
    other = make_context(TEXTS, store="other")
    opened(other, {"pool": 2})
    assert "pieces" not in meta(other, "token-store")


@pytest.mark.parametrize(
    ("codec", "error"), [("int8", 0.02), ("residual-4", 0.3), ("residual-2", 0.6), ("residual-1", 0.9)]
)
def test_codes_decode_alike_however_they_are_read(
    make_context: Callable[..., Context], codec: str, error: float
) -> None:
    context = make_context(TEXTS)
    tokens, plain = opened(context, {"codec": codec}), opened(context, {})
    total = int(tokens.offsets[-1])
    assert np.array_equal(tokens.offsets, plain.offsets)
    everything = tokens.span(0, total)
    assert everything.dtype == np.float16
    assert np.linalg.norm(everything - plain.span(0, total).astype(np.float64), axis=1).max() < error
    rows = np.random.default_rng(0).integers(0, total, (5, 9))
    assert np.array_equal(tokens.take(rows), everything[rows])
    assert tokens.take(np.zeros((0, 3), np.int64)).shape == (0, 3, DIM)
    assert np.array_equal(np.concatenate([block for _, _, block in tokens.blocks(50)]), everything)
    assert tokens.longest == max(1.0, np.linalg.norm(everything.astype(np.float64), axis=1).max())


def test_walking_over_tokens_maps_nothing(make_context: Callable[..., Context]) -> None:
    tokens = opened(make_context(TEXTS), {"codec": "residual-2"})
    assert sum(len(block) for _, _, block in tokens.blocks(50)) == tokens.offsets[-1]
    columns: list[Column] = tokens.columns  # type: ignore[attr-defined]
    assert np.array_equal(tokens.read(3, 9), np.concatenate([b for _, _, b in tokens.blocks(10**6)])[3:9])
    assert not any("mapped" in vars(column) for column in columns)
    tokens.take(np.array([3]))
    assert all("mapped" in vars(column) for column in columns)


@pytest.mark.parametrize("texts", [[], ["", ""]])
@pytest.mark.parametrize("options", [{}, ALL, {"codec": "int8", "pool": 2}])
def test_nothing_to_keep(
    make_context: Callable[..., Context], texts: list[str], options: Mapping[str, Any]
) -> None:
    tokens = opened(make_context(texts), options)
    assert tokens.offsets.tolist() == [0] * (len(texts) + 1)
    assert tokens.span(0, 0).shape == (0, options.get("dim", DIM))


def test_recipes(make_context: Callable[..., Context]) -> None:
    context = make_context(TEXTS)
    (raw,) = Fake().token_recipes(context)
    first, reduced = Fake(tokens={"pool": 2}).token_recipes(context)
    assert first.key == raw.key
    assert reduced.spec["tokens"] == raw.key
    (lean,) = Fake(tokens={"pool": 2}, keep_raw=False).token_recipes(context)
    assert lean.key == reduced.key
    for keep_raw in (True, False):  # what is read when searching
        assert [each.key for each in Fake(tokens={"pool": 2}, keep_raw=keep_raw).opens(context)] == [
            reduced.key
        ]
    assert [each.key for each in Fake().opens(context)] == [raw.key]
    keys = {
        Fake(tokens=options).token_recipes(context)[-1].key
        for options in ({}, {"pool": 2}, {"pool": 3}, {"dim": 8}, {"codec": "int8"}, {"words": True}, ALL)
    }
    assert len(keys) == 7
    with_attention = Fake(tokens={"prune": "attention"}).token_recipes(context)
    assert with_attention[0].key != raw.key


def test_options_that_make_no_sense_are_refused(make_context: Callable[..., Context]) -> None:
    for wrong in (
        {"keep": 0.0, "prune": "attention"},
        {"keep": 1.1, "prune": "attention"},
        {"pool": 0},
        {"dim": 0},
        {"kodec": 1},
    ):
        with pytest.raises(ValidationError):
            TokenOptions.model_validate(wrong)
    for prune in (None, "stop-words"):
        with pytest.raises(ValidationError, match="prune: attention"):
            TokenOptions(prune=prune, keep=0.5)
    options = TokenOptions(prune="attention", keep=0.5, pool=2)
    assert TokenOptions(**options.model_dump(mode="json")) == options
    with pytest.raises(ConfigError, match="have 24 dimensions") as caught:
        opened(make_context(TEXTS), {"dim": 25})
    assert "at most 24" in str(caught.value.problems[0].hint)


def test_rows_of_a_column_on_disk_are_those_of_an_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float16)
    column = write(
        tmp_path / "rows.npy", (array[start : start + 7] for start in range(0, 50, 7)), np.float16, (3,)
    )
    assert np.array_equal(np.load(tmp_path / "rows.npy", allow_pickle=False), array)
    for rows in (slice(None), slice(4, 9), slice(9, 4), slice(1, 48, 5), np.array([49, 0, 7, 7])):
        assert np.array_equal(column[rows], array[rows])
    assert len(write(tmp_path / "none.npy", [], np.float16, (3,))) == 0


def test_columns(tmp_path: Path) -> None:
    parts = [
        np.arange(6, dtype=np.uint16).reshape(3, 2),
        np.zeros((0, 2), np.uint16),
        np.full((2, 2), 9, np.uint16),
    ]
    for i, part in enumerate(parts):
        np.save(tmp_path / f"{i}.npy", part)
    files = [tmp_path / f"{i}.npy" for i in range(3)]
    assert concatenate(files, tmp_path / "all.npy", np.uint16, (2,)) == 5
    whole = np.concatenate(parts)
    assert np.array_equal(np.load(tmp_path / "all.npy"), whole)
    column = Column(tmp_path / "all.npy")
    assert (column.shape, column.dtype) == ((5, 2), np.uint16)
    assert np.array_equal(column.read(1, 4), whole[1:4])
    assert np.array_equal(column.mapped, whole)
    with pytest.raises(ValueError, match="uint16"):
        concatenate(files, tmp_path / "no.npy", np.float16, (2,))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(whole))
    with pytest.raises(ValueError, match="C order"):
        Column(tmp_path / "fortran.npy")
