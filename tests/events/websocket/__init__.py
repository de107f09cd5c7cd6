"""Tests of the WebSocket with a real server."""
