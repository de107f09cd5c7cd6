"""Tests of participants that leave and come back."""
