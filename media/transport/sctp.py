"""The data channels of one leg (RFC 8831), over its transport.

The caller relays the messages: `on_message` passes each incoming message to the caller. With `send`, the caller sends
the message to the channel with the same label on every other leg. With `hold`, a message that must wait stays in the
receive window. Every limit here applies to one leg: to its channels, to its traffic, and to the data kept for it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import gt
from struct import error as StructError  # noqa: N812
from struct import unpack_from

from media.aiortc_adapter import RTCDataChannel, Sctp
from media.allowance import Allowance
from media.transport.dtls import State, Transport

logger = logging.getLogger(__name__)

# The a=max-message-size in the SDP of the focus.
MAX_MESSAGE_SIZE = 64 * 1024
MAX_CHANNELS = 16
MAX_LABEL = 128
# How many bytes are kept for a leg whose other side does not read. Beyond that, the channel is closed, because a
# reliable channel must lose nothing.
MAX_OUTSTANDING = 1024 * 1024
# A message that waits to be relayed occupies at least this many bytes of the window, because even a small message needs
# memory.
LEAST_HELD = 1024
# How many chunks are read per second, and in a burst. Further chunks are dropped, and the sender slows down as on a
# slow link.
CHUNK_RATE = 200
CHUNK_BURST = 400

# When packets that cost at least this many chunks have been read, other tasks run.
BATCH = 4

# RFC 9260 section 3: chunk types. For each type with parameters, `_PARAMETERS` holds the offset of the first parameter.
_DATA, _SACK, _RECONFIG, _FORWARD_TSN = 0, 3, 130, 192
_PARAMETERS = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
_COMMON_HEADER = 12
# The most chunks and SACKs in a packet. A packet of 1,200 bytes has room for 59 DATA chunks.
MOST_CHUNKS, _MOST_SACKS = 64, 1
# The most parameters in a RE-CONFIG (RFC 6525 section 3.1), and in any other chunk. Each takes time, and each parameter
# of a RE-CONFIG causes an answer.
_MOST_RECONFIGURATIONS, MOST_PARAMETERS = 2, 16
# The most pieces (DATA chunks) that a SACK may list after a gap. More pieces are never in flight to one leg.
_MAX_ACKNOWLEDGED = MAX_OUTSTANDING // 1024
# This many steps of aiortc's loops over a SACK count as one chunk. A step takes 0.1 to 0.6 µs. A SACK without gaps and
# duplicates costs nothing, because the transport limits the packets (`dtls.MAX_RATE`).
STEPS_FOR_A_CHUNK = 512


@dataclass(frozen=True)
class Holdings:
    """Counts of an association's channels, pieces, bytes and timers, for inspection. Each count is bounded."""

    # Channels that are open, or about to close.
    channels: int
    # The other side's streams that have been used.
    streams: tuple[int, ...]
    # Pieces of incomplete messages.
    pieces: int
    # Pieces that came before their predecessors.
    misordered: int
    # An upper bound for the bytes that the other side has not acknowledged.
    outstanding: int
    # Bytes of the other side's messages that wait to be relayed.
    waiting: int
    # Timers that run.
    timers: int


