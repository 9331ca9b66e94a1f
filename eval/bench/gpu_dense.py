"""Dense retrieval on a GPU: encoding in float32 and bfloat16, and exact search, against the CPU's result.

Runs the encoder and the flat index of the stage `dense` without a store: torch, sentence-transformers and numpy
are enough.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from irkit.models.encoder import Encoder
from irkit.models.resolve import resolve
from irkit.stages.vector_index import Flat


def read(folder: Path) -> tuple[list[str], list[str], list[str], list[str], dict[str, dict[str, int]]]:
    def lines(name: str) -> list[dict[str, str]]:
        path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return [json.loads(line) for line in text.decode("utf-8").splitlines()]

    docs = sorted(lines("corpus.jsonl"), key=lambda doc: doc["_id"].encode())
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, doc, gain = line.split("\t")
        qrels.setdefault(query, {})[doc] = int(gain)
    queries = [query for query in lines("queries.jsonl") if query["_id"] in qrels]
    texts = [f"{doc.get('title', '')} {doc['text']}".strip() for doc in docs]
    return [d["_id"] for d in docs], texts, [q["_id"] for q in queries], [q["text"] for q in queries], qrels


def ndcg10(ids: list[str], qids: list[str], qrels: dict[str, dict[str, int]], rankings: object) -> float:
    values = []
    for qid, (doc, _) in zip(qids, rankings, strict=True):  # type: ignore[call-overload]
        gains = [qrels[qid].get(ids[code], 0) for code in doc[:10]]
        ideal = sorted(qrels[qid].values(), reverse=True)[:10]
        discount = 1 / np.log2(np.arange(2, 12))
        values.append(np.dot(gains, discount[: len(gains)]) / np.dot(ideal, discount[: len(ideal)]))
    return float(np.mean(values))


def timed(work: object, repeat: int = 5) -> float:
    times = []
    for _ in range(repeat):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()  # type: ignore[operator]
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collection", type=Path, required=True, help="a BEIR folder with qrels/test.tsv")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--documents", type=int, default=1_000_000, help="random vectors for the search")
    arguments = parser.parse_args()
    print(torch.cuda.get_device_name(0), "torch", torch.__version__)
    ids, texts, qids, queries, qrels = read(arguments.collection)
    encoding(arguments.model, ids, texts, qids, queries, qrels)
    search(arguments.documents)


def encoding(
    name: str,
    ids: list[str],
    texts: list[str],
    qids: list[str],
    queries: list[str],
    qrels: dict[str, dict[str, int]],
) -> None:
    model = resolve(name)
    reference = None
    print(
        "\n| encoding | batch | documents/s | peer's `encode`, documents/s | ratio | nDCG@10 | largest change of a vector |"
    )
    print("|---|---|---|---|---|---|---|")
    for dtype in ("float32", "bfloat16"):
        peer = SentenceTransformer(
            str(model.path), device="cuda", model_kwargs={"dtype": getattr(torch, dtype)}
        )
        for size in (32, 256):
            encoder = Encoder(model, dtype=dtype, device="cuda", batch_size=size)  # type: ignore[arg-type]
            ours, theirs = [], []
            vectors = np.zeros(0)
            for _ in range(4):  # the first of each warms up
                ours.append(timed(lambda e=encoder: e.vectors(texts, "document"), 1))
                theirs.append(
                    timed(lambda p=peer, s=size: p.encode(texts, batch_size=s, show_progress_bar=False), 1)
                )
            vectors = encoder.vectors(texts, "document")
            found = Flat(vectors, device="cuda").search(encoder.vectors(queries, "query"), 100)
            reference = vectors if reference is None else reference
            change = float(np.linalg.norm(vectors - reference, axis=1).max())
            mine, other = len(texts) / np.median(ours[1:]), len(texts) / np.median(theirs[1:])
            score = ndcg10(ids, qids, qrels, found)
            print(
                f"| {dtype} | {size} | {mine:.0f} | {other:.0f} | {mine / other:.2f} | {score:.4f} | {change:.1e} |"
            )


def search(documents: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((documents, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[1000:2000] = vectors[:1000]  # duplicates: ties that only the canonical order decides
    asked = np.concatenate([vectors[:64], rng.standard_normal((64, 384), dtype=np.float32)])
    gpu, cpu = Flat(vectors, device="cuda"), Flat(vectors, device="cpu", threads=16, library="torch")
    same = gpu.search(asked, 100) == cpu.search(asked, 100)
    print(
        f"\nexact search, {len(vectors)} x 384 float32, 128 queries, k=100: the GPU's rankings equal the CPU's bit for bit: {same}"
    )
    print(
        "\n| queries | GPU ms | CPU (16 threads) ms | ratio | share of reading the matrix once |\n|---|---|---|---|---|"
    )
    copy = torch.empty(1 << 28, device="cuda")
    bandwidth = 2 * copy.numel() * 4 / timed(copy.clone)
    for count in (1, 16, 128):
        some = asked[:count]
        on_gpu, on_cpu = timed(lambda s=some: gpu.search(s, 100)), timed(lambda s=some: cpu.search(s, 100), 3)
        floor = vectors.nbytes / bandwidth
        print(
            f"| {count} | {on_gpu * 1e3:.1f} | {on_cpu * 1e3:.0f} | {on_cpu / on_gpu:.1f} | {floor / on_gpu:.1%} |"
        )
    print(f"\nmemory bandwidth measured by a device copy: {bandwidth / 1e12:.2f} TB/s")


if __name__ == "__main__":
    main()
