"""``python -m irkit.train EXAMPLES -o FOLDER``: fit where torch and the model are, but no Java, faiss or collections."""

from __future__ import annotations

import argparse
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from irkit.core.errors import IrkitError
from irkit.pipeline.context import Advance, Runtime, Silent
from irkit.train.examples import Examples
from irkit.train.fit import Fitting, fit, recipe_of


class Lines(Silent):
    """Progress as lines on stderr: what begins, and what every look at held-out queries found."""

    def task(self, label: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """Say what begins."""
        self.say(f"{label}: {done} of {total}")
        return super().task(label, total, done)

    def say(self, text: str) -> None:
        """Print a line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def main(argv: list[str] | None = None) -> int:
    """Fit a file of examples; return the exit status."""
    parser = argparse.ArgumentParser("python -m irkit.train", description=__doc__)
    parser.add_argument("examples", type=Path, help="what `irkit train RECIPE --prepare-only` wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=VALUE", help="change a value of the recipe"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="train this variant; may be repeated"
    )
    parser.add_argument("--model", help="the folder of the model's files, when not where the recipe says")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; the best there is by default")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores by default")
    given = parser.parse_args(argv)
    runtime = Runtime(given.device, given.threads) if given.threads else Runtime(given.device)
    how = Fitting(given.output, runtime=runtime, model=given.model, progress=Lines())
    try:
        examples = Examples.load(given.examples)
        recipe = recipe_of(examples, given.set, str(given.examples)).only(given.only)
        reports = fit(recipe, examples, how)
    except KeyboardInterrupt:
        sys.stderr.write(f"\ninterrupted; {how.left()}\n")
        return 130
    except IrkitError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for name, said in reports.items():
        checked = said["validation"]
        for task, before in checked["before"].items():
            line = f"{name or said['name']}: {task}: ndcg@10 {before:.4f} -> {checked['after'][task]:.4f}"
            sys.stdout.write(f"{line} (step {checked['best_step']} of {said['steps']})\n")
        if "outcome" in said:
            sys.stdout.write(f"{name or said['name']}: {said['outcome']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
