"""Tests of fixed-dimensional encodings: the paper's guarantees, a plain reference, and numbers that another package computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from irkit.stages.multivector import fde
from irkit.stages.multivector.fde import FdeConfig, FdeEncoder, Projections
from irkit.stages.multivector.fde_torch import TorchDocuments

CONFIGS = [
    FdeConfig(),
    FdeConfig(repetitions=3, k_sim=0, d_proj=None),
    FdeConfig(repetitions=3, k_sim=0, d_proj=4),
    FdeConfig(repetitions=2, k_sim=4, d_proj=None),
    FdeConfig(repetitions=5, k_sim=3, d_proj=7, projection="count-sketch"),
    FdeConfig(repetitions=4, k_sim=2, d_proj=24, final_dim=50),
    FdeConfig(repetitions=4, k_sim=6, d_proj=8, fill_empty=False),
]


def texts(lengths: list[int], dim: int = 16, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Unit tokens, exact in float16 precision so that both input types mean the same numbers."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    vectors = np.random.default_rng(seed).normal(size=(offsets[-1], dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return offsets, vectors.astype(np.float16).astype(np.float32)


def bits_of(tokens: NDArray[np.float64], normals: NDArray[np.float32]) -> NDArray[np.bool_]:
    return tokens @ normals.astype(np.float64) > 0


def plain(encoder: FdeEncoder, tokens: NDArray[np.float32], side: str) -> NDArray[np.float64]:
    """Section 2 of the paper in float64, by loops: mean, and the nearest token by comparing with every one; or sum."""
    config, drawn = encoder.config, encoder.projections
    blocks = []
    for r in range(config.repetitions):
        inner = np.eye(encoder.dim) if drawn.projections is None else drawn.projections[r].astype(np.float64)
        x = tokens.astype(np.float64)
        bits = bits_of(x, drawn.hyperplanes[r])
        for partition in range(2**config.k_sim):
            wanted = np.array([partition >> j & 1 for j in range(config.k_sim)], bool)
            distance = (bits != wanted).sum(axis=1)
            there = x[distance == 0] @ inner
            if len(there):
                blocks.append(there.mean(axis=0) if side == "documents" else there.sum(axis=0))
            elif side == "documents" and config.fill_empty and len(x):
                blocks.append(x[np.argmin(distance)] @ inner)  # argmin: the first of equals
            else:
                blocks.append(np.zeros(encoder.width))
    whole = np.concatenate(blocks)
    if encoder.sketch is None:
        return whole
    places, signs = encoder.sketch
    return np.bincount(places, weights=whole * signs, minlength=encoder.size)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("side", ["documents", "queries"])
def test_encodings_are_the_definition(config: FdeConfig, side: str) -> None:
    lengths = [0, 1, 2, 40, 0, 530, 5, 7, 0]
    offsets, vectors = texts(lengths)
    encoder = FdeEncoder(config, 16)
    found = getattr(encoder, side)(offsets, vectors)
    assert found.shape == (len(lengths), config.size(16)) and found.dtype == np.float32
    for text in range(len(lengths)):
        expected = plain(encoder, vectors[offsets[text] : offsets[text + 1]], side)
        np.testing.assert_allclose(found[text], expected, atol=2e-5 * max(1, lengths[text] ** 0.5))
    assert not found[[0, 4, 8]].any()  # texts without tokens keep their rows


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 90), min_size=1, max_size=25),
    number=st.integers(0, len(CONFIGS) - 1),
    seed=st.integers(0, 99),
)
def test_a_text_does_not_depend_on_its_neighbours(lengths: list[int], number: int, seed: int) -> None:
    offsets, vectors = texts(lengths, seed=seed)
    encoder = FdeEncoder(CONFIGS[number], 16)
    for side in (encoder.documents, encoder.queries):
        whole = side(offsets, vectors)
        for text in range(len(lengths)):
            alone = side(offsets[text : text + 2], vectors[offsets[text] : offsets[text + 1]])
            assert alone[0].tobytes() == whole[text].tobytes()  # bit for bit
        assert side(offsets, vectors.astype(np.float16)).tobytes() == whole.tobytes()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k_sim=st.integers(0, 6),
    query=st.integers(1, 12),
    document=st.integers(1, 30),
)
def test_without_projection_the_estimate_never_exceeds_maxsim(
    seed: int, k_sim: int, query: int, document: int
) -> None:
    """Lemma A.3; and with one document token there is nothing to estimate."""
    offsets, vectors = texts([query, document, 1], seed=seed)
    encoder = FdeEncoder(FdeConfig(repetitions=4, k_sim=k_sim, d_proj=None, seed=seed), 16)
    asked = encoder.queries(offsets[:2], vectors[:query])[0].astype(np.float64)
    many, one = encoder.documents(offsets[1:], vectors[query:]).astype(np.float64) @ asked / 4
    similarities = vectors[:query].astype(np.float64) @ vectors[query:].astype(np.float64).T
    assert many <= similarities[:, :document].max(axis=1).sum() + 1e-5
    assert one == pytest.approx(similarities[:, document].sum(), abs=1e-5)


def test_one_partition_compares_with_the_mean() -> None:
    offsets, vectors = texts([7, 11])
    encoder = FdeEncoder(FdeConfig(repetitions=2, k_sim=0, d_proj=None), 16)
    asked = encoder.queries(offsets[:2], vectors[:7])[0]
    estimate = asked @ encoder.documents(offsets[1:], vectors[7:])[0] / 2
    assert estimate == pytest.approx((vectors[:7] @ vectors[7:].mean(axis=0)).sum(), abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), first=st.integers(0, 20), second=st.integers(1, 20))
def test_symmetries(seed: int, first: int, second: int) -> None:
    offsets, vectors = texts([first + second], seed=seed)
    encoder = FdeEncoder(FdeConfig(repetitions=3, k_sim=3, d_proj=8), 16)
    query = encoder.queries(offsets, vectors)[0]
    parts = encoder.queries(np.array([0, first, first + second]), vectors)
    np.testing.assert_allclose(query, parts.sum(axis=0), atol=1e-5)  # queries add up
    order = np.random.default_rng(seed).permutation(len(vectors))
    np.testing.assert_allclose(query, encoder.queries(offsets, vectors[order])[0], atol=1e-5)
    unfilled = FdeEncoder(FdeConfig(repetitions=3, k_sim=3, d_proj=8, fill_empty=False), 16)
    np.testing.assert_allclose(  # which of several nearest tokens fills a partition is a matter of order
        unfilled.documents(offsets, vectors)[0], unfilled.documents(offsets, vectors[order])[0], atol=1e-5
    )
    twice = encoder.documents(offsets * 2, np.concatenate([vectors, vectors]))[0]
    np.testing.assert_allclose(twice, encoder.documents(offsets, vectors)[0], atol=1e-5)


def fastembed_projections(dim: int, config: FdeConfig, seed: int) -> Projections:
    """The random numbers of fastembed's Muvera: one generator, all hyperplanes first, then the signs of all repetitions."""
    random, width = np.random.default_rng(seed), config.d_proj or dim
    planes = np.stack([random.normal(size=(dim, config.k_sim)) for _ in range(config.repetitions)])
    signs = random.choice([-1, 1], size=(config.repetitions, dim, width))
    return Projections(planes.astype(np.float32), (signs / np.sqrt(width)).astype(np.float32))


