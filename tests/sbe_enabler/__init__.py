"""Tests of the project package (processes, commands, settings) and of whole servers."""
