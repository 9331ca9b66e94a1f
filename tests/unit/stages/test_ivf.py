"""Tests of inverted lists of tokens: the files, the kernels, and the search against its definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import unpack

from irkit.core.errors import ConfigError
from irkit.models.encoder import unit
from irkit.models.ragged import Ragged
from irkit.stages.multivector import ivf
from irkit.stages.multivector.ivf import IvfOptions, build_ivf, lists_for
from irkit.stages.multivector.ivf_kernels import centroid_scores, fold, leading, missing_similarity, scan
from irkit.stages.multivector.ivf_search import TokenIvf, Work, missing_reach
from irkit.stages.multivector.residual import train_residual
from irkit.stages.multivector.scoring import MaxSimScorer
from irkit.stages.multivector.token_search import Formula
from irkit.stages.multivector.tokens import FloatTokens, Tokens
from irkit.store import Recipe, Store

DIM = 20  # not a multiple of what bytes or kernels hold


def topical(rng: np.random.Generator, lengths: list[int], dim: int = DIM) -> Ragged:
    """Tokens near one of 40 directions, as words of a language are."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    topics = np.random.default_rng(9).normal(size=(40, dim))
    vectors = topics[rng.integers(0, 40, offsets[-1])] + 0.4 * rng.normal(size=(offsets[-1], dim))
    return Ragged(offsets, unit(vectors) if len(vectors) else np.zeros((0, dim), np.float32))


def documents(rng: np.random.Generator, lengths: list[int], dim: int = DIM) -> Tokens:
    made = topical(rng, lengths, dim)
    return Tokens.of(made.offsets, made.vectors.astype(np.float16))


def built(folder: Path, tokens: Tokens, **options: Any) -> TokenIvf:
    artifact = Store(folder).get(
        Recipe("xtr-ivf", options), lambda build: build_ivf(build, tokens, IvfOptions(**options))
    )
    return TokenIvf(artifact.path, len(tokens))


def decoded(index: TokenIvf) -> np.ndarray:
    """The vector that stands for every token, in the order of the lists, float64."""
    codec = index.codec
    ids = np.repeat(np.arange(codec.nlist), np.diff(index.offsets))
    buckets = unpack(index._codes[:, :-1], codec.bits, codec.dim)
    vectors = codec.centroids[ids].astype(np.float64) + codec.weights[np.arange(codec.dim), buckets]
    return vectors * index._inverse[index._codes[:, -1]].astype(np.float64)[:, None]


def definition(
    index: TokenIvf, query: np.ndarray, nprobe: int, reach: int, formula: Formula
) -> dict[int, float]:
    """The score of every document that is found, by loops."""
    vectors, docs = decoded(index), index._doc
    centroids = index.codec.centroids.astype(np.float64)
    sizes = np.diff(index.offsets)
    sums: dict[int, dict[int, float]] = {}
    missing = []
    for i, token in enumerate(query.astype(np.float64)):
        near = centroids @ token
        order = np.argsort(-near, kind="stable")
        held = np.cumsum(sizes[order])
        missing.append(near[order[np.argmax(held >= reach)]] if formula.impute == "last" else 0.0)
        for c in order[:nprobe]:
            for t in range(index.offsets[c], index.offsets[c + 1]):
                here = sums.setdefault(int(docs[t]), {})
                score = float(vectors[t] @ token)
                if formula.impute == "last":
                    score = max(score, missing[i])
                here[i] = max(here.get(i, -np.inf), score)
    n = len(query)
    return {
        doc: sum(best.get(i, missing[i]) for i in range(n))
        / (n if formula.normalise == "tokens" else len(best))
        for doc, best in sums.items()
    }


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize(
    "formula", [Formula(), Formula(impute="none"), Formula("retrieved", "none")], ids=str
)
def test_search_is_the_definition(tmp_path: Path, bits: int, formula: Formula) -> None:
    rng = np.random.default_rng(bits)
    tokens = documents(rng, rng.integers(0, 12, 60).tolist())
    index = built(tmp_path, tokens, bits=bits, nlist=24)
    for nprobe, reach in [(1, 1), (3, 40), (5, 200), (24, 3)]:
        queries = topical(rng, [7, 1, 4])
        found = index.search(queries, 1000, nprobe=nprobe, reach=reach, formula=formula)
        for query in range(3):
            expected = definition(index, queries[query], nprobe, reach, formula)
            docs, scores = found[query]
            assert set(docs.tolist()) == set(expected)
            np.testing.assert_allclose(scores, [expected[doc] for doc in docs.tolist()], atol=2e-6)


