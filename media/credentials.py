"""How the two ends of a connection recognise each other: ICE credentials and the fingerprints of certificates.

Session descriptions state them (`media.sdp`), and connections use them (`media.transport`).
"""

import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Credentials:
    """ICE credentials (RFC 8445 section 5.3), with which connectivity checks are addressed and signed."""

    ufrag: str
    password: str


def new_credentials() -> Credentials:
    """Return credentials that nobody can guess (RFC 8445 section 5.3: 24 and 128 bits at least)."""
    return Credentials(secrets.token_hex(4), secrets.token_hex(16))


@dataclass(frozen=True)
class Fingerprint:
    """The digest of a certificate (RFC 8122): algorithm as in SDP ("sha-256"), value in upper case with colons."""

    algorithm: str
    value: str
