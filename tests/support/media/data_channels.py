"""The data channels of one leg, and the browser at their other end, which can be hostile."""

import asyncio
from collections.abc import Callable
from struct import pack
from typing import Any

from aiortc import RTCDataChannelParameters
from google_crc32c import value as crc32c

from media.aiortc_adapter import RTCDataChannel, Sctp
from media.transport.sctp import DataChannels
from tests.support.media.dtls_pair import SECONDS, End, close

# The protocols of payloads (RFC 8831 section 8), and the flags of DATA chunks (RFC 9260 section 3.3.1).
DCEP, STRING, BINARY = 50, 51, 53
WHOLE, FIRST, UNORDERED = 3, 2, 4


class Browser(Sctp):
    """The browser's end: aiortc's SCTP, which can also make packets that no browser sends."""

    @property
    def next_tsn(self) -> int:
        """The TSN of the next DATA chunk that the browser sends."""
        return self._local_tsn

    @property
    def last_received_tsn(self) -> int:
        """The TSN up to which the browser has received all DATA chunks of the focus."""
        assert self._last_received_tsn is not None
        return self._last_received_tsn

    def packet(self, *chunks: bytes) -> bytes:
        """Return a packet of these chunks."""
        return sealed(pack("!HHLL", 5000, 5000, self._remote_verification_tag, 0) + b"".join(chunks))

    def piece(self, user_data: bytes, flags: int = WHOLE, stream: int = 0, kind: int = STRING, ahead: int = 0) -> bytes:
        """Return the next DATA chunk, or a chunk whose TSN is greater than the next one by `ahead`."""
        tsn = (self._local_tsn + ahead) % 2**32
        if ahead == 0:
            self._local_tsn = (tsn + 1) % 2**32
        sequence = self._outbound_stream_seq.get(stream, 0)
        return chunk(0, pack("!LHHL", tsn, stream, sequence, kind) + user_data, flags)


class Leg:
    """Both ends of a leg's data channels, the focus's and the browser's, on a transport of their own."""

    def __init__(self, server: End, client: End, max_message_size: int) -> None:
        self.server, self.client = server, client
        self.got: asyncio.Queue[tuple[str, str | bytes]] = asyncio.Queue()
        # Called with each message that arrives.
        self.take: Callable[[str, str | bytes], None] = lambda label, message: self.got.put_nowait((label, message))
        self.data = DataChannels(
            server.transport, 5000, max_message_size, lambda channels, label, message: self.take(label, message)
        )
        # The packets of the browser.
        self.sent: list[bytes] = []
        self.browser = Browser("client", self._send)
        client.transport.on_data = self.browser.receive

    async def connect(self, browser_takes: int) -> None:
        """Connect the browser's side, and wait for both. `browser_takes` is its limit for messages; 0: no limit."""
        await self.browser.connect(5000, browser_takes)
        await until(lambda: self.browser.state == self.data.state == "connected")
        assert self.server.transport.on_data is not None
        # Takes a packet as if it had come over the transport.
        self.receive = self.server.transport.on_data

    async def channel(self, label: str = "chat", **parameters: Any) -> RTCDataChannel:
        """Open a channel from the browser's side."""
        opened = asyncio.Event()
        channel = RTCDataChannel(self.browser, RTCDataChannelParameters(label=label, **parameters))
        channel.on("open", opened.set)
        channel.on("close", opened.set)
        await asyncio.wait_for(opened.wait(), SECONDS)
        return channel

    async def send(self, *chunks: bytes) -> None:
        """Send a packet of these chunks, as a hostile browser would."""
        await self.receive(self.browser.packet(*chunks))

    def _send(self, packet: bytes) -> None:
        self.sent.append(packet)
        self.client.transport.send_data(packet)

    async def message(self) -> tuple[str, str | bytes]:
        """Wait for a message; return it and its channel's label."""
        return await asyncio.wait_for(self.got.get(), SECONDS)

    async def close(self) -> None:
        """End both sides."""
        await self.data.close()
        await self.browser.finish()
        await close(self.server, self.client)


def sealed(packet: bytes) -> bytes:
    """Return a packet with the right checksum."""
    blank = packet[:8] + bytes(4) + packet[12:]
    return blank[:8] + pack("<L", crc32c(blank)) + blank[12:]


def chunk(kind: int, body: bytes, flags: int = 0, length: int | None = None) -> bytes:
    """Return a chunk of this type. `length` can be wrong."""
    return pack("!BBH", kind, flags, 4 + len(body) if length is None else length) + body + bytes(-len(body) % 4)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that no event announces."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)
