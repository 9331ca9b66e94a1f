"""A good experiment file, for the tests of what reads it."""

from __future__ import annotations

from irkit.config.experiment import Experiment, read_experiment
from irkit.config.yaml import parse_yaml

GOOD = """\
name: good
description: Two pipelines
collections:
  - irkit/limit-synthetic?n=12
  - {path: some/folder, split: dev}
metrics: [ndcg_cut_10, Recall@2]
pipelines:
  first:
    - toy: {k: 20}
    - toy-rerank
  second: toy
baseline: first
expected:
  irkit/limit-synthetic?n=12: {first: {ndcg@10: 0.5}}
"""


def read(text: str) -> Experiment:
    return read_experiment(parse_yaml(text, "f.yaml"))
