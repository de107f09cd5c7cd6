"""Tests of what descriptions may say between peers."""
