"""Tests of the benchmarks, which they run as commands."""
