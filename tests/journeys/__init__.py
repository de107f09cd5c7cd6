"""Tests in real browsers: journeys of users."""
