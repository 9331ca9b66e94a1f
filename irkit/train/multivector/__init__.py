"""``kind: multivector``: heads that make a bi-encoder's token vectors short and fit for late interaction."""
