"""Tests of the log of a session, its readers, and their wake-ups."""
