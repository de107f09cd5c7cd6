"""Tests of the SBE Enabler."""
