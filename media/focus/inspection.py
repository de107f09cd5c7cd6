"""Counts of a node's objects and packets, for health checks, the support desk and tests.

`Node.counts` returns them. The heartbeat stores `NodeCounts.reported` in the node's row, where `/healthz` reads it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeCounts:
    """A node's counts. Those from `received` to `faults` are totals since the node started; the others are current."""

    conferences: int  # that the node serves
    tasks: int  # of all conferences, that run or wait for their turn
    legs: int
    connected_legs: int  # that can send and receive media
    silent_legs: int  # whose destination has not answered a connectivity check for SILENT_SECONDS
    worst_loss: float  # share of packets recently lost on the worst leg, in the worse direction: between 0 and 1
    received: int  # datagrams of any kind that the socket has received
    sent: int  # packets that were forwarded, counted once per receiver, even if the kernel did not accept them
    sent_by_python: int  # packets of `sent` that did not take the fast path
    undelivered: int  # messages that the kernel did not accept; a GSO batch is one message
    unprotected: int  # packets that could not be encrypted
    strangers: int  # datagrams (except STUN) from addresses that belong to no leg, and of unknown protocols
    faults: int  # datagrams and bursts that raised an exception, which is a bug in this code
    tcp_connections: int  # current TCP connections
    tcp_dropped: int  # packets of media that TCP connections did not accept in time
    is_fast: bool  # whether packets take the compiled fast path

    def reported(self) -> dict[str, int]:
        """Return the counts that the node's row and `/healthz` show."""
        return {
            "conferences": self.conferences,
            "legs": self.legs,
            "connected": self.connected_legs,
            "silent": self.silent_legs,
            "received": self.received,
            "sent": self.sent,
            "undelivered": self.undelivered,
            "unprotected": self.unprotected,
            "strangers": self.strangers,
            "tcpConnections": self.tcp_connections,
            "tcpDropped": self.tcp_dropped,
            "fastPath": int(self.is_fast),
        }
