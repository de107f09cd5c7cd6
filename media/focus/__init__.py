"""The focus: legs, conferences, the node that runs them, and the service around it."""
