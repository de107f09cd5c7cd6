"""Tests of the conference resource."""
