"""Tests of trained models and adapters: how they are found, what they are known by, and what does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import adapt, describe
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import DependencyError, ModelError
from irkit.models import catalogue as listing
from irkit.models import identify, list_models, resolve
from irkit.models.catalogue import catalogue
from irkit.models.encoder import Encoder
from irkit.models.fetch import pull
from irkit.models.resolve import find, own_options, read_config
from irkit.models.trained import ADAPTER, ADAPTER_WEIGHTS, DESCRIPTION, REPORT, read_trained


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "base")


@pytest.fixture
def shelf(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models with one of BlockRank."""
    root = tmp_path / "shipped"
    folder = root / "tiny-blockrank"
    adapt(folder, lm(base), str(base))
    describe(folder, "blockrank", (str(base), resolve(str(base)).fingerprint), {"layer": 2, "words": 50})
    (folder / REPORT).write_text(json.dumps({"licence": "CC-BY-4.0", "seconds": 7}))
    (root / "empty").mkdir()
    monkeypatch.setattr(listing, "SHIPPED", root)
    return folder


def lm(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def test_an_adapter_is_its_base_with_the_updates_added(base: Path, tmp_path: Path) -> None:
    import torch

    model = lm(base)
    adapted = adapt(tmp_path / "adapter", model, str(base))
    found = resolve(str(tmp_path / "adapter"))
    assert found.base is not None
    assert found.base.path == base
    loaded = open_tiny(tmp_path / "adapter")
    ours = loaded.model.state_dict()
    assert len(adapted) == 8
    for name, expected in adapted.items():
        torch.testing.assert_close(ours[name].double(), expected, rtol=0, atol=1e-6)
        assert not torch.allclose(ours[name], model.state_dict()[name], atol=1e-2)
    others = set(ours) - set(adapted)
    assert all(torch.equal(ours[name], model.state_dict()[name]) for name in others)
    assert not any("lora" in name for name in ours)
    assert loaded.tokenizer("wing lift")["input_ids"] == open_tiny(base).tokenizer("wing lift")["input_ids"]


def test_a_stage_that_writes_runs_the_adapted_model(base: Path, tmp_path: Path) -> None:
    """With transformers' own attention, as for hyde, reformulate and listwise."""
    import torch

    adapted = adapt(tmp_path / "adapter", lm(base), str(base))
    oracle = lm(base)
    plain = oracle(torch.arange(5, 25)[None]).logits
    oracle.load_state_dict({name: each.float() for name, each in adapted.items()}, strict=False)
    ours = open_tiny(tmp_path / "adapter", attention="sdpa").model
    with torch.inference_mode():
        found = ours(torch.arange(5, 25)[None]).logits
        torch.testing.assert_close(found, oracle(torch.arange(5, 25)[None]).logits, rtol=0, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)


def test_updates_are_added_before_the_weights_are_rounded(base: Path, tmp_path: Path) -> None:
    import torch

    adapted = adapt(tmp_path / "adapter", lm(base), str(base))
    half = open_tiny(tmp_path / "adapter", dtype="bfloat16").model.state_dict()
    for name, expected in adapted.items():
        assert half[name].dtype == torch.bfloat16
        assert (half[name] == expected.float().bfloat16()).float().mean() > 0.999


def test_a_base_is_found_from_the_workspace_and_by_its_name(base: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "base").symlink_to(base)
    adapt(tmp_path / "mine", lm(base), "models/base")
    found = resolve("mine", tmp_path)
    assert found.base is not None
    assert found.base.path == base
    assert found.fingerprint == identify("mine", tmp_path)
    assert read_config("mine", tmp_path)["num_hidden_layers"] == 4
    assert find("mine", tmp_path) == tmp_path / "mine"
    with pytest.raises(ModelError, match=r"the base model of mine: there is no model 'models/bases/x'"):
        settings = json.loads((tmp_path / "mine" / ADAPTER).read_text())
        (tmp_path / "mine" / ADAPTER).write_text(
            json.dumps(settings | {"base_model_name_or_path": "models/bases/x"})
        )
        resolve("mine", tmp_path)


def test_the_fingerprint_covers_updates_and_base_and_not_how_long_it_took(shelf: Path, base: Path) -> None:
    before = resolve("irkit/tiny-blockrank").fingerprint
    assert before == identify("irkit/tiny-blockrank") == resolve(str(shelf)).fingerprint
    (shelf / REPORT).write_text(json.dumps({"seconds": 8}))
    (shelf / "README.md").write_text("other words")
    assert identify("irkit/tiny-blockrank") == before
    describe(shelf, "blockrank", (str(base), resolve(str(base)).fingerprint), {"layer": 1})
    assert identify("irkit/tiny-blockrank") != before
    weights = bytearray((shelf / ADAPTER_WEIGHTS).read_bytes())
    weights[-1] ^= 1
    now = identify("irkit/tiny-blockrank")
    (shelf / ADAPTER_WEIGHTS).write_bytes(bytes(weights))
    assert identify("irkit/tiny-blockrank") not in (before, now)


def test_another_base_changes_the_fingerprint_or_is_refused(base: Path, tmp_path: Path) -> None:
    other = tiny_lm(tmp_path / "other", spread=0.1)
    for name, each in (("one", base), ("two", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "base").symlink_to(each)
        adapt(tmp_path / name / "adapter", lm(base), "base")
    known = [identify("adapter", tmp_path / name) for name in ("one", "two")]
    assert known[0] != known[1]
    describe(tmp_path / "two" / "adapter", "blockrank", ("base", resolve(str(base)).fingerprint))
    for ask in (identify, resolve):
        with pytest.raises(ModelError, match="trained on another base") as error:
            ask("adapter", tmp_path / "two")
        assert "irkit models pull base" in str(error.value)
        assert "the same weights in another format are another model" in str(error.value)


def test_shipped_models_are_in_the_catalogue_and_load_by_name(shelf: Path, base: Path) -> None:
    (status,) = [each for each in list_models() if each.entry.name.startswith("irkit/")]
    entry = catalogue()["irkit/tiny-blockrank"]
    assert status.entry == entry
    assert (status.status, entry.kind, entry.licence, entry.base) == (
        "shipped",
        "llm",
        "CC-BY-4.0",
        str(base),
    )
    assert "blockrank (layer 2, words 50)" in entry.about
    assert f"MB on top of {base}" in entry.about
    assert resolve("irkit/tiny-blockrank").licence == "CC-BY-4.0"
    assert own_options("irkit/tiny-blockrank") == {"layer": 2, "words": 50}
    assert own_options(str(base)) == {}
    assert open_tiny(shelf).layers == 4
    with pytest.raises(ModelError, match="did you mean 'irkit/tiny-blockrank'"):
        resolve("irkit/tiny-blockrnk")


def test_a_shipped_model_whose_base_is_absent_says_so_and_pulls_it(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from irkit.models import fetch

    describe(shelf, "blockrank", ("smollm2", "0" * 64))
    listing._shipped.cache_clear()
    monkeypatch.setattr(listing, "find_wheel", lambda wheel: None)
    assert {each.entry.name: each.status for each in list_models()}["irkit/tiny-blockrank"] == "base absent"
    fetched: list[str] = []
    monkeypatch.setattr(sys.modules["irkit.models.resolve"], "find_wheel", lambda wheel: None)
    with pytest.raises(
        ModelError, match=r"(?s)base model of irkit/tiny-blockrank: .*irkit models pull smollm2"
    ):
        resolve("irkit/tiny-blockrank")
    monkeypatch.setattr(fetch, "_fetch", lambda wheel, name: fetched.append(name))
    with pytest.raises(ModelError):  # nothing was fetched in truth
        pull("irkit/tiny-blockrank")
    assert fetched == ["smollm2"]


def test_layers_above_the_trained_ones_stay_as_they_are(base: Path, tmp_path: Path) -> None:
    import torch

    model = lm(base)
    model.model.layers = model.model.layers[:3]
    adapted = adapt(tmp_path / "cut", model, str(base))
    assert len(adapted) == 6
    with pytest.raises(ModelError, match=r"4 weights.* are missing from the adapter"):
        open_tiny(tmp_path / "cut")
    describe(tmp_path / "cut", "blockrank", (str(base), resolve(str(base)).fingerprint), {"layer": 2})
    ours, plain = open_tiny(tmp_path / "cut").model.state_dict(), lm(base).state_dict()
    assert all(torch.allclose(ours[name].double(), each, atol=1e-6) for name, each in adapted.items())
    assert all(torch.equal(ours[name], plain[name]) for name in set(plain) - set(adapted))


def test_a_whole_trained_model_has_no_base(base: Path, tmp_path: Path) -> None:
    folder = tiny_lm(tmp_path / "whole", layers=2)
    describe(folder, "blockrank", None, {"layer": 1})
    found = resolve(str(folder))
    assert found.base is None
    assert found.trained is not None
    assert found.trained.options == {"layer": 1}
    assert identify(str(folder)) == found.fingerprint
    (folder / REPORT).write_text("{}")
    assert identify(str(folder)) == found.fingerprint
    assert open_tiny(folder).layers == 2
    assert read_config(str(folder))["num_hidden_layers"] == 2


def saved(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / ADAPTER_WEIGHTS))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda all_: all_.popitem(), "1 weights, such as .*, are missing"),
        (
            lambda all_: all_.update(other=np.zeros(3, np.float32)),
            "such as other, of the adapter have no place",
        ),
        (lambda all_: all_.update({k: v[:, :-1] for k, v in all_.items() if "lora_A" in k}), "size mismatch"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(base: Path, tmp_path: Path, change: Any, told: str) -> None:
    from safetensors.numpy import save_file

    adapt(tmp_path / "adapter", lm(base), str(base))
    weights = saved(tmp_path / "adapter")
    change(weights)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in weights.items()}, tmp_path / "adapter" / ADAPTER_WEIGHTS
    )
    with pytest.raises(ModelError, match=f"(?s)does not fit .*{told}"):
        open_tiny(tmp_path / "adapter")


