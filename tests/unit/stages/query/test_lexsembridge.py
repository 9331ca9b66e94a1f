"""Tests of the stage lexsembridge: in front of dense, by the same index, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tiny import WORDS

from irkit.core.errors import ConfigError, ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.encoder import Encoder, unit
from irkit.models.lexsembridge_files import CONFIG, gate_spec
from irkit.models.resolve import resolve
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.graph import compile_pipeline
from irkit.pipeline.stage import Batch
from irkit.stages.dense import Dense
from irkit.stages.forms import TOLD, with_vectors
from irkit.stages.query.lexsembridge import LexSemBridge
from irkit.testing import check_stage

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])


@pytest.fixture(autouse=True)
def named() -> None:
    if "lexsembridge" in registry.stage_names():
        registry.make_stage("lexsembridge")  # which names the class
    else:
        registry.register("lexsembridge")(LexSemBridge)


def texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 50))) for _ in range(n)]


def modulate(stage: LexSemBridge, context: Context, queries: Queries = QUERIES) -> Queries:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Queries)
    return found


def search(stage: Dense, context: Context, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


def train(folder: Path, model: Path, size: float = 2.0, **options: Any) -> str:
    """Save a gate with large random weights, as if trained."""
    import torch

    from irkit.models.lexsembridge import Gate

    resolved = resolve(str(model))
    gate = Gate(gate_spec(Encoder(resolved, device="cpu").loaded, resolved, **options))
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        gate.table.copy_(torch.randn(gate.table.shape, generator=random) * size)
    gate.save(folder, trained_on={"by": "a test"})
    return str(folder)


def test_the_gate_is_active_in_search(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(60))
    stage = LexSemBridge(model=str(tiny_encoder), gate=train(tmp_path / "gate", tiny_encoder))
    dense = Dense(model=str(tiny_encoder), k=10)
    plain = search(dense, context)
    changed = modulate(stage, context)
    found = search(dense, context, changed)
    assert not np.array_equal(found.doc[:30], plain.doc[:30])
    vectors, own = (
        changed.columns["vector"],
        unit(Encoder(resolve(str(tiny_encoder)), device="cpu").vectors(QUERIES.text, "query")),
    )
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(np.sign(vectors), np.sign(own))
    cosines = (vectors * own).sum(axis=1)
    assert (cosines[:3] < 0.99).all()
    for line, cosine in zip(changed.columns[TOLD], cosines, strict=True):
        assert line[0].startswith("lexsembridge: sigma ")
        assert float(line[0].rsplit(" ", 1)[1]) == pytest.approx(cosine, abs=1e-4)
    index = dense.prepare(context).index.vectors
    np.testing.assert_allclose(found[0][1], (index @ vectors[0])[found[0][0]], rtol=1e-5)


def test_an_untrained_gate_ranks_as_dense_does(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(40))
    dense = Dense(model=str(tiny_encoder), k=40)
    plain = search(dense, context)
    for method in ("slr", "llr"):
        for form in ("paper", "code"):
            stage = LexSemBridge(model=str(tiny_encoder), method=method, form=form)  # type: ignore[arg-type]
            found = search(dense, context, modulate(stage, context))
            for row in range(3):
                both = [dict(zip(*each[row], strict=True)) for each in (found, plain)]
                assert max(abs(both[0][code] - both[1][code]) for code in both[0]) < 0.05
    assert LexSemBridge(model=str(tiny_encoder)).artifacts(context) == []


def test_the_dot_product_keeps_the_length_of_the_query(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    stage = LexSemBridge(
        model=str(tiny_encoder), similarity="dot", gate=train(tmp_path / "gate", tiny_encoder)
    )
    changed = modulate(stage, make_context(texts(10)))
    own = Encoder(resolve(str(tiny_encoder)), device="cpu").vectors(QUERIES.text, "query")
    np.testing.assert_allclose(
        np.linalg.norm(changed.columns["vector"], axis=1), np.linalg.norm(own, axis=1), rtol=1e-5
    )
    with pytest.raises(ConfigError, match="belong to another index"):
        search(Dense(model=str(tiny_encoder)), make_context(texts(10)), changed)


def test_the_collections_statistics_are_an_input(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    gate = train(tmp_path / "gate", tiny_encoder, statistics="idf")
    stage = LexSemBridge(model=str(tiny_encoder), gate=gate)
    common, rare = make_context(["cat dog"] * 9 + ["moon"]), make_context(["moon"] * 9 + ["cat dog"])
    one, other = (modulate(stage, context).columns["vector"] for context in (common, rare))
    assert not np.allclose(one[0], other[0], atol=1e-3)
    np.testing.assert_array_equal(one[1], other[1])  # no document has its tokens
    recipes = [stage.artifacts(context)[0] for context in (common, rare)]
    assert recipes[0].key != recipes[1].key
    assert common.store.get(recipes[0], lambda _: pytest.fail("it is built")).meta["documents"] == 10


def test_the_stage_keeps_the_contract(tiny_encoder: Path, tmp_path: Path) -> None:
    gate = train(tmp_path / "gate", tiny_encoder, method="llr", form="code")
    stage = LexSemBridge(model=str(tiny_encoder), gate=gate, device="cpu")
    check_stage(stage, tmp_path, other_execution={"batch_size": 3})
    untrained = LexSemBridge(model=str(tiny_encoder), method="llr", activation="tanh", seed=4, device="cpu")
    check_stage(untrained, tmp_path / "untrained", other_execution={"batch_size": 5})


def test_it_takes_texts_whatever_vector_they_have(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context, stage = make_context(texts(5)), LexSemBridge(model=str(tiny_encoder))
    space = stage.prepare(context).space.key
    changed = modulate(stage, context, with_vectors(QUERIES, np.ones((4, 32), np.float32), space))
    np.testing.assert_array_equal(changed.columns["vector"], modulate(stage, context).columns["vector"])


def test_a_pipeline_needs_a_stage_that_searches_with_the_vector(tiny_encoder: Path) -> None:
    stage = LexSemBridge(model=str(tiny_encoder))
    for then, sound in (
        (registry.make_stage("dense", model=str(tiny_encoder)), True),
        (registry.make_stage("bm25"), False),
    ):
        problems: list[Any] = []
        assert (compile_pipeline(stage >> then, problems) is not None) == sound
        assert len(problems) == (not sound)


def test_what_decides_the_result_is_its_identity(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(3))
    gate = train(tmp_path / "gate", tiny_encoder)
    stage = LexSemBridge(model=str(tiny_encoder), gate=gate)
    first = stage.identity(context)
    train(tmp_path / "gate", tiny_encoder, size=3.0)
    assert stage.identity(context) != first
    stage.prepare(context)
    assert context.notes["gate"] == "slr, paper, softmax"
    LexSemBridge(model=str(tiny_encoder)).prepare(context)
    assert context.notes["gate"] == "slr, paper, softmax, untrained"


def test_importing_the_stage_and_reading_its_gate_loads_no_torch(tiny_encoder: Path, tmp_path: Path) -> None:
    gate = train(tmp_path / "gate", tiny_encoder)
    code = (
        "import sys; from pathlib import Path; from irkit.stages.query.lexsembridge import LexSemBridge as L;"
        f"assert L(gate={gate!r}).faults(Path()) == [];"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- what cannot be used -----------------------------------------------------------------------------------


def test_a_gate_that_modulates_documents_too(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    gate = train(tmp_path / "gate", tiny_encoder, side="both")
    stage = LexSemBridge(model=str(tiny_encoder), gate=gate)
    with pytest.raises(ConfigError, match="irkit modulates queries alone"):
        stage.prepare(make_context(texts(3)))
    ((option, problem),) = stage.faults(tmp_path)
    assert option == "gate"
    assert "side: query" in str(problem)


def test_a_gate_of_another_model(
    tiny_encoder: Path, tiny_colbert: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    gate = train(tmp_path / "gate", tiny_encoder)
    other = tmp_path / "other"
    shutil.copytree(tiny_encoder, other)
    config = json.loads((other / "config_sentence_transformers.json").read_text())
    (other / "config_sentence_transformers.json").write_text(
        json.dumps({**config, "prompts": {"query": "blue "}})
    )
    with pytest.raises(ModelError, match="is another one, or has changed since"):
        LexSemBridge(model=str(other), gate=gate).prepare(make_context(texts(3)))
    with pytest.raises(ModelError, match="no vector that a gate could modulate"):
        LexSemBridge(model=str(tiny_colbert)).prepare(make_context(texts(3)))


def test_a_gate_that_is_not_there(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    stage = LexSemBridge(model=str(tiny_encoder), gate="gates/none")
    ((option, problem),) = stage.faults(tmp_path)
    assert option == "gate"
    assert "no such folder" in str(problem)
    with pytest.raises(ModelError, match="no such folder"):
        stage.identity(make_context(texts(3)))


def test_clr_needs_a_masked_language_model(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(10))
    with pytest.raises(ModelError, match="no masked-language-model head"):
        LexSemBridge(model=str(tiny_encoder), method="clr").prepare(context)
    first, second = (_masked_lm(tiny_encoder, tmp_path / f"mlm{seed}", seed) for seed in (1, 2))
    stage = LexSemBridge(model=str(tiny_encoder), method="clr", mlm=str(first))
    assert stage.identity(context)["mlm"] == resolve(str(first)).fingerprint
    gate = train(tmp_path / "gate", tiny_encoder, method="clr", mlm=resolve(str(first)))
    trained = LexSemBridge(model=str(tiny_encoder), gate=gate)
    vectors = modulate(trained, context).columns["vector"]
    assert not np.allclose(vectors, modulate(stage, context).columns["vector"], atol=0.01)
    check_stage(trained.model_copy(update={"device": "cpu"}), tmp_path, other_execution={"batch_size": 3})
    with pytest.raises(ModelError, match="was trained with the masked LM"):
        LexSemBridge(model=str(tiny_encoder), gate=gate, mlm=str(second)).prepare(context)


def _masked_lm(encoder: Path, folder: Path, seed: int) -> Path:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    config = json.loads((encoder / "config.json").read_text())
    torch.manual_seed(seed)
    BertForMaskedLM(BertConfig(**{k: v for k, v in config.items() if k != "architectures"})).save_pretrained(
        folder
    )
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "x", "method": "slr"}, "method is said by the gate's own folder"),
        ({"gate": "x", "seed": 1}, "seed is said by the gate's own folder"),
        ({"method": "llr", "statistics": "idf"}, "input of slr"),
        ({"mlm": "x"}, "mlm is for method: clr"),
        ({"method": "xlr"}, "method"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LexSemBridge(**options)


def test_a_gate_from_another_tokeniser(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    gate = Path(train(tmp_path / "gate", tiny_encoder))
    said = json.loads((gate / CONFIG).read_text())
    (gate / CONFIG).write_text(json.dumps({**said, "tokenizer": "other"}))
    with pytest.raises(ModelError, match="another tokeniser"):
        LexSemBridge(model=str(tiny_encoder), gate=str(gate)).prepare(make_context(texts(3)))
