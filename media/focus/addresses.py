"""The addresses of one leg's peer: those that have sent valid checks, and the one that media goes to.

Each address is a sockaddr in bytes (`media.forward.datagrams`).
"""

from collections import deque

from media.forward.datagrams import Destination
from media.transport.consent import Consent

# How many addresses a leg may use at the same time. A browser checks several before it settles on one.
MOST_ADDRESSES = 8
# How many of the leg's last destinations stay in memory. Bursts that the port has not sent yet may point to them. The
# port reads 64 datagrams at a time, and each may change the destination.
_DESTINATIONS_KEPT = 64
# The same for destinations over TCP, each of which has a queue of 256 KiB. The node reads one connection at a time, so
# a burst changes the destination to a connection at most once.
_CONNECTIONS_KEPT = 2


class Addresses:
    """The addresses of one leg.

    `known` lists the addresses whose datagrams belong to the leg. `destination` is the address to which media goes. It
    is None until an address has answered a check. `gso` tells whether the network path to `destination` supports GSO
    batches.
    """

    def __init__(self, made_at: float) -> None:
        self.known: list[bytes] = []
        self.destination: Destination | None = None
        self.gso = True
        self._consent = Consent(made_at)
        self._destinations: deque[Destination] = deque(maxlen=_DESTINATIONS_KEPT)
        self._connections: deque[Destination] = deque(maxlen=_CONNECTIONS_KEPT)

    @property
    def seen_at(self) -> float:
        """When the destination last answered a check (RFC 7675). Before any answer, this is when the leg was made."""
        return self._consent.proved_at

    def reach(self, name: bytes, now: float, *, nominated: bool) -> bool:
        """Record a valid check from an address. Return whether to send a check there now."""
        if name not in self.known:
            self.known.append(name)
        return self._consent.reach(name, now, nominated=nominated)

    def forget_surplus(self) -> list[bytes]:
        """If there are too many addresses, forget the oldest, but never the destination. Return those forgotten."""
        in_use = self.destination.name if self.destination is not None else None
        gone = [each for each in self.known[:-MOST_ADDRESSES] if each != in_use]
        self.known = [each for each in self.known if each not in gone]
        return gone

    def prove(self, name: bytes, now: float) -> bool:
        """Record that an address has answered a check of the node. Return whether media must go there from now on."""
        return self._consent.prove(name, now)

    def go(self, destination: Destination) -> None:
        """Send media to this destination from now on."""
        self.destination, self.gso = destination, True
        (self._connections if destination.is_tcp else self._destinations).append(destination)

    def due(self, now: float) -> list[bytes]:
        """Return the addresses to which a check is due now."""
        return self._consent.due(now)
