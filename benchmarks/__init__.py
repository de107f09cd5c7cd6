"""Benchmarks. Each module with a `main` is a program: `python -m benchmarks.NAME`."""
