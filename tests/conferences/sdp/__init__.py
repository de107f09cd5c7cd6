"""Tests of the rules for session descriptions in requests."""
