"""CACM as Anserini's regression has it: its documents, topics and judgements as a BEIR folder, and the scores that irkit reaches.

Two things separate it from other copies of CACM. A document is the whole HTML page: title and abstract, and also date, authors,
keywords, categories and the numbers of the papers that cite it, on which RM3 thrives. And 55 of the 796 judgements name documents
without their leading zero (CACM-268 for CACM-0268); trec_eval takes them for relevant documents that nobody can find.

    git clone --depth 1 https://github.com/castorini/anserini
    git clone --depth 1 https://github.com/castorini/anserini-tools
    python eval/bench/cacm.py --documents anserini/src/main/resources/cacm/cacm.tar.gz \
        --topics anserini-tools/topics/topics.cacm.txt --qrels anserini-tools/qrels/qrels.cacm.txt --to cacm-anserini
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import re
import tarfile
from pathlib import Path

from irkit.core.rankings import Rankings
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.evaluate.metrics import evaluate, means
from irkit.pipeline.context import Context
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch
from irkit.store import Store

PUBLISHED = {"bm25": 0.3123, "rm3": 0.3648, "axiomatic": 0.3077}
"""MAP of Anserini's regression; it has no other of these methods."""


def write(folder: Path, documents: Path, topics: Path, qrels: Path) -> None:
    """Write Anserini's files as a BEIR folder."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with (
        tarfile.open(documents) as pages,
        gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as out,
    ):
        for member in sorted(pages.getmembers(), key=lambda each: each.name):
            file = pages.extractfile(member) if member.name.endswith(".html") else None
            if file is not None:
                page = re.sub(r"</?(html|pre)>", "", file.read().decode("utf-8", "replace"))
                row = {"_id": Path(member.name).stem, "title": "", "text": html.unescape(page).strip()}
                out.write(json.dumps(row) + "\n")
    found = re.findall(r"<DOC>\s*<DOCNO>\s*(\S+)\s*</DOCNO>(.*?)</DOC>", topics.read_text(), re.DOTALL)
    rows = [json.dumps({"_id": qid, "text": " ".join(text.split())}) + "\n" for qid, text in found]
    (folder / "queries.jsonl").write_text("".join(rows))
    judged = [line.split() for line in qrels.read_text().splitlines()]
    lines = ["query-id\tcorpus-id\tscore\n", *(f"{qid}\t{doc}\t{gain}\n" for qid, _, doc, gain in judged)]
    (folder / "qrels" / "test.tsv").write_text("".join(lines))


def score(folder: Path) -> None:
    """Print MAP of BM25 and of every kind of lexical feedback."""
    store = Store(folder.with_name(folder.name + "-store"))
    collection = open_collection(LocalSpec(path=str(folder)), store, base=Path.cwd())
    context, search = Context(collection, store), make_stage("bm25", k=1000)
    state = search.prepare(context)
    first = search.run(Batch(collection.queries), state)
    print("| | MAP | Anserini |\n|---|---|---|")
    for name in ("bm25", "rm3", "rocchio", "bm25prf", "axiomatic"):
        found = first
        if name != "bm25":
            stage = make_stage(name)
            queries = stage.run(Batch(collection.queries, (first,)), stage.prepare(context))
            found = search.run(Batch(queries), state)
        assert isinstance(found, Rankings)
        values = evaluate(found, collection.qrels, ["map"])
        print(f"| {name} | {means(values)['map']:.4f} | {PUBLISHED.get(name, '')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("documents", "topics", "qrels", "to"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    write(options.to, options.documents, options.topics, options.qrels)
    score(options.to)


if __name__ == "__main__":
    main()