def test_an_adapter_for_modules_that_the_model_lacks_is_refused(base: Path, tmp_path: Path) -> None:
    adapt(tmp_path / "adapter", lm(base), str(base))
    file = tmp_path / "adapter" / ADAPTER
    file.write_text(json.dumps(json.loads(file.read_text()) | {"target_modules": ["attention.nowhere"]}))
    with pytest.raises(ModelError, match=r"does not fit .*Target modules"):
        open_tiny(tmp_path / "adapter")


def test_pickled_and_missing_weights_are_refused(base: Path, tmp_path: Path) -> None:
    adapt(tmp_path / "adapter", lm(base), str(base))
    weights = tmp_path / "adapter" / ADAPTER_WEIGHTS
    weights.rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(ModelError, match="a pickle can run code") as error:
        open_tiny(tmp_path / "adapter")
    assert "safe_serialization=True" in str(error.value)
    (tmp_path / "adapter" / "adapter_model.bin").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        open_tiny(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "evil.module"}, "code of its own: evil.module"),
        ({"task_type": "SEQ_CLS"}, "for the task SEQ_CLS cannot be merged"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}, "kind PROMPT_TUNING.* cannot be merged"),
        ({"base_model_name_or_path": None}, "does not name its base model"),
    ],
)
def test_adapters_that_are_not_taken(base: Path, tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    adapt(tmp_path / "adapter", lm(base), str(base))
    file = tmp_path / "adapter" / ADAPTER
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    with pytest.raises(ModelError, match=told):
        open_tiny(tmp_path / "adapter")


def test_an_adapter_of_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    adapt(tmp_path / "one", lm(base), str(base))
    adapt(tmp_path / "two", lm(base), str(tmp_path / "one"))
    adapt(tmp_path / "self", lm(base), str(tmp_path / "self"))
    for name in ("two", "self"):
        for ask in (identify, resolve):
            with pytest.raises(ModelError, match="an adapter itself"):
                ask(str(tmp_path / name))


def test_without_peft_the_remedy_is_told(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapt(tmp_path / "adapter", lm(base), str(base))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(DependencyError, match="pip install peft"):
        open_tiny(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "update irkit"),
        ({"kind": "other"}, "knows no 'trained model' of kind 'other'"),
        ({"base": {"model": "x"}}, "is damaged: 'fingerprint'"),
        ({"options": 3}, "is damaged"),
    ],
)
def test_a_description_that_cannot_be_read(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    folder = describe(tmp_path / "model", "blockrank")
    file = folder / DESCRIPTION
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=told):
        read_trained(folder)


