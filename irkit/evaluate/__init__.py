"""Evaluation: metrics under trec_eval's rules, and run files."""

from irkit.core.metric import Metric, parse_metric
from irkit.evaluate.metrics import evaluate, evaluation_identity, judged_queries, means
from irkit.evaluate.runfile import RunFile, read_run, write_run

__all__ = [
    "Metric",
    "parse_metric",
    "evaluate",
    "means",
    "judged_queries",
    "evaluation_identity",
    "RunFile",
    "read_run",
    "write_run",
]
