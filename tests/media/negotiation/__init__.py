"""Tests of what a leg negotiates."""
