"""The node's TCP port: ICE-TCP (RFC 6544), for participants whose networks block UDP.

Each frame on a connection (RFC 4571) is a datagram, which the UDP port handles like any other. This module limits what
the other sides of the connections can use: connections, time, and memory. What a connection does not accept in time is
dropped, as on a full link.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Hashable
from itertools import count

from media.allowance import Allowance
from media.forward.datagrams import LARGEST, Destination, address_in_memory, connection_name
from media.forward.sendqueue import SendQueue
from media.tally import Tally
from media.transport.framing import Deframer, framed
from media.transport.strangers import network_of

logger = logging.getLogger(__name__)

# The most connections of a node, and those from one network (/24 of IPv4, /64 of IPv6).
MOST_CONNECTIONS = 800
MOST_OF_A_NETWORK = 400
# The most connections that have not shown a valid check yet. A further one replaces the oldest one.
MOST_STRANGERS = 256
MOST_STRANGERS_OF_A_NETWORK = 32
# A connection must show a valid check within this time.
STRANGER_SECONDS = 5.0
# A connection from which nothing has come for this long is closed. A browser checks every few seconds.
IDLE_SECONDS = 30.0
# The most frames of a connection: this many at once, and as many a second. A leg may send 2,000 packets a second.
MOST_FRAMES = 4000
# How many DTLS, STUN and RTCP datagrams may wait for a connection, besides the media in its queue.
MOST_CONTROL = 64
# How many bytes are read from a connection, or given to it, at once. So one connection delays others only briefly.
_AT_ONCE = 16 * 1024
# The kernel accepts no more data while this many bytes of a connection have not been sent at all. They would become old
# in the kernel, where the node can no longer drop them.
_MOST_UNSENT = 16 * 1024
# How many connections are accepted before the loop runs other callbacks. And in a second: anybody can open and close
# connections, and each one takes time from the calls.
_ACCEPTED_AT_ONCE = 16
MOST_ACCEPTED = 1000
_BACKLOG = 128
# How often the limits on time are checked.
SWEEP_SECONDS = 1.0
_SERIALS = 1 << 31


class Connection:
    """One TCP connection. `name` stands for its address everywhere in the node."""

    def __init__(self, accepted: socket.socket, name: bytes, network: Hashable, now: float) -> None:
        self.socket = accepted
        self.fd = accepted.fileno()
        self.name, self.network = name, network
        # Whether a valid check of a leg has come.
        self.is_admitted = False
        self.made_at = self.heard_at = now
        self.frames = Deframer(LARGEST)
        self.allowance = Allowance(MOST_FRAMES, MOST_FRAMES)
        # Whether the connection waits until the kernel accepts data again.
        self.is_full = False
        self._queue: SendQueue | None = None
        self._control: deque[bytes] = deque()
        # The frames that the kernel is getting now: a frame that has begun must be completed.
        self._begun = memoryview(b"")

    @property
    def destination(self) -> Destination:
        """The destination for media. From the first use on, the connection has a queue."""
        if self._queue is None:
            self._queue = SendQueue()
        memory = self._queue.memory
        return Destination(self.name, memory, address_in_memory(memory), is_tcp=True)

    @property
    def has_more(self) -> bool:
        """Whether datagrams wait to be sent."""
        return bool(self._begun or self._control or self._queue)

    @property
    def dropped(self) -> int:
        """How many packets of media were dropped, because the connection did not accept them in time."""
        return self._queue.dropped if self._queue is not None else 0

    def put(self, datagram: bytes) -> None:
        """Add a datagram to those that wait. If there are too many, drop the oldest media, or the newest other one."""
        if self._queue is not None and datagram[0] > 127 and not 191 < datagram[1] < 224:
            self._queue.put(datagram)
        elif len(self._control) < MOST_CONTROL:
            self._control.append(datagram)

    def write(self) -> bool:
        """Give the kernel what it accepts. Return whether everything was accepted.

        :raises OSError: when the connection has failed.
        """
        while self._begun or self.has_more:
            self._begun = self._begun or self._next()
            try:
                self._begun = self._begun[self.socket.send(self._begun) :]
            except BlockingIOError:
                return False
        return True

    def _next(self) -> memoryview:
        """Return the frames to send next. Datagrams other than media come first."""
        frames = bytearray()
        while self._control and len(frames) < _AT_ONCE:
            frames += framed(self._control.popleft())
        while self._queue and len(frames) < _AT_ONCE:
            frames += framed(self._queue.take())
        return memoryview(bytes(frames))


class TcpPort:
    """The listening socket, and the connections by name.

    `take` is called with the name of a connection and the datagrams that have come. It returns whether the connection
    belongs to a leg. `closed` is called with the name of each closed connection that belonged to a leg.
    """

    def __init__(
        self, bind: str, port: int, *, take: Callable[[bytes, list[bytes]], bool], closed: Callable[[bytes], None]
    ) -> None:
        """Listen. Port 0 chooses a free port.

        :raises OSError: when the address cannot be bound.
        """
        self._listener = _listening(bind, port)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._take, self._closed = take, closed
        self._connections: dict[bytes, Connection] = {}
        # The connections that have shown no valid check yet, the oldest first.
        self._strangers: dict[bytes, Connection] = {}
        self._of_network, self._strangers_of_network = Tally(), Tally()
        # The connections that get media.
        self._sending: dict[bytes, Connection] = {}
        self._serials = count()
        self._accepted = Allowance(MOST_ACCEPTED, MOST_ACCEPTED)
        self._dropped = 0
        self._accepts = False

    def open(self, now: Callable[[], float]) -> None:
        """Begin to accept connections, on the running loop. `now` is a clock in seconds."""
        self._now, self._loop = now, asyncio.get_running_loop()
        self._sweep()

    def close(self) -> None:
        """Close all connections, and listen no more."""
        self._timer.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for connection in list(self._connections.values()):
            self._end(connection)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    @property
    def dropped(self) -> int:
        """How many packets of media were dropped, because connections did not accept them in time."""
        return self._dropped + sum(connection.dropped for connection in self._sending.values())

    # --- In ---------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """Accept the connections that wait. If there are too many of them, go on with the next sweep."""
        now = self._now()
        for _ in range(_ACCEPTED_AT_ONCE):
            if self._accepted.grow(now) < 1:
                self._stop_accepting()
                return
            try:
                accepted, address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # The process has no file descriptor left. Try again with the next sweep.
                logger.warning("A TCP connection was not accepted: %s", error)
                self._stop_accepting()
                return
            self._accepted.take(1, now)
            self._admit(accepted, address)

    def _stop_accepting(self) -> None:
        """Accept nothing until the next sweep."""
        self._loop.remove_reader(self._listener)
        self._accepts = False

    def _admit(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        """Keep a new connection if there is room for it, perhaps instead of an older one. Otherwise close it."""
        network = network_of(address[0])
        self._make_room(network)
        if len(self._connections) >= MOST_CONNECTIONS or self._of_network[network] >= MOST_OF_A_NETWORK:
            accepted.close()
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT)
        name = connection_name(*address[:2], next(self._serials) % _SERIALS)
        connection = Connection(accepted, name, network, self._now())
        self._connections[name] = self._strangers[name] = connection
        self._of_network.update([network])
        self._strangers_of_network.update([network])
        self._loop.add_reader(connection.fd, self._read, connection)

    def _make_room(self, network: Hashable) -> None:
        """Close the oldest connection without a valid check, if there are too many of them, or of all connections."""
        if self._strangers_of_network[network] and (
            self._strangers_of_network[network] >= MOST_STRANGERS_OF_A_NETWORK
            or self._of_network[network] >= MOST_OF_A_NETWORK
        ):
            self._end(next(each for each in self._strangers.values() if each.network == network))
        elif self._strangers and (len(self._strangers) >= MOST_STRANGERS or len(self._connections) >= MOST_CONNECTIONS):
            self._end(next(iter(self._strangers.values())))

    def _read(self, connection: Connection) -> None:
        """Handle the datagrams that have come. Close the connection if it has ended or exceeds a limit."""
        now = self._now()
        try:
            data = connection.socket.recv(_AT_ONCE)
            datagrams = connection.frames.feed(data)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._end(connection)
            return
        connection.heard_at = now
        is_modest = bool(data) and connection.allowance.take(len(datagrams), now)
        if not is_modest or not self._handle(connection, datagrams):
            self._end(connection)

    def _handle(self, connection: Connection, datagrams: list[bytes]) -> bool:
        """Handle datagrams. Return whether the connection may stay: its first datagram must be a valid check."""
        if not datagrams:
            return True
        if not connection.is_admitted:
            if not self._take(connection.name, datagrams[:1]):
                return False
            connection.is_admitted = True
            if connection.name not in self._connections:
                # The answer could not be sent, so the connection was closed meanwhile.
                self._closed(connection.name)
                return False
            del self._strangers[connection.name], datagrams[0]
            self._strangers_of_network.release([connection.network])
        return not datagrams or self._take(connection.name, datagrams)

    # --- Out --------------------------------------------------------------------------------------------------

    def destination(self, name: bytes) -> Destination | None:
        """Return the destination for media to a connection; None if the connection is closed."""
        connection = self._connections.get(name)
        if connection is None:
            return None
        self._sending[name] = connection
        return connection.destination

    def send(self, name: bytes, datagram: bytes) -> None:
        """Send a datagram on a connection, if the connection is open."""
        connection = self._connections.get(name)
        if connection is not None:
            connection.put(datagram)
            self._write(connection)

    def flush(self) -> None:
        """Send the media that was put into queues."""
        for connection in list(self._sending.values()):
            if connection.has_more:
                self._write(connection)

    def _write(self, connection: Connection) -> None:
        """Send what the kernel accepts. If something is left, go on when the kernel accepts data again."""
        if connection.is_full:
            return
        try:
            connection.is_full = not connection.write()
        except OSError:
            self._end(connection)
            return
        if connection.is_full:
            self._loop.add_writer(connection.fd, self._go_on, connection)

    def _go_on(self, connection: Connection) -> None:
        """Continue to send: the kernel accepts data again."""
        self._loop.remove_writer(connection.fd)
        connection.is_full = False
        self._write(connection)

    # --- The end ----------------------------------------------------------------------------------------------

    def end(self, name: bytes) -> None:
        """Close a connection, if it is open. `closed` is not called."""
        connection = self._connections.get(name)
        if connection is not None:
            connection.is_admitted = False
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Close a connection."""
        if self._connections.pop(connection.name, None) is None:
            return
        self._of_network.release([connection.network])
        if self._strangers.pop(connection.name, None) is not None:
            self._strangers_of_network.release([connection.network])
        if self._sending.pop(connection.name, None) is not None:
            self._dropped += connection.dropped
        self._loop.remove_reader(connection.fd)
        if connection.is_full:
            self._loop.remove_writer(connection.fd)
        connection.socket.close()
        if connection.is_admitted:
            self._closed(connection.name)

    def _sweep(self) -> None:
        """Close the connections that are silent for too long. Begin to accept again."""
        now = self._now()
        for connection in list(self._strangers.values()):
            if now - connection.made_at > STRANGER_SECONDS:
                self._end(connection)
        for connection in list(self._connections.values()):
            if now - connection.heard_at > IDLE_SECONDS:
                self._end(connection)
        if not self._accepts:
            self._loop.add_reader(self._listener, self._accept)
            self._accepts = True
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)


def _listening(bind: str, port: int) -> socket.socket:
    """Return a non-blocking socket that listens."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Use one socket for both families, as for UDP.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((bind, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        error.filename = f"TCP port {port}"
        raise
    return listener
