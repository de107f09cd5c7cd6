"""The encrypted packets that wait until a TCP connection accepts them. The fast path writes to the same memory.

If the connection accepts less than is sent, the oldest packets are dropped: a picture of the past is useless. So a
connection that accepts nothing takes no further memory.
"""

from typing import Any

from media.forward.datagrams import SLOT
from media.forward.memory import QUEUE, ffi


class SendQueue:
    """The packets for one connection, at most QUEUE of them. Its `memory` is a `struct send_queue`."""

    def __init__(self) -> None:
        self.memory: Any = ffi.new("struct send_queue *")
        self._packets = memoryview(ffi.buffer(self.memory.packets))

    def __len__(self) -> int:
        """Return how many packets wait."""
        return int(self.memory.end - self.memory.begin)

    @property
    def dropped(self) -> int:
        """How many packets were dropped to make room for newer ones."""
        return int(self.memory.dropped)

    def take(self) -> bytes:
        """Remove the oldest packet, and return it. There must be one."""
        place = self.memory.begin % QUEUE
        self.memory.begin += 1
        return self._packets[place * SLOT : place * SLOT + self.memory.sizes[place]].tobytes()

    def put(self, packet: bytes) -> None:
        """Add a packet."""
        put(self.memory, packet)


def put(memory: Any, packet: bytes | memoryview) -> None:
    """Add a packet to a `struct send_queue`. If it is full, drop the oldest packet."""
    place = memory.end % QUEUE
    memory.end += 1
    if memory.end - memory.begin > QUEUE:
        memory.begin += 1
        memory.dropped += 1
    memory.sizes[place] = len(packet)
    ffi.memmove(memory.packets + place * SLOT, packet, len(packet))


def queue_at(address: int) -> Any:
    """Return the `struct send_queue` at an address in memory."""
    return ffi.cast("struct send_queue *", address)
