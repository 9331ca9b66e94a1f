"""Causal language models whose attention is read: what a reranker sees is how much its documents are looked at."""
