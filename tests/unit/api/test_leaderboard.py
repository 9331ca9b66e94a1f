"""The leaderboard from files: an experiment and run files together, what is written, and what is not."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import toys

from irkit.api import leaderboard as module
from irkit.api.compare import compare
from irkit.api.leaderboard import make_leaderboard
from irkit.api.run import run
from irkit.api.workspace import Workspace
from irkit.core.errors import ConfigError, ReportError
from irkit.report.leaderboard_history import History, load_history
from irkit.report.results import RESULTS, read_results

YAML = """\
name: {name}
collections: [{{name: data/test, path: data{policy}}}]
metrics: [ndcg@10]
pipelines:
  one: [toy: {{k: {k}}}]
  two: [toy: {{k: {k}}}, toy-rerank]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_stages: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    toys.write_beir(tmp_path / "data")
    return tmp_path


def experiment(name: str, k: int = 5, policy: str = "") -> Path:
    path = Path(f"{name}.yaml")
    path.write_text(YAML.format(name=name, k=k, policy=policy), encoding="utf-8")
    return run(path, Workspace(Path.cwd()))[1]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name[0] != "."}


def test_an_experiment_and_its_own_run_files_are_judged_alike(here: Path) -> None:
    folder = experiment("first")
    trec = next(folder.glob("runs/*/two.trec"))
    _, compared = compare({"file": trec}, "data/qrels/test.tsv", metrics=["ndcg@10"])
    (info,), (ours,) = (read_results(each / RESULTS).collections for each in (compared, folder))
    assert (info.name, info.qrels_fingerprint) == (ours.name, ours.qrels_fingerprint)
    assert (info.with_documents, ours.with_documents) == (
        False,
        True,
    ) and info.fingerprint != ours.fingerprint
    made = make_leaderboard([compared, folder])
    values = {row.label: row.mean for row in made.board.rows}
    assert values["file"] == pytest.approx(values["two"]) and made.board.without_documents == ("data/test",)
    text = Path("data/qrels/test.tsv").read_text()
    Path("data/qrels/test.tsv").write_text(re.sub(r"\t1\n", "\t2\n", text, count=1))
    compare({"file": trec}, "data/qrels/test.tsv", metrics=["ndcg@10"])
    with pytest.raises(ReportError, match=r"data/test is judged differently .*other judgements"):
        make_leaderboard([compared, folder])


def test_another_policy_is_refused_by_its_key(here: Path) -> None:
    one, two = experiment("first"), experiment("second", policy=", policy: {drop_self: true}")
    with pytest.raises(ReportError, match="its policy has drop_self true, and false here"):
        make_leaderboard([one, two])
    assert not Path("eval/leaderboard").exists()


def test_what_is_written_does_not_depend_on_the_order_nor_on_calling_twice(here: Path) -> None:
    one, two = experiment("first"), experiment("second", k=1)
    made = make_leaderboard([one, two / RESULTS, one])
    assert made.changes is None and made.folder == Path("eval/leaderboard")
    before = files(made.folder)
    assert list(before) == [f"leaderboard.{ending}" for ending in ("csv", "html", "json", "md")]
    again = make_leaderboard([Path("eval/runs")])
    assert again.changes is not None and not again.changes
    assert files(made.folder) == before
    rows = list(csv.DictReader(before["leaderboard.csv"].decode().splitlines()))
    assert {row["row"] for row in rows} == {"one (first)", "one (second)", "two (first)", "two (second)"}
    assert {row["collection"] for row in rows} == {"data/test"}


def test_an_interrupted_call_is_completed_by_the_next(here: Path) -> None:
    folder = experiment("first")
    make_leaderboard([folder], output="whole")
    history = Path("whole/leaderboard.json").read_bytes()
    Path("part").mkdir()
    Path("part/leaderboard.json").write_bytes(history)  # written first
    make_leaderboard([folder], output="part")
    assert files(Path("part")) == files(Path("whole"))


