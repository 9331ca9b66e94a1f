"""Lists of every task give nothing away: what can be seen of a document without the query does not tell whether it is relevant."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from tiny_lm import open_tiny, tiny_lm

from irkit.api.workspace import Workspace
from irkit.config.yaml import Located
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.lm.model import CausalLM
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Retriever
from irkit.train.blockrank.draws import ListMaker
from irkit.train.examples import Examples
from irkit.train.prepare import prepare
from irkit.train.recipe import Recipe, read_recipe

COUNT, PASSES = 90, 2
DATA = {"path": "data", "split": "test", "name": "data"}
TASKS: list[dict[str, Any]] = [
    {"task": "queries"},
    {"task": "queries", "titles": False},
    {"task": "keyword", "all_docs": True, "terms": [2, 3]},
    {"task": "keyword", "all_docs": True, "terms": [2, 3], "titles": False},
    {"task": "passage-part", "all_docs": True, "lengths": [16]},
    {"task": "title"},
    {"task": "inverse-cloze"},
    {"task": "generated", "writer": {"file": "written.jsonl"}, "keep_rank": COUNT},
]


class Anyhow(Retriever):
    """Finds every document, in an order that has nothing to do with them: what tells documents apart is not its doing."""

    def prepare(self, context: Context) -> int:
        return len(context.collection.docs)

    def search(self, queries: Queries, depth: int, state: int) -> Rankings:
        codes = np.arange(state)
        scores = [
            np.array([crc32(f"{text} {code}".encode()) for code in codes], np.float32)
            for text in queries.text
        ]
        return Rankings.from_lists([codes] * len(scores), scores).top(depth)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return open_tiny(tiny_lm(tmp_path_factory.mktemp("lm") / "tiny"))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Documents with titles, of 3 to 7 sentences, of 6 to 16 words each; 90 judged queries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register("anyhow")(Anyhow)
    rng = np.random.default_rng(7)

    def words(count: int) -> str:
        return " ".join(f"w{n}" for n in rng.integers(100, 999, count))

    def body() -> str:
        return " ".join(f"{words(rng.integers(6, 17)).capitalize()}." for _ in range(rng.integers(3, 8)))

    rows = [{"_id": f"d{i:02d}", "title": f"Title of {words(2)}", "text": body()} for i in range(COUNT)]
    folder = Path("data")
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    asked = [{"_id": f"q{i}", "text": words(5)} for i in range(COUNT)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)) + "\n")
    lines = [
        f"q{i}\td{doc:02d}\t1\n"
        for i in range(COUNT)
        for doc in rng.choice(COUNT, rng.integers(1, 5), replace=False)
    ]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    written = [{"id": row["_id"], "text": words(6)} for row in rows]
    Path("written.jsonl").write_text("\n".join(map(json.dumps, written)) + "\n")
    return Workspace(tmp_path, tmp_path / "indexes")


def recipe(model: CausalLM, seed: int, layout: str) -> Recipe:
    data = {
        "name": "toy",
        "kind": "blockrank",
        "seed": seed,
        "data": [{"collection": DATA, **task} for task in TASKS],
        "negatives": {"pipeline": ["anyhow"], "depth": COUNT, "keep": 5, "positives": "found"},
        "validation": {"share": 0.02},
        "training": {"batch": 8, "group": 9},
        "options": {"model": model.name, "layer": 2, "layout": layout, "words": 300, "block_tokens": 2000},
    }
    return read_recipe(Located(data, "recipe"))


def features(said: Recipe, examples: Examples, model: CausalLM) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield of every list its task, which documents are relevant, and what can be seen of each."""
    maker = ListMaker(said, examples, model)
    bodies = {text for text, form in zip(examples.documents, examples.forms, strict=True) if form < 2}
    numbers, ids = Counter[int](), Counter[int]()
    for epoch in range(PASSES):
        known, shown = Counter(numbers), Counter(ids)
        draws = np.random.default_rng([said.seed, epoch])
        for row in examples.training.tolist():
            drawn = maker._drawn(row, draws)
            (made,) = maker._lists([row], [drawn])
            texts = [model.tokenizer.decode(block) for block in made.blocks]
            seen = [int(re.findall(r"ID: *(\d+)", text)[0]) for text in texts]
            found = {
                "ID": seen,
                "tokens": [len(block) for block in made.blocks],
                "title": ["Title of" in text for text in texts],
                "place": range(len(texts)),
                "gap": [examples.documents[number] not in bodies for number in drawn.documents],
            }
            if epoch and not examples.queries[row].task.startswith("data queries"):
                found["relevant before"] = [known[number] for number in drawn.documents]
                found["ID relevant before"] = [shown[each] for each in seen]
            yield examples.queries[row].task, made.relevant, found
            for number, each, right in zip(drawn.documents, seen, made.relevant, strict=True):
                numbers[number] += bool(right)
                ids[each] += bool(right)


def auc(values: Any, relevant: Any) -> float:
    """Return how often a relevant document has the greater value, of all pairs with another; half of the ties."""
    found = np.asarray(values, np.float64)
    away = found[relevant][:, None] - found[~relevant]
    return float((np.sign(away) + 1).mean() / 2)


@pytest.mark.parametrize("layout", ["released", "query-free"])
@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_but_the_query_tells_what_is_relevant(
    workspace: Workspace, model: CausalLM, seed: int, layout: str
) -> None:
    said = recipe(model, seed, layout)
    examples = prepare(said, workspace)
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for task, relevant, found in features(said, examples, model):
        assert len(relevant) == 9 and 0 < relevant.sum() < 9
        for name, each in found.items():
            values[task, name].append(auc(each, relevant))
    means = {key: float(np.mean(each)) for key, each in values.items()}
    assert len({task for task, _ in means}) == len(TASKS)
    told = {key: round(mean, 3) for key, mean in means.items() if not 0.4 < mean < 0.6}
    assert not told
