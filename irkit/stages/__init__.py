"""The stages that irkit brings. Each is a file; the entry points in ``pyproject.toml`` name them."""
