"""When a leg's packets arrived, by their transport-wide sequence numbers: what the feedback to their sender reports.

A sender numbers all packets of a transport in one sequence. It estimates the bandwidth from the times at which the
receiver got them (draft-holmer-rmcat-transport-wide-cc-extensions-01).
"""

from typing import Any

from media.forward import rtp
from media.forward.memory import ARRIVALS, LATE, TICKS_A_SECOND, Shared, ffi
from media.forward.rtcp import Arrived


class Arrivals:
    """The arrival times of one leg's last packets. The fast path adds to them as well."""

    # The ID of the header extension with the number; 0 if it was not negotiated.
    id = Shared[int]()
    # The highest number, counted on beyond 16 bits; negative before the first packet.
    newest = Shared[int]()
    # The lowest number that the next feedback must report.
    unreported = Shared[int]()

    def __init__(self) -> None:
        # The `struct arrivals` of fastpath.h.
        self.memory: Any = ffi.new("struct arrivals *", {"newest": -1})

    def hear(self, packet: bytes, elements: int, now: float) -> None:
        """Record when an authentic packet has arrived, if it has a number.

        :param elements: a bit for each ID of an element in the packet's header extension.
        """
        if self.id and elements >> self.id & 1:
            number = rtp.element(packet, self.id)
            if number is not None and len(number) == 2:
                self._note(int.from_bytes(number, "big"), int(now * TICKS_A_SECOND))

    def _note(self, number: int, now: int) -> None:
        """Record when the packet with this number (16 bits) has arrived, in ticks."""
        if self.newest < 0:
            # Add 65,536, so that a late packet has no negative number.
            self.newest, self.unreported = 0xFFFF + number, 0x10000 + number
        at, place = self.memory.at, self.newest + (number - self.newest + 0x8000 & 0xFFFF) - 0x8000
        if place > self.newest:
            for skipped in range(max(self.newest + 1, place - ARRIVALS + 1), place + 1):
                at[skipped & ARRIVALS - 1] = -1
            self.newest = place
            self.unreported = max(self.unreported, place - ARRIVALS + 1)
        if place > self.newest - LATE and at[place & ARRIVALS - 1] < 0:
            at[place & ARRIVALS - 1] = now
            self.unreported = min(self.unreported, place)

    def take(self) -> Arrived | None:
        """Return the packets to report now, and count them as reported. Return None if nothing has arrived."""
        if self.unreported > self.newest:
            return None
        first, at = self.unreported, self.memory.at
        self.unreported = self.newest + 1
        return Arrived(first, [at[each & ARRIVALS - 1] for each in range(first, self.unreported)])