def test_with_the_same_random_numbers_fastembed_computes_the_same() -> None:
    """Published values of fastembed's ``Muvera(128, 5, 16, 20)`` for the first ten tokens that numpy's generator 42 draws."""
    tokens = np.random.default_rng(42).random((10, 128)).astype(np.float32)
    encoder = FdeEncoder(FdeConfig(), 128, fastembed_projections(128, FdeConfig(), 42))
    document = encoder.documents(np.array([0, 10]), tokens)[0]
    query = encoder.queries(np.array([0, 10]), tokens)[0]
    np.testing.assert_allclose(document[:3], [-2.61810007e-04, 1.89005750, -2.32070747], atol=2e-6)
    np.testing.assert_allclose(query[query != 0][:3], [-0.85783903, 1.1077204, -0.09522747], atol=2e-6)


def test_estimates_with_projection_are_unbiased() -> None:
    offsets, vectors = texts([6, 9])
    exact = FdeEncoder(FdeConfig(repetitions=1, k_sim=0, d_proj=None), 16)
    expected = exact.queries(offsets[:2], vectors[:6])[0] @ exact.documents(offsets[1:], vectors[6:])[0]
    for projection in ("dense", "count-sketch"):
        config = FdeConfig(repetitions=3000, k_sim=0, d_proj=4, projection=projection)
        encoder = FdeEncoder(config, 16)
        found = (
            encoder.queries(offsets[:2], vectors[:6])[0]
            @ encoder.documents(offsets[1:], vectors[6:])[0]
            / 3000
        )
        assert found == pytest.approx(expected, abs=0.1)  # five standard deviations


