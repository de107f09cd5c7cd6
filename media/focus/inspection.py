"""Counts of what a node holds and has done, for health checks, the support desk and tests.

`Node.counts` returns them. The heartbeat stores `NodeCounts.reported` in the node's row, where `/healthz` reads it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeCounts:
    """A node's counts. Packets and faults are counted since the node started. All other numbers are current."""

    conferences: int  # that the node serves
    tasks: int  # that run or wait for their turn, of all conferences
    legs: int
    connected_legs: int  # that can send and receive media
    silent_legs: int  # whose address has not answered a connectivity check for SILENT_SECONDS
    worst_loss: float  # share of packets recently lost, in either direction, on the worst leg: between 0 and 1
    received: int  # datagrams that the socket has received, of any kind
    sent: int  # packets that were forwarded, counted once per receiver, whether or not the kernel took them
    sent_by_python: int  # how many of `sent` did not take the fast path
    undelivered: int  # messages that the kernel did not take
    unprotected: int  # packets that could not be encrypted
    strangers: int  # datagrams from addresses that belong to no leg, and of protocols that the port does not speak
    faults: int  # datagrams and bursts that raised an exception, which is a bug in this code
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
            "fastPath": int(self.is_fast),
        }
