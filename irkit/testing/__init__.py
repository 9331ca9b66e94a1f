"""For authors of stages: a contract test that any stage can be put through, on a small collection made offline."""

from irkit.testing.contract import check_stage, small_collection

__all__ = ["check_stage", "small_collection"]
