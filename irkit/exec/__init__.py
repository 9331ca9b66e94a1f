"""Running graphs: which nodes the store has, which must be computed, and computing them once."""
