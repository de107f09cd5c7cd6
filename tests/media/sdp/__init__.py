"""Tests of reading descriptions."""
