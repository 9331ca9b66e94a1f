"""Stages that change a query before it is matched."""
