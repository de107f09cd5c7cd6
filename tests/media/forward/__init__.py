"""Tests of forwarding: RTP, RTCP, and the compiled path."""