def test_a_language_model_is_no_encoder_and_the_other_way_round(shelf: Path) -> None:
    with pytest.raises(ModelError, match="is a language model, and no encoder"):
        Encoder(resolve("irkit/tiny-blockrank"), device="cpu")


def test_resolving_an_adapter_imports_neither_torch_nor_peft(shelf: Path) -> None:
    code = (
        f"import sys; from irkit.models import resolve, identify; resolve({str(shelf)!r}); identify({str(shelf)!r}); "
        "print([m for m in ('torch', 'transformers', 'peft', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_adapter_of_the_hub_that_is_not_here_is_known_by_its_commit_and_its_base(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["irkit.models.resolve"]
    adapt(tmp_path / "snapshot", lm(base), str(base))
    monkeypatch.setattr(module, "cached_snapshot", lambda repo, revision: None)
    monkeypatch.setattr(module, "commit_of", lambda repo, revision: "c" * 40)
    monkeypatch.setattr(module, "descriptions", lambda repo, commit, names: tmp_path / "snapshot")
    known = identify("someone/adapter")
    assert own_options("someone/adapter") is None
    assert own_options("someone/adapter", ask=True) == {}
    place = tmp_path / ("c" * 40)
    (tmp_path / "snapshot").rename(place)
    monkeypatch.setattr(module, "cached_snapshot", lambda repo, revision: place)
    assert identify("someone/adapter") == resolve("someone/adapter").fingerprint == known
    assert known != f"hub:someone/adapter@{'c' * 40}"


def test_of_a_model_on_the_hub_only_what_describes_it_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    from irkit.models import hub

    asked: list[Any] = []

    def fetch(repo: str, **options: Any) -> str:
        asked.append((repo, options["revision"], options["allow_patterns"]))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(hub, "_info", lambda repo, commit: (commit, ["config.json", "model.safetensors"]))
    assert hub.descriptions("a/b", "c", (DESCRIPTION, ADAPTER)) is None
    monkeypatch.setattr(hub, "_info", lambda repo, commit: (commit, [ADAPTER, ADAPTER_WEIGHTS]))
    assert hub.descriptions("a/b", "c", (DESCRIPTION, ADAPTER)) == tmp_path
    assert asked == [("a/b", "c", [DESCRIPTION, ADAPTER])]
