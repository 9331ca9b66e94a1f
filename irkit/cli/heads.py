"""``irkit heads``: attention heads for the reranker ``icr``: the published lists, and finding a model's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irkit.cli import console, interrupted
from irkit.cli.options import Device, Root, StoreRoot, Threads, workspace
from irkit.core.errors import ConfigError, nearest
from irkit.core.flow import flow

if TYPE_CHECKING:
    from irkit.config.experiment import CollectionSpec
    from irkit.models.lm.heads import Heads

app = typer.Typer(
    help="Attention heads for the reranker icr: list the published ones; find a model's own.",
    no_args_is_help=True,
)

_SHOWN = 5

_READ_WITH = ("instruction", "rows", "words", "dtype")
"""Options of icr with which heads are used as they were found."""


@app.command("list")
def list_() -> None:
    """List the heads that come with irkit: of which model, and by which method they were found."""
    from rich.table import Table
    from rich.text import Text

    from irkit.models.lm.heads import published

    table = Table("name", "model", "method", "heads", "layers")
    table.columns[0].no_wrap = True
    for column in table.columns[1:3]:
        column.overflow = "fold"  # a model's name has no spaces to break it at
    for name, heads in published().items():
        cells = (name, heads.model, heads.method, str(len(heads)), _layers(heads))
        table.add_row(*(Text(cell) for cell in cells))
    out = console.out()
    out.print(table)
    out.print("use one by its name, icr: {heads: NAME}; where it was published says: irkit heads show NAME")


@app.command()
def show(
    heads: Annotated[str, typer.Argument(help="A name of the list, or a file of heads.", show_default=False)],
) -> None:
    """Print a list of heads as its file: the heads, best first, the model, the method and the source."""
    from irkit.models.lm.heads import load_heads

    typer.echo(load_heads(heads).to_text(), nl=False)


@app.command()
def detect(
    collection: Annotated[
        str,
        typer.Argument(
            help="An id, such as beir/scifact/train, or a BEIR folder with --split.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.", show_default=False)],
    split: Annotated[
        str | None, typer.Option("--split", help="Of a folder: the judgements qrels/SPLIT.tsv.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="As in icr: a name of the catalogue, a folder, a hub id.")
    ] = "smollm2",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="qrhead-ndcg: nDCG@10 of each head's own ranking; qrhead-mass: attention on relevant documents; "
            "core: contrast of relevant documents with the others.",
        ),
    ] = "qrhead-ndcg",
    top: Annotated[int, typer.Option("--top", min=1, help="How many heads to take.")] = 16,
    queries: Annotated[int, typer.Option("--queries", min=1, help="How many queries to read.")] = 256,
    depth: Annotated[int, typer.Option("--depth", min=2, help="Documents of a list.")] = 20,
    add_relevant: Annotated[
        bool,
        typer.Option(
            "--add-relevant/--no-add-relevant",
            help="Give a list without any relevant document one that the first stage missed, or leave out its query.",
        ),
    ] = True,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw of queries and the shuffles.")] = 0,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="Of core; 0.001 by default, 0.1 in the paper for Llama."),
    ] = None,
    first_stage: Annotated[str, typer.Option("--first-stage", help="The retriever of the lists.")] = "bm25",
    words: Annotated[int, typer.Option("--words", min=1, help="Of a document that the model reads.")] = 300,
    dtype: Annotated[str, typer.Option("--dtype", help="bfloat16, float16 or float32.")] = "bfloat16",
    instruction: Annotated[
        str, typer.Option("--instruction", help="As in icr: general, qa, or a text.")
    ] = "general",
    rows: Annotated[
        str, typer.Option("--rows", help="As in icr: suffix (from the instruction on) or query.")
    ] = "suffix",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    root: Root = None,
    store: StoreRoot = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Find the heads of a model that say best which document answers a query.

    Give it a training split: heads must not be judged on the queries that they were found on, which the file lists.

    The file is written whole at the end; an interrupted search leaves none.
    """
    from irkit.api.heads import Detection, detect_heads
    from irkit.pipeline.registry import make_stage, stage_class
    from irkit.stages.rerank.head_selection import METHODS, Criterion
    from irkit.stages.rerank.language import LanguageModelOptions

    _one_of("method", method, METHODS)
    if temperature is not None and method != "core":
        raise ConfigError.of(
            f"{method} has no temperature",
            where=f"--temperature {temperature}",
            hint="leave it out, or: --method core",
        )
    kind = stage_class(first_stage).kind
    if kind != "retriever":
        hint = "for example bm25, or dense"
        raise ConfigError.of(f"a {kind} is no first stage", where=f"--first-stage {first_stage}", hint=hint)
    chosen = Criterion(method) if temperature is None else Criterion(method, temperature=temperature)  # type: ignore[arg-type]
    how = Detection(
        criterion=chosen,
        top=top,
        queries=queries,
        depth=depth,
        add_relevant=add_relevant,
        seed=seed,
        instruction=instruction,
        rows=_one_of("rows", rows, ("suffix", "query")),  # type: ignore[arg-type]
        model=LanguageModelOptions(
            model=model,
            words=words,
            dtype=_one_of("dtype", dtype, ("bfloat16", "float16", "float32")),
            trust_remote_code=trust_remote_code,
        ),
        first_stage=make_stage(first_stage, k=depth),
    )
    _check_output(output)
    try:
        with console.progress() as bars:
            place = workspace(root, store, device, threads, bars)
            spec = _collection(collection, split, place.root)
            heads = detect_heads(spec, place, how)
    except KeyboardInterrupt:
        interrupted("no heads are kept, the same command starts anew")
    heads.save(output)
    _show(heads, output, place.root, {"trust_remote_code": True} if trust_remote_code else {})


