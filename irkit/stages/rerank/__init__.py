"""Rerankers: stages that give candidates new scores."""
