"""One media section as both sides have settled it, and the track that it carries."""

from collections.abc import Mapping
from dataclasses import dataclass

from media.sdp.codecs import Codec


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
