"""Tests of a node with real sockets: the media that participants get, and attacks on other participants."""
