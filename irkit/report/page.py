"""The data of a report's page: what its views are drawn from, packed into the file.

Every island is JSON, deflated, in base64: names, queries and documents can be nothing but data there. ``main`` is unpacked at once;
the values per query and the details of a collection when somebody looks at them.
"""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irkit.config.yaml import dump_yaml
from irkit.report.again import command_of
from irkit.report.changed import changed_tables
from irkit.report.details import Details, Funnel
from irkit.report.efficiency import Efficiency, current
from irkit.report.explained import explained_tables
from irkit.report.pairs import TIE, Family
from irkit.report.results import PerQuery, Results
from irkit.report.scores import ScoreTable, score_tables
from irkit.report.times import stage_times
from irkit.report.values import DECIMALS, packed_values

LEVEL = 7
"""Of compression: 9 takes five times as long on values per query, for 2 % less."""


@dataclass(frozen=True)
class Page:
    """What the page's script reads.

    Attributes:
        main: everything but what belongs to single queries.
        values: by collection, in the order of ``main["collections"]``: the values per query; None where there are none.
        details: by collection: queries with their documents, changes and explanations; None where there are none.
    """

    main: dict[str, Any]
    values: list[dict[str, Any] | None]
    details: list[dict[str, Any] | None]

    def islands(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the packed text of every island."""
        yield "data-main", packed(self.main)
        for kind, parts in (("values", self.values), ("details", self.details)):
            for number, part in enumerate(parts):
                if part is not None:
                    yield f"data-{kind}-{number}", packed(part)


def packed(data: Any) -> str:
    """Return JSON, deflated (zlib), in base64: characters that mean nothing to HTML."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), LEVEL)).decode("ascii")


def page_of(
    results: Results,
    per_query: Sequence[PerQuery],
    tested: Sequence[Family],
    funnels: Sequence[Funnel] = (),
    details: Sequence[Details] = (),
    efficiency: Efficiency | None = None,
) -> Page:
    """Return the data of a page. ``tested`` are the families of tests of these results.

    The command of a pipeline runs it on all collections; a collection's ``option`` after it confines it to that one.
    """
    tables = score_tables(results)
    collections = [table.name for table in tables if not table.members]
    pipelines = list(dict.fromkeys([*results.pipelines, *(s.pipeline for s in results.scores)]))
    metrics = list(tables[0].metrics) if tables else list(results.metrics)
    of_query = {each.collection: each for each in per_query}
    of_details = {each.collection: each for each in details}
    known = {info.name: info for info in results.collections}
    command = results.provenance.command
    measured = None if efficiency is None else current(efficiency, results)
    main = {
        "experiment": results.experiment,
        "metrics": metrics,
        "baseline": results.baseline,
        "command": command,
        "seconds": results.seconds,
        "fromStore": results.from_store,
        "pipelines": [
            {
                "name": name,
                "yaml": dump_yaml({name: results.pipelines[name]}) if name in results.pipelines else None,
                "control": results.controls.get(name),
                "command": command_of(command, name),
            }
            for name in pipelines
        ],
        "collections": [
            {
                "name": name,
                "documents": known[name].documents if name in known else None,
                "queries": known[name].judged_queries if name in known else None,
                # The lowest gain of a relevant document.
                "level": known[name].policy.get("relevance_level", 1) if name in known else 1,
                "option": None if len(collections) == 1 else shlex.join(["--only", name]),
            }
            for name in collections
        ],
        "columns": [_column(table, pipelines) for table in tables],
        "expected": [each.model_dump(mode="json") for each in results.expected],
        "references": [
            each.model_dump(mode="json", exclude={"title", "source", "url"}) for each in results.reference
        ],
        "families": [_family(each, pipelines) for each in tested],
        "alpha": results.statistics.alpha,
        # A difference of two queries' values that is no larger is none.
        "tie": TIE,
        "level": results.statistics.level,
        "funnels": [each.model_dump(mode="json") for each in funnels],
        "stages": _stages(results),
        "efficiency": None
        if measured is None or not measured.efficiency.pipelines
        else measured.efficiency.model_dump(mode="json"),
        "outdated": [] if measured is None else [list(each) for each in measured.outdated],
    }
    return Page(
        main,
        [packed_values(of_query.get(name), pipelines) for name in collections],
        [_details(of_query.get(name), of_details.get(name)) for name in collections],
    )


def _column(table: ScoreTable, pipelines: Sequence[str]) -> dict[str, Any]:
    """A column of the leaderboard: a collection, or a mean; for each metric a value per pipeline.

    What it is of, its kind and names say, for a title is free: an experiment may call an average "Mean of x".
    """
    rows = {row.pipeline: row for row in table.rows}
    return {
        "name": table.name,
        "kind": table.kind,
        "of": table.of,
        "members": list(table.members),
        # Of each member the collections that it is the mean of.
        "parts": [list(each) for each in table.parts],
        "values": {
            metric: [rows[name].cells[place].value if name in rows else None for name in pipelines]
            for place, metric in enumerate(table.metrics)
        },
        "reasons": list(table.reasons),
    }


def _stages(results: Results) -> list[dict[str, Any]]:
    """What every stage cost, collection by collection and pipeline by pipeline, in the order in which they work.

    ``shared`` is the pipeline whose row has paid for the node already; its notes stand there. ``node`` is a number in the place of
    the node's key; None where no node is known.
    """
    rows = stage_times(results)
    numbers = {node: number for number, node in enumerate(dict.fromkeys(row.time.node for row in rows))}
    return [
        {
            **row.time.model_dump(mode="json", exclude={"node", "notes"}),
            "node": numbers[row.time.node] if row.time.node else None,
            "shared": row.shared_with,
            "cached": row.cached,
            "per_query": row.per_query,
            "notes": row.notes,
        }
        for row in rows
    ]


def _family(family: Family, pipelines: Sequence[str]) -> dict[str, Any]:
    """The tests of one collection and metric.

    Of a pair: ours and other (numbers of pipelines), mean, wins, ties, losses, d, low, high, p, whether it is significant.
    """
    place = {name: number for number, name in enumerate(pipelines)}
    return {
        "collection": family.collection,
        "metric": family.metric,
        "queries": family.queries,
        "how": family.how,
        "absent": [place[name] for name in family.absent],
        "judged": {str(place[name]): _short(value) for name, value in family.judged.items()},
        "judged_at": family.judged_at,
        "pairs": [
            [
                place[pair.ours],
                place[pair.other],
                _short(pair.mean),
                pair.wins,
                pair.ties,
                pair.losses,
                None if pair.effect is None else _short(pair.effect),
                *((None, None) if pair.interval is None else map(_short, pair.interval)),
                None if pair.p_value is None else float(f"{pair.p_value:.4g}"),
                pair.significant,
            ]
            for pair in family.pairs
        ],
    }


def _details(values: PerQuery | None, details: Details | None) -> dict[str, Any] | None:
    """The queries to look into; their changes and explanations as rows to print."""
    changed = [] if values is None else _changed(values)
    explained = [] if values is None else _explained(values)
    if details is None and not changed and not explained:
        return None
    shown: Mapping[str, Any] = {"documents": [], "queries": [], "chosen": "some"}
    if details is not None:
        shown = details.model_dump(mode="json", exclude={"collection"})
    return {**shown, "changed": changed, "explained": explained}


def _changed(values: PerQuery) -> list[dict[str, Any]]:
    """What query stages did: of a text its stretches, each with whether it is new; of a term its weight and its shade."""
    return [
        {
            "pipeline": table.pipeline,
            "qid": view.query.qid,
            "query": view.query.query,
            "metric": view.query.metric,
            "delta": view.query.delta,
            "steps": [
                {
                    "stage": step.step.stage,
                    "words": [list(each) for each in step.words],
                    "terms": [
                        {"term": term.term, "weight": term.weight, "original": term.original, "shade": shade}
                        for term, shade in step.terms
                    ],
                    "more": step.step.more,
                    "told": step.step.told,
                    "forms": step.step.forms,
                    "changed": step.changed,
                }
                for step in view.steps
            ],
        }
        for table in changed_tables([values])
        for view in table.queries
    ]


def _explained(values: PerQuery) -> list[dict[str, Any]]:
    """What stages saw in documents: stretches of text, each with its shade (None: it counts for nothing) and weight."""
    return [
        {
            "pipeline": table.pipeline,
            "stage": table.stage,
            "qid": view.query.qid,
            "query": view.query.query,
            "documents": [
                {
                    "docno": each.document.docno,
                    "score": each.document.score,
                    "before": each.document.before,
                    "gain": each.document.gain,
                    "more": each.document.more,
                    "spans": [[span.text, span.shade, float(f"{span.weight:.4g}")] for span in each.spans],
                    "best": [[text, float(f"{weight:.4g}")] for text, weight in each.best],
                }
                for each in view.documents
            ],
        }
        for table in explained_tables([values])
        for view in table.queries
    ]


def _short(value: float) -> float:
    return round(float(value), DECIMALS)
