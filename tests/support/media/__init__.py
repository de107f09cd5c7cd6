"""A node and its peers, for the tests of media and the benchmarks."""
