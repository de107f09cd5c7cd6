"""When packets were sent to a leg, by their transport-wide sequence numbers, to compare with the leg's feedback."""

from typing import Any

from media.congestion.acknowledgement import Acknowledgement
from media.forward.memory import DEPARTURES, TICKS_A_SECOND, Shared, ffi
from media.forward.repair import OVERHEAD
from media.forward.rtcp import TICKS_A_REFERENCE, TransportFeedback


class Departures:
    """The last packets sent to one leg. The fast path adds to them, and reads feedback about them, as well."""

    # The number of the next packet, counted on beyond 16 bits.
    next = Shared[int]()
    # The last reference time in the leg's feedback, counted on beyond 24 bits.
    reference = Shared[int]()

    def __init__(self) -> None:
        # The `struct departures` of fastpath.h.
        self.memory: Any = ffi.new("struct departures *")

    def note(self, size: int, now: float, probe: int = 0) -> int:
        """Record that a packet of this many bytes leaves now. Return its number (16 bits).

        :param probe: the probe to which the packet belongs; 0 for an ordinary packet.
        """
        number = self.next
        self.memory.sent[number & DEPARTURES - 1] = (now, size, probe)
        self.next = number + 1
        return number & 0xFFFF

    def acknowledge(self, feedback: TransportFeedback) -> list[Acknowledgement]:
        """Return what feedback reports about packets that were sent, in the order of sending.

        Packets that are too old, were never sent, or have been acknowledged before are left out.
        """
        self.reference += (feedback.reference - self.reference + 0x800000 & 0xFFFFFF) - 0x800000
        begin, sent, end = self.reference * TICKS_A_REFERENCE, self.memory.sent, self.next
        first = end - 1 - (end - 1 - feedback.first & 0xFFFF)
        oldest = max(0, end - DEPARTURES)
        acknowledgements = []
        for number, ticks in enumerate(feedback.arrived, first):
            departure = sent[number & DEPARTURES - 1]
            if oldest <= number < end and departure.size:
                arrived_at = None if ticks is None else (begin + ticks) / TICKS_A_SECOND
                acknowledgements.append(
                    Acknowledgement(departure.at, arrived_at, departure.size + OVERHEAD, departure.probe)
                )
                departure.size = 0
        return acknowledgements
