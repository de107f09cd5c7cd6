"""Calls over bad networks, simulated around a real node. One seed, one run."""
