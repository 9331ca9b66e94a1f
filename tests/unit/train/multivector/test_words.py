"""ColBERTer's heads: what is saved is a ColBERTer that scores as training did, and drops what the gates dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_training import toy_examples, toy_recipe

from irkit.core.fingerprint import file_sha256
from irkit.models.colberter import ColBERTer
from irkit.models.opening import open_encoder
from irkit.models.resolve import resolve
from irkit.pipeline.context import Runtime
from irkit.train.fit import Fitting, fit
from irkit.train.learner import Surroundings, ndcg
from irkit.train.multivector.kind import MultiVectorKind, MultiVectorOptions
from irkit.train.multivector.words import WordHeads
from irkit.train.recipe import Recipe


def recipe(model: Path, **options: Any) -> Recipe:
    given = MultiVectorOptions(model=str(model), dim=8, sentence_dim=12, reduce="words", **options)
    plain = toy_recipe(kind="multivector", options=None, training={"epochs": 6, "temperature": 0.3})
    return plain.model_copy(update={"options": given})


def learner(model: Path, folder: Path, **options: Any) -> WordHeads:
    place = Surroundings("cpu", folder, folder / "scratch")
    found = MultiVectorKind.open(recipe(model, **options), toy_examples(), place)
    assert isinstance(found, WordHeads)
    return found


def opened(folder: Path) -> ColBERTer:
    found = open_encoder(resolve(str(folder), folder.parent), device="cpu")
    assert isinstance(found, ColBERTer)
    return found


def test_it_learns_and_the_saved_colberter_scores_as_it_did(tiny_encoder: Path, tmp_path: Path) -> None:
    examples = toy_examples()
    how = Fitting(tmp_path / "out", tmp_path, Runtime("cpu", 1))
    said = fit(recipe(tiny_encoder), examples, how)[""]
    losses = list(said["losses"].values())
    assert losses[-1] < 0.9 * losses[0]
    assert said["validation"]["after"]["toy"] > said["validation"]["before"]["toy"]
    model, rows, pool = opened(tmp_path / "out"), examples.held.tolist(), examples.pool.tolist()
    texts = {
        "query": [examples.queries[row].text for row in rows],
        "document": [examples.documents[doc] for doc in pool],
    }
    words = {side: model.tokens(texts[side], side) for side in ("query", "document")}  # type: ignore[arg-type]
    whole = {side: model.vectors(texts[side], side) for side in ("query", "document")}  # type: ignore[arg-type]
    share, scores = model.merge_weight, np.zeros((len(rows), len(pool)))
    for q in range(len(rows)):
        for d in range(len(pool)):
            best = (words["query"][q] @ words["document"][d].T).max(axis=1).sum()
            scores[q, d] = share * (whole["query"][q] @ whole["document"][d]) + (1 - share) * best
    relevant = [frozenset(examples.queries[row].positives) for row in rows]
    # tokens are kept in float16 while training
    assert ndcg(scores, relevant, pool).mean() == pytest.approx(said["validation"]["after"]["toy"], abs=0.02)


def test_the_colberter_gives_the_vectors_that_were_trained(tiny_encoder: Path, tmp_path: Path) -> None:
    trained = learner(tiny_encoder, tmp_path)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for each in (trained.head, *trained.heads.values()):
            each.add_(0.3 * torch.randn(each.shape, generator=random))
    (tmp_path / "out").mkdir()
    trained.save(tmp_path / "out", "out", {})
    model = opened(tmp_path / "out")
    examples = trained.examples
    for side, texts in (
        ("query", [each.text for each in examples.queries[:9]]),
        ("document", examples.documents[:9]),
    ):
        with torch.inference_mode():
            whole, words = trained.encoded(range(9), side)  # type: ignore[arg-type]
        theirs = model.tokens(texts, side)  # type: ignore[arg-type]
        assert np.diff(theirs.offsets).tolist() == words.lengths.tolist()
        assert theirs.vectors == pytest.approx(words.vectors.numpy(), abs=0.02)
        assert model.vectors(texts, side) == pytest.approx(whole.numpy(), abs=1e-3)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["use_contextualized_stopwords"] is True


def test_gates_drop_words_of_documents_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    mine = learner(tiny_encoder, tmp_path)
    assert mine.facts()["words_kept"] == 1.0 and mine.facts()["sentence_share"] == 0.5
    before = mine.tokens(range(5), "document")
    with torch.no_grad():
        mine.heads["stop_word_reducer.weight"].normal_(generator=torch.Generator().manual_seed(1))
        sums = before.vectors @ mine.heads["stop_word_reducer.weight"][0]
        mine.heads["stop_word_reducer.bias"].copy_(-sums.median())  # half of the words lie below
    after = mine.tokens(range(5), "document")
    assert 0 < len(after.vectors) < len(before.vectors)
    assert 0 < mine.facts()["words_kept"] < 1
    assert mine.tokens(range(5), "query").lengths.tolist() == [2] * 5
    with torch.no_grad():
        mine.heads["stop_word_reducer.bias"].fill_(-100)
    assert mine.tokens(range(5), "document").lengths.tolist() == [0] * 5
    assert np.isfinite(float(mine.loss([0, 1, 2], 0).detach()))
    assert 0 <= mine.validate()["toy"] <= 1, "the sentence vectors remain"


def test_l1_closes_gates(tiny_encoder: Path, tmp_path: Path) -> None:
    free, bound = learner(tiny_encoder, tmp_path, gate_l1=0.0), learner(tiny_encoder, tmp_path, gate_l1=0.5)
    difference = (bound.loss([0, 1, 2, 3], 0) - free.loss([0, 1, 2, 3], 0)).item()
    assert difference == pytest.approx(0.5, abs=1e-5)
    slopes = []
    for each in (free, bound):
        each.loss([0, 1, 2, 3], 0).backward()
        slope = each.heads["stop_word_reducer.bias"].grad
        assert slope is not None
        slopes.append(float(slope))
    assert slopes[1] - slopes[0] == pytest.approx(0.5, abs=1e-4)


def test_the_same_seed_gives_the_same_colberter(tiny_encoder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit(recipe(tiny_encoder), toy_examples(), Fitting(tmp_path / name, tmp_path, Runtime("cpu", 1)))
    one, two = (file_sha256(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reduce": "words", "rank": 2}, "words makes no use of rank"),
        ({"reduce": "words", "objective": "xtr"}, "words makes no use of objective"),
        ({"gate_l1": 0.2}, "without reduce there is no use of gate_l1"),
    ],
)
def test_options_without_a_use_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        MultiVectorOptions(**options)
