"""Training: it learns, it can be killed, and the same seed gives the same weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from toy_training import Killing, toy_examples, toy_recipe

from irkit.core.errors import ConfigError, IrkitError, ModelError
from irkit.core.metric import parse_metric
from irkit.pipeline.context import Runtime, Silent
from irkit.train.candidates import Candidates
from irkit.train.checkpoint import Standing, load_checkpoint, save_checkpoint
from irkit.train.examples import Example, Examples
from irkit.train.fit import Fitting, alone, fit
from irkit.train.learner import Learner, ndcg
from irkit.train.loop import batch_of, rate, total_steps, train
from irkit.train.recipe import Recipe, Training

LEXSEMBRIDGE = {
    "llr-code": {"method": "llr", "form": "code"},
    "llr-paper": {"method": "llr"},
    "slr-both": {"side": "both"},
    "slr-idf": {"statistics": "idf"},
    "encoder": {"frozen": False, "gate": False, "encoder_lr": 0.001},
    "both": {"frozen": False, "encoder_lr": 0.001, "form": "code"},
}


def how(folder: Path, **more: Any) -> Fitting:
    return Fitting(folder, folder.parent, Runtime("cpu", 1), **more)


def adapter(model: Path, **changes: Any) -> Recipe:
    return toy_recipe(
        **{**changes, "options": {"model": str(model), "rank": 8, **changes.get("options", {})}}
    )


def gate(model: Path, options: dict[str, Any], **changes: Any) -> Recipe:
    recipe = toy_recipe(kind="lexsembridge", options=None, **changes)
    from irkit.train.lexsembridge import LexSemBridgeOptions

    return recipe.model_copy(update={"options": LexSemBridgeOptions(model=str(model), **options)})


def weights(folder: Path) -> dict[str, Any]:
    return {
        f"{path.relative_to(folder)}/{name}": each
        for path in sorted(folder.rglob("*.safetensors"))
        for name, each in load_file(path).items()
    }


def equal(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return bool(a) and a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_an_adapter_learns_the_toy_problem(tiny_encoder: Path, tmp_path: Path) -> None:
    said = fit(adapter(tiny_encoder), toy_examples(), how(tmp_path / "out"))[""]
    losses = list(said["losses"].values())
    assert losses[-1] < 0.9 * losses[0]
    assert said["validation"]["after"]["toy"] > said["validation"]["before"]["toy"] + 0.02
    assert said["steps"] == total_steps(Training(epochs=10, batch=8), 45) == 50
    assert not list(tmp_path.glob(".*")), "nothing but the result is left"


def test_both_sides_learn_too(tiny_encoder: Path, tmp_path: Path) -> None:
    from irkit.models.adapter import Adapter

    said = fit(adapter(tiny_encoder, options={"side": "both"}), toy_examples(), how(tmp_path / "out"))[""]
    assert said["validation"]["after"]["toy"] > said["validation"]["before"]["toy"] + 0.02
    found = Adapter.load(tmp_path / "out")
    assert found.document is not None and np.abs(found.document.U).max() > 0
    assert found.trained["examples"]["training"] == 45 and found.similarity == "cosine"


@pytest.mark.parametrize("name", LEXSEMBRIDGE)
def test_a_gate_is_trained_and_saved(tiny_encoder: Path, tmp_path: Path, name: str) -> None:
    options = LEXSEMBRIDGE[name]
    recipe = gate(tiny_encoder, options, training={"epochs": 12, "lr": 0.03})
    said = fit(recipe, toy_examples(), how(tmp_path / "out"))[""]
    losses = list(said["losses"].values())
    assert losses[-1] < losses[0]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert ("model" in files) == (options.get("frozen") is False)
    assert ("gate.json" in files) == (options.get("gate") is not False)
    if "gate.json" in files:
        from irkit.models.lexsembridge import Gate

        loaded = Gate.load(tmp_path / "out")
        assert loaded.spec.trained_on["seed"] == 0
        assert said["facts"]["trained"]["sigma"]["mean"] > said["facts"]["untrained"]["sigma"]["mean"] > 0
        assert 0 < said["facts"]["trained"]["cosine"]["min"] <= 1


def test_the_saved_gate_gives_the_vectors_that_were_validated(tiny_encoder: Path, tmp_path: Path) -> None:
    """Search sees what training saw: the gate is active at evaluation, on the saved encoder."""
    from irkit.models.encoder import Encoder, unit
    from irkit.models.lexsembridge import Gate
    from irkit.models.lexsembridge_encoder import GatedEncoder
    from irkit.models.resolve import resolve

    examples = toy_examples()
    recipe = gate(tiny_encoder, LEXSEMBRIDGE["both"], training={"epochs": 6})
    said = fit(recipe, examples, how(tmp_path / "out"))[""]
    loaded = Gate.load(tmp_path / "out")
    model = resolve(loaded.spec.model, tmp_path)
    assert model.path == tmp_path / "out" / "model" and model.fingerprint == loaded.spec.fingerprint
    encoder = Encoder(model, device="cpu")
    rows = examples.held.tolist()
    asked = GatedEncoder(encoder, loaded).modulate([examples.queries[row].text for row in rows]).vectors
    found = encoder.vectors([examples.documents[doc] for doc in examples.pool], "document")
    relevant = [frozenset(examples.queries[row].positives) for row in rows]
    values = ndcg(unit(asked) @ unit(found).T, relevant, examples.pool.tolist())
    assert values.mean() == pytest.approx(said["validation"]["after"]["toy"], abs=1e-6)


@pytest.mark.parametrize("name", ["adapter", "slr-both", "both"])
def test_killed_and_resumed_is_as_if_nothing_had_happened(
    tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    recipe = (
        adapter(tiny_encoder, options={"side": "both"}, training={"epochs": 3})
        if name == "adapter"
        else gate(tiny_encoder, LEXSEMBRIDGE[name], training={"epochs": 3})
    )
    examples = toy_examples()
    whole = fit(recipe, examples, how(tmp_path / "whole"))[""]
    for after in (
        1,
        4,
        2,
        2,
    ):  # on from the first look, from step 4, between two looks, and from the look at 5
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, examples, how(tmp_path / "killed", progress=Killing(after)))
    assert not (tmp_path / "killed").exists()
    assert [path.name for path in (tmp_path / ".killed.training" / "weights").iterdir()] == [
        "checkpoint-00000005"
    ]
    resumed = fit(recipe, examples, how(tmp_path / "killed"))[""]
    assert resumed["looks"] == whole["looks"] and resumed["losses"] == whole["losses"]
    if name == "both":  # the gate's file says the folder that its encoder lies in
        assert weights(tmp_path / "whole").keys() == weights(tmp_path / "killed").keys()
    assert equal(tmp_path / "whole", tmp_path / "killed")


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    examples = toy_examples()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(adapter(tiny_encoder, seed=seed, training={"epochs": 2}), examples, how(tmp_path / name))
    assert equal(tmp_path / "a", tmp_path / "b")
    assert not equal(tmp_path / "a", tmp_path / "c")


def test_what_is_finished_is_not_done_again(tiny_encoder: Path, tmp_path: Path) -> None:
    recipe, examples = adapter(tiny_encoder, training={"epochs": 1}), toy_examples()
    first = fit(recipe, examples, how(tmp_path / "out"))
    again = fit(recipe, examples, how(tmp_path / "out", progress=Killing(1)))
    assert json.loads(json.dumps(first)) == again
    with pytest.raises(ConfigError, match="another training"):
        fit(adapter(tiny_encoder, training={"epochs": 2}), examples, how(tmp_path / "out"))
    (tmp_path / "full").mkdir()
    with pytest.raises(ConfigError, match="something else"):
        fit(recipe, examples, how(tmp_path / "full"))


def test_two_trainings_into_one_folder_at_once_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    recipe, examples = adapter(tiny_encoder, training={"epochs": 1}), toy_examples()
    with alone(how(tmp_path / "out")):
        with pytest.raises(ModelError, match=r"another training into this folder is running(?s:.)*with -o"):
            fit(recipe, examples, how(tmp_path / "out"))
        assert not (tmp_path / "out").exists() and not (tmp_path / ".out.training").exists()
        fit(recipe, examples, how(tmp_path / "other"))
    fit(recipe, examples, how(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_what_a_killed_save_left_goes_with_the_next_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-00000001.99.partial").mkdir()
    save_checkpoint(tmp_path, Standing(2), {"weights": {"w": torch.ones(2)}}, "key")
    save_checkpoint(tmp_path, Standing(2), {"weights": {"w": torch.zeros(2)}}, "key")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002"]
    found = load_checkpoint(tmp_path, "key")
    assert found is not None and found[1]["weights"]["w"].tolist() == [0.0, 0.0]


class Sloping(Learner):
    """Two numbers that grow with every step; the held-out queries like them best at 0.2 and know nothing of the loss."""

    against = "nothing"
    save = usage = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.weights = {name: torch.nn.Parameter(torch.zeros(1)) for name in "ab"}
        self.steps: list[int] = []

    def groups(self, training: Training) -> list[dict[str, Any]]:
        return [{"params": list(self.weights.values()), "lr": training.lr, "weight_decay": 0.0}]

    def loss(self, rows: Sequence[int], step: int) -> torch.Tensor:
        self.steps.append(step)
        return (-3 * self.weights["a"] - 4 * self.weights["b"]).sum()

    def validate(self) -> dict[str, float]:
        return {"toy": -abs(float(self.weights["a"].detach()) - 0.2)}


Sloping.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


def sloped(folder: Path, key: str = "key", **training: Any) -> tuple[Sloping, Standing]:
    recipe = toy_recipe(training={"epochs": 2, "lr": 0.1, "warmup": 0.0, **training}, validation={"every": 1})
    learner = Sloping()  # type: ignore[abstract]
    return learner, train(learner, recipe, toy_examples(), folder, Silent(), "toy", key)


def test_what_is_left_are_the_best_weights(tmp_path: Path) -> None:
    learner, standing = sloped(tmp_path)
    best = standing.looks[str(standing.best_step)]
    assert 0 < standing.best_step < standing.step == 10
    assert learner.validate() == best == max(standing.looks.values(), key=lambda look: look["toy"])


def test_a_checkpoint_of_another_key_is_not_gone_on_from(tmp_path: Path) -> None:
    first, standing = sloped(tmp_path)
    assert first.steps == [*range(10)]
    again, stood = sloped(tmp_path)
    assert again.steps == [] and stood == standing and again.validate() == first.validate()
    assert sloped(tmp_path, "another")[0].steps == [*range(10)]


def test_long_gradients_are_clipped(tmp_path: Path) -> None:
    for clip, expected in ((0.5, (-0.3, -0.4)), (6.0, (-3.0, -4.0))):
        learner, _ = sloped(tmp_path / str(clip), clip=clip)
        found = [float(each.grad) for each in learner.weights.values()]  # type: ignore[arg-type]
        assert found == pytest.approx(expected, rel=1e-5)


def test_variants_have_folders_of_their_own(tiny_encoder: Path, tmp_path: Path) -> None:
    recipe = adapter(
        tiny_encoder, training={"epochs": 1}, variants={"r2": {"options": {"rank": 2}}, "r4": {}}
    )
    assert list(fit(recipe, toy_examples(), how(tmp_path / "out"))) == ["r2", "r4"]
    found = {
        path.parent.name: json.loads(path.read_text())["rank"] for path in tmp_path.rglob("adapter.json")
    }
    assert found == {"r2": {"query": 2}, "r4": {"query": 8}}


def test_a_folder_that_is_refused_is_so_before_anything_is_trained(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    variants = {"first": {}, "second": {"options": {"rank": 2}}}
    (tmp_path / "out" / "second").mkdir(parents=True)
    with pytest.raises(ConfigError, match="something else"):
        fit(adapter(tiny_encoder, variants=variants), toy_examples(), how(tmp_path / "out"))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "out",
        "out/second",
    ]


def test_training_stops_where_nothing_gets_better_and_keeps_the_best(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    recipe = adapter(
        tiny_encoder, training={"lr": 100.0, "clip": 100.0}, validation={"every": 2, "patience": 3}
    )
    said = fit(recipe, toy_examples(), how(tmp_path / "out"))[""]
    assert said["stopped_early"] and said["steps"] < 50
    means = {int(step): np.mean(list(scores.values())) for step, scores in said["looks"].items()}
    assert means[said["validation"]["best_step"]] == max(means.values())


def test_the_card_says_what_it_was_trained_on(tiny_encoder: Path, tmp_path: Path) -> None:
    recipe = adapter(tiny_encoder, training={"epochs": 1}, licence="CC BY 4.0")
    source = {"task": "toy queries", "split": "train", "queries": 54, "fingerprint": "0123456789abcdef"}
    examples = Examples(toy_examples().documents, toy_examples().queries, {}, {"sources": [source]})
    fit(recipe, examples, how(tmp_path / "out"))
    card = (tmp_path / "out" / "README.md").read_text()
    said = (
        "| toy queries | train | 54 | `0123456789ab` |",
        "CC BY 4.0",
        "in-domain",
        "- adapter: {path: out",
        "torch ",
    )
    assert all(each in card for each in said), card


def test_a_loss_that_is_no_number_is_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    recipe = adapter(tiny_encoder, training={"lr": 1e30, "clip": 1e30, "temperature": 1e-30})
    with pytest.raises(ModelError, match=r"the loss is (nan|inf)"):
        fit(recipe, toy_examples(), how(tmp_path / "out"))


def test_a_damaged_checkpoint_is_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    recipe, examples = adapter(tiny_encoder, training={"epochs": 2}), toy_examples()
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, examples, how(tmp_path / "out", progress=Killing(5)))
    (file,) = (tmp_path / ".out.training" / "weights").rglob("best.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="the checkpoint is damaged"):
        fit(recipe, examples, how(tmp_path / "out"))


def test_a_rank_or_a_model_that_cannot_be_is_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than the vectors' 32 dimensions"):
        fit(adapter(tiny_encoder, options={"rank": 33}), toy_examples(), how(tmp_path / "out"))
    with pytest.raises(IrkitError):
        fit(adapter(tmp_path / "nothing"), toy_examples(), how(tmp_path / "out"))


def test_each_epoch_goes_through_all_queries() -> None:
    recipe, examples = toy_recipe(training={"batch": 9}), toy_examples()
    epochs = [[row for step in range(e, e + 5) for row in batch_of(recipe, examples, step)] for e in (0, 5)]
    assert all(sorted(epoch) == examples.training.tolist() for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_rate_rises_and_falls_in_lines() -> None:
    rates = [rate(Training(warmup=0.2), step, 10) for step in range(10)]
    assert rates == pytest.approx([1 / 3, 2 / 3, *[n / 8 for n in range(8, 0, -1)]])


def test_ndcg_is_the_evaluators() -> None:
    """Against pytrec_eval, with ties, over random scores."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    random = np.random.Generator(np.random.PCG64(3))
    scores = random.integers(0, 6, (20, 30)) / 4
    relevant = [
        frozenset(random.choice(30, random.integers(1, 14), replace=False).tolist()) for _ in range(20)
    ]
    qrels = {str(q): {f"{d:02d}": 1 for d in found} for q, found in enumerate(relevant)}
    run = {str(q): {f"{d:02d}": float(s) for d, s in enumerate(row)} for q, row in enumerate(scores)}
    oracle = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run)
    assert str(parse_metric("ndcg@10")) == "ndcg@10"
    expected = [oracle[str(q)]["ndcg_cut_10"] for q in range(20)]
    np.testing.assert_allclose(ndcg(scores, relevant, list(range(30))), expected, atol=1e-9)


def test_no_relevant_document_is_a_negative_of_its_query() -> None:
    """Queries 0 and 1 share a relevant document, and it stands in the batch: the sum of query 0 leaves it out."""
    from irkit.train.learner import Contrastive

    class Plain(Contrastive):
        seen: Any = None

        def queries(self, rows: Any) -> Any:
            return torch.eye(4)[list(rows)]

        def documents(self, numbers: Any) -> Any:
            return torch.eye(4)[list(numbers)]

        groups = state = load = save = usage = None  # type: ignore[assignment]

    Plain.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    queries = [Example("a", (0,)), Example("b", (0, 1))]
    recipe = toy_recipe(training={"group": 1, "temperature": 1.0})
    learner = Plain(recipe, Examples(["0", "1", "2", "3"], queries, {}))  # type: ignore[abstract]
    for step in range(10):
        found = Candidates.draw(recipe, learner.examples, [0, 1], step).documents
        loss = learner.loss([0, 1], step).item()
        if found == [0]:  # one candidate, for both
            assert loss == 0.0
        else:  # query 0: documents 0 and 1; query 1: document 1, for 0 is relevant too
            assert loss == pytest.approx((-np.log(np.e / (np.e + 1)) + 0.0) / 2, abs=1e-6)
