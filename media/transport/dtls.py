"""The secure transport of one leg: DTLS (RFC 6347, RFC 5764) over datagrams that the port feeds.

The operations decide which participants may have a leg. The port feeds only datagrams from an address that has shown
the leg's ICE password. This module limits how much time and memory such a participant can use. Datagrams from an
attacker that forges the participant's address count towards the same limits.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from enum import StrEnum
from struct import Struct
from typing import Literal

from media.aiortc_adapter import Certificate, Dtls, Srtp
from media.allowance import Allowance
from media.credentials import Fingerprint
from media.tally import Tally

logger = logging.getLogger(__name__)

# The largest size of a datagram, in bytes. A DTLS record over UDP fits into one Ethernet frame.
MAX_DATAGRAM = 1500
# How many datagrams may wait to be read, including those that arrive before the transport is started.
MAX_WAITING = 64
# The most records in a datagram. A browser sends a flight of a handshake in one datagram, and each later record in a
# datagram of its own.
MOST_RECORDS = 16
# How many records and bytes a handshake may receive. A browser needs about ten records, and a few times that number if
# some are lost.
MAX_HANDSHAKE_RECORDS = 200
MAX_HANDSHAKE_BYTES = 128 * 1024
# How many messages of application data may wait for a reader.
MAX_EARLY = 4
# How many records per second an established connection may receive. They belong to data channels only. A datagram may
# hold several records, and each one takes time.
MAX_RATE = 1000
# When at least this many records have been read, other tasks run.
BATCH = 16
HANDSHAKE_SECONDS = 10.0
# A handshake waits at most this long for its turn.
TURN_SECONDS = 30.0

# RFC 6347 section 4.1 and RFC 9147 section 4: the content types of records with the long header. From that header: the
# content type, the first byte of the version, the epoch, and the length of the rest of the record.
_CONTENT_TYPES = range(20, 25)
_ALERT = 21
_HEADER = Struct("!BBxH6xH")


Role = Literal["server", "client"]


class State(StrEnum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"
    CLOSED = "closed"


class Handshakes:
    """The handshakes of a node. At most `limit` are in progress at the same time, and further ones wait their turn.

    Once `limit` / 2 handshakes are in progress, one more begins only if each of its origins has fewer than `share`. So
    stalled handshakes of an origin delay only that origin. An origin is a property that several callers of `turn` have
    in common: a conference or a network.
    """

    def __init__(self, limit: int = 128, share: int = 16) -> None:
        self.limit, self.share = limit, share
        self.open = 0
        self._open_from = Tally()
        self._waiting: dict[asyncio.Future[None], tuple[Hashable, ...]] = {}

    @asynccontextmanager
    async def turn(self, *origins: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, and take it.

        :raises TimeoutError: when the wait takes too long.
        """
        granted = asyncio.get_running_loop().create_future()
        self._waiting[granted] = origins
        self._grant()
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await granted
            yield
        finally:
            self._waiting.pop(granted, None)
            if granted.done() and not granted.cancelled():
                self._release(origins)

    def _grant(self) -> None:
        """Give turns to waiting handshakes, in the order of their arrival, if their origins' shares allow it."""
        for granted, origins in list(self._waiting.items()):
            if self.open >= self.limit:
                return
            if not granted.done() and self._has_room(origins):
                del self._waiting[granted]
                self.open += 1
                self._open_from.update(origins)
                granted.set_result(None)

    def _has_room(self, origins: Iterable[Hashable]) -> bool:
        """Tell whether one more handshake with these origins may begin."""
        return self.open < self.limit // 2 or all(self._open_from[origin] < self.share for origin in origins)

    def _release(self, origins: Iterable[Hashable]) -> None:
        """End a turn."""
        self.open -= 1
        self._open_from.release(origins)
        self._grant()


