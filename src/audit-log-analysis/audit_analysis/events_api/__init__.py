"""Searches archived events: the REST API of the archive process, and what it needs of DuckDB."""
