"""Recipes: what is wrong is said with its line, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from irkit.config.yaml import dump_yaml, parse_yaml
from irkit.core.errors import ConfigError
from irkit.data.spec import LocalSpec
from irkit.train.kinds import kind_names, kind_of
from irkit.train.recipe import Recipe, load_recipe, read_recipe

GOOD = """\
name: mine
kind: adapter
data:
  - irkit/limit-small
  - {collection: {path: data, split: train}, task: passage-part, lengths: [16, 64]}
negatives:
  pipeline: [bm25: {k: 20}]
  skip: 2
training: {lr: 0.01, group: 3}
options: {rank: 4}
variants:
  small: {options: {rank: 2}, training: {lr: 0.1}}
  other: {seed: 5}
"""


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        read_recipe(parse_yaml(text, "r.yaml"))
    return [(str(each.where), each.message) for each in caught.value.problems]


def test_a_recipe_is_read() -> None:
    recipe = read_recipe(parse_yaml(GOOD, "r.yaml"))
    assert (recipe.name, recipe.kind, recipe.seed) == ("mine", "adapter", 0)
    assert isinstance(recipe.data[1].collection, LocalSpec)
    assert recipe.data[1].made is not None and recipe.data[1].made.lengths == (16, 64)
    assert recipe.negatives is not None and recipe.negatives.skip == 2
    assert recipe.training.temperature == 0.02 and recipe.training.group == 3


def test_it_reads_back_from_what_it_is_written_as() -> None:
    recipe = read_recipe(parse_yaml(GOOD, "r.yaml"))
    again = read_recipe(parse_yaml(dump_yaml(recipe.to_data()), "again.yaml"))
    assert again.to_data() == recipe.to_data() and again.pipeline == recipe.pipeline


def test_variants_change_what_they_say_and_nothing_else() -> None:
    recipe = read_recipe(parse_yaml(GOOD, "r.yaml"))
    small, other = recipe.variant("small"), recipe.variant("other")
    assert (small.options.rank, small.training.lr, small.training.group, small.seed) == (2, 0.1, 3, 0)
    assert (other.options.rank, other.training, other.seed) == (4, recipe.training, 5)
    assert small.shared() == recipe.shared()


def test_settings_change_values() -> None:
    recipe = read_recipe(parse_yaml(GOOD, "r.yaml"), ["training.lr=0.5", "negatives.pipeline.bm25.k=7"])
    assert recipe.training.lr == 0.5
    assert recipe.to_data()["negatives"]["pipeline"][0]["bm25"]["k"] == 7


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("kind: adapter", "kind: adaptor", 2, "there is no kind 'adaptor'"),
        ("name: mine", "name: a/b", 1, "cannot be the name of a folder"),
        ("lr: 0.01", "lr: -1", 9, "lr"),
        ("lr: 0.01", "rate: 1", 9, "unknown option 'rate'"),
        ("rank: 4", "ranks: 4", 10, "unknown option 'ranks'"),
        ("bm25: {k: 20}", "bm26: {k: 20}", 7, "there is no stage 'bm26'"),
        ("skip: 2", "skips: 2", 8, "unknown option 'skips'"),
        ("task: passage-part", "task: part", 5, "task"),
        ("lengths: [16, 64]", "lengths: [3]", 5, "16 to 256 words"),
        ("{rank: 2}", "{rank: x}", 12, "rank"),
        ("other: {seed: 5}", "other: {data: []}", 13, "a variant cannot change 'data'"),
        ("training:", "trainings:", 9, "unknown key 'trainings'"),
    ],
)
def test_each_fault_is_said_with_its_line(old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new))
    assert any(where == f"r.yaml:{line}" and message in said for where, said in found), found


def test_all_faults_are_said_at_once() -> None:
    text = GOOD.replace("kind: adapter", "kind: x").replace("lr: 0.01", "lr: 0").replace("k: 20", "k: 0")
    assert {where for where, _ in problems(text)} >= {"r.yaml:2", "r.yaml:7", "r.yaml:9"}


def test_what_is_missing_is_said() -> None:
    assert {message for _, message in problems("description: x\n")} >= {
        "None cannot be the name of a folder",
        "there is no kind None",
        "'data' is a list of one source or more",
    }
    text = GOOD[: GOOD.index("negatives")] + "training: {group: 2}\n"
    assert problems(text) == [("r.yaml:6", "a group of documents needs mined negatives")]
    assert problems("- a\n")[0][1].startswith("a recipe is a mapping")


def test_a_collection_that_is_not_there_is_a_problem_of_its_line(tmp_path: Path) -> None:
    from irkit.data.open import resolve
    from irkit.store import Store

    (tmp_path / "r.yaml").write_text(GOOD)
    store = Store(tmp_path / "store")
    with pytest.raises(ConfigError) as caught:
        load_recipe(
            tmp_path / "r.yaml", check=lambda spec: resolve(spec, base=tmp_path, store=store), base=tmp_path
        )
    assert [str(each.where).rpartition(":")[2] for each in caught.value.problems] == ["5"]
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")


def test_a_gate_of_a_frozen_encoder_is_no_option() -> None:
    text = "name: a\nkind: lexsembridge\ndata: [irkit/limit-small]\ntraining: {group: 1}\noptions: {gate: false}\n"
    assert [where for where, _ in problems(text)] == ["r.yaml:5"]
    assert "has nothing to train" in problems(text)[0][1]


def test_every_kind_is_there_and_shipped_recipes_are_sound() -> None:
    assert {"adapter", "lexsembridge"} <= set(kind_names())
    assert all(kind_of(name).Options for name in kind_names())
    with pytest.raises(ConfigError, match="no kind"):
        kind_of("nothing")
    folder = Path(__file__).parents[3] / "pipelines" / "train"
    found = {path.stem: load_recipe(path) for path in sorted(folder.glob("*.yaml"))}
    assert {"adapter", "lexsembridge", "smoke"} <= set(found)
    assert all(isinstance(each, Recipe) and each.licence != "unknown" for each in found.values())
