"""What an experiment found out: as data, and as text, Markdown and HTML."""
