"""Attention that a loss can be brought back from: the forward pass of reading, and its way back to the weights."""
