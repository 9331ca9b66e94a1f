"""The store: everything that was computed is kept once, by its content, and is never half-written."""

from irkit.store.artifact import MANIFEST, Artifact, Recipe
from irkit.store.ledger import Ledger
from irkit.store.store import TRASH, Build, Store

__all__ = ["MANIFEST", "TRASH", "Artifact", "Build", "Ledger", "Recipe", "Store"]
