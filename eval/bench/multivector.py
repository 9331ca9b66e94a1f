"""Multi-vector retrieval: speed, memory and what approximation costs, against peers, in Markdown tables.

    python eval/bench/multivector.py --part latency --collection SCIFACT NFCORPUS CRANFIELD \\
        --peer xtr-warp=peer/bin/python --peer plaid=other/bin/python
    python eval/bench/multivector.py --part memory
    python eval/bench/multivector.py --part quality --collection SCIFACT NFCORPUS
    python eval/bench/multivector.py --part fde --peer fastembed=peer/bin/python
    python eval/bench/multivector.py --part maxsim

Collections are BEIR folders. Peers have environments of their own; ``late/peers.py`` and ``late/fde.py`` say how they
are made. Indexes and the corpus are built once and kept in ``--work``, so a second run only measures. Building takes
most of the time: xtr-warp's 100,000 documents some minutes, PLAID's more than half an hour. ``--timeout`` ends a build,
and the method is left out at that size.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

from late import latency, memory, quality
from late.peers import PEERS as SEARCHERS

BENCH = Path(__file__).resolve().parent
PARTS = ("fde", "maxsim", "memory", "latency", "quality")
METHODS = ("maxsim", "muvera", "muvera-pq", "xtr")


def script(name: str, *arguments: str) -> None:
    """Run a benchmark that is a program of its own, and end where it fails."""
    print(flush=True)
    done = subprocess.run([sys.executable, str(BENCH / "late" / f"{name}.py"), *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--collection", type=Path, nargs="*", default=[], help="BEIR folders")
    parser.add_argument(
        "--sizes", type=int, nargs="+", help="documents; 10,000, 100,000 and 400,000 unless given"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="irkit's, for latency")
    parser.add_argument("--work", type=Path, default=Path("multivector-bench"), help="corpora and indexes")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="to build with; searches have one"
    )
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for building one index")
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="1,000 and 3,000 documents, 16 queries, one turn"
    )
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.queries, options.turns = options.sizes or [1000, 3000], 16, 1
    sizes = options.sizes or [10_000, 100_000, 400_000]
    peers = dict(peer.split("=", 1) for peer in options.peer)
    collections = [path.resolve() for path in options.collection]
    work = options.work.resolve()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    )
    for part in options.part:
        print(f"\n## {part}", flush=True)
        if part == "fde":
            script(
                "fde", *(f"--peer={name}={python}" for name, python in peers.items() if name not in SEARCHERS)
            )
        elif part == "maxsim":
            script("maxsim", *(["--quick"] if options.quick else []))
        elif part == "memory":
            memory.main(work, sizes, threads=options.threads, timeout=options.timeout)
        elif part == "latency":
            latency.main(
                work,
                collections,
                sizes,
                options.methods,
                {name: python for name, python in peers.items() if name in SEARCHERS},
                threads=options.threads,
                timeout=options.timeout,
                n_queries=options.queries,
                turns=options.turns,
            )
        else:
            quality.main(work, collections, threads=options.threads, quick=options.quick)


if __name__ == "__main__":
    main()
