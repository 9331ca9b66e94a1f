"""``irkit train`` and ``irkit make-task``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from irkit.cli import console, interrupted
from irkit.cli.options import Device, Root, Settings, StoreRoot, Threads, workspace
from irkit.core.errors import ConfigError, Problem, nearest

if TYPE_CHECKING:
    from irkit.config.experiment import CollectionSpec
    from irkit.train.fit import Fitting


def train(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="The recipe's YAML file, or a file of prepared examples (.json.gz).", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to write; models/NAME of the workspace by default."),
    ] = None,
    settings: Settings = None,
    only: Annotated[
        str | None,
        typer.Option("--only", help="Variants to train, separated by commas. All by default."),
    ] = None,
    prepare_only: Annotated[
        bool,
        typer.Option("--prepare-only", help="Write the examples to OUTPUT, a file NAME.json.gz, and stop."),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="With examples: the model's folder, when not where the recipe says."),
    ] = None,
    root: Root = None,
    store: StoreRoot = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Train what a recipe declares: gather examples, mine negatives, fit, and write the weights with their model card.

    A run that was interrupted goes on from its last checkpoint; one that is finished is not run again.
    """
    from irkit.train.examples import Examples
    from irkit.train.fit import fit, recipe_of
    from irkit.train.run import fitting, load
    from irkit.train.run import run as run_recipe

    prepared = recipe.name.endswith(".json.gz")
    if prepared and prepare_only:
        raise ConfigError.of(
            "the examples are prepared already", where=str(recipe), hint="leave --prepare-only out"
        )
    if model is not None and not prepared:
        hint = "set it in the recipe: --set options.model=..."
        raise ConfigError.of("--model is for prepared examples", where=f"--model {model}", hint=hint)
    chosen = [name.strip() for name in only.split(",")] if only else []
    how: Fitting | None = None
    try:
        with console.progress() as bars:
            place = workspace(root, store, device, threads, bars)
            if prepared:
                examples = Examples.load(recipe)
                said = recipe_of(examples, settings or (), str(recipe)).only(chosen)
            else:
                said = load(recipe, tuple(settings or ()), place).only(chosen)
            if prepare_only:
                _prepare(said, place, output or place.root / "models" / f"{said.name}.json.gz")
                return
            how = fitting(place, output or place.root / "models" / said.name, model)
            reports = fit(said, examples, how) if prepared else run_recipe(said, place, how)
    except KeyboardInterrupt:
        interrupted("nothing was trained yet" if how is None else how.left())
    _show(reports, how)


def make_task(
    task: Annotated[
        str,
        typer.Argument(
            help="keyword: a passage's salient terms; passage-part: some of its words in a row.",
            show_default=False,
        ),
    ],
    collection: Annotated[
        str,
        typer.Argument(
            help="An id, such as beir/scifact/test, or a BEIR folder with --split.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.", show_default=False)],
    split: Annotated[
        str | None,
        typer.Option("--split", help="Of a folder: the judgements whose relevant passages are used."),
    ] = None,
    queries: Annotated[
        int | None, typer.Option("--queries", min=1, help="Passages to draw; all by default.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draws.")] = 0,
    length: Annotated[
        list[int] | None,
        typer.Option(
            "--length", help="Words of a part, 16 to 256; may be repeated; 16, 32, 64 and 128 by default."
        ),
    ] = None,
    all_docs: Annotated[
        bool, typer.Option("--all-docs", help="Draw from all documents, not from relevant ones only.")
    ] = False,
    root: Root = None,
    store: StoreRoot = None,
) -> None:
    """Make a fine-grained task of a collection: find the passage that a query's words were taken from.

    The same collection, options and seed give the same task. What was made, and how, is in its task.json.
    """
    from irkit.data.spec import split_of
    from irkit.data.task_files import write_task
    from irkit.data.tasks import TaskOptions, make_queries

    if task not in ("keyword", "passage-part"):
        hint = nearest(task, ["keyword", "passage-part"])
        raise ConfigError.of(f"there is no task {task!r}", where=task, hint=hint)
    if length and task == "keyword":
        hint = "leave it out, or make a passage-part"
        raise ConfigError.of("keyword queries have no length", where=f"--length {length[0]}", hint=hint)
    if output.exists():
        hint = "choose another folder, or remove this one first"
        raise ConfigError.of("there is something of this name already", where=f"--output {output}", hint=hint)
    chosen = {"lengths": tuple(length)} if length else {}
    try:
        options = TaskOptions(task, queries, seed, all_docs=all_docs, **chosen)  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(
            *(Problem(each.message, f"--{each.where}", each.hint) for each in error.problems)
        ) from None
    with console.progress() as bars:
        place = workspace(root, store, progress=bars)
        spec = _collection(collection, split, place.root)
        opened = place.open(spec)
        made = make_queries(opened, options)
        write_task(opened, options, made, output, split_of(spec) or "test")
    out = console.out()
    out.print(
        f"{len(made.queries)} queries of {opened.name}, {len(opened.docs)} documents: {output}", markup=False
    )
    for why, count in made.skipped.items():
        out.print(f"left out: {count}: {why}", markup=False)


