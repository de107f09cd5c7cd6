"""A participant whose network blocks UDP: it reaches the node by ICE-TCP only (RFC 6544)."""

import contextlib
import socket
from collections.abc import Iterable
from typing import Any

from media.transport.framing import Deframer, framed
from tests.support.media.node_harness import Listener, World

_LARGEST = 65535


class TcpListener(Listener):
    """A peer that ignores the node's UDP candidates."""

    def __init__(self, id_: str, **options: Any) -> None:
        """Have no connection yet."""
        super().__init__(id_, **options)
        self._udp = self.socket
        self._frames = Deframer(_LARGEST)
        self._host = ("", 0)
        # Whether the node has closed the connection.
        self.is_cut = False

    async def connect(self, remote: str) -> None:
        """Connect with the node over TCP. `remote` is the node's answer."""
        lines = remote.replace("\r\n", "\n").split("\n")
        candidate = next(line.split(" ") for line in lines if line.startswith("a=candidate:") and " tcp " in line)
        self._host = (candidate[4], int(candidate[5]))
        self._use(dialled(self._host))
        await super().connect(remote)

    def dial(self) -> None:
        """Open a TCP connection, and use only this connection from now on."""
        self.hang_up()
        self._frames, self.is_cut = Deframer(_LARGEST), False
        self._use(dialled(self._host))
        self.resume_reading()

    def use_udp(self) -> None:
        """Use UDP from now on. The TCP connection is closed."""
        self.hang_up()
        self._use(self._udp)
        self.resume_reading()

    def hang_up(self) -> None:
        """Close the connection."""
        self.pause_reading()
        if self.socket is not self._udp:
            self.socket.close()

    def stall(self) -> None:
        """Read nothing until `resume_reading`. The kernel then accepts little for this connection."""
        self.pause_reading()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def _use(self, sock: socket.socket) -> None:
        self.socket, self.fd = sock, sock.fileno()

    def send_datagram(self, datagram: bytes) -> None:
        """Send a frame, or a UDP datagram."""
        if self.socket is self._udp:
            super().send_datagram(datagram)
        else:
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
        if self.socket is self._udp:
            return super().read()
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


def dialled(host: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    """Return a new TCP connection, which does not wait."""
    made = socket.create_connection(host, source_address=(source, 0))
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


async def join_by_tcp(world: World, name: str) -> TcpListener:
    """Have a participant join who reaches the node over TCP only."""
    joined = TcpListener(name)
    world.peers.append(joined)
    await world.conference.join(joined)
    return joined
