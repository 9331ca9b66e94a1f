"""A page that is one file and loads nothing: a template, and its style and script from ``assets``."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from irkit.core.text import inert
from irkit.report import format as fmt

_HERE = Path(__file__).parent


def render_page(
    template: str,
    values: Mapping[str, Any],
    *,
    sheets: Sequence[str],
    scripts: Sequence[str],
    filters: Mapping[str, Callable[..., Any]],
) -> str:
    """Return a page. Every text in it is escaped, and without control characters; only its own script and style may run.

    Args:
        template: its file in ``templates``.
        values: what it shows.
        sheets: files in ``assets``: one style, in this order.
        scripts: files in ``assets``: one script, in this order.
        filters: of the template, besides those that every page has.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("irkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": fmt.count,
        "delta": fmt.delta,
        "metric": fmt.metric,
        "moment": moment,
        "plural": fmt.plural,
        **filters,
    }
    style, script = _assets(sheets), _assets(scripts)
    html = environment.get_template(template).render(
        **values,
        style=Markup(style),  # noqa: S704 - the package's own files
        script=Markup(script),  # noqa: S704
        hashes={"style": _csp_hash(style), "script": _csp_hash(script)},
    )
    return inert(html)


def moment(iso: str) -> str:
    """Return a time as a person writes it, in UTC; a text that is no time stays as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if when.tzinfo is None:
        return f"{when.day} {when:%B %Y, %H:%M}"
    when = when.astimezone(UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def _assets(names: Iterable[str]) -> str:
    return "\n".join((_HERE / "assets" / name).read_text(encoding="utf-8") for name in names)


def _csp_hash(text: str) -> str:
    """Return the source expression with which a Content-Security-Policy admits exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
