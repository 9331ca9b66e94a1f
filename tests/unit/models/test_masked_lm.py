"""Masked language models: what they say at a text's first token."""

from __future__ import annotations

from pathlib import Path

import pytest

from irkit.core.errors import ModelError
from irkit.models.resolve import resolve

torch = pytest.importorskip("torch")

from irkit.models.masked_lm import MaskedLM  # noqa: E402


def test_a_model_without_a_masked_language_head(tiny_encoder: Path, tiny_xtr: Path) -> None:
    with pytest.raises(ModelError, match="no masked-language-model head: it lacks cls") as caught:
        MaskedLM(resolve(str(tiny_encoder)), "cpu")
    assert "mlm:" in str(caught.value)
    with pytest.raises(ModelError, match="cannot be loaded as a masked language model"):
        MaskedLM(resolve(str(tiny_xtr)), "cpu")


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Roberta", "MPNet", "ModernBert", "Electra"])
def test_any_family_of_masked_language_models(tiny_encoder: Path, tmp_path: Path, family: str) -> None:
    import transformers

    transformers.AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    torch.manual_seed(2)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=26, pad_token_id=0, initializer_range=0.5, **sizes
    )
    oracle = getattr(transformers, f"{family}ForMaskedLM")(config).eval()
    oracle.save_pretrained(tmp_path)
    ids = torch.tensor([[2, 9, 11, 3], [2, 12, 3, 0]])
    features = {"input_ids": ids, "attention_mask": (ids > 0).long(), "token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad():
        expected = oracle(input_ids=ids, attention_mask=features["attention_mask"]).logits[:, 0]
    found = MaskedLM(resolve(str(tmp_path)), "cpu").first_logits(features)
    assert found.shape == (2, 26)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
