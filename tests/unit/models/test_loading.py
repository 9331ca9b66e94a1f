"""How many tokens a loaded model has positions for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from irkit.models.loading import positions


def loaded(model: Any) -> Any:
    return SimpleNamespace(transformers_model=model)


@pytest.mark.parametrize(("kind", "expected"), [("Bert", 34), ("Roberta", 32), ("T5Encoder", None)])
def test_positions_are_those_that_a_text_can_use(kind: str, expected: int | None) -> None:
    import transformers

    sizes = {
        "vocab_size": 9,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
    }
    if kind == "T5Encoder":
        config = transformers.T5Config(vocab_size=9, d_model=8, d_kv=8, d_ff=8, num_layers=1, num_heads=1)
    else:
        config = getattr(transformers, f"{kind}Config")(max_position_embeddings=34, pad_token_id=1, **sizes)
    model = getattr(transformers, f"{kind}Model")(config)
    assert positions(loaded(model)) == expected
    if kind == "Roberta":  # one token more has no position
        import torch

        model(torch.full((1, 32), 5))
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, 33), 5))


def test_a_model_without_a_transformer_has_none() -> None:
    assert positions(loaded(None)) is None
