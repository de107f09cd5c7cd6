"""Count the checks for ufrags that no leg has, by the network from which they come.

A flood of such checks takes little time, because most of it is dropped unread. The rest is still read, because a
participant in that network must be able to connect: the source of a flood may be forged. This module uses no clock and
no socket.
"""

import socket

# How many checks with unknown ufrags a network may send within a second. After that, most of its checks are dropped
# until the second ends.
MOST_UNKNOWN = 100
# After MOST_UNKNOWN, one in this many of the network's checks is read.
LOOKED_AT = 8
# How many networks are counted separately within a second. Further networks are counted together.
MOST_NETWORKS = 4096
_OTHERS = b""
_MAPPED = bytes(10) + b"\xff\xff"


class Strangers:
    """The networks from which checks with unknown ufrags have come within this second."""

    def __init__(self) -> None:
        self._unknown: dict[bytes, int] = {}
        self._dropped: dict[bytes, int] = {}
        self._counted_from = float("-inf")

    @property
    def networks(self) -> int:
        """How many networks are counted within this second."""
        return len(self._unknown)

    def count(self, host: str) -> None:
        """Count a check with an unknown ufrag."""
        network = network_of(host)
        if network not in self._unknown and len(self._unknown) >= MOST_NETWORKS:
            network = _OTHERS
        self._unknown[network] = self._unknown.get(network, 0) + 1
        if self._unknown[network] == MOST_UNKNOWN:
            self._dropped[network] = 0

    def is_dropped(self, host: str, now: float) -> bool:
        """Tell whether a check from this host is dropped unread."""
        if now - self._counted_from >= 1:
            self._counted_from = now
            self._unknown.clear()
            self._dropped.clear()
        if not self._dropped:
            return False
        network = network_of(host)
        if network not in self._unknown:
            network = _OTHERS
        if network not in self._dropped:
            return False
        self._dropped[network] += 1
        return self._dropped[network] % LOOKED_AT != 0


def network_of(host: str) -> bytes:
    """Return the network of an address: /24 for IPv4, including IPv4 mapped to IPv6, and /64 for IPv6."""
    if ":" not in host:
        return socket.inet_aton(host)[:3]
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return packed[12:15] if packed[:12] == _MAPPED else packed[:8]
