"""Journeys through the test page."""
