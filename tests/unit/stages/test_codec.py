"""Tests of the codecs: exact decoding, packing, errors that shrink with the bits, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import unpack

from irkit.core.errors import ConfigError
from irkit.stages.multivector import residual
from irkit.stages.multivector.codec import (
    ByteCodec,
    FloatCodec,
    ResidualCodec,
    load_codec,
    train_codec,
    train_residual,
)
from irkit.stages.multivector.grid import are_unit, grid_float16, normalise, on_grid
from irkit.stages.multivector.residual import default_nlist, pack


def unit(rng: np.random.Generator, rows: int, dim: int = 24) -> np.ndarray:
    centres = rng.normal(size=(8, dim))
    vectors = centres[rng.integers(0, 8, rows)] + 0.5 * rng.normal(size=(rows, dim)) * np.linspace(
        2, 0.1, dim
    )
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(
    seed=st.integers(0, 99), bits=st.sampled_from([1, 2, 4]), dim=st.integers(1, 20), rows=st.integers(0, 5)
)
def test_packing_loses_nothing(seed: int, bits: int, dim: int, rows: int) -> None:
    buckets = np.random.default_rng(seed).integers(0, 1 << bits, (rows, dim)).astype(np.uint8)
    packed = pack(buckets, bits)
    assert packed.shape == (rows, -(-dim * bits // 8))
    assert np.array_equal(unpack(packed, bits, dim), buckets)


def test_the_first_dimension_is_in_the_lowest_bits() -> None:
    assert pack(np.array([[1, 2, 3, 0, 2]], np.uint8), 2).tolist() == [[1 + 2 * 4 + 3 * 16, 2]]
    assert pack(np.array([[5, 9]], np.uint8), 4).tolist() == [[5 + 9 * 16]]
    assert pack(np.array([[1, 0, 0, 1]], np.uint8), 1).tolist() == [[9]]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), bits=st.sampled_from([1, 2, 4]), dim=st.sampled_from([3, 8, 24]))
def test_decoding_is_centroid_plus_weight_of_unit_length(seed: int, bits: int, dim: int) -> None:
    """The definition, in float64 and with one rounding, gives the same float16 but for ties of the last rounding."""
    rng = np.random.default_rng(seed)
    vectors = unit(rng, 200, dim)
    codec = train_residual(vectors, bits, 6, seed)
    ids, codes = codec.encode(vectors)
    decoded = codec.decode(ids, codes)
    assert decoded.dtype == np.float16
    buckets = unpack(codes, bits, dim)
    total = codec.centroids[ids].astype(np.float64) + codec.weights[np.arange(dim), buckets]
    exact = total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(decoded, exact, rtol=2**-10.9, atol=2**-24)
    assert np.array_equal(decoded, normalise(total).astype(np.float16))  # numpy takes the same steps


def test_torch_can_repeat_the_decoding() -> None:
    import torch

    vectors = unit(np.random.default_rng(0), 500, 32)
    codec = train_residual(vectors, 2, 16)
    ids, codes = codec.encode(vectors)
    buckets = torch.from_numpy(unpack(codes, 2, 32).astype(np.int64))
    centroids, weights = torch.from_numpy(codec.centroids).float(), torch.from_numpy(codec.weights)
    total = centroids[torch.from_numpy(ids.astype(np.int64))] + weights[torch.arange(32), buckets]
    inverse = (1 / total.double().square().sum(1).sqrt()).float()
    assert np.array_equal((total * inverse[:, None]).half().numpy(), codec.decode(ids, codes))


def test_codes_are_the_nearest_centroid_and_the_bucket() -> None:
    vectors = unit(np.random.default_rng(1), 300)
    codec = train_residual(vectors, 2, 10)
    ids, codes = codec.encode(vectors)
    near = (vectors.astype(np.float64) @ codec.centroids.astype(np.float64).T).argmax(axis=1)
    assert np.array_equal(ids, near)
    residuals = on_grid(vectors) - codec.centroids[ids]
    buckets = np.stack(
        [np.searchsorted(codec.cutoffs[d], residuals[:, d], "right") for d in range(24)], axis=1
    )
    assert np.array_equal(unpack(codes, 2, 24), buckets)
    share = np.stack([(buckets == bucket).mean(axis=0) for bucket in range(4)])
    assert np.all(abs(share - 0.25) < 0.02)  # quantiles
    for d in range(24):
        for bucket in range(4):
            mean = residuals[buckets[:, d] == bucket, d].mean()
            assert abs(codec.weights[d, bucket] - mean) < 1e-6


def test_more_bits_err_less() -> None:
    vectors = unit(np.random.default_rng(2), 2000)
    errors = []
    for bits in (1, 2, 4):
        codec = train_residual(vectors, bits, 32)
        errors.append(float(np.square(codec.decode(*codec.encode(vectors)) - vectors).sum(axis=1).mean()))
    codec = train_residual(vectors, 2, 32)
    centroid_only = np.square(codec.centroids[codec.assign(vectors)] - vectors).sum(axis=1).mean()
    assert centroid_only > errors[0] > 2 * errors[1] > 8 * errors[2]


def test_batches_and_companions_change_no_code() -> None:
    vectors = unit(np.random.default_rng(3), 400)
    codec = train_residual(vectors, 4, 20)
    ids, codes = codec.encode(vectors)
    for rows in ([7], [399, 0, 5], list(range(0, 400, 3))):
        some_ids, some_codes = codec.encode(vectors[rows])
        assert np.array_equal(some_ids, ids[rows])
        assert np.array_equal(some_codes, codes[rows])
        assert np.array_equal(codec.decode(some_ids, some_codes), codec.decode(ids, codes)[rows])


@pytest.mark.parametrize("name", ["float16", "int8", "residual-1", "residual-4"])
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(4), 200)
    codec = train_codec(name, vectors, 200)
    codec.save(tmp_path / "codec")
    loaded = load_codec(name, tmp_path / "codec", 24)
    columns = codec.encode(vectors)
    for column, (dtype, row), again in zip(
        columns, codec.layout.values(), loaded.encode(vectors), strict=True
    ):
        assert column.dtype == dtype
        assert column.shape == (200, *row)
        assert np.array_equal(column, again)
    assert np.array_equal(codec.decode(*columns), loaded.decode(*columns))


def test_bytes() -> None:
    vectors = unit(np.random.default_rng(5), 1000)
    codec = ByteCodec.train(vectors)
    (codes,) = codec.encode(vectors)
    assert np.abs(codes).max() == 127
    decoded = codec.decode(codes)
    assert np.array_equal(decoded, (codes.astype(np.float32) * codec.scales).astype(np.float16))
    assert np.all(np.abs(decoded - vectors) <= codec.scales * 0.51 + 2**-11)
    assert codec.encode(vectors * 2)[0].max() == 127  # cut off, not wrapped around
    assert codec.encode(-vectors * 2)[0].min() == -127


def test_every_float16_is_rounded_to_as_numpy_rounds() -> None:
    """Also subnormal numbers, ties and zero: all float16 in [0, 2], their neighbours in float32, and the middles between them."""
    halves = np.arange(0x4000, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[1:] + halves[:-1]) / 2
    values = np.concatenate(
        [halves, middles, np.nextafter(middles, np.float32(9)), np.nextafter(middles, np.float32(-9))]
    )
    codec = ByteCodec(np.concatenate([values, -values]))
    decoded = codec.decode(np.ones((1, len(codec.scales)), np.int8))[0]
    assert np.array_equal(decoded.view(np.uint16), codec.scales.astype(np.float16).view(np.uint16))


def test_the_numbers_of_centroids_take_two_or_four_bytes() -> None:
    few = ResidualCodec(
        np.zeros((1 << 16, 1), np.float16), np.zeros((1, 1), np.float32), np.zeros((1, 2), np.float32), 1
    )
    many = ResidualCodec(np.zeros((65537, 1), np.float16), few.cutoffs, few.weights, 1)
    assert few.layout["ids"][0] == np.uint16
    assert many.layout["ids"][0] == np.uint32


def test_the_default_number_of_centroids_is_plaids() -> None:
    assert [default_nlist(tokens) for tokens in (0, 1, 1000, 1_242_251, 10**9)] == [16, 16, 256, 16384, 65536]


def test_vectors_that_are_not_of_unit_length_are_refused() -> None:
    vectors = unit(np.random.default_rng(6), 50) * 3
    with pytest.raises(ConfigError, match="not of unit length") as caught:
        train_residual(vectors, 2, 4)
    assert "int8" in str(caught.value.problems[0].hint)


def test_nothing_to_learn_from() -> None:
    for name in ("float16", "int8", "residual-2"):
        codec = train_codec(name, np.zeros((0, 8), np.float32), 0)
        assert codec.decode(*codec.encode(np.zeros((0, 8), np.float32))).shape == (0, 8)
    zeros = train_residual(np.zeros((3, 8), np.float32), 2, 4)
    assert not zeros.decode(*zeros.encode(np.zeros((2, 8), np.float32))).any()
    assert FloatCodec(8).decode(*FloatCodec(8).encode(np.ones((1, 8)))).dtype == np.float16


def test_blocks_of_rows_change_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(np.random.default_rng(9), 100)
    codec = train_residual(vectors, 4, 20)
    whole = codec.encode(vectors)
    monkeypatch.setattr(residual, "_BLOCK", 7)
    for one, other in zip(codec.encode(vectors), whole, strict=True):
        assert np.array_equal(one, other)
    again = train_residual(vectors, 4, 20)
    assert np.array_equal(again.centroids, codec.centroids)
    vectors[50] *= 2
    with pytest.raises(ConfigError, match="not of unit length"):
        train_residual(vectors, 4, 20)


def test_what_is_coded_is_coded_by_the_nearest_of_many_centroids_but_for_one_in_a_hundred() -> None:
    rng = np.random.default_rng(10)
    topics = rng.normal(size=(300, 32))
    points = normalise(topics[rng.integers(0, 300, 6096)] + 0.6 * rng.normal(size=(6096, 32)))
    centroids, vectors = grid_float16(points[:4096]), points[4096:]
    codec = ResidualCodec(centroids, np.zeros((32, 1), np.float32), np.zeros((32, 2), np.float32), 1)
    exact = (on_grid(vectors) @ on_grid(centroids).T).argmax(axis=1)
    assert (codec.encode(vectors)[0] == exact).mean() > 0.99


def test_the_grid() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(50, 100))
    near = on_grid(vectors)
    assert np.all(np.abs(near - vectors) <= 2.0**-21)
    assert np.array_equal(near * 2**20, np.rint(near * 2**20))
    halves = grid_float16(vectors)
    assert np.array_equal(on_grid(halves), halves)
    order = rng.permutation(100)
    one = normalise(vectors)
    assert np.array_equal(normalise(vectors[:, order]), one[:, order])  # the sum has no order
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)
    assert are_unit(np.concatenate([one, np.zeros((1, 100))]))
    assert not are_unit(one * 1.05)


def test_threads_change_no_code() -> None:
    """Centroids, codes and all: in exact arithmetic the order of sums, and so the number of threads, does not matter."""
    from threadpoolctl import threadpool_limits

    vectors = unit(np.random.default_rng(8), 6000)
    made = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            codec = train_residual(vectors, 2, 2500)
            made.append((codec.centroids, codec.cutoffs, codec.weights, *codec.encode(vectors)))
    for one, other in zip(*made, strict=True):
        assert np.array_equal(one, other)
