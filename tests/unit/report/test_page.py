"""The data of the page: what is packed reads back, whole and exact."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable

import made_up
import numpy as np
import pytest
from islands import islands
from made_up_hostile import HOSTILE, hostile

from irkit.core.text import well_formed
from irkit.report.again import command_of
from irkit.report.build import render
from irkit.report.details import DetailsFile
from irkit.report.page import packed, page_of
from irkit.report.pairs import differences, families
from irkit.report.results import PerQuery, Results
from irkit.report.values import packed_values


def _details(made: made_up.MadeUp) -> DetailsFile:
    return DetailsFile(experiment="", created="", funnels=made.funnels, details=made.details)


def test_values_per_query_read_back_to_a_millionth(results: Results, per_query: list[PerQuery]) -> None:
    found = islands(render(results, per_query))
    names = [each["name"] for each in found["main"]["pipelines"]]
    for number, table in enumerate(per_query):
        values = found[f"values-{number}"]
        assert values["qid"] == table.qid
        for pipeline, metrics in table.values.items():
            for metric, wanted in metrics.items():
                of_metric = values["metrics"][metric]
                numbers = of_metric["rows"][names.index(pipeline)]
                read = np.asarray(of_metric["values"])[numbers]
                np.testing.assert_allclose(read, wanted, rtol=0, atol=0.5000001e-6)


def test_ties_on_the_page_are_those_of_the_tests(results: Results, per_query: list[PerQuery]) -> None:
    """Of values that differ by little more than nothing, by much, and by the rounding of sums, around where decimals are cut."""
    steps = [0, 1e-17, 3e-10, 0.99e-9, 1e-9, 1.01e-9, 2.5e-9, 4e-8, 4.1e-8, 5e-7, 4e-6, 4.1e-6, 1e-3]
    base = [0.0, 0.3, 0.1234565, 1 / 3, 0.12345649999, 2.0]
    values = np.array([start + sign * step for start in base for step in steps for sign in (1, -1)])
    ours, other = (each.ravel() for each in np.meshgrid(values, values))
    table = PerQuery(
        collection="c",
        qid=[str(number) for number in range(len(ours))],
        values={"a": {"m": ours.tolist()}, "b": {"m": other.tolist()}},
    )
    page = page_of(results.model_copy(update={"pipelines": {"a": [], "b": []}, "scores": []}), [table], [])
    found = packed_values(table, ["a", "b"])
    assert found is not None
    distinct, rows = np.array(found["metrics"]["m"]["values"]), found["metrics"]["m"]["rows"]
    delta = distinct[rows[0]] - distinct[rows[1]]
    shown = np.where(np.abs(delta) <= page.main["tie"], 0.0, delta)
    assert (np.sign(shown) == np.sign(differences(ours, other))).all()
    assert set(np.sign(shown)) == {-1.0, 0.0, 1.0}


def test_values_that_stand_apart_are_short() -> None:
    table = PerQuery(collection="c", qid=["1", "2", "3"], values={"a": {"m": [1 / 3, 2 / 3, 2 / 3 + 1e-7]}})
    found = packed_values(table, ["a"])
    assert found is not None
    assert found["metrics"]["m"]["values"] == [0.333333, 0.66666667, 0.66666677]


def test_a_pipeline_without_values_has_no_row(results: Results, per_query: list[PerQuery]) -> None:
    values = {**per_query[0].values, "dense": {}}
    first = per_query[0].model_copy(update={"values": values})
    rows = page_of(results, [first], []).values[0]["metrics"]["ndcg@10"]["rows"]  # type: ignore[index]
    assert [row is None for row in rows] == [False, True, False]
    assert page_of(results, [first], []).values[1] is None


def test_scores_of_collections_and_means(results: Results, per_query: list[PerQuery]) -> None:
    main = islands(render(results, per_query))["main"]
    names = [each["name"] for each in main["pipelines"]]
    columns = {column["name"]: column for column in main["columns"]}
    for score in results.scores:
        assert columns[score.collection]["values"][score.metric][names.index(score.pipeline)] == score.value
    assert columns["irkit/limit-small"]["values"]["recall@100"][names.index("dense")] is None
    assert [each["name"] for each in main["collections"]] == [each.name for each in results.collections]
    whole = columns.pop("Mean")
    assert (whole["kind"], whole["of"], whole["parts"]) == ("mean", None, [[name] for name in columns])
    assert {name: (each["kind"], each["of"], each["parts"]) for name, each in columns.items()} == {
        name: ("collection", name, []) for name in columns
    }


def test_families_read_back(results: Results, per_query: list[PerQuery]) -> None:
    tested = families(results, per_query)
    main = islands(render(results, per_query, tested=tested))["main"]
    names = [each["name"] for each in main["pipelines"]]
    assert len(main["families"]) == len(tested)
    for family, found in zip(tested, main["families"], strict=True):
        assert (found["collection"], found["metric"], found["how"]) == (
            family.collection,
            family.metric,
            family.how,
        )
        for pair, row in zip(family.pairs, found["pairs"], strict=True):
            ours, other, mean, wins, ties, losses, effect, low, high, p, significant = row
            assert (names[ours], names[other], wins, ties, losses) == (
                pair.ours,
                pair.other,
                pair.wins,
                pair.ties,
                pair.losses,
            )
            assert (mean, effect) == (
                pytest.approx(pair.mean, abs=1e-6),
                pytest.approx(pair.effect, abs=1e-6),
            )
            assert (low, high) == pytest.approx(pair.interval, abs=1e-6)
            assert p == pytest.approx(pair.p_value, rel=1e-3)
            assert significant == pair.significant


def test_funnels_details_and_measurements_are_whole() -> None:
    made = made_up.experiment(pipelines=4, collections=2, queries=12, looked_into=5)
    found = islands(render(made.results, made.per_query, _details(made), made.efficiency))
    assert found["main"]["funnels"] == [each.model_dump(mode="json") for each in made.funnels]
    assert found["main"]["efficiency"]["pipelines"] == [
        each.model_dump(mode="json") for each in made.efficiency.pipelines
    ]
    assert found["main"]["outdated"] == []
    for number, details in enumerate(made.details):
        island = found[f"details-{number}"]
        assert island["queries"] == [each.model_dump(mode="json") for each in details.queries]
        assert island["documents"] == [each.model_dump(mode="json") for each in details.documents]
        assert {each["qid"] for each in island["changed"]} == {
            each.qid for each in made.per_query[number].changed
        }
        assert {each["qid"] for each in island["explained"]} == {
            each.qid for each in made.per_query[number].explained
        }


def test_measurements_of_other_settings_are_named_and_left_out() -> None:
    made = made_up.experiment(collections=1)
    stages = [
        each.model_copy(update={"node": "another"}) if each.pipeline == "dense" else each
        for each in made.efficiency.stages
    ]
    old = made.efficiency.model_copy(update={"stages": stages})
    main = page_of(made.results, made.per_query, [], efficiency=old).main
    assert main["outdated"] == [["suite/set-00", "dense"]]
    assert "dense" not in {each["pipeline"] for each in main["efficiency"]["pipelines"]}
    nothing = old.model_copy(update={"stages": [], "pipelines": []})
    assert page_of(made.results, made.per_query, [], efficiency=nothing).main["efficiency"] is None


def test_hostile_texts_read_back_and_cannot_end_an_island() -> None:
    made = hostile()
    html = render(made.results, made.per_query, _details(made), made.efficiency)
    found = islands(html)
    assert [each["name"] for each in found["main"]["pipelines"]] == [well_formed(each) for each in HOSTILE]
    assert found["values-0"]["qid"] == made.per_query[0].qid
    assert found["details-0"]["queries"][0]["text"] == "long " * 20_000
    inside = "".join(
        re.findall(r'<script type="application/octet-stream" id="data-[\w-]+">(.*?)</script>', html, re.S)
    )
    assert re.fullmatch(r"[A-Za-z0-9+/=]*", inside)


def test_half_a_surrogate_pair_is_packed() -> None:
    assert islands(
        f'<script type="application/octet-stream" id="data-x">{packed({"a": chr(0xD83D)})}</script>'
    ) == {"x": {"a": "?"}}


def test_what_json_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        packed({"a": float("nan")})
    assert json.dumps({"a": None}) == '{"a": null}'


def test_stages_say_what_is_shared(results: Results, per_query: list[PerQuery]) -> None:
    rows = islands(render(results, per_query))["main"]["stages"]
    hybrid = [
        row for row in rows if (row["collection"], row["pipeline"]) == ("beir/scifact/test", "hybrid-maxsim")
    ]
    assert [row["shared"] for row in hybrid] == ["bm25", "dense", None, None]
    assert [row["cached"] for row in hybrid] == ["all", "some", "none", "none"]
    assert hybrid[1]["notes"] == {}
    paid = {(row["collection"], row["pipeline"]): row["node"] for row in rows if row["position"] == 0}
    assert hybrid[0]["node"] == paid["beir/scifact/test", "bm25"] is not None
    assert hybrid[0]["node"] != hybrid[1]["node"]
    assert hybrid[3]["notes"] == {"device": "cpu", "dtype": "float32"}
    assert hybrid[3]["per_query"] == 41.7 / 300


@pytest.mark.parametrize(
    ("command", "row"),
    [
        ("irkit run a.yaml", "irkit run a.yaml --pipeline 'my one'"),
        (
            "irkit run 'a b.yaml' --set x=1 --store s",
            "irkit run 'a b.yaml' --set x=1 --store s --pipeline 'my one'",
        ),
        (
            "irkit run a.yaml --only scifact -p x --pipeline=y --only=z --check",
            "irkit run a.yaml --pipeline 'my one'",
        ),
        ("irkit run a.yaml -pold -wfolder -p other", "irkit run a.yaml -wfolder --pipeline 'my one'"),
        ("python -m irkit run a.yaml -w d", "python -m irkit run a.yaml -w d --pipeline 'my one'"),
        ("irkit compare a.run b.run --qrels q", "irkit compare a.run b.run --qrels q"),
        ("irkit measure a.yaml", None),
        ("python script.py run", None),
        ("irkit run 'never closed", None),
        ("", None),
    ],
)
def test_the_command_of_a_row(command: str, row: str | None) -> None:
    assert command_of(command, "my one") == row


def test_a_collection_has_its_option(make: Callable[..., Results]) -> None:
    main, make_one = page_of(make(), [], []).main, made_up.experiment(collections=1)
    assert main["collections"][0]["option"] == "--only beir/scifact/test"
    assert main["pipelines"][0]["command"].endswith("--set pipelines.bm25.0.k=100 --pipeline bm25")
    one = make_one.results
    assert [each["option"] for each in page_of(one, [], []).main["collections"]] == [None]
    assert shlex.split(main["command"])[0] == "irkit"
