"""A participant whose network blocks UDP: it reaches the node by ICE-TCP only (RFC 6544)."""

import contextlib
import socket
from collections.abc import Iterable
from typing import Any

from media.transport.framing import Deframer, framed
from tests.support.media.node_harness import Listener

_LARGEST = 65535


class TcpListener(Listener):
    """A peer that ignores the node's UDP candidates."""

    def __init__(self, id_: str, **options: Any) -> None:
        """Have no connection yet."""
        super().__init__(id_, **options)
        self._udp = self.socket
        self._frames = Deframer(_LARGEST)
        # Whether the node has closed the connection.
        self.is_cut = False

    async def connect(self, remote: str) -> None:
        """Connect with the node over TCP. `remote` is the node's answer."""
        lines = remote.replace("\r\n", "\n").split("\n")
        candidate = next(line.split(" ") for line in lines if line.startswith("a=candidate:") and " tcp " in line)
        self.dial((candidate[4], int(candidate[5])))
        await super().connect(remote)

    def dial(self, host: tuple[str, int]) -> None:
        """Open a TCP connection, and use only this connection from now on."""
        self._frames, self.is_cut = Deframer(_LARGEST), False
        dialled = socket.create_connection(host)
        dialled.setblocking(False)
        dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self.fd = dialled, dialled.fileno()

    def send_datagram(self, datagram: bytes) -> None:
        """Send a frame."""
        self.send_bytes(framed(datagram))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes that need not be frames."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.refused += 1

    def send(self, packets: Iterable[bytes]) -> int:
        """Send RTP packets, each in a frame."""
        count = 0
        for packet in packets:
            self.send_datagram(self.outward.protect(packet))
            count += 1
        return count

    def read(self) -> int:
        """Read the frames that have arrived, and decrypt them."""
        datagrams: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(65536):
                datagrams += self._frames.feed(data)
            self.is_cut = True
            self.pause_reading()
        for datagram in datagrams:
            self.take(datagram)
        self._arrived.set()
        return len(datagrams)

    async def close(self) -> None:
        """Close both sockets."""
        await super().close()
        self._udp.close()
