"""Tests of connections: ICE, DTLS and SCTP."""
