"""Tests of conferences through the focus."""
