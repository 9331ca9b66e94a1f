"""Published scores: the shipped files, verdicts, and files of one's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from irkit.core.errors import DataError
from irkit.data.published import NEAR, Published, published, read_published

GOOD: dict[str, Any] = {
    "name": "ours",
    "title": "Ours",
    "source": {"url": "u", "citation": "c", "version": "v", "date": "2026"},
    "decimals": 3,
    "scores": {"x": {"ndcg@10": 0.5}},
}
PUBLIC = [
    "beir/trec-covid",
    "beir/nfcorpus/test",
    "beir/nq",
    "beir/hotpotqa/test",
    "beir/fiqa/test",
    "beir/arguana",
    "beir/webis-touche2020/v2",
    "beir/quora/test",
    "beir/dbpedia-entity/test",
    "beir/scidocs",
    "beir/fever/test",
    "beir/climate-fever",
    "beir/scifact/test",
]
LICENSED = ["beir/robust04", "beir/signal1m", "beir/trec-news", "beir/bioasq"]


@pytest.mark.parametrize(
    ("value", "decimals", "tolerance", "verdict"),
    [
        (0.67894999, 4, 0, "match"),
        (0.67885001, 4, 0, "match"),
        (0.6790, 4, 0, "near"),
        (0.6790, 4, 0.0005, "match"),
        (0.6794, 3, 0, "match"),
        (0.6789 + NEAR, 4, 0, "near"),
        (0.6789 - NEAR - 1e-6, 4, 0, "off"),
        (0.6950, 4, 0.02, "match"),
    ],
)
def test_verdicts(value: float, decimals: int, tolerance: float, verdict: str) -> None:
    each = Published.model_validate({**GOOD, "decimals": decimals})
    assert each.compare(value, 0.6789, "x", tolerance).status == verdict


def test_a_documented_tolerance_is_of_one_collection_and_says_why() -> None:
    scores = {name: {"ndcg@10": 0.5} for name in "xy"}
    each = Published.model_validate(
        {**GOOD, "scores": scores, "tolerance": {"x": {"tolerance": 0.002, "reason": "ties"}}}
    )
    assert each.compare(0.5004, 0.5, "x") == ("match", None)
    assert each.compare(0.502, 0.5, "x") == ("match", "but for ties")
    assert each.compare(0.5021, 0.5, "x") == ("near", None)
    assert each.compare(0.502, 0.5, "y") == ("near", None)
    assert each.compare(0.502, 0.5) == ("near", None), "an average has none"
    assert each.compare(0.502, 0.5, "y", 0.002) == ("match", "within the experiment's tolerance of 0.002")
    everywhere = Published.model_validate({**GOOD, "tolerance": 0.002})
    assert everywhere.compare(0.502, 0.5, "x") == ("match", "within the documented tolerance of 0.002")
    assert everywhere.compare(0.502, 0.5) == ("near", None)


def test_shipped_tolerances_are_where_ties_were_shown_to_decide() -> None:
    found = {
        (name, place): allowed.tolerance
        for name, each in published().items()
        for place, allowed in (each.tolerance.items() if isinstance(each.tolerance, Mapping) else ())
    }
    assert found == {
        ("anserini-bm25-flat", "beir/nfcorpus/test"): 0.0015,
        ("anserini-bm25-multifield", "beir/nfcorpus/test"): 0.0015,
        ("anserini-bm25-wordpiece", "beir/nfcorpus/test"): 0.0015,
        ("limit-bm25", "irkit/limit-small"): 0.002,
    }
    assert not any(each.tolerance for each in published().values() if isinstance(each.tolerance, float))


def test_collected_averages_say_that_they_are_not_printed_where_they_point() -> None:
    collected = [each for name, each in published().items() if name.startswith("beir-average-")]
    assert len(collected) == 6
    for each in collected:
        assert "as collected by irkit's authors" in each.source.citation and "print" in each.source.citation
        (value,) = each.averages["public 13"].values()
        assert each.decimals == 3 and round(value, 3) == value


def test_the_averages_of_the_files_are_those_that_anserini_publishes() -> None:
    """The tables of Anserini give them as percentages with two decimals."""
    known = published()
    tables = {
        "anserini-bm25-flat": (43.70, 42.44),
        "anserini-bm25-multifield": (44.77, 42.88),
        "anserini-bge-base": (55.01, 50.91),
    }
    for name, (public, every) in tables.items():
        averages = known[name].averages
        assert averages["public 13"]["ndcg@10"] == pytest.approx(public / 100, abs=5.1e-5)
        assert averages["all 18"]["ndcg@10"] == pytest.approx(every / 100, abs=5.1e-5)
    assert known["anserini-bright-bm25-query-side"].averages["BRIGHT 12"]["ndcg@10"] == 0.1479
    assert known["bright-paper-bm25"].averages["BRIGHT 12"]["ndcg@10"] == 0.145


@pytest.mark.parametrize("name", [name for name, each in published().items() if "all 18" in each.averages])
def test_averages_and_macro_means_follow_from_the_scores(name: str) -> None:
    each = published()[name]
    forums = [score for place, score in each.scores.items() if place.startswith("beir/cqadupstack/")]
    assert len(forums) == 12
    for metric, average in each.averages["all 18"].items():
        macro = fmean(score[metric] for score in forums)
        assert each.scores["beir/cqadupstack"][metric] == pytest.approx(macro, abs=5.1e-5)
        of = [each.scores[place][metric] for place in [*PUBLIC, *LICENSED]]
        assert average == pytest.approx(fmean([*of, macro]), abs=5.1e-5)
        assert each.averages["public 13"][metric] == pytest.approx(fmean(of[:13]), abs=5.1e-5)


@pytest.mark.parametrize("name", [name for name, each in published().items() if "BRIGHT 12" in each.averages])
def test_averages_of_bright_follow_from_the_scores(name: str) -> None:
    each = published()[name]
    assert len(each.scores) == 12
    for metric, average in each.averages["BRIGHT 12"].items():
        mean = fmean(score[metric] for score in each.scores.values())
        assert average == pytest.approx(mean, abs=0.5 * 10**-each.decimals + 6e-5)


def test_anserinis_scores_are_those_of_its_regressions(test_data: Path) -> None:
    known = published()
    configs = {
        "flat": "anserini-bm25-flat",
        "multifield": "anserini-bm25-multifield",
        "flat-wp": "anserini-bm25-wordpiece",
        "splade-pp-ed.onnx": "anserini-splade-pp-ed",
        "splade-v3.onnx": "anserini-splade-v3",
        "bge-base-en-v1.5.parquet.flat.onnx": "anserini-bge-base",
    }
    bright = {
        "": "anserini-bright-bm25",
        "bm25qs": "anserini-bright-bm25-query-side",
        "splade-v3.onnx": "anserini-bright-splade-v3",
        "bge-large-en-v1.5.flat.onnx": "anserini-bright-bge-large",
    }
    metrics = {"nDCG@10": "ndcg@10", "R@100": "recall@100", "R@1000": "recall@1000"}
    count = 0
    with (test_data / "reference-scores.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            config = row["config"]
            for prefix, names in (("beir-v1.0.0-", configs), ("bright-", bright)):
                short, _, rest = config.removeprefix(prefix).partition(".")
                if not config.startswith(prefix) or rest not in names:
                    continue
                short = short.replace("cqadupstack-", "cqadupstack/")
                places = [f"{prefix[:-1].split('-')[0]}/{short}{end}" for end in ("", "/test", "/v2")]
                scores = known[names[rest]].scores
                (place,) = [place for place in places if place in scores]
                assert scores[place][metrics[row["metric"]]] == float(row["value"]), config
                count += 1
    assert count == 6 * 29 * 3 + 4 * 12 * 3


def test_every_file_says_where_it_is_from() -> None:
    for name, each in published().items():
        assert each.name == name and each.source.url.startswith("https://")
        assert each.scores or each.averages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": {"x": {"nDCG@10": 0.5}}}, "write 'nDCG@10' as 'ndcg@10'"),
        ({"scores": {"x": {"ndcg@10": 50.0}}}, "ndcg@10 is 50.0, not from 0 to 1"),
        ({"scores": {"x": {"beauty": 0.5}}}, "unknown metric 'beauty'"),
        ({"source": {"url": "u"}}, "source.citation"),
        ({"colour": "red"}, "colour"),
        ({"tolerance": 0.02}, "tolerance.number: Input should be less than 0.01"),
        ({"tolerance": {"x": 0.001}}, "tolerance.by collection.x"),
        ({"tolerance": {"x": {"tolerance": 0.001}}}, "tolerance.by collection.x.reason: Field required"),
        ({"tolerance": {"y": {"tolerance": 0.001, "reason": "ties"}}}, "there are no scores of 'y'"),
    ],
)
def test_faults_name_the_file(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "ours.json"
    path.write_text(json.dumps({**GOOD, **change}), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_published(path)
    (problem,) = caught.value.problems
    assert (
        message in problem.message
        and problem.where == str(path)
        and "published scores has" in (problem.hint or "")
    )
    path.write_bytes(b"\xff{")
    with pytest.raises(DataError, match="not published scores"):
        read_published(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_published(tmp_path / "none.json")


def test_a_file_of_the_workspace_goes_before_a_shipped_one(tmp_path: Path) -> None:
    folder = tmp_path / "eval" / "reference"
    folder.mkdir(parents=True)
    (folder / "any.json").write_text(json.dumps({**GOOD, "name": "limit-bm25"}), encoding="utf-8")
    assert published(tmp_path)["limit-bm25"].title == "Ours"
    assert published()["limit-bm25"].title != "Ours"
