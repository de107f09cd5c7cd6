"""Tests of the quotas of a user."""