def test_the_final_sketch_keeps_products() -> None:
    offsets, vectors = texts([8, 8])
    whole = FdeEncoder(FdeConfig(d_proj=8), 16).documents(offsets, vectors)
    products = [
        np.multiply(
            *FdeEncoder(FdeConfig(d_proj=8, final_dim=2048, seed=seed), 16).documents(offsets, vectors)
        ).sum()
        for seed in range(12)
    ]
    own = [
        np.multiply(*FdeEncoder(FdeConfig(d_proj=8, seed=s), 16).documents(offsets, vectors)).sum()
        for s in range(12)
    ]
    spread = np.prod(np.linalg.norm(whole, axis=1)) / np.sqrt(2048)
    assert np.abs(np.subtract(products, own)).max() < 5 * spread
    assert np.abs(np.subtract(products, own)).max() > 0


def test_more_repetitions_keep_the_first_and_a_seed_changes_all() -> None:
    few, many = (Projections.draw(FdeConfig(repetitions=r), 32) for r in (2, 5))
    np.testing.assert_array_equal(few.hyperplanes, many.hyperplanes[:2])
    np.testing.assert_array_equal(few.projections, many.projections[:2])  # type: ignore[arg-type,index]
    other = Projections.draw(FdeConfig(repetitions=2, seed=43), 32)
    assert not np.isclose(few.hyperplanes, other.hyperplanes).all()
    drawn = Projections.draw(FdeConfig(repetitions=50), 64)
    assert abs(drawn.hyperplanes.mean()) < 0.05 and drawn.hyperplanes.std() == pytest.approx(1, abs=0.05)
    assert drawn.projections is not None
    assert set(np.unique(drawn.projections)) == {-0.25, 0.25} and abs(drawn.projections.mean()) < 0.01
    sparse = Projections.draw(FdeConfig(projection="count-sketch"), 64).projections
    assert sparse is not None and (np.abs(sparse).sum(axis=2) == 1).all()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_torch_computes_the_same(config: FdeConfig) -> None:
    offsets, vectors = texts([0, 1, 30, 0, 200, 3, 0], seed=3)
    encoder = FdeEncoder(config, 16)
    expected = encoder.documents(offsets, vectors)
    there = TorchDocuments(encoder, "cpu")
    for given_ in (vectors, vectors.astype(np.float16)):
        np.testing.assert_allclose(there.documents(offsets, given_).numpy(), expected, atol=2e-5)
    assert there.documents(np.array([0, 0]), vectors[:0]).numpy().tolist() == [[0.0] * encoder.size]


def test_input_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FdeEncoder(FdeConfig(repetitions=2, k_sim=2, d_proj=4), 16)
    offsets, vectors = texts([2, 3])
    for bad, match in (
        ((offsets, vectors[:, :8]), "16 dimensions"),
        ((offsets, vectors.astype(np.float64)), "float16 or float32"),
        ((offsets[:2], vectors), "offsets"),
        ((np.array([0, 4, 2, 5]), vectors), "offsets"),
    ):
        with pytest.raises(ValueError, match=match):
            encoder.documents(*bad)
    monkeypatch.setattr(fde, "MAX_TOKENS", 2)
    with pytest.raises(ValueError, match="more than 2 tokens"):
        encoder.documents(offsets, vectors)


def test_a_final_dimension_that_does_not_reduce_is_refused() -> None:
    options = {"repetitions": 2, "k_sim": 2, "d_proj": 4}
    assert FdeConfig(**options, final_dim=32).size(16) == 32
    with pytest.raises(ValidationError, match=r"final_dim: 33 does not reduce the 32 .* leave final_dim out"):
        FdeConfig(**options, final_dim=33)


def test_random_numbers_that_do_not_fit_are_refused() -> None:
    config = FdeConfig(repetitions=2, k_sim=2, d_proj=4)
    good = Projections.draw(config, 16)
    assert good.projections is not None
    for bad, match in (
        (Projections(good.hyperplanes[:1], good.projections), "hyperplanes of shape"),
        (Projections(good.hyperplanes, good.projections[:, :8]), "projections of shape"),
        (Projections(good.hyperplanes), "not None"),
    ):
        with pytest.raises(ValueError, match=match):
            FdeEncoder(config, 16, bad)
