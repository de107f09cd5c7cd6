"""The limits on what a leg may send within a tick. Packets beyond them are dropped unread.

Only authentic packets are charged to the leg, because anybody can forge its address. Forged packets have a quota of
their own.
"""

from typing import Any

from media.forward.memory import Shared
from media.forward.repair import REQUESTS_A_TICK

# The interval at which quotas are renewed and all periodic work is done.
TICK_SECONDS = 0.1
# What a leg may send within a tick. This allows 2,000 packets and 20 Mbit per second.
PACKETS_A_TICK = 200
BYTES_A_TICK = 250_000
# How much of that may be RTCP, where a few bytes may cause much work: 1,000 packets and 800 kbit per second. A
# participant that misses packets of thirty cameras comes close to that.
RTCP_A_TICK = 100
RTCP_BYTES_A_TICK = 10_000
# Packets from a leg's addresses that libsrtp may refuse within a tick: 1,000 per second. Beyond that, only packets that
# look like the next ones of a known stream are tried. Anybody can forge an address, but few know the SSRC and sequence
# number.
FAILURES_A_TICK = 100


class Quota:
    """The rest of one leg's quota in this tick, and counts of the packets dropped since the leg was made.

    `memory` is the leg's `struct leg` (fastpath.h): the fast path counts down the same numbers.
    """

    packets_left = Shared[int]()
    bytes_left = Shared[int]()
    # Packets that libsrtp may still refuse.
    failures_left = Shared[int]()
    # Packets that were dropped because they exceeded the quota.
    excess = Shared[int]()
    # Packets that were not authentic, or were not tried.
    unauthentic = Shared[int]()

    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.rtcp_left = self.rtcp_bytes_left = self._requests_left = 0
        self.renew()

    def renew(self) -> None:
        """Grant the quota of the next tick."""
        self.packets_left, self.bytes_left, self.failures_left = PACKETS_A_TICK, BYTES_A_TICK, FAILURES_A_TICK
        self.rtcp_left, self.rtcp_bytes_left = RTCP_A_TICK, RTCP_BYTES_A_TICK
        self._requests_left = REQUESTS_A_TICK

    def affords_rtcp(self, size: int) -> bool:
        """Tell whether an RTCP packet of this many bytes is within the quota of RTCP."""
        return self.rtcp_left >= 1 and self.rtcp_bytes_left >= size

    def charge_rtcp(self, size: int) -> None:
        """Charge an authentic RTCP packet of this many bytes."""
        self.packets_left -= 1
        self.bytes_left -= size
        self.rtcp_left -= 1
        self.rtcp_bytes_left -= size

    def charge_requests(self, count: int) -> bool:
        """Charge this many requests for retransmission (NACK entries). Return whether they are within the quota."""
        self._requests_left -= count
        return self._requests_left >= 0

    def fail(self) -> None:
        """Count a packet that is not authentic, or that was not tried."""
        self.failures_left -= 1
        self.unauthentic += 1
