"""A teacher's scores of the examples, by any pipeline."""