def test_probing_every_list_comes_near_maxsim(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tokens, queries = documents(rng, [9] * 80), topical(rng, [6] * 10)
    exact = MaxSimScorer(tokens).search(queries, 80)
    errors = {}
    for bits in (1, 2, 4):
        index = built(tmp_path, tokens, bits=bits)
        found = index.search(queries, 80, nprobe=10**6, reach=10**9)
        errors[bits] = np.mean(
            [
                np.abs(found[q][1][np.argsort(found[q][0])] - exact[q][1][np.argsort(exact[q][0])] / 6).mean()
                for q in range(10)
            ]
        )
    assert errors[4] < errors[2] < errors[1]
    assert errors[4] < 0.01


def test_every_token_is_in_the_list_of_its_centroid_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tokens = documents(rng, rng.integers(0, 9, 50).tolist())
    index = built(tmp_path, tokens, nlist=16)
    assert index.tokens == tokens.offsets[-1]
    assert np.array_equal(np.bincount(index._doc, minlength=50), tokens.lengths)
    for start, stop in zip(index.offsets[:-1], index.offsets[1:], strict=True):
        assert (np.diff(index._doc[start:stop]) >= 0).all()
    vectors, original = decoded(index), tokens.span(0, int(tokens.offsets[-1])).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)
    for doc in range(50):  # the same vectors, but for coding, in some order
        near = vectors[index._doc == doc] @ original[tokens.offsets[doc] : tokens.offsets[doc + 1]].T
        if near.size:
            assert near.max(axis=0).min() > 0.9


def test_shards_blocks_and_merges_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    tokens = documents(rng, rng.integers(0, 9, 70).tolist())
    built(tmp_path / "whole", tokens)
    for name, value in {"_SHARD": 50 * DIM, "_BLOCK": 11, "_MERGE": 300}.items():
        monkeypatch.setattr(ivf, name, value)
    monkeypatch.setattr(ivf, "_learn", lambda path, *_: _copy(tmp_path / "whole", path))
    built(tmp_path / "parts", tokens)
    one, other = (next((tmp_path / part).glob("??/*")) for part in ("whole", "parts"))
    for name in ("doc.npy", "codes.npy", "offsets.npy"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def _copy(store: Path, path: Path) -> None:
    """Give the parts the codec of the whole: its sample's blocks are not what is compared."""
    import shutil

    folder = next(store.glob("??/*"))
    shutil.copytree(folder / "codec", path / "codec")
    shutil.copy(folder / "inverse.npy", path)


def test_a_killed_build_goes_on_with_the_next_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = documents(np.random.default_rng(3), [5] * 40)
    monkeypatch.setattr(ivf, "_SHARD", 50 * DIM)
    write, written = ivf._Shard.write, []

    def counted(shard: Any, path: Path) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard.first)
        write(shard, path)

    monkeypatch.setattr(ivf._Shard, "write", counted)
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path, tokens)
    monkeypatch.setattr(
        ivf._Shard, "write", lambda shard, path: (written.append(shard.first), write(shard, path))
    )
    reads: list[int] = []
    read, progress = Tokens.read, Recorded()
    monkeypatch.setattr(
        Tokens, "read", lambda self, start, stop: (reads.append(start), read(self, start, stop))[1]
    )
    monkeypatch.setattr(FloatTokens, "read", Tokens.read)
    artifact = Store(tmp_path).get(
        Recipe("xtr-ivf", {}), lambda build: build_ivf(build, tokens, IvfOptions(), progress)
    )
    index = TokenIvf(artifact.path, 40)
    assert written == [0, 10, 20, 30]
    assert reads == [100, 150]  # of finished shards nothing is read, and they are not new progress
    assert progress.tasks == [(40, 20, 20)]
    assert np.bincount(index._doc).tolist() == [5] * 40


