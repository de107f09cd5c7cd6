"""Tests of the focus: its conferences, its service and its cost."""
