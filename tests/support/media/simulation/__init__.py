"""A simulated call around a real node: virtual time, impaired paths, and models of browsers that send and receive."""
