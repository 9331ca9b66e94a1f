"""The curve as files: JSON with every trial, CSV, a page of Markdown, the chart. Each appears whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from irkit import __version__
from irkit.core.files import write_atomically
from irkit.theory.chart import svg
from irkit.theory.curve import Curve
from irkit.theory.moment_curve import checked, constructed
from irkit.theory.polynomial import Cubic

_SOURCES = """\
The points show what this optimisation finds, not what exists. Every combination of k documents can be answered in 2k
dimensions, whatever the number of documents (arXiv 2601.20844; arXiv 2603.29519 with 2k + 1, by Alon et al. 2016). Vectors
written down for it on the trigonometric moment curve, in {dims} dimensions, answer all combinations of
{found} (checked here, in powers of two up to {most}).
Their margin falls as 1/n^{dims}: the curve is about what gradient descent reaches with room to spare, and its extrapolation is
no bound on geometry.
"""

_HASTY = """\
At d = {dims} every start behind the critical n was given up with its best loss in its first steps, {patience} steps
without progress later. There the loss falls fast, rises, and falls again slowly; a longer `--patience` would wait for it.
The cubic leaves these points out.
"""


def write_curve(curve: Curve, folder: Path) -> list[Path]:
    """Write ``curve.json``, ``curve.csv``, ``curve.md`` and ``curve.svg``, and return their paths.

    Raises:
        ReportError: when the operating system refuses.
    """
    texts = {
        "json": json.dumps(to_dict(curve), indent=1, allow_nan=False) + "\n",
        "csv": _csv(curve),
        "md": _markdown(curve),
        "svg": svg(curve),
    }
    for suffix, text in texts.items():
        write_atomically(folder / f"curve.{suffix}", text)
    return [folder / f"curve.{suffix}" for suffix in texts]


def to_dict(curve: Curve) -> dict[str, Any]:
    """Return the curve as ``curve.json`` has it, every trial included."""
    return {
        "schema": 1,
        "irkit": __version__,
        "settings": asdict(curve.settings),
        "device": curve.device,
        "paper": _cubic(curve.paper),
        "own": _cubic(curve.own),
        "points": [
            {
                "dim": point.dim,
                "critical_n": point.critical,
                "capped": point.capped,
                "hasty": point.hasty,
                "margin": point.margin,
                "paper": curve.paper and round(curve.paper(point.dim), 1),
                "seconds": point.seconds,
                "tried": [
                    {"n": n, "queries": m, "trials": [trial.to_dict() for trial in trials]}
                    for n, m, trials in point.tried
                ],
            }
            for point in curve.points
        ],
        "standing": curve.standing(),
        "construction": {"dim": 2 * curve.settings.k, "documents": constructed(curve.settings.k)},
    }


def _cubic(cubic: Cubic | None) -> dict[str, Any] | None:
    if cubic is None:
        return None
    return {"coefficients": list(cubic.coefficients), "r2": cubic.r2, "formula": cubic.formula()}


def _csv(curve: Curve) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["dim", "critical_n", "capped", "hasty", "margin", "paper", "own", "seconds"])
    own = curve.own
    for p in curve.points:
        lines = (f"{cubic(p.dim):.1f}" if cubic else "" for cubic in (curve.paper, own))
        margin = "" if p.margin is None else f"{p.margin:.3g}"
        critical = "" if p.critical is None else p.critical
        rows.writerow([p.dim, critical, int(p.capped), int(p.hasty), margin, *lines, f"{p.seconds:.1f}"])
    return text.getvalue()


def _markdown(curve: Curve) -> str:
    s, own = curve.settings, curve.own
    lines = [
        f"# Critical n of free embeddings: {s.pattern}, k = {s.k}",
        "",
        f"The largest n of which every query's best {s.k} documents are its relevant ones, found by optimising the vectors on "
        f"the judgements themselves ({s.starts} starts on {curve.device}, as in arXiv 2508.21038); the next "
        f"{s.beyond} sizes failed.",
        "",
        "| d | critical n | paper | own cubic | margin | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for p in curve.points:
        cubics = " | ".join(f"{cubic(p.dim):.1f}" if cubic else "-" for cubic in (curve.paper, own))
        margin = "-" if p.margin is None else f"{p.margin:.1e}"
        lines.append(f"| {p.dim} | {p.says()} | {cubics} | {margin} | {p.seconds:.1f} |")
    lines.append("")
    if hasty := [str(p.dim) for p in curve.points if p.hasty]:
        lines += [_HASTY.format(dims=", ".join(hasty), patience=s.optimiser.patience)]
    for name, cubic in (("Paper", curve.paper), ("Own", own)):
        if cubic:
            known = "" if cubic.r2 is None else f" (r² = {cubic.r2:.4f})"
            lines.append(f"{name}: n = {cubic.formula()}{known}  ")
    if curve.model_dims and (curve.paper or own):
        dims = [dim for dim, _ in curve.reached]
        reach = f"extrapolated from d = {dims[0]}..{dims[-1]}" if own else "none"
        lines += [
            "",
            f"| dimension of a model | n by the paper's cubic | by our own, {reach} |",
            "|---|---|---|",
        ]
        for row in curve.standing():
            by = " | ".join("-" if row[key] is None else f"{row[key]:,}" for key in ("paper", "own"))
            lines.append(f"| {row['dim']} | {by} |")
    found = [
        f"{n} documents in {dtype}" for dtype, n in constructed(curve.settings.k).items() if n is not None
    ]
    if found:
        lines += ["", _SOURCES.format(dims=2 * s.k, found=", ".join(found), most=checked(s.k)[-1])]
    return "\n".join(lines).rstrip() + "\n"
