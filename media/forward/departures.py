"""When packets were sent to a leg, by their transport-wide sequence numbers, to compare with the leg's feedback."""

from typing import Any

from media.forward.memory import DEPARTURES, Shared, ffi


class Departures:
    """The last packets sent to one leg. The fast path adds to them as well."""

    # The number of the next packet, counted on beyond 16 bits.
    next = Shared[int]()

    def __init__(self) -> None:
        # The `struct departures` of fastpath.h.
        self.memory: Any = ffi.new("struct departures *")

    def note(self, size: int, now: float) -> int:
        """Record that a packet of this many bytes leaves now. Return its number (16 bits)."""
        number = self.next
        self.memory.sent[number & DEPARTURES - 1] = (now, size)
        self.next = number + 1
        return number & 0xFFFF
