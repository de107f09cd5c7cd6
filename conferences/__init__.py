"""Conferences: state machines, models, operations, the REST interface and the admin."""
