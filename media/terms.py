"""The terms of a leg: what both sides have settled for each media line, and what either side is."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from media.codecs import Codec
from media.description import Fingerprint

Role = Literal["client", "server"]

# A participant without media for this long is given up.
LOST_SECONDS = 30.0


class Connection(StrEnum):
    """How a participant's connection is.

    Connected: its checks for consent come (RFC 7675). Poor: they do, but too much gets lost, one way or the other.
    """

    CONNECTED = "connected"
    POOR = "poor"
    DISCONNECTED = "disconnected"


# Characters of a participant's ID that make its CNAME: 64 bits, which an offer to a large conference repeats often.
_CNAME_LENGTH = 16


def cname_of(participant: str) -> str:
    """Return the CNAME of a participant's tracks, the same in descriptions and in RTCP (RFC 3550 section 6.5.1)."""
    return participant[:_CNAME_LENGTH]


@dataclass(frozen=True)
class Assignment:
    """That a node serves a conference. Each later assignment of a conference has a higher generation."""

    node: str
    generation: int


@dataclass(frozen=True)
class LocalEnd:
    """What the node is to every leg: its certificate's fingerprints, where it listens, the DTLS role it prefers."""

    fingerprints: tuple[Fingerprint, ...]
    candidates: tuple[tuple[str, int], ...]  # address (IPv4 or IPv6), port; the preferred first
    role: Role = "server"


@dataclass(frozen=True)
class Outgoing:
    """A track that a leg should get. `live` false: it keeps its line, but nothing is sent now."""

    track: str
    kind: str
    stream: str  # of the msid: the ID of the participant who sends it
    label: str  # "audio", "video", "screen" …
    ssrc: int
    rtx_ssrc: int | None
    live: bool


@dataclass(frozen=True)
class Section:
    """One m= line as settled between both sides."""

    mid: str
    kind: str  # "audio", "video" or "application"; another one is always rejected
    rejected: bool
    receiving: bool  # the participant sends, we receive
    sending: bool  # we send
    codecs: tuple[Codec, ...]  # valid both ways, the preferred first
    extensions: Mapping[str, int]  # URI to ID; valid both ways
    mixed: bool  # one- and two-byte header extensions may be mixed (RFC 8285 section 6)
    reduced_size: bool  # a=rtcp-rsize
    ssrcs: tuple[int, ...]  # of the participant, primary; may be empty: then MID or payload type decide
    rtx_ssrcs: Mapping[int, int]  # of the participant: retransmission SSRC to the primary one
    label: str  # of what the participant sends here; "" where it never did
    outgoing: Outgoing | None  # what we send here, or keep the line for
    sctp_port: int | None = None  # of the participant, on a data channel line
    max_message_size: int | None = None  # bytes that the participant takes, on a data channel line; 0: any
