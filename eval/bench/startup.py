"""How long a person waits: `import irkit`, `irkit --help`, the quickstart cold and again.

Cold means an empty store and an empty cache of compiled code, so the run includes every JIT compilation, model load and JVM start.
Whole processes, timed from outside; the median of the runs is printed, the quickstart's cold run is made once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch",
    "numba",
    "jnius",
    "faiss",
    "ranx",
    "transformers",
    "sentence_transformers",
    "ir_datasets",
    "pandas",
)


def seconds(arguments: list[str], environment: dict[str, str] | None = None) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{arguments} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def loaded_by_second_run(store: str) -> list[str]:
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom irkit.api import Workspace, run\n"
        f"run('pipelines/quickstart.yaml', Workspace(store_root=Path({store!r})))\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    irkit = str(Path(sys.executable).with_name("irkit"))
    with tempfile.TemporaryDirectory() as folder:
        fresh = {"NUMBA_CACHE_DIR": f"{folder}/numba"}
        quickstart = [irkit, "run", "pipelines/quickstart.yaml", "--store", f"{folder}/store"]
        rows = [
            (
                "import irkit",
                statistics.median(seconds([sys.executable, "-c", "import irkit"]) for _ in range(runs)),
            ),
            ("irkit --help", statistics.median(seconds([irkit, "--help"]) for _ in range(runs))),
            ("quickstart, cold", seconds(quickstart, fresh)),
            ("quickstart, second", statistics.median(seconds(quickstart, fresh) for _ in range(runs))),
        ]
        heavy = loaded_by_second_run(f"{folder}/store")
    print("| what | seconds |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value:.2f} |")
    print(f"\nheavy packages loaded by the second run: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
