"""Tests of how much one user may do."""
