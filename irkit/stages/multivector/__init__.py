"""Multi-vector retrieval: token vectors and late interaction."""
