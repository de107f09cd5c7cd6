"""Tests of the project package: its processes, commands and settings, and servers as a whole."""
