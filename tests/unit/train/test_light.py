"""Reading a recipe and choosing what to train load nothing heavy, so a typo is answered before any model is."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import irkit.train
for module in pkgutil.walk_packages(irkit.train.__path__, "irkit.train."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
heavy = {"torch", "peft", "transformers", "sentence_transformers", "safetensors", "faiss", "jnius", "numba", "scipy"}
print(len([name for name in sys.modules if name.startswith("irkit.train.")]), *sorted(heavy & sys.modules.keys()))
"""


def test_no_module_of_training_imports_anything_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    count, *heavy = done.stdout.split()
    assert int(count) > 30 and heavy == []
