"""Adapters of cross-encoders and masked language models, and trained models where they do not belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import adapt, describe, head

from irkit.core.errors import ModelError
from irkit.models import resolve
from irkit.models.lm.loading import load_language_model
from irkit.models.masked_lm import MaskedLM
from irkit.models.resolve import ResolvedModel
from irkit.models.scorer import PairScorer

torch = pytest.importorskip("torch")

ATTENTION = ["query", "value"]
PAIRS = [("cat dog", "green dog"), ("river", "stone moon river"), ("five", "")]


def inputs(folder: Path, *texts: list[str]) -> dict[str, Any]:
    from transformers import AutoTokenizer

    return dict(AutoTokenizer.from_pretrained(folder)(*texts, padding=True, return_tensors="pt"))


@pytest.mark.parametrize("task", [None, "SEQ_CLS"])
def test_an_adapter_of_a_cross_encoder_is_added_to_it(
    tiny_cross_encoder: Path, tmp_path: Path, task: str | None
) -> None:
    """With the task, peft saves the layer that gives the score too: it is taken in place of the base model's."""
    from transformers import AutoModelForSequenceClassification

    oracle = AutoModelForSequenceClassification.from_pretrained(tiny_cross_encoder)
    if task:
        oracle.classifier.weight.data *= -2
    adapted = adapt(tmp_path / "a", oracle, str(tiny_cross_encoder), target_modules=ATTENTION, task_type=task)
    oracle.load_state_dict({name: each.float() for name, each in adapted.items()}, strict=False)
    given = inputs(tiny_cross_encoder, [query for query, _ in PAIRS], [text for _, text in PAIRS])
    with torch.no_grad():
        expected = oracle.eval()(**given).logits[:, 0].sigmoid().numpy()
    found = PairScorer(resolve(str(tmp_path / "a")), device="cpu").scores(PAIRS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    plain = PairScorer(resolve(str(tiny_cross_encoder)), device="cpu").scores(PAIRS)
    assert np.abs(found - plain).max() > 0.01


def test_an_adapter_of_a_masked_language_model_is_added_to_it(
    tiny_mlm: ResolvedModel, tmp_path: Path
) -> None:
    from transformers import AutoModelForMaskedLM

    oracle = AutoModelForMaskedLM.from_pretrained(tiny_mlm.path)
    adapted = adapt(tmp_path / "a", oracle, tiny_mlm.name, target_modules=ATTENTION)
    oracle.load_state_dict({name: each.float() for name, each in adapted.items()}, strict=False)
    given = inputs(tiny_mlm.path, ["cat dog", "green stone river moon"])
    with torch.no_grad():
        expected = oracle.eval()(**given).logits[:, 0]
    found = MaskedLM(resolve(str(tmp_path / "a")), "cpu").first_logits(given)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(found, MaskedLM(tiny_mlm, "cpu").first_logits(given), rtol=0, atol=1e-2)


def test_updates_of_another_kind_of_model_are_no_masked_language_models(
    tiny_encoder: Path, tiny_mlm: ResolvedModel, tmp_path: Path
) -> None:
    from transformers import AutoModel

    adapt(tmp_path / "a", AutoModel.from_pretrained(tiny_encoder), tiny_mlm.name, target_modules=ATTENTION)
    with pytest.raises(ModelError, match="the adapter does not fit"):
        MaskedLM(resolve(str(tmp_path / "a")), "cpu")


def test_what_was_trained_for_a_stage_is_no_other_kind_of_model(tiny_encoder: Path, tmp_path: Path) -> None:
    """The base model alone, without what was learned, is never taken for it."""
    base = (str(tiny_encoder), resolve(str(tiny_encoder)).fingerprint)
    folder = describe(tmp_path / "head", "multivector", base)
    head(folder, 4, 32)
    model = resolve(str(folder))
    with pytest.raises(ModelError, match=r"was trained for maxsim(?s:.)*set mlm:"):
        MaskedLM(model, "cpu")
    with pytest.raises(
        ModelError, match=r"trained for multivector, and is no cross-encoder(?s:.)*stage maxsim"
    ):
        PairScorer(model, device="cpu")
    (folder / "token_head.safetensors").unlink()
    with pytest.raises(ModelError, match=r"is no language model(?s:.)*stage maxsim"):
        load_language_model(resolve(str(folder)), "cpu", "float32", False, "eager")
