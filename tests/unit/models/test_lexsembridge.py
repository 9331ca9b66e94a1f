"""Tests of the LexSemBridge gate: each formula against float64, and the invariants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.encoder import Encoder
from irkit.models.lexsembridge_files import Activation, GateSpec, gate_spec
from irkit.models.resolve import ResolvedModel, resolve

torch = pytest.importorskip("torch")

from gating import KINDS, TEXTS, inputs, make, shaken  # noqa: E402

from irkit.models.lexsembridge import FLOOR, Gate, sigma  # noqa: E402
from irkit.models.lexsembridge_encoder import GatedEncoder  # noqa: E402
from irkit.models.masked_lm import MaskedLM  # noqa: E402

CLS, SEP, UNK = 2, 3, 1


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> Encoder:
    return Encoder(resolve(str(tiny_encoder)), device="cpu")


def reference(gate: Gate, features: Mapping[str, Any], hidden: Any, idf: Any = None) -> NDArray[np.float64]:
    """The weights of the vocabulary in float64, text by text and token by token, straight from the formulas."""
    spec = gate.spec
    out = np.zeros((len(features["input_ids"]), spec.vocabulary))
    states = hidden.double().numpy()
    layer = None
    if gate.lexical is not None:
        layer = gate.lexical.weight.detach().double().numpy(), gate.lexical.bias.detach().double().numpy()
    for row, (ids, mask) in enumerate(
        zip(features["input_ids"].tolist(), features["attention_mask"].tolist(), strict=True)
    ):
        tokens = [(place, token) for place, (token, there) in enumerate(zip(ids, mask, strict=True)) if there]
        of_none = {0, UNK, CLS, SEP, 4} if spec.form == "paper" else {0, UNK, CLS}
        for place, token in tokens:
            if token in of_none and not spec.dense:
                continue
            if spec.method == "slr":
                one = 1.0 if idf is None else float(idf[token])
                out[row, token] = np.log(1 + one) if spec.form == "paper" else gate.scale.item() * one
            elif spec.method == "llr" and spec.form == "code":
                assert layer is not None
                value = max(0.0, float(layer[0][0] @ states[row, place] + layer[1][0]))
                out[row, token] = max(out[row, token], value)
        if spec.method == "llr" and spec.form == "paper":
            assert layer is not None
            out[row] = np.log(1 + np.maximum(layer[0] @ states[row, 0] + layer[1], 0))
    return out


def modulated(gate: Gate, weights: NDArray[np.float64], pooled: Any) -> NDArray[np.float64]:
    """softmax(W w + b) (.) q, of length 1, in float64."""
    logits = weights @ gate.table.detach().double().numpy() + gate.bias.detach().double().numpy()
    gates = np.exp(logits - logits.max(axis=1, keepdims=True))
    product = gates / gates.sum(axis=1, keepdims=True) * pooled.double().numpy()
    return product / np.linalg.norm(product, axis=1, keepdims=True)


@pytest.mark.parametrize(("method", "form"), KINDS[:4])
def test_the_formula_in_float64(encoder: Encoder, tiny_encoder: Path, method: Any, form: Any) -> None:
    features, hidden, pooled = inputs(encoder)
    gate = shaken(make(encoder, tiny_encoder, method=method, form=form))
    if (
        gate.lexical is not None and form == "code"
    ):  # so that some weights are 0, and each text has one that is not
        with torch.no_grad():
            gate.lexical.bias -= gate.lexical(hidden[:2, 2:4]).amax(dim=1).min() - 0.1
    expected = reference(gate, features, hidden)
    np.testing.assert_allclose(gate.dense_weights(features, hidden).detach(), expected, rtol=2e-5, atol=2e-6)
    assert (expected[:2] > 0).any(axis=1).all()
    found = gate(features, hidden, pooled).detach().double()
    np.testing.assert_allclose(found.norm(dim=1), pooled.double().norm(dim=1), rtol=1e-6)
    unit = (found / found.norm(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(unit, modulated(gate, expected, pooled), atol=3e-6)
    assert not np.allclose(unit, (pooled / pooled.norm(dim=1, keepdim=True)).numpy(), atol=0.05)


def test_clr_takes_the_logits_at_the_first_token(
    encoder: Encoder, tiny_encoder: Path, tiny_mlm: ResolvedModel
) -> None:
    from transformers import BertForMaskedLM

    features, hidden, pooled = inputs(encoder)
    gate = shaken(make(encoder, tiny_encoder, tiny_mlm, method="clr"), 0.2)
    oracle = BertForMaskedLM.from_pretrained(tiny_mlm.path).eval()
    with torch.no_grad():
        names = ("input_ids", "attention_mask", "token_type_ids")
        logits = (
            oracle(**{name: features[name] for name in names if name in features})
            .logits[:, 0]
            .double()
            .numpy()
        )
    expected = np.log(1 + np.maximum(logits, 0))
    np.testing.assert_allclose(gate.dense_weights(features, hidden), expected, atol=2e-5)
    found = gate(features, hidden, pooled).detach().double()
    unit = (found / found.norm(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(unit, modulated(gate, expected, pooled), atol=1e-5)
    assert not [name for name, _ in gate.named_parameters() if name not in ("table", "bias")]


@pytest.mark.parametrize("form", ["paper", "code"])
def test_idf_is_an_input_of_slr(encoder: Encoder, tiny_encoder: Path, form: Any) -> None:
    features, hidden, pooled = inputs(encoder)
    gate = shaken(make(encoder, tiny_encoder, form=form, statistics="idf"))
    idf = np.linspace(0.05, 1.0, gate.spec.vocabulary).astype(np.float32)
    rarity = torch.from_numpy(idf)[features["input_ids"]]
    expected = reference(gate, features, hidden, idf)
    np.testing.assert_allclose(
        gate.dense_weights(features, hidden, rarity).detach(), expected, rtol=1e-5, atol=1e-7
    )
    assert len(set(np.round(expected[1][expected[1] > 0], 4))) >= 4
    with pytest.raises(ValueError, match="rarity"):
        gate(features, hidden, pooled)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize(("method", "form"), KINDS)
def test_an_untrained_gate_hardly_changes_a_vector(
    encoder: Encoder, tiny_encoder: Path, tiny_mlm: ResolvedModel, method: Any, form: Any, activation: Any
) -> None:
    features, hidden, pooled = inputs(encoder)
    for seed in range(3):
        gate = make(encoder, tiny_encoder, tiny_mlm, seed, method=method, form=form, activation=activation)
        found = gate(features, hidden, pooled)
        cosine = torch.cosine_similarity(found, pooled)
        assert (cosine >= 0.999).all()
        assert (found != pooled).any(), "it is near the identity, and not the identity"
        if activation == "softmax":
            spread = gate.sigma(features, hidden)
            np.testing.assert_allclose(cosine.detach(), torch.exp(-(spread**2) / 2).detach(), atol=5e-4)


def test_the_start_for_a_real_vocabulary_is_that_of_a_linear_layer() -> None:
    def bound(size: int) -> float:
        spec = GateSpec("slr", "paper", "softmax", "none", "query", size, 16, 16, (), "t", "m", "f")
        gate = Gate(spec)
        assert gate.table.abs().max().item() == pytest.approx(gate.bias.abs().max().item(), rel=0.3)
        return gate.table.abs().max().item()

    assert bound(30522) == pytest.approx(30522**-0.5, rel=1e-3)
    assert bound(26) < 0.05 * 26**-0.5


def test_every_token_weighs_something_before_llr_has_learned(encoder: Encoder, tiny_encoder: Path) -> None:
    features, hidden, _ = inputs(encoder)
    hidden = hidden / hidden.norm(dim=-1, keepdim=True)
    for seed in range(5):
        gate = make(encoder, tiny_encoder, seed=seed, method="llr", form="code")
        weights = gate.dense_weights(features, hidden).detach()
        assert (
            (weights > 0) == (reference(make(encoder, tiny_encoder, form="code"), features, hidden) > 0)
        ).all()


def test_the_seed_decides_the_weights(encoder: Encoder, tiny_encoder: Path) -> None:
    first, again, other = (make(encoder, tiny_encoder, seed=seed).table for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@settings(max_examples=60, deadline=None)
@given(
    activation=st.sampled_from(get_args(Activation)),
    logits=arrays(np.float32, (2, 6), elements=st.floats(-1e4, 1e4, width=32)),
    vectors=arrays(
        np.float32,
        (2, 6),
        elements=st.one_of(st.just(0.0), st.floats(0.125, 10, width=32), st.floats(-10, -0.125, width=32)),
    ),
)
def test_no_sign_changes(activation: Any, logits: NDArray[np.float32], vectors: NDArray[np.float32]) -> None:
    spec = GateSpec("slr", "paper", activation, "none", "query", 4, 6, 6, (), "t", "m", "f")
    gate = Gate(spec)
    gates = gate.gates(torch.from_numpy(logits)).detach().numpy()
    assert (gates > 0).all()
    found = gate.modulated(torch.from_numpy(vectors), torch.from_numpy(logits)).detach().numpy()
    np.testing.assert_array_equal(np.sign(found), np.sign(vectors))
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=1), np.linalg.norm(vectors, axis=1), rtol=1e-5, atol=1e-6
    )


def test_the_activations() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0]])
    z = logits.double().numpy()
    expected = {
        "softmax": np.exp(z) / np.exp(z).sum(),
        "scaled-softmax": 4 * np.exp(z) / np.exp(z).sum(),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "tanh": 1 + np.tanh(z),
    }
    assert set(expected) == set(get_args(Activation))
    for activation, values in expected.items():
        spec = GateSpec("slr", "paper", activation, "none", "query", 4, 4, 4, (), "t", "m", "f")  # type: ignore[arg-type]
        np.testing.assert_allclose(Gate(spec).gates(logits), values, rtol=1e-6)
    low = Gate(GateSpec("slr", "paper", "tanh", "none", "query", 4, 4, 4, (), "t", "m", "f")).gates(
        torch.full((1, 4), -50.0)
    )
    assert (low == FLOOR).all()


def test_sigma_is_the_standard_deviation_of_the_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    np.testing.assert_allclose(
        sigma(torch.from_numpy(logits)), logits.astype(np.float64).std(axis=1), rtol=1e-5
    )


@pytest.mark.parametrize(("method", "form"), KINDS)
def test_every_parameter_learns(
    encoder: Encoder, tiny_encoder: Path, tiny_mlm: ResolvedModel, method: Any, form: Any
) -> None:
    features, hidden, pooled = inputs(encoder)
    gate = shaken(make(encoder, tiny_encoder, tiny_mlm, method=method, form=form), 0.3)
    pooled = pooled.clone().requires_grad_()
    torch.nn.functional.normalize(gate(features, hidden, pooled), dim=-1)[:, 0].sum().backward()
    for name, each in [*gate.named_parameters(), ("pooled", pooled)]:
        assert each.grad is not None and bool((each.grad != 0).any()), name


def test_left_padding_does_not_move_the_first_token(encoder: Encoder, tiny_encoder: Path) -> None:
    gate = shaken(make(encoder, tiny_encoder, method="llr"))
    hidden = torch.randn(1, 4, 32)
    ids, mask = torch.tensor([[2, 10, 11, 3]]), torch.ones(1, 4, dtype=torch.long)
    right = gate.logits({"input_ids": ids, "attention_mask": mask}, hidden)
    pad = torch.nn.functional.pad
    left = {"input_ids": pad(ids, (3, 0)), "attention_mask": pad(mask, (3, 0))}
    torch.testing.assert_close(gate.logits(left, pad(hidden, (0, 0, 3, 0), value=7.0)), right)


def test_companions_batches_and_threads_do_not_change_a_bit(
    encoder: Encoder, tiny_encoder: Path, tiny_mlm: ResolvedModel
) -> None:
    for method, form in KINDS:
        gate = shaken(make(encoder, tiny_encoder, tiny_mlm, method=method, form=form), 0.3)
        whole = GatedEncoder(encoder, gate).modulate(TEXTS * 5)
        assert not np.array_equal(whole.vectors, whole.plain)
        np.testing.assert_array_equal(whole.plain, encoder.vectors(TEXTS * 5, "query"))
        other = Encoder(resolve(str(tiny_encoder)), device="cpu", batch_size=3, threads=2)
        backwards = GatedEncoder(other, gate).modulate(TEXTS[::-1])
        for name in ("vectors", "plain", "sigma", "cosine"):
            np.testing.assert_array_equal(getattr(whole, name)[:5], getattr(backwards, name)[::-1], name)
            np.testing.assert_array_equal(getattr(whole, name)[-5:], getattr(whole, name)[:5], name)
        assert (whole.sigma > 0.05).all()
        assert (whole.cosine < 0.999).any()


def test_the_encoder_modulates_as_the_module_does(encoder: Encoder, tiny_encoder: Path) -> None:
    gate = shaken(make(encoder, tiny_encoder, statistics="idf"))
    rarity = np.linspace(0, 1, gate.spec.vocabulary).astype(np.float32)
    found = GatedEncoder(encoder, gate, rarity).modulate(TEXTS)
    features, hidden, pooled = inputs(encoder)
    rare = torch.from_numpy(rarity)[features["input_ids"]]
    np.testing.assert_allclose(found.vectors, gate(features, hidden, pooled, rare).detach(), atol=2e-5)
    np.testing.assert_allclose(found.sigma, gate.sigma(features, hidden, rare).detach(), atol=2e-6)
    assert GatedEncoder(encoder, gate, rarity).modulate([]).vectors.shape == (0, 32)
    with pytest.raises(ValueError, match="idf"):
        GatedEncoder(encoder, gate)


def test_a_gate_of_another_model(encoder: Encoder, tiny_encoder: Path) -> None:
    right = vars(make(encoder, tiny_encoder).spec)
    with pytest.raises(ModelError, match="vectors of 16 dimensions, and the model's have 32"):
        GatedEncoder(encoder, Gate(GateSpec(**{**right, "dim": 16})))
    with pytest.raises(ModelError, match="another tokeniser"):
        GatedEncoder(encoder, Gate(GateSpec(**{**right, "tokenizer": "other"})))


def test_a_masked_language_model_of_other_tokens(
    encoder: Encoder, tiny_encoder: Path, tiny_mlm: ResolvedModel
) -> None:
    spec = vars(make(encoder, tiny_encoder, tiny_mlm, method="clr").spec)
    with pytest.raises(ModelError, match="other tokens"):
        Gate(GateSpec(**{**spec, "tokenizer": "other"})).attach(MaskedLM(tiny_mlm, "cpu"))


def test_a_model_without_tokens() -> None:
    with pytest.raises(ModelError, match="no token vectors"):
        gate_spec(object(), ResolvedModel("static", Path(), "f", "unknown", ""))
