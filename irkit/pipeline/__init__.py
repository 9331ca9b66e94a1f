"""What a pipeline is: stages, the registry that finds them by name, and the graph they form."""
