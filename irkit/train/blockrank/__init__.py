"""``kind: blockrank``: a causal language model's attention, so that it rests on relevant documents."""
