"""What a recipe alone tells is told before anything is computed, at the line that says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapting import describe

from irkit.config.yaml import parse_yaml
from irkit.core.errors import ConfigError
from irkit.train.recipe import Recipe, Training, read_recipe

GOOD = """\
name: mine
kind: blockrank
data:
  - irkit/limit-small
negatives: {pipeline: [bm25: {k: 20}]}
teacher: {pipeline: [maxsim]}
training: {group: 4}
options:
  model: tiny
  layer: 3
  distil: {}
variants:
  plain: {seed: 1}
  wide: {options: {layer: 2}}
"""


def read(text: str, base: Path | None = None, prepared: bool = False) -> Recipe:
    return read_recipe(parse_yaml(text, "r.yaml"), base=base, prepared=prepared)


def problems(text: str, base: Path | None = None, prepared: bool = False) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        read(text, base, prepared)
    return [(int(str(each.where).rpartition(":")[2]), each.message) for each in caught.value.problems]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"num_hidden_layers": 4}')
    return tmp_path


def test_a_sound_recipe_is_read(base: Path) -> None:
    assert list(read(GOOD, base).variants) == ["plain", "wide"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("group: 4", "group: 1", 7, "a list of one document teaches nothing"),
        ("negatives: {pipeline: [bm25: {k: 20}]}", "licence: x", 7, "needs mined negatives"),
        ("teacher: {pipeline: [maxsim]}", "licence: x", 11, "there is no teacher to learn from"),
        ("distil: {}", "words: 9", 6, "nothing is learned from the teacher"),
        ("model: tiny", "model: mini-lm", 9, "there is no model 'mini-lm'"),
        ("model: tiny", "model: ./nothere", 9, "there is no such folder"),
        ("layer: 3", "layer: 4", 10, "the model has no layer 4: it has 4, counted from 0"),
        ("layer: 2", "layer: 5", 14, "the model has no layer 5"),
        ("{seed: 1}", "{training: {group: 1}}", 13, "a list of one document teaches nothing"),
    ],
)
def test_each_is_said_once_with_its_line(base: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new), base)
    assert len(found) == 1 and found[0][0] == line and message in found[0][1], found


def test_a_model_that_was_trained_is_not_trained_further(base: Path) -> None:
    """What irkit carries, and folders of one's own."""
    describe(base / "mine", "blockrank", ("smollm2", "0" * 64), {})
    for name, on in (
        ("irkit/smollm2-blockrank", "smollm2"),
        ("./mine", "smollm2"),
        ("irkit/minilm-words", "minilm"),
    ):
        ((line, said),) = problems(GOOD.replace("model: tiny", f"model: {name}"), base)
        assert line == 9
        assert f"{name} was trained itself, on top of {on}: it cannot be trained further" in said
    describe(base / "whole", "blockrank", None, {})
    (base / "whole" / "config.json").write_text('{"num_hidden_layers": 4}')
    assert read(GOOD.replace("model: tiny", "model: ./whole"), base).options.model == "./whole"


def test_a_folder_to_learn_from_has_a_split(base: Path) -> None:
    """Elsewhere it is test unless said otherwise."""
    for said in ("{path: ours}", "{path: ours, name: mine}"):
        ((line, message),) = problems(GOOD.replace("irkit/limit-small", f"collection: {said}"), base)
        assert line == 4 and "say which split's judgements are learned from" in message
    for source in ("{path: ours, split: test}", "{path: ours}, task: title"):
        read(GOOD.replace("- irkit/limit-small", f"- {{collection: {source}}}"), base)


def test_a_model_is_looked_for_in_a_workspace_only() -> None:
    assert read(GOOD.replace("tiny", "mini-lm")).options.model == "mini-lm"


def test_what_every_variant_mends_is_no_problem(base: Path) -> None:
    text = GOOD.replace("group: 4", "group: 1").replace("{seed: 1}", "{training: {group: 2}}")
    assert [line for line, _ in problems(text, base)] == [7]
    text = text.replace("{options: {layer: 2}}", "{training: {group: 3}}")
    assert read(text, base).variant("wide").training.group == 3


def test_a_kind_that_learns_from_no_teacher_says_so() -> None:
    text = GOOD[: GOOD.index("options")].replace("blockrank", "adapter")
    with pytest.raises(ConfigError, match="leave it out: adapter learns from none"):
        read(text)


def test_prepared_examples_may_be_used_without_their_teacher(base: Path) -> None:
    assert read(GOOD.replace("distil: {}", "words: 9"), base, prepared=True).teacher is not None


def test_a_masked_language_model_is_looked_for_too(base: Path) -> None:
    options = "options: {model: tiny, method: clr, mlm: mini-lm}"
    text = f"name: a\nkind: lexsembridge\ndata: [irkit/limit-small]\ntraining: {{group: 1}}\n{options}\n"
    assert problems(text, base) == [(5, "there is no model 'mini-lm'")]


def test_a_kind_has_defaults_of_its_own() -> None:
    text = GOOD.replace("training: {group: 4}\n", "").replace("{seed: 1}", "{training: {batch: 8}}")
    usual = Training(epochs=3, batch=32, group=20, temperature=0.05)
    recipe = read(text)
    assert recipe.training == usual
    assert recipe.variant("plain").training == usual.model_copy(update={"batch": 8})
    other = "name: a\nkind: multivector\ndata: [irkit/limit-small]\nnegatives: {pipeline: [bm25]}\n"
    assert read(other).training == Training()


def test_some_variants_may_be_chosen() -> None:
    recipe = read(GOOD)
    assert list(recipe.only(["wide"]).variants) == ["wide"] and recipe.only([]) == recipe
    with pytest.raises(ConfigError, match="did you mean 'plain'"):
        recipe.only(["wide", "plane"])
    with pytest.raises(ConfigError, match="the recipe has no variants"):
        recipe.variant("wide").only(["wide"])
