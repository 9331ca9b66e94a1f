"""Many experiments as one ranking: the same pipeline in several of them is one row, and a score counts only beside its like.

A row is a pipeline: its name, its YAML and its models. Of several experiments that have it, the newest has the say on every
collection; where an older one says something else, the row tells so. The rank is that of the mean over the collections in view, a
macro set counting once; only rows with a score on all of them have one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from irkit.config.yaml import dump_yaml
from irkit.core.fingerprint import fingerprint
from irkit.report import format as fmt
from irkit.report.results import CollectionInfo, Results

SEEN: float = 0.5 * 10**-fmt.DECIMALS
"""The least difference of two scores that counts as one: what four decimals show."""


@dataclass(frozen=True)
class View:
    """What is ranked by.

    Attributes:
        average: the named average that is taken; None for the mean over all collections in view.
        members: name -> its collections: a collection alone, or a macro set; each counts once.
        of: how many members the average has by its definition.
        infos: the collections in view, by name.
        chosen: those that were asked for by name; None for all that there are, which may become more.
    """

    metric: str
    average: str | None
    members: Mapping[str, tuple[str, ...]]
    of: int
    infos: Mapping[str, CollectionInfo]
    chosen: tuple[str, ...] | None = None

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections of all members."""
        return tuple(name for parts in self.members.values() for name in parts)

    @property
    def title(self) -> str:
        """What the mean is called."""
        if self.average is None:
            return "mean" if len(self.members) > 1 else next(iter(self.members), "mean")
        count = len(self.members)
        return self.average if count == self.of else f"{self.average} ({count} of {self.of})"


@dataclass(frozen=True)
class Origin:
    """The run of an experiment that gave a row its scores on some collections."""

    experiment: str
    created: str
    irkit: str
    command: str
    collections: tuple[str, ...]


@dataclass(frozen=True)
class Differing:
    """An older experiment's score of the same pipeline that is not the same."""

    collection: str
    experiment: str
    created: str
    value: float
    newer: float
    same_computation: bool | None
    """Whether both are one computation by their nodes' fingerprints; None when not known."""


@dataclass(frozen=True)
class Standing:
    """A row of the ranking.

    Attributes:
        key: the fingerprint of the pipeline's name, YAML and models.
        label: the name; with the experiment where other pipelines have the same name.
        origins: where its scores come from, the newest first.
        scores: by collection in view.
        means: by member of the view, where it is whole.
        mean: over the members; None when one is missing.
        rank: from 1; ties, to four decimals, share it. None without a mean.
        mean_rank: the mean of the ranks on each member among the ranked rows.
        missing: the collections in view without a score.
        differing: what older experiments say otherwise.
        from_files: the collections of which the score comes from a run file.
    """

    key: str
    label: str
    pipeline: str
    yaml: str
    models: tuple[str, ...]
    origins: tuple[Origin, ...]
    scores: Mapping[str, float]
    means: Mapping[str, float]
    mean: float | None
    missing: tuple[str, ...]
    differing: tuple[Differing, ...]
    from_files: tuple[str, ...]
    rank: int | None = None
    mean_rank: float | None = None

    @property
    def experiment(self) -> str:
        """The newest experiment that it is from."""
        return self.origins[0].experiment


@dataclass(frozen=True)
class Leaderboard:
    """A ranking: the ranked rows first, then those of which something is missing.

    Attributes:
        unseen: how many pipelines have no score in view at all, and no row.
        controls: how many order controls are left out.
        with_controls: whether order controls take part.
        without_documents: collections of which a row's scores come from run files: judged alike, on documents that nobody knows.
    """

    view: View
    rows: tuple[Standing, ...]
    unseen: int
    controls: int
    with_controls: bool
    without_documents: tuple[str, ...]

    @property
    def ranked(self) -> tuple[Standing, ...]:
        """The rows with a rank."""
        return tuple(row for row in self.rows if row.rank is not None)


def leaderboard(experiments: Sequence[Results], view: View, *, controls: bool = False) -> Leaderboard:
    """Return the ranking of all pipelines.

    Args:
        experiments: judged alike on the collections in view; their order makes no difference.
        view: what is ranked by.
        controls: whether order controls take part.
    """
    entries: dict[str, list[_Entry]] = {}
    left_out = 0
    for results in in_order(experiments):
        for name in dict.fromkeys([*results.pipelines, *(score.pipeline for score in results.scores)]):
            if name in results.controls and not controls:
                left_out += 1
                continue
            entry = _Entry.of(results, name, view)
            entries.setdefault(entry.key, []).append(entry)
    rows = [_standing(of_key, view) for of_key in entries.values()]
    seen = _labelled([row for row in rows if row.scores])
    from_files = {name for row in seen for name in row.from_files}
    bare = [name for name in view.collections if name in from_files and view.infos[name].with_documents]
    ranked = tuple(_ranked(seen, view))
    return Leaderboard(view, ranked, len(rows) - len(seen), left_out, controls, tuple(bare))


def in_order(experiments: Iterable[Results]) -> list[Results]:
    """Return different results, the oldest first: the same order whatever order they came in."""
    unique: dict[str, Results] = {}
    for results in experiments:
        unique.setdefault(fingerprint(results.model_dump(mode="json")), results)
    return [
        results
        for _, results in sorted(
            unique.items(), key=lambda item: (item[1].provenance.created, item[1].experiment, item[0])
        )
    ]


