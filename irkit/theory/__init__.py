"""What vectors can represent at all: the free-embedding optimisation of the LIMIT paper, and a construction beside it."""
