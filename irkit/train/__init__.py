"""Training: a recipe becomes examples (``prepare``: collections, pipelines), and examples become weights (``fit``: torch alone)."""
