"""What is written beside trained weights: ``report.json`` for programs, ``README.md``, the model card, for people."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from irkit.config.yaml import dump_yaml
from irkit.train.checkpoint import Standing
from irkit.train.examples import Examples
from irkit.train.recipe import Recipe

CARD = "README.md"
_CHOSEN = {
    "best": "The step was chosen on\n"
    "them, with judged and generated queries of equal weight, so the scores of other queries are lower.",
    "last": "They chose nothing:\nthe weights are those of the last step.",
}
_PACKAGES = ("irkit", "numpy", "peft", "safetensors", "sentence-transformers", "torch", "transformers")


def report(
    recipe: Recipe,
    variant: str | None,
    examples: Examples,
    standing: Standing,
    facts: Mapping[str, Any],
    key: str,
    device: str,
    threads: int,
    seconds: float,
    against: str,
    chance: Mapping[str, float],
    keeps_last: bool,
) -> dict[str, Any]:
    """Return what there is to say about a training, as JSON values; ``against`` says what held-out queries were ranked against, and
    ``chance`` what a random order of that scores, by task, and ``keeps_last`` that held-out queries chose no step.
    """
    return {
        "name": recipe.name,
        "variant": variant,
        "kind": recipe.kind,
        "key": key,
        "seed": recipe.seed,
        "licence": recipe.licence,
        "recipe": recipe.to_data(),
        "sources": examples.origin.get("sources", []),
        "teacher": examples.origin.get("teacher"),
        "examples": {
            "fingerprint": examples.fingerprint,
            "training": len(examples.training),
            "held_out": len(examples.held),
            "documents": len(examples.documents),
        },
        "validation": {
            "metric": f"ndcg@10 of the held-out queries, against {against}",
            "before": standing.looks["0"],
            "after": standing.looks[str(standing.best_step)],
            "overall": {
                "before": examples.overall(standing.looks["0"]),
                "after": examples.overall(standing.looks[str(standing.best_step)]),
            },
            "best_step": standing.best_step,
            "kept": "last" if keeps_last else "best",
            **({"chance": dict(chance)} if chance else {}),
        },
        "steps": standing.step,
        "stopped_early": standing.stopped,
        "looks": asdict(standing)["looks"],
        "losses": standing.losses,
        "facts": dict(facts),
        "device": _device(device),
        "threads": threads,
        "seconds": round(seconds, 1),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def card(said: Mapping[str, Any], usage: str) -> str:
    """Return the model card as Markdown."""
    title = f"{said['name']}: {said['variant']}" if said["variant"] else str(said["name"])
    description = said["recipe"].get("description") or f"Trained by `irkit train`, kind `{said['kind']}`."
    checked = said["validation"]
    lines = [
        f"# {title}",
        "",
        description,
        "",
        "## Use",
        "",
        "```yaml",
        usage,
        "```",
        "",
        "## Trained on",
        "",
        "| source | split | queries | fingerprint |",
        "|---|---|---|---|",
        *(
            f"| {source['task']} | {source['split'] or ''} | {source['queries']} | `{source['fingerprint'][:12]}` |"
            for source in said["sources"]
        ),
        "",
        "Scores on these splits, and on other splits of the same collections, are in-domain, not zero-shot.",
        "",
        f"Licence of the data and the weights: {said['licence']}.",
        "",
        "## Held-out queries",
        "",
        f"nDCG@10 against {checked['metric'].partition(', against ')[2]}: to compare before and after. {_CHOSEN[checked['kept']]}",
        "",
        *_held_out(checked),
        "",
        f"Overall: {checked['overall']['before']:.4f}, then {checked['overall']['after']:.4f}, "
        f"at step {checked['best_step']} of {said['steps']}"
        + (", stopped early." if said["stopped_early"] else "."),
        "",
        "## How",
        "",
        "```yaml",
        dump_yaml(dict(said["recipe"])).strip(),
        "```",
        "",
        f"{said['seconds']:.0f} s on {said['device']}; "
        + ", ".join(f"{name} {number}" for name, number in said["versions"].items())
        + ".",
        *_facts(said["facts"]),
        "",
    ]
    return "\n".join(lines)


def _held_out(checked: Mapping[str, Any]) -> list[str]:
    columns = [name for name in ("chance", "before", "after") if name in checked]
    return [
        f"| source | {' | '.join(columns)} |",
        f"|---{'|---' * len(columns)}|",
        *(
            f"| {task} | {' | '.join(f'{checked[name][task]:.4f}' for name in columns)} |"
            for task in checked["before"]
        ),
    ]


def _facts(facts: Mapping[str, Any]) -> list[str]:
    trained = facts.get("trained") or {}
    if "sigma" not in trained:
        return []
    before, after = facts["untrained"]["sigma"], trained["sigma"]
    told = f"sigma of the gate's logits: {before['mean']:.4f} untrained, {after['mean']:.4f} trained (at most {after['max']:.4f});"
    return [
        "",
        f"{told} cosine to the unmodulated query {trained['cosine']['mean']:.4f} (at least {trained['cosine']['min']:.4f}).",
    ]


def _device(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
