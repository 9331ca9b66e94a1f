from __future__ import annotations

from pathlib import Path

from irkit.core.queries import Queries
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch
from irkit.stages.forms import rewritten, terms_of, with_terms
from irkit.testing import check_stage


def test_the_query_is_what_it_was() -> None:
    queries = rewritten(Queries.of(["one", "two"]), ["eins", "zwei"])
    changed = with_terms(queries, "porter", [{"ein": 1.0}, None])

    back = make_stage("reset").run(Batch(changed), None)

    assert isinstance(back, Queries)
    assert back.text == ("one", "two")
    assert terms_of(back, "porter") == [None, None]


def test_terms_go_also_where_the_text_is_what_it_was() -> None:
    changed = with_terms(Queries.of(["one"]), "porter", [{"ein": 1.0}])

    back = make_stage("reset").run(Batch(changed), None)

    assert isinstance(back, Queries)
    assert terms_of(back, "porter") == [None]


def test_a_query_that_nobody_changed_stays() -> None:
    back = make_stage("reset").run(Batch(Queries.of(["one"])), None)

    assert isinstance(back, Queries)
    assert back.text == ("one",)


def test_contract(tmp_path: Path) -> None:
    check_stage(make_stage("reset"), tmp_path)
