"""Tests of what time ends."""