class Recorded:
    """Progress that remembers, of every task, its total, what had been done, and what was done now."""

    def __init__(self) -> None:
        self.tasks: list[tuple[int, int, int]] = []

    @contextmanager
    def task(self, _label: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
        steps: list[int] = []
        yield steps.append
        self.tasks.append((total, done, sum(steps)))

    def say(self, _text: str) -> None: ...


def test_inverse_norms_beyond_the_sample_take_the_ends_of_the_scale(tmp_path: Path) -> None:
    """Without the clip a byte would wrap round, and a short vector count as a long one."""
    rng = np.random.default_rng(10)
    tokens = documents(rng, [6] * 40)
    vectors = tokens.span(0, 240)
    codec = train_residual(vectors, 1, 8)
    ids, codes = codec.encode(vectors)
    near = ivf._inverse_norms(ids, codes, codec)
    low, high = np.quantile(near, [0.4, 0.6])
    scale = np.linspace(low, high, 256, dtype=np.float32)
    ivf._Shard(vectors, tokens.offsets, 0, codec, scale).write(tmp_path / "shard")
    written = np.load(tmp_path / "shard" / "codes.npy")[:, -1]
    order = np.argsort(ids, kind="stable")
    assert (written[near[order] < low - 1e-5] == 0).all()
    assert (written[near[order] > high + 1e-5] == 255).all()
    assert 0 < (written == 0).sum() < 240


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_queries_that_are_not_finite_are_refused(tmp_path: Path, wrong: float) -> None:
    rng = np.random.default_rng(11)
    index = built(tmp_path, documents(rng, [6] * 20))
    query = topical(rng, [3])
    query.vectors[1, 2] = wrong
    with pytest.raises(ValueError, match="finite"):
        index.search(query, 5)


def test_a_document_is_met_once_whatever_its_scores_are() -> None:
    """Also where they are NaN: or the list of the documents would run over, far beyond its end."""
    table = np.full((2, 256), np.nan, np.float32)
    doc, codes = np.repeat(np.arange(3, dtype=np.int32), 50), np.zeros((150, 3), np.uint8)
    best, touched = np.full(3, -np.inf, np.float32), np.full(150, -1, np.int32)
    for base in (0.0, np.nan, -np.inf):
        count = scan(table, base, doc, codes, np.ones(256, np.float32), best, touched[:], 0)
        assert count == (3 if base == 0.0 else 0)
    assert touched[:3].tolist() == [0, 1, 2]
    assert (touched[3:] == -1).all()


def test_threads_and_companions_do_not_change_a_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    index = built(tmp_path, documents(rng, rng.integers(0, 30, 200).tolist()))
    queries = topical(rng, rng.integers(0, 14, 30).tolist())
    whole = index.search(queries, 20)
    assert index.search(queries, 20, threads=4) == whole
    for query in range(30):
        alone = Ragged(np.array([0, len(queries[query])]), queries[query])
        assert index.search(alone, 20) == whole.take([query])
    assert index.search(queries, 7) == whole.top(7)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [0, 3, 0]])
def test_tiny_collections(tmp_path: Path, lengths: list[int]) -> None:
    rng = np.random.default_rng(5)
    index = built(tmp_path, documents(rng, lengths))
    found = index.search(topical(rng, [3, 0, 1]), 5)
    there = [doc for doc, length in enumerate(lengths) if length]
    assert [sorted(docs.tolist()) for docs, _ in found] == [there, [], there]


