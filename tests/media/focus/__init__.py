"""Tests of the focus: its conferences, its service, and what it costs."""
