"""Lists of attention heads: their file, the ones that are published, and what is wrong with a bad one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.errors import ModelError, ReportError
from irkit.models.lm.heads import Heads, load_heads, parse_heads, published, read_heads

PAIRS = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 63)), min_size=1, max_size=20, unique=True).map(
    tuple
)


def full() -> Heads:
    return Heads(
        pairs=((13, 18), (8, 11), (13, 1)),
        model="tiny",
        method="core",
        source="a paper",
        model_fingerprint="f" * 64,
        shape=(32, 32),
        scores=(0.5, 0.25, 0.125),
        detection={"collection": "toy/train", "split": "train", "queries": 3, "seed": 0, "qids": ["é", "q2"]},
    )


def data(**changes: Any) -> dict[str, Any]:
    good = {
        "irkit_heads": 1,
        "method": "core",
        "source": "a paper",
        "model": {"name": "tiny"},
        "heads": ["13-18", "8-11"],
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not ...}


def test_what_a_reranker_asks_of_heads() -> None:
    heads = full()
    assert heads.by_layer == {8: (11,), 13: (1, 18)}
    assert list(heads.by_layer) == [8, 13]
    assert (heads.last, len(heads)) == (13, 3)
    assert heads.names() == ["13-18", "8-11", "13-1"]


def test_the_fingerprint_is_of_the_heads_alone() -> None:
    first = Heads(((1, 2), (3, 4)))
    assert first.fingerprint == Heads(((3, 4), (1, 2)), model="other", scores=(2.0, 1.0)).fingerprint
    assert first.fingerprint != Heads(((1, 2),)).fingerprint
    assert first.fingerprint != Heads(((2, 1), (4, 3))).fingerprint


def test_a_saved_list_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "heads.json"
    full().save(path)
    assert read_heads(path) == full()
    assert load_heads("new/heads.json", tmp_path) == full()
    assert load_heads(str(path)) == full()
    assert json.loads(path.read_text(encoding="utf-8"))["heads"] == ["13-18", "8-11", "13-1"]
    assert list(path.parent.iterdir()) == [path]


@given(pairs=PAIRS, text=st.text(max_size=8))
def test_any_list_reads_back(pairs: tuple[tuple[int, int], ...], text: str) -> None:
    heads = Heads(pairs, model=text, source=text)
    assert parse_heads(json.loads(heads.to_text()), "f") == heads
    assert load_heads(heads.names()).pairs == pairs


def test_a_list_is_not_written_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        full().save(tmp_path / "file" / "heads.json")


def test_the_published_lists_are_those_of_their_papers() -> None:
    # table of CoRe's best 8 (arXiv 2510.02219), in their order
    mistral = load_heads("core-mistral-7b-instruct-v0.2")
    assert mistral.names() == ["15-21", "15-1", "16-12", "15-7", "9-26", "12-11", "12-7", "18-0"]
    llama = load_heads("core-llama-3.1-8b-instruct")
    assert llama.names() == ["13-18", "13-1", "14-13", "13-21", "14-31", "13-13", "8-11", "14-20"]
    assert llama.last + 1 <= 17
    counts = {name: len(heads) for name, heads in published().items() if name.startswith("qrhead-")}
    assert {name: 32 if "70b" in name else 16 for name in counts} == counts
    for name, heads in published().items():
        assert heads.shape is not None
        heads.check(*heads.shape, heads.model)
        assert "arXiv" in heads.source and "github.com" in heads.source, name
        assert list(heads.scores) == sorted(heads.scores, reverse=True)
        assert heads.model.split("/")[1].lower() in name
        # QRHead's two detectors, both of calibrated scores: nDCG for Natural Questions, their sum for LongMemEval
        method = {"nq": "qrhead-ndcg", "lme": "qrhead-mass-calibrated"}.get(name.rpartition("-")[2], "core")
        assert heads.method == method


def test_a_model_of_another_shape_is_refused() -> None:
    with pytest.raises(
        ModelError, match="tiny, 32 layers of 32 heads; this model has 30 layers of 9"
    ) as error:
        full().check(30, 9, "small")
    assert error.value.problems[0].where == "small"
    Heads(((29, 8),)).check(30, 9, "small")
    for pair in ((30, 0), (0, 9)):
        with pytest.raises(ModelError, match=f"no head {pair[0]}-{pair[1]}: it has 30 layers of 9"):
            Heads(((0, 0), pair)).check(30, 9, "small")


def test_another_model_of_the_same_shape_is_refused() -> None:
    full().check(32, 32, "tiny")
    full().check(32, 32, "tiny", "f" * 64)
    Heads(((0, 0),), model="tiny").check(32, 32, "other", "0" * 64)
    with pytest.raises(ModelError, match="found in another model of this shape, tiny") as error:
        full().check(32, 32, "other", "0" * 64)
    assert error.value.problems[0].where == "other"
    assert "delete the model's fingerprint" in str(error.value.problems[0].hint)


@pytest.mark.parametrize(
    ("changed", "key", "message"),
    [
        ({"irkit_heads": ...}, None, "no file of heads"),
        ({"irkit_heads": 2}, "irkit_heads", "version 2"),
        ({"irkit_heads": True}, "irkit_heads", "version True"),
        ({"heads": ...}, "heads", "list of at least one"),
        ({"heads": []}, "heads", "list of at least one"),
        ({"heads": "13-18"}, "heads", "list of at least one"),
        ({"heads": ["13-18", "13/1"]}, "heads[1]", "'13/1' is not a head"),
        ({"heads": ["-1-18"]}, "heads[0]", "is not a head"),
        ({"heads": [[13, 18]]}, "heads[0]", "is not a head"),
        ({"heads": ["13-18", "8-11", "13-18"]}, "heads[2]", "head 13-18 is there twice"),
        ({"scores": [0.5]}, "scores", "1 scores for 2 heads"),
        ({"scores": [0.5, float("nan")]}, "scores", "finite numbers"),
        ({"scores": [0.5, True]}, "scores", "finite numbers"),
        ({"scores": 1}, "scores", "finite numbers"),
        ({"model": ...}, "model", "an object"),
        ({"model": "tiny"}, "model", "an object"),
        ({"model": {}}, "model.name", "text"),
        ({"model": {"name": "a", "fingerprint": 3}}, "model.fingerprint", "text"),
        ({"model": {"name": "a", "layers": 3}}, "model.heads", "1 or more"),
        ({"model": {"name": "a", "layers": 0, "heads": 4}}, "model.layers", "1 or more"),
        ({"model": {"name": "a", "layer": 3}}, "model.layer", "unknown"),
        (
            {"model": {"name": "a", "layers": 13, "heads": 32}},
            "heads[0]",
            "no head 13-18: the model has 13 layers of 32",
        ),
        ({"model": {"name": "a", "layers": 32, "heads": 18}}, "heads[0]", "no head 13-18"),
        ({"method": ...}, "method", "text"),
        ({"source": 1}, "source", "text"),
        ({"detection": []}, "detection", "an object"),
        ({"score": [1, 2]}, "score", "unknown"),
    ],
)
def test_a_bad_file_is_refused_at_its_key(
    tmp_path: Path, changed: dict[str, Any], key: str | None, message: str
) -> None:
    path = tmp_path / "heads.json"
    path.write_text(json.dumps(data(**changed)), encoding="utf-8")
    with pytest.raises(ModelError) as error:
        read_heads(path)
    (problem,) = error.value.problems
    assert problem.where == (f"{path}: {key}" if key else str(path))
    assert message in problem.message


def test_all_problems_of_a_file_are_shown_at_once() -> None:
    bad = data(heads=["x", "y"], method=..., scores="z")
    with pytest.raises(ModelError) as error:
        parse_heads(bad, "f")
    assert [each.where for each in error.value.problems] == [
        "f: heads[0]",
        "f: heads[1]",
        "f: scores",
        "f: method",
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff{}", b"[1]", b"3"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "heads.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"heads\.json: (the file is not JSON|this is no file of heads)"):
        load_heads("heads.json", tmp_path)


def test_an_unknown_name_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        load_heads("core-llama-3.1-8b-instruc", tmp_path)
    assert "did you mean 'core-llama-3.1-8b-instruct'" in str(error.value)
    for name in (".", "~nobody-of-this-name/x", "13-18 " * 99, "a\0b"):
        with pytest.raises(ModelError, match="no list of heads"):
            load_heads(name, tmp_path)


def test_a_file_of_the_name_of_a_published_list_needs_a_path(tmp_path: Path) -> None:
    name = "core-llama-3.1-8b-instruct"
    full().save(tmp_path / name)
    assert load_heads(name, tmp_path).model != "tiny"
    assert load_heads(f"./{name}", tmp_path).model == "tiny"


@pytest.mark.parametrize("spec", [[], ["1-2", "1-2"], ["1"], ["a-b"], ["1-2 "]])
def test_a_bad_list_is_refused(spec: list[str]) -> None:
    with pytest.raises(ModelError, match="heads"):
        load_heads(spec)
