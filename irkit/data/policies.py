"""Evaluation policies of collections in ir-datasets whose authors evaluate otherwise than by default."""

from __future__ import annotations

from irkit.data.collection import EvalPolicy

# Queries that are documents of the corpus themselves: BEIR's evaluation drops the identical id (ignore_identical_ids).
_DROP_SELF = ("beir/arguana", "beir/quora", "nano-beir/arguana", "nano-beir/quora")
# Sets reported as one figure, the mean over their members.
_MACRO = ("beir/cqadupstack",)


def policy_of(dataset_id: str) -> EvalPolicy:
    """Return the policy for an ir-datasets id: splits and members have the policy of their set."""
    parents = [dataset_id[:i] for i in range(len(dataset_id) + 1) if dataset_id[i : i + 1] in ("/", "")]
    return EvalPolicy(
        drop_self=any(name in _DROP_SELF for name in parents),
        macro=next((name for name in parents if name in _MACRO and name != dataset_id), None),
    )
