"""Code for tests and benchmarks: services, endpoints, descriptions, a media node. It imports no test."""
