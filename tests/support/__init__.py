"""What tests and benchmarks share: real services, endpoints, descriptions, a node. It imports no test."""
