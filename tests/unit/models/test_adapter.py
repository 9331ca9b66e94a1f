"""Tests of low-rank adapters: the arithmetic of both sides, and folders that are whole or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.errors import ModelError
from irkit.models.adapter import DESCRIPTION, WEIGHTS, Adapter, LowRank
from irkit.models.encoder import unit

DIM, RANK = 12, 3


def low_rank(rng: np.random.Generator, rank: int = RANK, scale: float = 0.3) -> LowRank:
    normal = [scale * rng.normal(size=shape).astype(np.float32) for shape in ((DIM, rank), (rank, DIM))]
    return LowRank(*(each.astype(np.float32) for each in normal))


def adapter(seed: int = 0, *, both: bool = True) -> Adapter:
    rng = np.random.default_rng(seed)
    sides = low_rank(rng), low_rank(rng, 2) if both else None
    return Adapter(*sides, "tiny", "f" * 64, "cosine", {"collection": "toy", "steps": 3})


@given(seed=st.integers(0, 10_000))
def test_both_sides_fold_into_the_query(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, docs = unit(rng.normal(size=(5, DIM))), unit(rng.normal(size=(7, DIM)))
    made = adapter(seed)
    assert made.document is not None
    q = queries.astype(np.float64)
    q = q + q @ made.query.V.T.astype(np.float64) @ made.query.U.T.astype(np.float64)
    d = docs.astype(np.float64)
    d = d + d @ made.document.V.T.astype(np.float64) @ made.document.U.T.astype(np.float64)
    np.testing.assert_allclose(made.of_document(docs), d, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.of_query(queries) @ docs.T, q @ d.T, rtol=1e-4, atol=1e-5)


def test_the_query_side_alone_is_x_plus_uvx() -> None:
    rng = np.random.default_rng(1)
    made, x = adapter(both=False), rng.normal(size=(4, DIM)).astype(np.float32)
    wide = x.astype(np.float64)
    expected = [
        row + made.query.U.astype(np.float64) @ (made.query.V.astype(np.float64) @ row) for row in wide
    ]
    np.testing.assert_allclose(made.of_query(x), expected, rtol=1e-6)
    assert made.of_document(x).tobytes() == x.tobytes()
    assert adapter().query_side().of_query(x).tobytes() == made.of_query(x).tobytes()
    assert not np.allclose(adapter().of_query(x), made.of_query(x))


def test_a_zero_residual_keeps_every_bit() -> None:
    x = np.array([[-0.0, 0.0, 1.0, -1e-38, *range(8)]], np.float32)
    nothing = LowRank(np.zeros((DIM, RANK), np.float32), np.ones((RANK, DIM), np.float32))
    for document in (None, nothing):
        assert Adapter(nothing, document, "tiny", "f").of_query(x).tobytes() == x.tobytes()


def test_a_row_does_not_depend_on_its_companions() -> None:
    x = np.random.default_rng(2).normal(size=(50, DIM)).astype(np.float32)
    whole = adapter().of_query(x)
    assert whole.tobytes() == np.concatenate([adapter().of_query(x[i : i + 1]) for i in range(50)]).tobytes()
    assert adapter().of_query(x[:0]).shape == (0, DIM)


@pytest.mark.parametrize("both", [True, False])
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, both: bool) -> None:
    made, x = adapter(both=both), np.random.default_rng(3).normal(size=(6, DIM)).astype(np.float32)
    made.save(tmp_path / "deep" / "adapter")
    found = Adapter.load(tmp_path / "deep" / "adapter")
    assert found.of_query(x).tobytes() == made.of_query(x).tobytes()
    assert (found.model, found.fingerprint, found.similarity, found.trained) == (
        made.model, made.fingerprint, made.similarity, made.trained,
    )  # fmt: skip
    assert found.content == made.content != adapter(seed=9).content
    said = json.loads((tmp_path / "deep" / "adapter" / DESCRIPTION).read_text())
    assert said["dim"] == DIM
    assert said["rank"] == ({"query": 3, "document": 2} if both else {"query": 3})
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == [
        "adapter"
    ]  # nothing half-written is left


def test_saving_replaces_an_adapter_and_nothing_else(tmp_path: Path) -> None:
    adapter(0).save(tmp_path / "it")
    adapter(1).save(tmp_path / "it")
    assert Adapter.load(tmp_path / "it").content == adapter(1).content
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ModelError, match=r"something else than an adapter is there(?s:.)*new or empty"):
        adapter().save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="cannot be written"):
        adapter().save(tmp_path / "file" / "below")
    with pytest.raises(ModelError, match="something else than an adapter is there"):
        adapter().save(tmp_path / "file")


def test_a_killed_save_leaves_the_old_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter(0).save(tmp_path / "it")

    def full(self: Adapter, folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Adapter, "_write", full)
    with pytest.raises(ModelError, match=r"cannot be written: No space left"):
        adapter(1).save(tmp_path / "it")
    assert Adapter.load(tmp_path / "it").content == adapter(0).content
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_rename_that_fails_brings_the_old_adapter_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter(0).save(tmp_path / "it")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ModelError, match="Input/output error"):
        adapter(1).save(tmp_path / "it")
    assert Adapter.load(tmp_path / "it").content == adapter(0).content
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        said = json.loads((folder / DESCRIPTION).read_text())
        change(said)
        (folder / DESCRIPTION).write_text(json.dumps(said))

    return damage


def _cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8])


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / WEIGHTS).unlink(), "weights are damaged: it is missing"),
    (lambda folder: (folder / DESCRIPTION).unlink(), "the folder holds no adapter"),
    (lambda folder: (folder / DESCRIPTION).write_text("{"), "damaged: no such JSON"),
    (lambda folder: (folder / DESCRIPTION).write_text("[1]"), "damaged: no such JSON"),
    (_cut, "weights are damaged: other bytes"),
    (_edit(lambda said: said.update(format=2)), "has format 2, and this irkit reads 1"),
    (_edit(lambda said: said.pop("model")), "damaged: 'model' is missing"),
    (_edit(lambda said: said.update(rank={"query": 3, "other": 1})), "damaged: 'other.U' is missing"),
    (_edit(lambda said: said.update(rank={"document": 2})), "damaged: 'query' is missing"),
    (_edit(lambda said: said.update(rank={"query": 4})), "other shapes"),
    (_edit(lambda said: said.update(dim=5)), "other shapes"),
    (_edit(lambda said: said.update(similarity="euclid")), "neither 'cosine' nor 'dot'"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    adapter().save(tmp_path / "it")
    damage(tmp_path / "it")
    with pytest.raises(ModelError, match=message):
        Adapter.load(tmp_path / "it")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        Adapter.load(tmp_path / "nowhere")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    bad = LowRank(np.full((DIM, 1), np.nan, np.float32), np.ones((1, DIM), np.float32))
    Adapter(bad, None, "tiny", "f").save(tmp_path / "it")
    with pytest.raises(ModelError, match=r"query\.U is not of finite float32"):
        Adapter.load(tmp_path / "it")


def test_shapes_that_do_not_fit_are_refused() -> None:
    ones = np.ones((DIM, 2), np.float32)
    with pytest.raises(ValueError, match=r"not \[dim, rank\] and \[rank, dim\]"):
        LowRank(ones, ones)
    with pytest.raises(ValueError, match="12 dimensions of queries, 5 of documents"):
        Adapter(LowRank(ones, ones.T), LowRank(ones[:5], ones[:5].T), "tiny", "f")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("e" * 64, DIM, "cosine"), "belongs to the model 'tiny'"),
        (("f" * 64, 5, "cosine"), "vectors of 12 dimensions, the model gives 5"),
        (("f" * 64, DIM, "dot"), "similarity cosine, and vectors are compared by dot"),
    ],
)
def test_vectors_that_it_was_not_made_for_are_refused(given: tuple[str, int, str], message: str) -> None:
    adapter().check("tiny", "f" * 64, DIM, "cosine")
    with pytest.raises(ModelError, match=message):
        adapter().check("other", *given)
