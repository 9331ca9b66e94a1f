"""Multi-vector retrieval: token vectors and late interaction."""

from irkit.core.compiled import prepare_cache

prepare_cache()  # before any module here imports numba