class Transport:
    """One leg's DTLS connection.

    `send` is called with each outgoing datagram, and `on_state` with every new state. `on_data` is awaited with every
    message of application data (SCTP), once connected. `on_data` may be set later. None of these functions may raise.
    """

    def __init__(
        self,
        certificate: Certificate,
        role: Role,
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
        # Application data that arrived while `on_data` was None. SCTP's first packet often comes with the last flight
        # of DTLS.
        self.early: deque[bytes] = deque(maxlen=MAX_EARLY)
        # How many datagrams were dropped, because they were too large, too many, or not DTLS.
        self.dropped = 0
        self._state = State.NEW
        self._srtp: Srtp | None = None
        self._handshakes = handshakes or Handshakes()
        self._handshake_seconds = handshake_seconds
        # aiortc's transport, public for inspection.
        self.dtls = Dtls(certificate, role, self._receive, send, self._data, self._ended)
        self._task: asyncio.Task[None] | None = None
        # The datagrams that wait to be read, each with its number of records.
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._arrival = asyncio.Event()
        self._over = False
        self._batch = 0
        self._handshake_budget = [MAX_HANDSHAKE_RECORDS, MAX_HANDSHAKE_BYTES]
        self._allowance = Allowance(MAX_RATE, MAX_RATE)

    @property
    def state(self) -> State:
        return self._state

    @property
    def waiting(self) -> int:
        """How many datagrams wait to be read."""
        return len(self._waiting)

    @property
    def srtp(self) -> Srtp | None:
        """The SRTP sessions; None until the state is `connected`."""
        return self._srtp

    def start(self, fingerprints: Iterable[Fingerprint], *origins: Hashable) -> None:
        """Begin the handshake on the running loop. A server waits for the first datagram, and a client sends it.

        The time limit begins when the handshake gets its turn. A client waits for its turn at once, a server only after
        the first datagram. So start a client only when there is an address to which it can send.

        A repeated start changes nothing.

        :param fingerprints: the fingerprints in the other side's SDP. The other side's certificate must match one.
        :param origins: the conference and the network of this leg, which limit its turns (`Handshakes`).
        """
        if self._state is State.NEW:
            self._set_state(State.CONNECTING)
            self._task = asyncio.get_running_loop().create_task(self._connect(tuple(fingerprints), origins))

    def feed(self, datagram: bytes) -> None:
        """Accept an incoming DTLS datagram, before or after the start."""
        if self._over:
            return
        records = _count_records(datagram)
        if not records or not self._affordable(records, len(datagram)):
            self.dropped += 1
            return
        self._waiting.append((datagram, records))
        self._arrival.set()

    def send_data(self, data: bytes) -> bool:
        """Send a message of application data. Return whether it could be sent."""
        return self._state is State.CONNECTED and self.dtls.send_data(data)

    async def close(self) -> None:
        """End the connection and all its tasks. Send a close-notify if possible. This is allowed in any state."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            # Both calls are needed, because a cancellation may be lost when a datagram comes at the same moment.
            self._ended()
            task.cancel()
            await asyncio.wait([task])
        # Call `finish` before `_ended`, because aiortc sends close-notify only while it is connected.
        await self.dtls.finish()
        self._ended()
        # Break the reference cycles, so that memory is freed now and not by the garbage collector.
        self.dtls.forget()
        self.on_state, self.on_data = _ignored, None

    async def _connect(self, fingerprints: tuple[Fingerprint, ...], origins: tuple[Hashable, ...]) -> None:
        """Wait until the handshake may begin and gets its turn. Then do the handshake."""
        if self.role == "server":
            await self._arrival.wait()
        connected = False
        try:
            async with self._handshakes.turn(*origins):
                deadline = asyncio.get_running_loop().call_later(self._handshake_seconds, self._expire)
                try:
                    connected = await self.dtls.handshake(fingerprints)
                finally:
                    deadline.cancel()
        except TimeoutError:
            logger.info("A DTLS handshake did not get its turn")
        if connected and not self._over:
            self._srtp = self.dtls.srtp
            self._set_state(State.CONNECTED)
        else:
            self._end(State.FAILED)
            await self.dtls.finish()

    def _expire(self) -> None:
        """Give up a slow handshake: `_receive` then raises. A cancellation of the task could be lost in aiortc."""
        logger.info("A DTLS handshake took too long")
        self._end(State.FAILED)

    async def _receive(self) -> bytes:
        """Return the next datagram for aiortc.

        :raises ConnectionError: when there will be no further datagram.
        """
        if self._batch >= BATCH:
            self._batch = 0
            await asyncio.sleep(0)
        while not self._waiting:
            if self._over:
                raise ConnectionError
            self._batch = 0
            self._arrival.clear()
            await self._arrival.wait()
        datagram, records = self._waiting.popleft()
        self._batch += records
        return datagram

    async def _data(self, data: bytes) -> None:
        if self.on_data is None:
            self.early.append(data)
        else:
            await self.on_data(data)

    def _affordable(self, records: int, size: int) -> bool:
        """Count a datagram of this many records and bytes, and tell whether it is within the limits."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        if self._state is not State.CONNECTED:
            budget = self._handshake_budget
            budget[0] -= records
            budget[1] -= size
            return min(budget) >= 0
        return self._allowance.take(records, asyncio.get_running_loop().time())

    def _ended(self) -> None:
        self._end(State.CLOSED)

    def _end(self, state: State) -> None:
        """Record the final state, stop reading, and wake `_receive` if it waits for a datagram."""
        if self._over:
            return
        self._over = True
        self._waiting.clear()
        self._arrival.set()
        self._set_state(state)

    def _set_state(self, state: State) -> None:
        logger.debug("DTLS %s -> %s", self._state, state)
        self._state = state
        self.on_state(state)


def _ignored(state: State) -> None:
    """Ignore a change of state after the end."""


def _count_records(datagram: bytes) -> int:
    """Return how many DTLS records a datagram holds. Return 0 if it does not consist of at most MOST_RECORDS records.

    The check is cheap, and most garbage fails it. An unencrypted alert may be forged, so a datagram with one counts as
    garbage. If the handshake really failed, its time limit ends it.
    """
    if len(datagram) > MAX_DATAGRAM:
        return 0
    records = at = 0
    while at + _HEADER.size < len(datagram) and records < MOST_RECORDS:
        kind, version, epoch, length = _HEADER.unpack_from(datagram, at)
        if kind not in _CONTENT_TYPES or version != 0xFE or not length or (kind == _ALERT and not epoch):
            return 0
        records += 1
        at += _HEADER.size + length
    return records if at == len(datagram) else 0
