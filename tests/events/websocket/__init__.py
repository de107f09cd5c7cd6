"""Tests of the WebSocket, with a server."""