@dataclass(frozen=True)
class _Entry:
    """A pipeline in one experiment."""

    key: str
    pipeline: str
    steps: list[Any]
    models: tuple[str, ...]
    results: Results
    scores: Mapping[str, float]
    nodes: Mapping[str, str]
    """By collection the fingerprint of the last node."""

    @property
    def bare(self) -> frozenset[str]:
        """The collections of which the experiment knows no documents, but run files."""
        return frozenset(info.name for info in self.results.collections if not info.with_documents)

    @classmethod
    def of(cls, results: Results, pipeline: str, view: View) -> _Entry:
        steps = results.pipelines.get(pipeline, [])
        stages = [stage for stage in results.stages if stage.pipeline == pipeline]
        models = tuple(sorted({str(s.notes["model"]) for s in stages if "model" in s.notes}))
        return cls(
            fingerprint({"name": pipeline, "steps": steps, "models": models}),
            pipeline,
            steps,
            models,
            results,
            {
                score.collection: score.value
                for score in results.scores
                if (score.pipeline, score.metric) == (pipeline, view.metric)
                and score.collection in view.collections
            },
            {
                stage.collection: stage.node
                for stage in sorted(stages, key=lambda s: s.position)
                if stage.node is not None
            },
        )


def _standing(entries: Sequence[_Entry], view: View) -> Standing:
    """Bring together what experiments, the oldest first, say of one pipeline."""
    says: dict[str, _Entry] = {}
    for entry in entries:
        says |= dict.fromkeys(entry.scores, entry)
    newest = entries[-1]
    scores = {name: says[name].scores[name] for name in view.collections if name in says}
    means = {
        member: fmean(scores[name] for name in parts)
        for member, parts in view.members.items()
        if all(name in scores for name in parts)
    }
    return Standing(
        key=newest.key,
        label=newest.pipeline,
        pipeline=newest.pipeline,
        yaml=dump_yaml({newest.pipeline: newest.steps}),
        models=newest.models,
        origins=tuple(
            _origin(entry, [name for name in scores if says[name] is entry])
            for entry in reversed(entries)
            if entry in says.values()
        ),
        scores=scores,
        means=means,
        mean=fmean(means.values()) if view.members and len(means) == len(view.members) else None,
        missing=tuple(name for name in view.collections if name not in scores),
        differing=_differing(entries, says),
        from_files=tuple(name for name in scores if name in says[name].bare),
    )


def _differing(entries: Sequence[_Entry], says: Mapping[str, _Entry]) -> tuple[Differing, ...]:
    """Return the older scores that are not the newest, each value once, of the newest experiment that has it."""
    found: dict[tuple[str, str], Differing] = {}
    for entry in entries:
        for name, value in entry.scores.items():
            newer = says[name].scores[name]
            if abs(value - newer) >= SEEN:
                nodes = entry.nodes.get(name), says[name].nodes.get(name)
                made = entry.results.provenance.created
                same = None if None in nodes else nodes[0] == nodes[1]
                found[name, fmt.metric(value)] = Differing(
                    name, entry.results.experiment, made, value, newer, same
                )
    return tuple(found.values())


def _origin(entry: _Entry, collections: Sequence[str]) -> Origin:
    made = entry.results.provenance
    return Origin(entry.results.experiment, made.created, made.irkit, made.command, tuple(collections))


_FORMS: tuple[Callable[[Standing], str], ...] = (
    lambda row: row.pipeline,
    lambda row: f"{row.pipeline} ({row.experiment})",
    lambda row: f"{row.pipeline} ({row.experiment}, {row.origins[0].created})",
    lambda row: f"{row.pipeline} ({row.experiment}, {row.key[:12]})",
)


def _labelled(rows: Sequence[Standing]) -> list[Standing]:
    """Give rows names that tell them apart, each no longer than it takes."""
    forms = [0] * len(rows)
    while True:
        labels = [_FORMS[form](row) for form, row in zip(forms, rows, strict=True)]
        count = Counter(labels)
        crowded = [
            place for place, label in enumerate(labels) if count[label] > 1 and forms[place] + 1 < len(_FORMS)
        ]
        if not crowded:
            return [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]
        for place in crowded:
            forms[place] += 1


def _ranked(rows: Sequence[Standing], view: View) -> list[Standing]:
    whole = [row for row in rows if row.mean is not None]
    ranks = _ranks({row.key: row.mean for row in whole if row.mean is not None})
    of_member = [_ranks({row.key: row.means[member] for row in whole}) for member in view.members]
    ranked = [
        replace(row, rank=ranks[row.key], mean_rank=fmean(each[row.key] for each in of_member))
        for row in whole
    ]
    rest = [row for row in rows if row.mean is None]
    return [
        *sorted(ranked, key=lambda row: (row.rank, row.label)),
        *sorted(rest, key=lambda row: (len(row.missing), row.label)),
    ]


def _ranks(values: Mapping[str, float]) -> dict[str, int]:
    """Return ranks from 1, the highest value first. Values that agree to four decimals share one, and the next is left free."""
    shown = {key: round(value, fmt.DECIMALS) for key, value in values.items()}
    return {key: 1 + sum(other > value for other in shown.values()) for key, value in shown.items()}
