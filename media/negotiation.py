"""The SDP of a leg: offers and answers between one participant and the focus (RFC 3264, RFC 8829).

Pure: text in, text and frozen tables out. Who may offer when, is the operations' business; here stands what is said.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from media.codecs import Agreed, Codec, NegotiationError, read_capabilities

__all__ = [
    "Agreed",
    "Codec",
    "Credentials",
    "Fingerprint",
    "LocalEnd",
    "Negotiation",
    "NegotiationError",
    "Outgoing",
    "Section",
    "read_capabilities",
]

Role = Literal["client", "server"]


@dataclass(frozen=True)
class Fingerprint:
    """The digest of a certificate: algorithm as in SDP ("sha-256"), value in upper case with colons."""

    algorithm: str
    value: str


@dataclass(frozen=True)
class Credentials:
    """ICE credentials: what a binding request is addressed and signed with."""

    ufrag: str
    password: str


def new_credentials() -> Credentials:
    """Return credentials that nobody can guess (RFC 8445 section 5.3: 24 and 128 bits at least)."""
    return Credentials(secrets.token_hex(4), secrets.token_hex(16))


@dataclass(frozen=True)
class LocalEnd:
    """What the node is to every leg: its certificate's fingerprints, where it listens, the DTLS role that it prefers."""

    fingerprints: tuple[Fingerprint, ...]
    candidates: tuple[tuple[str, int], ...]  # address (IPv4 or IPv6), port; the preferred first
    role: Role = "server"


@dataclass(frozen=True)
class Outgoing:
    """A track that a leg should get. `live` false: it keeps its line, but nothing is sent now."""

    track: str
    kind: str
    stream: str  # msid stream and CNAME: the ID of the participant who sends it
    label: str  # "audio", "video", "screen" …
    ssrc: int
    rtx_ssrc: int | None
    live: bool


@dataclass(frozen=True)
class Section:
    """One m= line as settled between both sides."""

    mid: str
    kind: str  # "audio", "video" or "application"
    rejected: bool
    receiving: bool  # the participant sends, we receive
    sending: bool  # we send
    codecs: tuple[Codec, ...]  # valid both ways
    extensions: Mapping[str, int]  # URI to ID; valid both ways
    mixed: bool  # one- and two-byte header extensions may be mixed (RFC 8285 section 6)
    reduced_size: bool  # a=rtcp-rsize
    ssrcs: tuple[int, ...]  # of the participant, primary; may be empty: then MID or payload type decide
    rtx_ssrcs: Mapping[int, int]  # of the participant: retransmission SSRC to the primary one
    label: str  # of what the participant sends here; "" where it never did
    outgoing: Outgoing | None  # what we send here, or keep the line for
    sctp_port: int | None = None  # of the participant, on a data channel line
    max_message_size: int | None = None  # bytes that the participant takes, on a data channel line; 0: any


class Negotiation:
    """One leg's dialogue of offers and answers. A new peer connection of the participant is a new object.

    A refusal (NegotiationError, SdpError) leaves everything as it was.
    """

    def __init__(
        self,
        local: LocalEnd,
        *,
        session_id: int | None = None,
        credentials: Callable[[], Credentials] = new_credentials,
    ) -> None:
        self._local = local
        self._session_id = session_id or secrets.randbits(62)
        self._credentials = credentials

    @property
    def sections(self) -> tuple[Section, ...]:
        """The media lines as settled, in their order; empty before the first answer."""
        raise NotImplementedError

    @property
    def settled(self) -> bool:
        """Whether an offer has ever been answered, so that there is a transport to set up."""
        raise NotImplementedError

    @property
    def offering(self) -> bool:
        """Whether our own offer waits for its answer."""
        raise NotImplementedError

    @property
    def local_credentials(self) -> Credentials:
        """Ours, new after the participant has restarted ICE."""
        raise NotImplementedError

    @property
    def remote_credentials(self) -> Credentials | None:
        """The participant's, None before anything is settled."""
        raise NotImplementedError

    @property
    def remote_fingerprints(self) -> tuple[Fingerprint, ...]:
        """Those that the participant's certificate must match one of."""
        raise NotImplementedError

    @property
    def role(self) -> Role | None:
        """Our DTLS role, the same for as long as the leg lives; None before anything is settled."""
        raise NotImplementedError

    def receive_offer(self, text: str, agreed: Agreed) -> None:
        """This function will take the participant's offer; `create_answer` then settles it.

        Our own offer, if one is pending, is rolled back (RFC 8829 section 4.1.10.2).

        :param agreed: what the conference agrees on, this offer included (`Agreed.joined_by`).
        """
        raise NotImplementedError

    def create_answer(self, outgoing: Sequence[Outgoing]) -> str:
        """This function will answer the received offer, settle it, and return the text.

        Tracks for which the offer has no free line wait for `create_offer`.
        """
        raise NotImplementedError

    def create_offer(self, outgoing: Sequence[Outgoing], agreed: Agreed) -> str | None:
        """This function will return our offer, pending until its answer, or None if the leg knows all that already."""
        raise NotImplementedError

    def receive_answer(self, text: str) -> None:
        """This function will settle our pending offer with the participant's answer."""
        raise NotImplementedError

    def rollback(self) -> None:
        """This function will forget the pending offer, whosever it is: lines it would add, tracks it would place."""
        raise NotImplementedError