class DataChannels:
    """The SCTP association of a leg and the channels that the other side opens on it.

    Create this object once the transport is connected. The other side's SDP states its SCTP port (`port`) and its limit
    for messages in bytes (`max_message_size`; 0: no limit). `on_message(channels, label, message)` is called with every
    message that arrives.
    """

    def __init__(
        self,
        transport: Transport,
        port: int,
        max_message_size: int,
        on_message: Callable[["DataChannels", str, str | bytes], None],
    ) -> None:
        if transport.state is not State.CONNECTED:
            raise ValueError("Data channels need a connected transport")
        self._transport = transport
        self._on_message = on_message
        self._channels: list[RTCDataChannel] = []
        # How many packets and messages were dropped, because they were malformed, too large, or too many.
        self.dropped = 0
        # The cost of the packets since other tasks last ran, in chunks.
        self._work = 0.0
        # How much the other side may send now, in chunks.
        self.allowance = Allowance(CHUNK_RATE, CHUNK_BURST)
        # aiortc's association, public for inspection.
        self.sctp = Sctp(transport.role, transport.send_data)
        self.sctp.on("datachannel", self._opened)
        # Until the association is open, the transport keeps the packets.
        transport.on_data = None
        self._updates: set[asyncio.Task[None]] = set()
        self._start = asyncio.get_running_loop().create_task(self._connect(port, max_message_size))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the open channels."""
        return tuple(channel.label for channel in self._channels)

    @property
    def state(self) -> str:
        """The state of the association: "new", "connecting", "connected" or "closed"."""
        return str(self.sctp.state)

    def holdings(self) -> Holdings:
        """Return the current counts of the association."""
        sctp = self.sctp
        return Holdings(
            channels=sctp.open_channels,
            streams=sctp.streams,
            pieces=sctp.pieces,
            misordered=sctp.misordered,
            outstanding=sctp.outstanding,
            waiting=sctp.held,
            timers=sctp.timers,
        )

    def send(self, label: str, message: str | bytes) -> bool:
        """Send a message to the channel with this label, or to the newest channel if several have it.

        Return whether a channel accepted the message. A channel whose other side does not read is closed.
        """
        channel = next((each for each in reversed(self._channels) if each.label == label), None)
        if channel is None or channel.readyState != "open":
            return False
        if self.sctp.outstanding + size_of(message) > MAX_OUTSTANDING:
            logger.info("A data channel's other side does not read")
            self.dropped += 1
            self._refuse(channel)
            return False
        try:
            channel.send(message)
        except ValueError:
            # The message is larger than the other side accepts.
            self.dropped += 1
            return False
        return True

    def hold(self, size: int) -> None:
        """Keep a message of this size in the receive window while it waits to be relayed."""
        self.sctp.hold(max(size, LEAST_HELD))

    def release(self, size: int) -> None:
        """Give a message's bytes back to the window, and tell the other side when the window opens again."""
        if self.sctp.release(max(size, LEAST_HELD)):
            task = asyncio.get_running_loop().create_task(self.sctp.announce_window())
            self._updates.add(task)
            task.add_done_callback(self._updates.discard)

    async def close(self) -> None:
        """End the association and all its timers and tasks."""
        self._transport.on_data = None
        self._start.cancel()
        await asyncio.wait([self._start])
        await self.sctp.finish()
        # Break the reference cycles, so that memory is freed now and not by the garbage collector.
        for each in (self.sctp, *self._channels):
            each.remove_all_listeners()
        self._channels.clear()
        # The tasks that aiortc has started end within this turn of the loop.
        await asyncio.sleep(0)

    async def _connect(self, port: int, max_message_size: int) -> None:
        """Open the association. Read early packets only now: aiortc would lose a packet before its own INIT.

        The other side would repeat that packet only after seconds.
        """
        await self.sctp.connect(port, max_message_size)
        while self._transport.early:
            await self._receive(self._transport.early.popleft())
        self._transport.on_data = self._receive

    async def _receive(self, packet: bytes) -> None:
        """Handle an SCTP packet from the transport."""
        if self.sctp.state == "closed":
            return
        if self._is_sound(packet):
            await self.sctp.receive(packet)
            if self._work >= BATCH:
                self._work = 0.0
                await asyncio.sleep(0)
        else:
            self.dropped += 1

    def _is_sound(self, packet: bytes) -> bool:
        """Tell whether aiortc can read this packet safely, and the packet is within the rate limit."""
        cost, sacks = 0.0, 0
        # For each DATA chunk and FORWARD-TSN, aiortc looks at all pieces of incomplete messages.
        search = self.sctp.pieces / STEPS_FOR_A_CHUNK
        try:
            for number, (kind, body) in enumerate(_chunks(packet), start=1):
                if number > MOST_CHUNKS:
                    return False
                if kind == _SACK:
                    sacks += 1
                    if sacks > _MOST_SACKS:
                        return False
                    cost += _steps(body, self.sctp.unacknowledged) / STEPS_FOR_A_CHUNK
                    continue
                cost += 1 + (search if kind in {_DATA, _FORWARD_TSN} else 0)
                if kind == _DATA and (self.sctp.is_full or not self._is_wanted(body)):
                    return False
                _check(kind, body)
        except (StructError, ValueError):
            return False
        self._work += cost
        return cost <= MOST_CHUNKS and self._affordable(cost)

    def _is_wanted(self, body: bytes) -> bool:
        """Tell whether the piece in a DATA chunk is valid and there is room for it."""
        tsn, stream = unpack_from("!LH", body)
        return stream < self.sctp.MAX_STREAMS and len(body) > 12 and self.sctp.expects(tsn)

    def _affordable(self, cost: float) -> bool:
        """Tell whether this many chunks are within the rate limit. If so, count them."""
        return self.allowance.take(cost, asyncio.get_running_loop().time())

    def _opened(self, channel: RTCDataChannel) -> None:
        """Accept a channel that the other side has opened, or close it if it exceeds a limit."""
        if len(self._channels) >= MAX_CHANNELS or size_of(channel.label) > MAX_LABEL:
            self._refuse(channel)
            return
        self._channels.append(channel)
        channel.on("message", partial(self._message, channel.label))
        channel.on("close", partial(self._closed, channel))

    def _closed(self, channel: RTCDataChannel) -> None:
        if channel in self._channels:
            self._channels.remove(channel)

    def _refuse(self, channel: RTCDataChannel) -> None:
        """Close a channel."""
        self._closed(channel)
        channel.close()

    def _message(self, label: str, message: str | bytes) -> None:
        """Pass a message to the caller."""
        if size_of(message) > MAX_MESSAGE_SIZE:
            self.dropped += 1
            return
        try:
            self._on_message(self, label, message)
        except Exception:
            logger.exception("A message of a data channel could not be relayed")


