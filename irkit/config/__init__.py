"""Experiments as files: YAML with line numbers, validated before anything heavy is loaded, and its JSON Schema."""
