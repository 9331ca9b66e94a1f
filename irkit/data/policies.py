"""Evaluation policies of collections in ir-datasets whose authors evaluate otherwise than by default."""

from __future__ import annotations

from irkit.data.collection import EvalPolicy

# BEIR's evaluation drops a hit whose id is the query's, in every set (EvaluateRetrieval.evaluate, ignore_identical_ids=True by
# default), and so do Anserini's regressions (-removeQuery). It matters where queries are documents themselves (ArguAna, Quora) and,
# a little, where both are numbered independently (FiQA). NanoBEIR's evaluators drop none: only where the query would find itself.
_DROP_SELF = ("beir", "nano-beir/arguana", "nano-beir/quora")
# Sets reported as one figure, the mean over their members.
_MACRO = ("beir/cqadupstack",)
# Passages of TREC's Deep Learning track: graded 0 to 3, where 1 is "related, but does not answer". Its organisers, and everybody
# since, count 2 and 3 as relevant where a metric is binary (AP, RR, recall, precision: `trec_eval -l 2`; Craswell et al., Overview
# of the TREC 2019 Deep Learning track). Of the track's whole documents those of 1 are relevant too.
_LEVEL_2 = (
    "msmarco-passage/trec-dl-2019",
    "msmarco-passage/trec-dl-2020",
    "msmarco-passage/trec-dl-hard",
    "msmarco-passage-v2/trec-dl-2021",
    "msmarco-passage-v2/trec-dl-2022",
    "msmarco-passage-v2/trec-dl-2023",
)


def policy_of(dataset_id: str) -> EvalPolicy:
    """Return the policy for an ir-datasets id: splits and members have the policy of their set."""
    parents = [dataset_id[:i] for i in range(len(dataset_id) + 1) if dataset_id[i : i + 1] in ("/", "")]
    return EvalPolicy(
        drop_self=any(name in _DROP_SELF for name in parents),
        macro=next((name for name in parents if name in _MACRO and name != dataset_id), None),
        relevance_level=2 if any(name in _LEVEL_2 for name in parents) else 1,
    )
