"""Whether results may stand in one ranking: the same documents, queries, judgements and policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from irkit.core.errors import Problem, ReportError
from irkit.core.flow import flow
from irkit.data.collection import EvalPolicy
from irkit.report.results import CollectionInfo, Results

_HINT = "leave it out by naming the others (--collections), or run one of the two again"


class Judged(Protocol):
    """What tells of a collection how it is judged: see :class:`~irkit.report.results.CollectionInfo`."""

    @property
    def fingerprint(self) -> str:
        """Of everything that is known."""
        ...

    @property
    def qrels_fingerprint(self) -> str | None:
        """Of the judgements alone."""
        ...

    @property
    def with_documents(self) -> bool:
        """Whether documents are known."""
        ...

    @property
    def policy(self) -> Mapping[str, Any]:
        """How it is evaluated."""
        ...


def require_alike(
    experiments: Sequence[tuple[str, Results]], collections: Iterable[str]
) -> dict[str, CollectionInfo]:
    """Return how each collection is judged, by name; where one knows the documents, that one.

    Args:
        experiments: the files, for messages, and what they hold.
        collections: those in view; others may be judged as they like.

    Raises:
        ReportError: for a collection that two experiments judge differently, naming both and what differs.
    """
    problems: list[Problem] = []
    found = {}
    for name in collections:
        told = [(path, info) for path, each in experiments for info in each.collections if info.name == name]
        first, ours = next(((p, i) for p, i in told if i.with_documents), told[0])
        found[name] = ours
        for path, theirs in told:
            if different := list(differences(ours, theirs)):
                problems.append(
                    Problem(f"{name} is judged differently in {path}: {'; '.join(different)}", first, _HINT)
                )
    if problems:
        raise ReportError(*problems)
    return found


def differences(ours: Judged, theirs: Judged) -> Iterator[str]:
    """Yield what differs: the policy key by key, then documents, queries and judgements."""
    first, second = _policy(ours), _policy(theirs)
    changed = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    for key in changed:
        yield f"its policy has {key} {flow(second.get(key))}, and {flow(first.get(key))} here"
    if ours.with_documents == theirs.with_documents:
        # a fingerprint has the policy in it: with another one it says no more
        if ours.fingerprint != theirs.fingerprint and (not changed or _judgements(ours, theirs) is False):
            alike = _judgements(ours, theirs)
            what = "documents or queries" if alike else "documents, queries or judgements"
            if not ours.with_documents or alike is False:
                what = "judgements or excluded documents"
            yield f"other {what} (fingerprint {theirs.fingerprint[:12]}, and {ours.fingerprint[:12]} here)"
        return
    match _judgements(ours, theirs):
        case None:
            yield "one of both was made from run files, and a file has no fingerprint of its judgements to compare (an older irkit)"
        case False:
            pair = (ours.qrels_fingerprint or "", theirs.qrels_fingerprint or "")
            yield f"other judgements or excluded documents (their fingerprint {pair[1][:12]}, and {pair[0][:12]} here)"


def _judgements(ours: Judged, theirs: Judged) -> bool | None:
    """Whether both have the same judgements; None when not known."""
    if ours.qrels_fingerprint is None or theirs.qrels_fingerprint is None:
        return None
    return ours.qrels_fingerprint == theirs.qrels_fingerprint


def _policy(info: Judged) -> dict[str, Any]:
    """Return the policy with what older files leave out."""
    return {**EvalPolicy().model_dump(mode="json"), "ties": "docno", **info.policy}
