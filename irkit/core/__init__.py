"""The data that flows: rankings, queries, content fingerprints, errors. Depends on numpy alone."""
