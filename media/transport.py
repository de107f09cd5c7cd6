"""The secure transport of one leg: DTLS (RFC 6347, RFC 5764) over datagrams that the port hands in.

Who may open one is settled elsewhere: a leg exists because somebody was let in, and the port hands in what comes from
an address that has shown the leg's ICE password. What is limited here is what such a party, or somebody who forges
its address, can cost the others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum

from media.aiortc_adapter import Certificate, Srtp

logger = logging.getLogger(__name__)

# A DTLS record over UDP fits one packet of an Ethernet: nobody sends more.
MAX_DATAGRAM = 1500
# Datagrams that wait to be read, also those that come before the transport is started.
MAX_WAITING = 64
# A browser needs about ten datagrams, a few times over when the network loses them.
MAX_HANDSHAKE_DATAGRAMS = 200
MAX_HANDSHAKE_BYTES = 128 * 1024
# Datagrams a second of an established connection, which carries only data channels.
MAX_RATE = 1000
# How many datagrams are read without letting others run.
BATCH = 16
HANDSHAKE_SECONDS = 10.0
# A handshake waits no longer than this for its turn.
TURN_SECONDS = 30.0

# RFC 6347 section 4.1 and RFC 9147 section 4: content types of records with the long header, and its length.
_CONTENT_TYPES = range(20, 25)
_ALERT = 21
_HEADER = 13


class State(StrEnum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"
    CLOSED = "closed"


class Handshakes:
    """The handshakes of a node: at most `limit` go on at the same time, further ones wait their turn, in order."""

    def __init__(self, limit: int = 128) -> None:
        self.limit = limit
        self.open = 0
        self._turns = asyncio.Semaphore(limit)

    async def enter(self) -> None:
        await self._turns.acquire()
        self.open += 1

    def leave(self) -> None:
        self.open -= 1
        self._turns.release()


class Transport:
    """One leg's DTLS connection.

    `send` takes each datagram that goes out. `on_state` is called with every new state. `on_data` is awaited with every
    message of application data (SCTP), once connected; it may be set later.
    """

    def __init__(
        self,
        certificate: Certificate,
        role: str,
        send: Callable[[bytes], None],
        *,
        handshakes: Handshakes | None = None,
        on_state: Callable[[State], None] = lambda state: None,
        on_data: Callable[[bytes], Awaitable[None]] | None = None,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        self.role = role
        self.on_state = on_state
        self.on_data = on_data
        self.dropped = 0
        raise NotImplementedError

    @property
    def state(self) -> State:
        raise NotImplementedError

    @property
    def srtp(self) -> Srtp | None:
        """The SRTP sessions, from `connected` on (also when it is closed)."""
        raise NotImplementedError

    def start(self, fingerprints: Iterable[tuple[str, str]]) -> None:
        """Begin: as server wait for the other side's first datagram, as client send ours. Needs a running loop.

        `fingerprints` are the (algorithm, value) pairs of the other side's SDP.
        """
        raise NotImplementedError

    def feed(self, datagram: bytes) -> None:
        """Take a DTLS datagram that has come in."""
        raise NotImplementedError

    def send_data(self, data: bytes) -> bool:
        """Send a message of application data. Return whether it could be sent."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the connection, politely where there is one. Leaves no task behind."""
        raise NotImplementedError