def size_of(text: str | bytes) -> int:
    """Return how many bytes a message or a label has on the wire."""
    return len(text.encode() if isinstance(text, str) else text)


def _chunks(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """Split an SCTP packet into chunks: type and body.

    :raises ValueError: when a length is wrong.
    """
    at = _COMMON_HEADER
    while at <= len(packet) - 4:
        kind, length = unpack_from("!BxH", packet, at)
        if length < 4 or at + length > len(packet):
            raise ValueError("A chunk is longer than its packet")
        yield kind, packet[at + 4 : at + length]
        at += length + -length % 4


def _steps(body: bytes, unacknowledged: int) -> int:
    """Return about how many steps aiortc's loops take for a SACK, when this many pieces are unacknowledged.

    aiortc reads each block and each duplicate, and lists the pieces in the blocks. Then it visits each unacknowledged
    piece up to the end of the blocks. It may send some of these pieces again.

    :raises ValueError: when the SACK is too short, a block ends before it begins, or it lists too many pieces.
    """
    gaps, duplicates = unpack_from("!HH", body, 8)
    entries: int = gaps + duplicates
    if len(body) < 12 + 4 * entries:
        raise ValueError("A SACK is shorter than it says")
    blocks: tuple[int, ...] = unpack_from(f"!{2 * gaps}H", body, 12)
    firsts, lasts = blocks[::2], blocks[1::2]
    if any(map(gt, firsts, lasts)):
        raise ValueError("A gap block ends before it begins")
    listed: int = sum(lasts) - sum(firsts) + gaps
    if listed > _MAX_ACKNOWLEDGED:
        raise ValueError("A SACK lists too many pieces")
    return entries + listed + min(max(lasts, default=0), unacknowledged)


def _check(kind: int, body: bytes) -> None:
    """Check the lengths and the number of parameters, which aiortc does not check.

    A length of 0 would make aiortc loop forever.

    :raises ValueError: when a chunk is malformed.
    """
    if kind == _FORWARD_TSN:
        if len(body) % 4 or any(stream >= Sctp.MAX_STREAMS for stream in _streams(body)):
            raise ValueError("A FORWARD-TSN is wrong")
        return
    at = _PARAMETERS.get(kind)
    if at is None:
        return
    if len(body) < at:
        raise ValueError("A chunk is too short")
    left = _MOST_RECONFIGURATIONS if kind == _RECONFIG else MOST_PARAMETERS
    while at <= len(body) - 4:
        (length,) = unpack_from("!H", body, at + 2)
        if length < 4:
            raise ValueError("A parameter is shorter than its header")
        if not left:
            raise ValueError("A chunk has more parameters than it may")
        left -= 1
        at += length + -length % 4


def _streams(body: bytes) -> tuple[int, ...]:
    """Return the streams that a FORWARD-TSN names. Each is followed by a sequence number."""
    return unpack_from(f"!{(len(body) - 4) // 2}H", body, 4)[::2]
