"""The network between a node and simulated participants.

The node uses a real socket. All participants share one other socket on the loopback interface, and each has an address
of its own (127.1.0.1, 127.1.0.2 …). Both ends of the network are therefore real datagrams, and the time between them
is virtual.
"""

import asyncio
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from math import inf

from tests.support.media.path import Path
from tests.support.media.simulation.loop import VirtualLoop

# Bytes of the IP and UDP headers.
HEADERS = 28
_LARGEST = 2048
_BUFFER = 8 * 1024 * 1024
_INFO = struct.Struct("=I4s4s")
# `socket` does not define it before Python 3.13: IP_PKTINFO of Linux.
_IP_PKTINFO = 8
_SETTLE_SECONDS = 5.0
# Rounding errors of the loop's time, in seconds.
_RESOLUTION = 1e-9


@dataclass
class Link:
    """A participant's connection: the path to the node, and the path from it. Several links may share a path."""

    up: Path = field(default_factory=Path)
    down: Path = field(default_factory=Path)

    def change(self, **changes: float | bool | None) -> None:
        """Change both paths."""
        for path in (self.up, self.down):
            for name, value in changes.items():
                setattr(path, name, value)


class Network:
    """Carries datagrams between the node and the participants."""

    def __init__(self, node: tuple[str, int]) -> None:
        """Carry datagrams to the node at this address, on the running loop."""
        self._node = node
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self._door, self._marker = _socket("0.0.0.0"), _socket("127.0.0.1")
        self.port: int = self._door.getsockname()[1]
        self._door.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._ends: dict[bytes, tuple[Link, Callable[[bytes], None]]] = {}
        self._under_way: list[tuple[float, int, Callable[[bytes], None], bytes]] = []
        self._sent, self._wakes_at = 0, inf
        self._marks = self._marks_seen = 0
        self._mark_from = self._marker.getsockname()
        loop.add_reader(self._door.fileno(), self._read)
        loop.before_time_passes(self._settle)

    def close(self) -> None:
        """Release the sockets."""
        self._loop.before_time_passes(int)
        self._loop.remove_reader(self._door.fileno())
        self._door.close()
        self._marker.close()

    def connect(self, address: str, link: Link, receive: Callable[[bytes], None]) -> None:
        """Connect a participant: `receive` is called with each datagram that reaches the address."""
        self._ends[socket.inet_aton(address)] = link, receive

    def disconnect(self, address: str) -> None:
        """From now on, lose everything that is sent to this address."""
        self._ends.pop(socket.inet_aton(address), None)

    def send(self, address: str, link: Link, datagram: bytes) -> None:
        """Send a participant's datagram to the node."""
        source = socket.inet_aton(address)
        for at in link.up.deliveries(len(datagram) + HEADERS, self._loop.time()):
            self._plan(at, partial(self._enter, source), datagram)

    def _plan(self, at: float, receive: Callable[[bytes], None], datagram: bytes) -> None:
        """Deliver a datagram at this time. Those with the same time arrive in the order in which they were sent."""
        self._sent += 1
        heappush(self._under_way, (at, self._sent, receive, datagram))
        if at < self._wakes_at:
            self._wakes_at = at
            self._loop.call_at(at, self._deliver)

    def _deliver(self) -> None:
        """Deliver what is due."""
        while self._under_way and self._under_way[0][0] <= self._loop.time() + _RESOLUTION:
            _, _, receive, datagram = heappop(self._under_way)
            receive(datagram)
        self._wakes_at = self._under_way[0][0] if self._under_way else inf
        if self._under_way:
            self._loop.call_at(self._wakes_at, self._deliver)

    def _enter(self, source: bytes, datagram: bytes) -> None:
        """Hand a datagram to the node."""
        if self._door.fileno() >= 0:
            info = _INFO.pack(0, source, bytes(4))
            self._door.sendmsg([datagram], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, self._node)

    def _read(self) -> None:
        """Put everything that the node has sent on its way."""
        while True:
            try:
                datagram, controls, _, source = self._door.recvmsg(_LARGEST, 64)
            except BlockingIOError:
                return
            if source == self._mark_from:
                self._marks_seen += 1
                continue
            end = self._ends.get(controls[0][2][8:12])
            if end is not None and source == self._node:
                link, receive = end
                for at in link.down.deliveries(len(datagram) + HEADERS, self._loop.time()):
                    self._plan(at, receive, datagram)

    def _settle(self) -> None:
        """Wait for a marker. It arrives after everything that was sent before."""
        self._marks += 1
        self._marker.sendto(b"\xff", ("127.0.0.1", self.port))
        self._read()
        while self._marks_seen < self._marks:
            assert select.select([self._door], [], [], _SETTLE_SECONDS)[0], "the loopback has lost a datagram"
            self._read()


def _socket(address: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        bound.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    bound.bind((address, 0))
    return bound
