"""What kind of model a folder holds, read off its files."""

from __future__ import annotations

from pathlib import Path

from irkit.models.colberter_files import is_colberter
from irkit.models.safety import read_json
from irkit.models.trained import read_trained
from irkit.models.xtr import is_xtr


def model_type(folder: Path) -> str:
    """Return what a folder holds: SentenceTransformer, MultiVectorEncoder, XTR, ColBERTer, CrossEncoder or SparseEncoder.

    A folder that says nothing else is taken for a SentenceTransformer: any transformer makes one, by mean pooling.

    Raises:
        ModelError: when a JSON file cannot be read.
    """
    said = read_json(folder / "config_sentence_transformers.json").get("model_type")
    if said:
        return "MultiVectorEncoder" if said == "ColBERT" else str(said)
    architectures = read_json(folder / "config.json").get("architectures") or []
    if "HF_ColBERT" in architectures:
        return "MultiVectorEncoder"
    if is_colberter(folder) or _is_trained_colberter(folder):
        return "ColBERTer"
    if is_xtr(folder):
        return "XTR"
    if (
        any(str(name).endswith("ForSequenceClassification") for name in architectures)
        and not (folder / "modules.json").exists()
    ):
        return "CrossEncoder"
    return "SentenceTransformer"


def _is_trained_colberter(folder: Path) -> bool:
    trained = read_trained(folder)
    return trained is not None and trained.kind == "colberter"
