"""How the two ends of a connection recognise each other: ICE credentials and the fingerprints of certificates.

Session descriptions contain this data (`media.sdp`), and connections use it (`media.transport`).
"""

import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Credentials:
    """ICE credentials (RFC 8445 section 5.3): a connectivity check names the ufrag, and the password signs it."""

    ufrag: str
    password: str


def new_credentials() -> Credentials:
    """Return random credentials. RFC 8445 section 5.3 requires at least 24 bits (ufrag) and 128 bits (password)."""
    return Credentials(secrets.token_hex(4), secrets.token_hex(16))


@dataclass(frozen=True)
class Fingerprint:
    """The digest of a certificate (RFC 8122): algorithm as in SDP ("sha-256"), value in upper case with colons."""

    algorithm: str
    value: str
