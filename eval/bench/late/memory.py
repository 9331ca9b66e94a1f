"""Peak memory and disk of building, each build in a fresh process, at several sizes of a corpus of random unit tokens.

The whole way is measured: the encoder's batches, shards, the token store, and then the index over it. A build that
needs the token store finds it built, so its peak is its own.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from late.corpus import DIM, TOKENS
from late.latency import run

BUILDS = {
    "token store, float16": ("build-tokens", "tokens"),
    "token store, residual-2": ("build-tokens", "residual-2"),
    "FDE index (20, 5, 16), product-quantised": ("build", "muvera-pq"),
    "XTR-IVF index, 4 bits": ("build", "xtr"),
}


def main(work: Path, sizes: Sequence[int], *, threads: int, timeout: float) -> None:
    """Build everything at every size, and print the table."""
    rows: dict[str, list[dict[str, Any] | None]] = {name: [] for name in BUILDS}
    for size in sizes:
        scratch = work / f"memory-{size}"
        for name, (task, method) in BUILDS.items():
            command = [sys.executable, "-m", "late.ours", task, method, "--corpus", "random"]
            command += ["--documents", str(size), "--work", str(scratch), "--threads", str(threads)]
            record = run(command, threads, timeout)
            rows[name].append(record)
            shown = (
                "took too long"
                if record is None
                else f"{record['rss'] / 2**30:.2f} GiB, {record['seconds']:.0f} s"
            )
            print(f"{size:,} documents, {name}: {shown}", flush=True)
        shutil.rmtree(scratch)
    print(f"\nRandom unit tokens, {TOKENS} a document, {DIM} dimensions; {threads} threads.")
    print(
        "Peak memory of the process in GiB, Python and libraries included (bytes a token on disk; seconds):\n"
    )
    print(
        f"| build | {' | '.join(f'{size:,}' for size in sizes)} | last / first |\n|---|{'---|' * (len(sizes) + 1)}"
    )
    for name, records in rows.items():
        cells = []
        for size, record in zip(sizes, records, strict=True):
            if record is None:
                cells.append("-")
                continue
            own = list(record["bytes"].values())[-1]
            cells.append(
                f"{record['rss'] / 2**30:.2f} ({own / size / TOKENS:.1f} B; {record['seconds']:.0f} s)"
            )
        ratio = f"{records[-1]['rss'] / records[0]['rss']:.2f}" if records[0] and records[-1] else "-"
        print(f"| {name} | {' | '.join(cells)} | {ratio} |")
