"""A node among real sockets: what its participants get, and what they cannot do to each other."""
