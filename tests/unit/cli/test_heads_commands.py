"""``irkit heads``, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toys
from ruamel.yaml import YAML
from tiny_lm import tiny_lm

from irkit.models.lm.heads import published, read_heads
from irkit.stages.rerank.icr import Icr

pytestmark = pytest.mark.usefixtures("toy_stages")
Irkit = Callable[..., Any]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture
def detect(irkit: Irkit, lm: Path) -> Irkit:
    """Detect heads on the toy collection, by the toy retriever; later words win."""
    toys.write_beir(Path("data"))

    def call(collection: str = "data", *words: object, output: object = "heads.json") -> Any:
        fixed = ("--model", lm, "--first-stage", "toy", "--depth", 4, "--top", 3, "--dtype", "float32")
        return irkit("heads", "detect", collection, "-o", output, *fixed, *words)

    return call


def test_heads_are_found_and_written(detect: Irkit, lm: Path) -> None:
    ended = detect(
        "data", "--split", "test", "--queries", 3, "--seed", 5, "--method", "core", "--temperature", 0.1
    )
    assert ended.code == 0, ended.err
    heads = read_heads(Path("heads.json"))
    assert heads.names()[0] in ended.out
    assert f"3 heads by core: {heads.names()[0]} {heads.scores[0]:.4f}" in ended.out
    assert "data/test, " in ended.out and "judge them on others" in ended.out
    assert f"icr: {{model: {lm}, heads: heads.json, dtype: float32}}" in ended.out
    found = json.loads(Path("heads.json").read_text(encoding="utf-8"))
    assert found["detection"]["options"] == {"temperature": 0.1}
    assert {key: found["detection"][key] for key in ("collection", "split", "seed", "depth")} == {
        "collection": "data/test", "split": "test", "seed": 5, "depth": 4,
    }  # fmt: skip
    assert found["detection"]["queries"] == len(found["detection"]["qids"]) <= 3
    assert found["model"]["layers"] == found["model"]["heads"] == 4
    assert len(found["model"]["fingerprint"]) == 64


def test_a_tie_at_the_cut_is_told(detect: Irkit) -> None:
    words = ("--split", "test", "--queries", 1, "--depth", 2)
    out = " ".join(detect("data", *words, "--top", 1).out.split())
    ((name,), left) = read_heads(Path("heads.json")).detection["tied_at_cut"].values()
    assert "tie: " in out and f"is also the value of {len(left)} left out: {left[0]}" in out
    assert f"of equals, those of lower layers, then of lower numbers, are taken: {name}" in out
    assert "tie: " not in detect("data", *words, "--top", 16).out


def test_lists_may_stay_as_they_were_found(detect: Irkit) -> None:
    for word, added in (("--no-add-relevant", False), ("--add-relevant", True)):
        assert detect("data", "--split", "test", word).code == 0
        assert read_heads(Path("heads.json")).detection["add_relevant"] is added


def test_the_path_to_write_into_an_experiment_starts_from_the_workspace(detect: Irkit, lm: Path) -> None:
    toys.write_beir(Path("there") / "data")
    words = ("--split", "test", "--workspace", "there")
    assert (
        f"icr: {{model: {lm}, heads: mine/h.json, dtype: float32}}"
        in detect("data", *words, output="there/mine/h.json").out
    )
    assert f"heads: {Path('h.json').absolute()}, dtype" in detect("data", *words, output="h.json").out


def test_the_line_to_use_has_the_options_that_the_heads_were_found_with(detect: Irkit, lm: Path) -> None:
    given = ("--instruction", "Find: it", "--rows", "query", "--words", 50, "--trust-remote-code")
    out = detect("data", "--split", "test", *given).out
    line = out.partition("use them with: ")[2]
    options = YAML(typ="safe").load(line)["icr"]
    assert options == {
        "model": str(lm), "heads": "heads.json", "instruction": "Find: it", "rows": "query", "words": 50,
        "dtype": "float32", "trust_remote_code": True,
    }  # fmt: skip
    Icr(**options)
    plain = detect("data", "--split", "test", "--dtype", "bfloat16").out
    assert f"icr: {{model: {lm}, heads: heads.json}}" in plain


def test_the_split_has_to_be_said(detect: Irkit) -> None:
    (Path("data") / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n")
    for collection in ("data", "./data"):
        ended = detect(collection)
        assert (ended.code, ended.out) == (2, "")
        assert "which split's judgements?" in ended.err
        assert "the folder has: test, train" in ended.err
    assert "no split is named" in detect("local:data").err
    assert "there is no folder" in (ended := detect("beir/scifact", "--split", "train")).err
    assert "beir/scifact/train" in ended.err
    assert "did you mean 'train'?" in detect("data", "--split", "trian").err
    assert not Path("heads.json").exists()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--method", "qrhead"), "--method qrhead: 'qrhead' is not known"),
        (("--dtype", "float64"), "--dtype float64: 'float64' is not known"),
        (("--rows", "all"), "--rows all: 'all' is not known"),
        (("--temperature", 0.1), "qrhead-ndcg has no temperature"),
        (("--method", "core", "--temperature", 0), "the temperature must be above 0"),
        (("--first-stage", "bn25"), "bn25"),
        (("--first-stage", "toy-rerank"), "--first-stage toy-rerank: a reranker is no first stage"),
        (("--instruction", " "), "instruction: it is blank"),
        (("--top", 17), "17 heads cannot be taken of the model's 16"),
        (("--model", "./nowhere"), "there is no such folder"),
        (("--depth", 1), "--depth"),
    ],
)
def test_what_cannot_be_is_refused(detect: Irkit, words: tuple[object, ...], shown: str) -> None:
    ended = detect("data", "--split", "test", *words)
    assert ended.code == 2
    assert shown in ended.err
    assert not Path("heads.json").exists()


def test_a_file_that_cannot_be_written_is_found_out_before_the_work(
    detect: Irkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr("irkit.api.heads.detect_heads", never)
    assert "this is a folder" in detect("data", "--split", "test", output="data").err
    Path("file").write_text("")
    assert "no file can be written to" in detect("data", "--split", "test", output="file/heads.json").err


def test_interrupted_work_leaves_the_old_file(detect: Irkit, monkeypatch: pytest.MonkeyPatch) -> None:
    from irkit.stages.rerank.head_selection import Criterion

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    Path("heads.json").write_text("old")
    monkeypatch.setattr(Criterion, "__call__", stop)
    ended = detect("data", "--split", "test")
    assert ended.code == 130
    assert ended.err.count("interrupted") == 1
    assert "no heads are kept" in ended.err and "what was finished" not in ended.err
    assert Path("heads.json").read_text() == "old"
    assert not [path for path in Path().iterdir() if "partial" in path.name]


def test_published_lists_are_shown(irkit: Irkit) -> None:
    listed = irkit("heads", "list")
    assert listed.code == 0
    for name, heads in published().items():
        assert name in listed.out and heads.model in listed.out
    assert "15 of 32" in listed.out  # CoRe's of Llama-3.1-8B: the last is in layer 14
    shown = irkit("heads", "show", "core-llama-3.1-8b-instruct")
    Path("mine.json").write_text(shown.out, encoding="utf-8")
    assert read_heads(Path("mine.json")) == published()["core-llama-3.1-8b-instruct"]
    assert irkit("heads", "show", "./mine.json").out == shown.out
    assert "arXiv 2510.02219" in shown.out
    ended = irkit("heads", "show", "nothing")
    assert (ended.code, ended.out) == (2, "")
    assert "no list of heads" in ended.err


def test_a_narrow_terminal_cuts_nothing(irkit: Irkit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = irkit("heads", "list").out
    assert "\N{HORIZONTAL ELLIPSIS}" not in listed
    assert max(map(len, listed.splitlines()[:-1])) <= 80
    for heads in published().values():
        assert set(heads.model) <= set(listed)
