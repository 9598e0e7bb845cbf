"""Benchmarks: `python -m benchmarks.<name>` prints a table and, as its last line, one JSON object."""
