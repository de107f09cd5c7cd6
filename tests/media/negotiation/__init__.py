"""Tests of a leg's negotiation."""