def is_recipe(path: Path) -> bool:
    """Whether a YAML file is a recipe rather than an experiment; of a file that cannot be read nothing is known."""
    from irkit.config import which
    from irkit.config.yaml import parse_yaml

    try:
        data = parse_yaml(path.read_text(encoding="utf-8"), str(path)).data
    except (OSError, UnicodeDecodeError, ConfigError):
        return False  # the experiment's reader says what is wrong
    return which.is_recipe(data)


def _collection(text: str, split: str | None, root: Path) -> CollectionSpec:
    """Return the collection that is meant.

    Raises:
        ConfigError: when a folder comes without --split, or an id with it.
    """
    from irkit.data.spec import LocalSpec

    folder = root / Path(text).expanduser()
    is_folder = folder.is_dir() or text.startswith((".", "/", "~"))
    if is_folder and split is not None:
        return LocalSpec(path=str(Path(text).expanduser()), split=split)
    if is_folder:
        splits = sorted({path.name.partition(".")[0] for path in (folder / "qrels").glob("*.tsv*")})
        have = f"; the folder has: {', '.join(splits)}" if splits else ""
        raise ConfigError.of("which split's judgements?", where=text, hint=f"give --split{have}")
    if split is not None:
        hint = f"write the split into the id, {text.rstrip('/')}/{split}; or is the folder elsewhere?"
        raise ConfigError.of(
            f"--split is for folders, and there is no folder {folder}", where=f"--split {split}", hint=hint
        )
    return text


def _prepare(recipe: Any, place: Any, path: Path) -> None:
    from dataclasses import replace

    from irkit.train.prepare import prepare

    if not path.name.endswith(".json.gz"):
        path = path / f"{recipe.name}.json.gz"
    made = prepare(recipe, place)
    replace(made, origin={**made.origin, "shared": recipe.shared()}).save(path)
    counts = f"{len(made.training)} queries to train on, {len(made.held)} held out, {len(made.documents)} documents"
    console.out().print(f"{counts}: {path}", markup=False)


def _show(reports: Mapping[str, Mapping[str, Any]], how: Fitting) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("trained", "held-out queries of", "nDCG@10 before", "after", "step", "of")
    for name, said in reports.items():
        checked = said["validation"]
        for task, before in checked["before"].items():
            cells = (
                name or said["name"],
                task,
                f"{before:.4f}",
                f"{checked['after'][task]:.4f}",
                str(checked["best_step"]),
                str(said["steps"]),
            )
            table.add_row(*map(Text, cells))
    out = console.out()
    out.print(table)
    for name, said in reports.items():
        trained = said["facts"]["trained"]
        if "sigma" in trained:
            sigma, cosine = trained["sigma"]["mean"], trained["cosine"]["mean"]
            out.print(
                f"{name or said['name']}: sigma of the gate's logits {sigma:.4f}, cosine {cosine:.4f}",
                markup=False,
            )
    for name, said in reports.items():
        folder = os.path.relpath(how.folder(name or None))
        told = said.get("outcome", "how to use it says its README.md")
        out.print(f"written to {folder}; {told}", markup=False)
