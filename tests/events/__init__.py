"""Tests of the event log and the event channel."""