def test_a_later_call_says_what_changed_and_keeps_the_past(here: Path) -> None:
    folder = experiment("first")
    make_leaderboard([folder])
    data = json.loads((folder / RESULTS).read_text())
    for score in data["scores"]:
        score["value"] = 0.25 if score["pipeline"] == "one" else score["value"]
    data["provenance"]["created"] = "2099-01-01T00:00:00+00:00"
    (folder / RESULTS).write_text(json.dumps(data))
    made = make_leaderboard([folder])
    assert made.changes is not None and [(m.label, m.after) for m in made.changes.means] == [("one", 0.25)]
    html = (made.folder / "leaderboard.html").read_text(encoding="utf-8")
    assert "0.2500 (" in html and "<polyline" in html
    assert "to 0.2500 (" in (made.folder / "leaderboard.md").read_text(encoding="utf-8")
    assert len(json.loads((made.folder / "leaderboard.json").read_text())["snapshots"]) == 2


def test_choices_in_turn_add_nothing_and_tell_of_nothing(here: Path) -> None:
    folder = experiment("first")
    choices: list[dict[str, Any]] = [{}, {"collections": ["test"]}, {"controls": True}]
    assert [make_leaderboard([folder], **each).changes for each in choices] == [None] * 3
    history = Path("eval/leaderboard/leaderboard.json").read_bytes()
    for each in choices * 2:
        made = make_leaderboard([folder], **each)
        assert made.changes is not None and not made.changes
    assert Path("eval/leaderboard/leaderboard.json").read_bytes() == history


def test_two_at_once_lose_no_snapshot(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes while the first has read the history and not written it yet."""
    folder, done = experiment("first"), list[str]()
    write, second = (
        module.history_text,
        Thread(target=lambda: (make_leaderboard([folder], metric="rr@5"), done.append("x"))),
    )
    data = json.loads((folder / RESULTS).read_text())
    data["scores"] += [{**score, "metric": "mrr@5"} for score in data["scores"]]
    (folder / RESULTS).write_text(json.dumps(data))

    def slow(history: History) -> str:
        if not second.ident:
            second.start()
            second.join(0.5)
            assert not done, "it waits"
        return write(history)

    monkeypatch.setattr(module, "history_text", slow)
    make_leaderboard([folder])
    second.join(20)
    assert done
    found = load_history(Path("eval/leaderboard")).snapshots
    assert [each.metric for each in found] == ["ndcg@10", "mrr@5"]


def test_a_folder_that_cannot_be_made(here: Path) -> None:
    Path("file").write_text("x")
    with pytest.raises(ReportError, match=r"cannot be (written|read)") as caught:
        make_leaderboard([experiment("first")], output="file/board")
    assert caught.value.problems[0].hint


def test_hostile_names_are_harmless(here: Path) -> None:
    bad = "<script>alert(1)</script>'\"&{{7*7}}\u202e=1"
    Path("x.trec").write_text("q Q0 d 1 1 t\n")
    Path("x.qrels").write_text("q\t0\td\t1\n")
    _, folder = compare({bad: "x.trec", "=cmd": "x.trec"}, "x.qrels", metrics=["mrr"], name=bad)
    made = make_leaderboard([folder], title=bad)
    html = (made.folder / "leaderboard.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "{{7*7}}" in html and "&lt;script&gt;alert" in html
    assert html.count("<script>") == 1 and "default-src 'none'" in html
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", html)
    assert "<script>" not in (made.folder / "leaderboard.md").read_text(encoding="utf-8")
    assert ",=cmd" not in (made.folder / "leaderboard.csv").read_text(encoding="utf-8")


def test_what_is_refused_leaves_the_folder_alone(here: Path) -> None:
    folder = experiment("first")
    out = Path("eval/leaderboard")
    out.mkdir()
    (out / "leaderboard.json").write_text('{"kind": "something else"}')
    with pytest.raises(ReportError, match="not the history of a leaderboard"):
        make_leaderboard([folder])
    assert [path.name for path in out.iterdir()] == ["leaderboard.json"]
    with pytest.raises(ReportError, match="no such file"):
        make_leaderboard([folder, "eval/runs/none"], output="o")
    Path("README.md").write_text("x")
    assert make_leaderboard([folder, "README.md"], output="p").skipped == (Path("README.md"),)
    with pytest.raises(ConfigError, match="no experiment to rank"):
        make_leaderboard(["README.md"], output="o")
    Path("bad.json").write_text('{"schema_version": 1}')
    with pytest.raises(ReportError, match=r"bad.json: the file is damaged"):
        make_leaderboard(["bad.json"], output="o")
    with pytest.raises(ConfigError, match="no collection 'tset'"):
        make_leaderboard([folder], collections=["tset"], output="o")
    assert not Path("o").exists()
