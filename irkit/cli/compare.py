"""``irkit compare``: run files from anywhere against judgements."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from irkit.cli import console
from irkit.core.errors import ConfigError, Problem, nearest

if TYPE_CHECKING:
    from irkit.data.collection import EvalPolicy


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="TREC run files, plain or gzip, of any tool; NAME=PATH names one.",
            metavar="RUN...",
            show_default=False,
        ),
    ],
    qrels: Annotated[
        str,
        typer.Option(
            "--qrels",
            help="The judgements: TREC's four columns or BEIR's three. {} in all paths stands for a collection's name.",
            show_default=False,
        ),
    ],
    queries: Annotated[
        str | None, typer.Option("--queries", help="Which queries count, and their excluded_ids.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", "-m", help="Separated by commas; ndcg@10,map,recall@100,mrr@10 by default."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", "-b", help="The run to compare with; the first by default.")
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(
            "--exclude", help="Documents never to retrieve: query-id <tab> document-id, a pair a line."
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME[=VALUE]",
            help="drop_self: without the document of the query's own id; relevance_level=2: the least gain that is "
            "relevant. May be repeated.",
        ),
    ] = None,
    ties: Annotated[
        Literal["docno", "rank"],
        typer.Option(
            "--ties", help="Equal scores: by document id, descending, as trec_eval does; or as ranked."
        ),
    ] = "docno",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write the results and the report to.")
    ] = Path("eval/runs/compare"),
) -> None:
    """Evaluate TREC run files of any tool, without a corpus, and write the scores and the report of an experiment.

    Scores decide the order, whatever the rank column says; a judged query that a run lacks counts 0.
    """
    from irkit.api.compare import METRICS
    from irkit.api.compare import compare as compare_runs
    from irkit.report.results import load_results
    from irkit.report.text import terminal_tables

    wanted = [name.strip() for name in metrics.split(",") if name.strip()] if metrics is not None else METRICS
    results, folder = compare_runs(
        runs,
        qrels,
        queries=queries,
        exclude=exclude,
        metrics=wanted,
        baseline=baseline,
        policy=_policy(policy or ()),
        ties=ties,
        output=output,
    )
    out = console.out()
    for table in terminal_tables(results, out.width, load_results(folder)[1]):
        out.print(table)
    for info in results.collections:
        for kind, (count, first) in info.warnings.items():
            out.print(f"warning: {info.name}: {kind}: {count}, the first at {first}", markup=False)
    report = os.path.relpath(folder / "report.html")
    out.print(f"{results.seconds:.1f} s; report: {report}", markup=False)


def _policy(settings: list[str] | tuple[()]) -> EvalPolicy:
    """Return the policy that ``NAME`` and ``NAME=VALUE`` describe.

    Raises:
        ConfigError: for a name that no policy has, or a value it cannot have.
    """
    from pydantic import ValidationError

    from irkit.data.collection import EvalPolicy

    chosen: dict[str, str | bool] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in EvalPolicy.model_fields:
            hint = nearest(name, list(EvalPolicy.model_fields))
            raise ConfigError.of(f"a policy has no {name!r}", where=f"--policy {setting}", hint=hint)
        chosen[name] = value if equals else True
    try:
        return EvalPolicy.model_validate(chosen)
    except ValidationError as error:
        raise ConfigError(
            *(
                Problem(each["msg"], f"--policy {each['loc'][0]}", "for example: --policy relevance_level=2")
                for each in error.errors(include_url=False)
            )
        ) from error
