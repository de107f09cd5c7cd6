"""Formats of dates in the admin."""
