"""Tests of a session's log, its readers and their wake-ups."""