def _one_of(option: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ConfigError.of(
            f"{value!r} is not known", where=f"--{option} {value}", hint=nearest(value, list(choices))
        )
    return value


def _check_output(path: Path) -> None:
    """Find out before the work, not after it, that the file cannot be written."""
    where = f"--output {path}"
    if path.is_dir():
        raise ConfigError.of("this is a folder", where=where, hint=f"name a file: {path / 'heads.json'}")
    folder = path.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        hint = "choose a folder that you may write to"
        raise ConfigError.of(f"no file can be written to {folder}", where=where, hint=hint)


def _collection(text: str, split: str | None, root: Path) -> CollectionSpec:
    """Return the collection that is meant. Which split, the user has to say: heads must not be judged on what they were found on.

    Raises:
        ConfigError: when no split is named, or one for an id, which names its own.
    """
    from irkit.data.spec import LocalSpec

    if text.startswith("local:"):
        if "split=" not in text:
            raise ConfigError.of(
                "no split is named", where=text, hint=f"write {text}?split=train, or another split"
            )
        if split is not None:
            raise ConfigError.of("the id names the split", where=f"--split {split}", hint="leave --split out")
        return text
    folder = root / Path(text).expanduser()
    if folder.is_dir() or text.startswith((".", "/", "~")):
        if split is None:
            splits = sorted({path.name.partition(".")[0] for path in (folder / "qrels").glob("*.tsv*")})
            have = f"; the folder has: {', '.join(splits)}" if splits else ""
            raise ConfigError.of(
                "which split's judgements?", where=text, hint=f"give --split, a training split{have}"
            )
        return LocalSpec(path=str(Path(text).expanduser()), split=split)
    if split is not None:
        hint = f"write the split into the id, {text.rstrip('/')}/{split}; or is the folder elsewhere?"
        raise ConfigError.of(
            f"--split is for folders, and there is no folder {folder}", where=f"--split {split}", hint=hint
        )
    return text


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _layers(heads: Heads) -> str:
    """Return how many layers a model is run through for these heads, of how many."""
    return f"{heads.last + 1} of {heads.shape[0]}" if heads.shape else str(heads.last + 1)


def _show(heads: Heads, output: Path, root: Path, more_options: Mapping[str, object]) -> None:
    from irkit.stages.rerank.icr import Icr

    found, out = heads.detection, console.out()
    on = f"{found['collection']}, {found['queries']} queries"
    best = ", ".join(
        f"{name} {score:.4f}" for name, score in zip(heads.names()[:_SHOWN], heads.scores, strict=False)
    )
    more = ", ..." if len(heads) > _SHOWN else ""
    out.print(f"{heads.model}: {len(heads)} heads by {heads.method}: {best}{more}", markup=False)
    out.print(f"they need {_layers(heads)} layers; found on {on}: judge them on others", markup=False)
    if "tied_at_cut" in found:
        taken, left = (found["tied_at_cut"][key] for key in ("taken", "left_out"))
        tie = f"{heads.scores[-1]:.4f} is also the value of {len(left)} left out: {_some(left)}"
        rule = f"of equals, those of lower layers, then of lower numbers, are taken: {_some(taken)}"
        out.print(f"tie: {tie}; {rule}", markup=False)
    # an experiment's paths start from the workspace
    whole = output.absolute()
    written = whole.relative_to(root) if whole.is_relative_to(root) else whole
    same = {key: found[key] for key in _READ_WITH if found[key] != Icr.model_fields[key].default}
    use = flow({"icr": {"model": heads.model, "heads": str(written), **same, **more_options}})[1:-1]
    out.print(f"written to {output}; use them with: {use}", markup=False)
