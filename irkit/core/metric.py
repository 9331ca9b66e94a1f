"""A metric by name: ``ndcg@10``, ``recall@100-l2``. A value whose text parses back to it; the arithmetic is
in ``irkit.evaluate``.

Names of trec_eval (``ndcg_cut_10``), ir-measures (``nDCG@10``, ``P(rel=2)@5``) and ranx (``hit_rate@1``) are
understood too, and become one canonical name each, so that a table never has two columns for one metric.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from irkit.core.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Family:
    """What a metric's name stands for."""

    label: str
    aliases: tuple[str, ...]
    cutoff: bool = True
    """Whether ``@k`` means something."""
    level: bool = True
    """Whether ``-l`` means something."""


FAMILIES: dict[str, Family] = {
    "ndcg": Family("nDCG, linear gains (Järvelin and Kekäläinen 2002), trec_eval's", ("ndcg_cut",)),
    "ndcg_burges": Family("nDCG, gains 2^g - 1 (Burges et al. 2005)", ("ndcg_exp",)),
    "map": Family("average precision", ("ap", "map_cut", "average_precision")),
    "mrr": Family("reciprocal rank of the first relevant document", ("rr", "recip_rank", "reciprocal_rank")),
    "recall": Family("share of the relevant documents that was retrieved", ("r", "set_recall")),
    "precision": Family("share of the first k places that is relevant", ("p", "set_p")),
    "f1": Family("harmonic mean of precision and recall", ("set_f", "setf")),
    "success": Family("whether any relevant document was retrieved", ("hit_rate", "hit")),
    "r_precision": Family(
        "precision at the number of relevant documents", ("rprec", "r-precision"), cutoff=False
    ),
    "bpref": Family("binary preference (Buckley and Voorhees 2004), trec_eval's", (), cutoff=False),
    "judged": Family("share of the first k places that is judged at all", (), level=False),
}

_CANONICAL = {alias: name for name, family in FAMILIES.items() for alias in (name, *family.aliases)}
_FORM = re.compile(
    r"(?P<name>[a-z][a-z0-9_-]*?)"
    r"(?:\((?P<arguments>[^()]*)\))?"
    r"(?:[@_.](?P<k>\d+))?"
    r"(?:-l(?P<level>\d+))?"
)
_ARGUMENT = re.compile(r"rel=(?P<level>\d+)|dcg='?(?P<dcg>log2|exp-log2)'?")


@dataclass(frozen=True, slots=True, order=True)
class Metric:
    """A metric: ``str(metric)`` is its canonical text, and ``parse_metric(str(metric)) == metric``.

    Attributes:
        name: a key of ``FAMILIES``.
        k: only the first ``k`` hits count; None for all.
        level: the lowest gain of a relevant document; None for the collection's, which is 1 unless its policy
            says otherwise. For nDCG: gains below it count 0, none by default; that is irkit's own, as
            trec_eval's ``-l`` leaves nDCG alone.
    """

    name: str
    k: int | None = None
    level: int | None = None

    def __str__(self) -> str:
        cutoff = f"@{self.k}" if self.k else ""
        return f"{self.name}{cutoff}-l{self.level}" if self.level else f"{self.name}{cutoff}"

    @property
    def label(self) -> str:
        """What it measures, in a few words."""
        if self.name == "ndcg" and (self.level or 1) > 1:  # trec_eval has no such metric
            return f"nDCG, linear gains (Järvelin and Kekäläinen 2002), gains below {self.level} count 0"
        return FAMILIES[self.name].label


def parse_metric(text: str) -> Metric:
    """Read ``name``, ``name@k`` or ``name@k-lN``, in any of the spellings listed above, upper or lower case.

    Raises:
        ConfigError: for an unknown name (with the nearest one), a cutoff or level of 0, or one that the
            metric cannot have.
    """
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        hint = "write a metric as name@cutoff, for instance ndcg@10, recall@100 or recall@100-l2"
        raise ConfigError.of(f"unknown metric {text!r}", hint=hint)
    name = _CANONICAL.get(match["name"])
    if name is None:
        near = nearest(match["name"], sorted(_CANONICAL))
        meant = _CANONICAL.get(near.removeprefix("did you mean '").removesuffix("'?"))
        hint = f"choose one of: {', '.join(FAMILIES)}"
        if meant is not None:
            cut = int(match["k"] or 0) if FAMILIES[meant].cutoff else 0
            least = int(match["level"] or 0) if FAMILIES[meant].level else 0
            hint = f"did you mean '{Metric(meant, cut or None, least or None)}'?"
        raise ConfigError.of(f"unknown metric {text!r}", hint=hint)
    level = match["level"]
    for argument in filter(None, re.split(r"\s*,\s*", (match["arguments"] or "").strip())):
        known = _ARGUMENT.fullmatch(argument)
        if known is None or (known["dcg"] and name != "ndcg") or (known["level"] and level):
            raise ConfigError.of(
                f"metric {text!r}: cannot use {argument!r}", hint="write the relevance level as recall@100-l2"
            )
        level = known["level"] or level
        if known["dcg"] == "exp-log2":
            name = "ndcg_burges"
    family, k = FAMILIES[name], match["k"]
    if k and (int(k) == 0 or not family.cutoff):
        hint = "cutoffs begin at 1" if family.cutoff else f"write {name}"
        raise ConfigError.of(f"metric {text!r}: {name} has no cutoff {k}", hint=hint)
    if level and (int(level) == 0 or not family.level):
        hint = "a relevant document has a gain of 1 or more" if family.level else f"leave out -l{level}"
        raise ConfigError.of(f"metric {text!r}: {name} has no relevance level {level}", hint=hint)
    return Metric(name, int(k) if k else None, int(level) if level else None)
