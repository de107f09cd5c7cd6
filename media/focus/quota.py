"""The limits on the packets that a leg may send within a tick. Packets beyond these limits are dropped unread.

Only authentic packets are charged to the leg, because anybody can forge its address. Forged packets have a quota of
their own.
"""

from typing import Any

from media.forward.memory import Shared
from media.forward.repair import REQUESTS_A_TICK

# The interval at which quotas are renewed and all periodic work is done.
TICK_SECONDS = 0.1
# How many packets and bytes a leg may send within a tick. This allows 2,000 packets and 20 Mbit per second.
PACKETS_A_TICK = 200
BYTES_A_TICK = 250_000
# How many of these packets and bytes may be RTCP, where a few bytes may cause much work: 1,000 packets and 800 kbit per
# second. A participant that misses packets of thirty cameras comes close to this limit.
RTCP_A_TICK = 100
RTCP_BYTES_A_TICK = 10_000
# How many packets a leg's transport-wide feedback may report within a tick: four times what a large conference sends.
STATUSES_A_TICK = 4096
# Each feedback counts as at least this many reported packets, because it takes time itself. Browsers send at most two
# within a tick.
LEAST_STATUSES = 64
# How many packets from a leg's addresses libsrtp may refuse within a tick: 1,000 per second. Beyond that, libsrtp gets
# only packets that look like the next ones of a known stream. Anybody can forge an address, but few know the SSRC and
# the sequence number.
FAILURES_A_TICK = 100


class Quota:
    """One leg's remaining quota in this tick, and counts of the packets dropped since the leg was made.

    `memory` is the leg's `struct leg` (fastpath.h). The fast path changes the same numbers.
    """

    packets_left = Shared[int]()
    bytes_left = Shared[int]()
    # How many packets libsrtp may still refuse in this tick.
    failures_left = Shared[int]()
    # Packets that were dropped because they exceeded the quota, or because the leg had no SRTP session.
    excess = Shared[int]()
    # Packets that libsrtp refused, or that were not decrypted because it had already refused too many.
    unauthentic = Shared[int]()

    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.rtcp_left = self.rtcp_bytes_left = self._requests_left = self._statuses_left = 0
        self.renew()

    def renew(self) -> None:
        """Grant the quota of the next tick."""
        self.packets_left, self.bytes_left, self.failures_left = PACKETS_A_TICK, BYTES_A_TICK, FAILURES_A_TICK
        self.rtcp_left, self.rtcp_bytes_left = RTCP_A_TICK, RTCP_BYTES_A_TICK
        self._requests_left, self._statuses_left = REQUESTS_A_TICK, STATUSES_A_TICK

    def affords_rtcp(self, size: int) -> bool:
        """Tell whether an RTCP packet of this many bytes is within the remaining quota of RTCP."""
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

    def charge_statuses(self, count: int) -> bool:
        """Charge feedback that reports this many packets. Return whether it is within the quota."""
        self._statuses_left -= max(LEAST_STATUSES, count)
        return self._statuses_left >= 0

    def fail(self) -> None:
        """Count a packet that libsrtp refused, or that was not decrypted because of earlier refusals."""
        self.failures_left -= 1
        self.unauthentic += 1
