"""The benchmark suites in pipelines/: their ids exist, and their averages are the published ones."""

from __future__ import annotations

from pathlib import Path

import ir_datasets
import pytest

from irkit.config.choice import choose, macro_sets
from irkit.config.experiment import Experiment, load_experiment
from irkit.data.beir import NAMES as LICENSED
from irkit.data.open import resolve
from irkit.data.policies import policy_of
from irkit.data.published import published
from irkit.store import Store

PIPELINES = Path(__file__).resolve().parents[3] / "pipelines"
SUITES = ("beir", "nano-beir", "bright", "bright-reasoning", "limit")


def load(name: str, store: Path) -> Experiment:
    kept = Store(store)
    return load_experiment(
        PIPELINES / f"{name}.yaml", (), lambda spec: resolve(spec, base=store, store=kept), store
    )


@pytest.mark.parametrize("name", SUITES)
def test_every_id_is_one_that_opens(name: str, tmp_path: Path) -> None:
    known = set(ir_datasets.registry)
    for collection in load(name, tmp_path).collections:
        plain = collection.partition("?")[0]
        if plain.startswith("irkit/") or plain in LICENSED:
            continue
        assert plain in known
        dataset = ir_datasets.load(plain)
        assert all(dataset.has(kind) for kind in ("docs", "queries", "qrels")), plain


def test_ir_datasets_lacks_what_is_opened_from_folders() -> None:
    assert not set(LICENSED) & set(ir_datasets.registry)


def test_beir_is_18_sets_of_which_13_are_public(tmp_path: Path) -> None:
    beir = load("beir", tmp_path)
    public, every = beir.averages["public 13"], beir.averages["all 18"]
    assert (len(public), len(every), len(beir.collections)) == (13, 18, 29)
    assert len(every["beir/cqadupstack"]) == 12 and not set(public) & {*LICENSED, "beir/cqadupstack"}
    theirs = published()["anserini-bm25-flat"].scores
    assert set(theirs) == {*beir.collections, "beir/cqadupstack"}
    assert all(policy_of(name).drop_self for name in beir.collections), "as BEIR's evaluation does"
    sets = macro_sets(beir.collections)
    for short in ("scifact", "nfcorpus", "nq", "fever", "climate-fever", "touche", "android"):
        assert short in choose(short, list(beir.collections), sets)
    assert choose("cqadupstack", list(beir.collections), sets) == "beir/cqadupstack"


def test_bright_is_12_and_8_and_nano_beir_13(tmp_path: Path) -> None:
    bright = load("bright", tmp_path)
    assert {name: len(members) for name, members in bright.averages.items()} == {
        "BRIGHT 12": 12,
        "BRIGHT long 8": 8,
    }
    assert set(published()["anserini-bright-bm25"].scores) == set(bright.averages["BRIGHT 12"])
    reasoning = load("bright-reasoning", tmp_path)
    assert set(published()["bright-paper-bm25-gpt4"].scores) == set(reasoning.collections)
    assert len(load("nano-beir", tmp_path).averages["NanoBEIR 13"]) == 13