def test_equal_documents_tie_by_code_descending(tmp_path: Path) -> None:
    one = topical(np.random.default_rng(6), [4]).vectors.astype(np.float16)
    index = built(tmp_path, Tokens.of(np.arange(0, 44, 4), np.tile(one, (10, 1))))
    found = index.search(Ragged(np.array([0, 2]), one[:2].astype(np.float32)), 3)
    assert found.doc.tolist() == [9, 8, 7]


def test_vectors_that_are_not_unit_are_refused(tmp_path: Path) -> None:
    tokens = Tokens.of(np.array([0, 2]), np.full((2, 8), 1.5, np.float16))
    with pytest.raises(ConfigError, match="unit length") as refused:
        built(tmp_path, tokens)
    assert "index: exact" in str(refused.value)


def test_work_is_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    index = built(tmp_path, documents(rng, [6] * 50), nlist=12)
    query = topical(rng, [5])
    near = query.vectors.astype(np.float64) @ index.codec.centroids.astype(np.float64).T
    lists = np.argsort(-near, axis=1)[:, :2]
    sizes = np.diff(index.offsets)
    work = Work()
    index.search(query, 5, nprobe=2, work=work)
    assert work.queries == 1
    assert work.scored == pytest.approx(sizes[lists].sum() / 5 / 300)
    assert work.touched == pytest.approx(sizes[np.unique(lists)].sum() / 300)
    everything = Work()
    index.search(topical(rng, [5, 0, 2]), 5, nprobe=12, work=everything)
    assert (everything.queries, everything.scored, everything.touched) == (2, 1.0, 1.0)


def test_default_sizes() -> None:
    assert [lists_for(tokens) for tokens in (0, 1, 7386, 1_242_251)] == [1, 1, 923, 17833]
    assert lists_for(10**9) == 505_964  # neither rounded nor capped: work grows with the square root
    assert [missing_reach(tokens) for tokens in (0, 2, 50_000)] == [1, 8, 1264]


@settings(max_examples=50, deadline=None)
@given(
    numbers=st.lists(st.integers(-20, 20), min_size=1, max_size=600),
    share=st.floats(0, 1),
    reach=st.integers(1, 900),
)
def test_leading_lists(numbers: list[int], share: float, reach: int) -> None:
    scores = np.array(numbers, np.float32) / 8
    count = max(1, int(share * len(scores)))
    order = np.lexsort((np.arange(len(scores)), -scores))
    assert leading(scores, count).tolist() == order[:count].tolist()
    offsets = np.concatenate([[0], np.cumsum(np.arange(len(scores)) % 4)]).astype(np.int64)
    held = np.cumsum(np.diff(offsets)[order])
    got = missing_similarity(scores, order, offsets, reach)
    enough = np.flatnonzero(held >= reach)
    assert got == scores[order[enough[0]]] if len(enough) else np.isnan(got)


@pytest.mark.parametrize("shape", [(1, 8, 1), (5, 24, 37), (6, 128, 4099)])
def test_centroid_scores(shape: tuple[int, int, int]) -> None:
    n, dim, nlist = shape
    rng = np.random.default_rng(8)
    query, columns = (
        rng.normal(size=(n, dim)).astype(np.float32),
        rng.normal(size=(dim, nlist)).astype(np.float32),
    )
    out = np.full((n, nlist), np.nan, np.float32)
    centroid_scores(query, columns, out)
    np.testing.assert_allclose(out, query.astype(np.float64) @ columns.astype(np.float64), atol=1e-4)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_folded_table_adds_up_to_the_dot_product(bits: int) -> None:
    rng = np.random.default_rng(bits)
    token = rng.normal(size=16).astype(np.float32)
    weights = rng.normal(size=(16, 1 << bits)).astype(np.float32)
    codes = rng.integers(0, 256, (20, 2 * bits), dtype=np.uint8)
    table = np.empty((2 * bits, 256), np.float32)
    fold(token, weights, bits, table)
    looked_up = table[np.arange(2 * bits), codes].sum(axis=1)
    expected = weights[np.arange(16), unpack(codes, bits, 16)] @ token
    np.testing.assert_allclose(looked_up, expected, atol=1e-4)
