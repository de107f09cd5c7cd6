"""Tests of the benchmarks. They run the benchmarks as commands."""
