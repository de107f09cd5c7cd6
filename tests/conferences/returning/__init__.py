"""Tests of users who leave a conference and come back."""
