"""The newest packets of a track, for receivers that have missed them: bounded in number and in bytes."""

import mmap
from typing import NamedTuple

from media.forward.memory import ARENA_SIZE, HISTORY, ffi


class Kept(NamedTuple):
    """A packet as it came, and its sequence number (counted on beyond 16 bits) and timestamp in its track."""

    sequence: int
    timestamp: int
    packet: bytes


class History:
    """The last packets, at most HISTORY of them and ARENA_SIZE bytes: more than a second of video at 4 Mbit/s.

    They are stored in a ring of bytes, which the fast path fills as well.
    """

    def __init__(self) -> None:
        # mmap reserves whole pages. The system allocates each page on first use and gets it back when it is freed.
        self._arena = mmap.mmap(-1, ARENA_SIZE)
        self.memory = ffi.new("struct history *")
        self.memory.arena = ffi.from_buffer("uint8_t[]", self._arena)
        for kept in self.memory.kept:
            kept.sequence = -1

    def keep(self, sequence: int, timestamp: int, packet: bytes) -> None:
        """Keep a packet, in place of the oldest ones."""
        memory, size = self.memory, len(packet)
        start = memory.position % ARENA_SIZE
        if start + size > ARENA_SIZE:
            memory.position += ARENA_SIZE - start
            start = 0
        self._arena[start : start + size] = packet
        memory.kept[sequence & HISTORY - 1] = (sequence, memory.position, size, timestamp)
        memory.position += size

    def get(self, sequence: int) -> Kept | None:
        """Return the packet with this sequence number, if it is still kept."""
        kept, position = self.memory.kept[sequence & HISTORY - 1], self.memory.position
        if sequence < 0 or kept.sequence != sequence or position - kept.position > ARENA_SIZE:
            return None
        start = kept.position % ARENA_SIZE
        return Kept(sequence, kept.timestamp, self._arena[start : start + kept.size])

    def timestamp(self, sequence: int) -> int | None:
        """Return the timestamp of the packet with this sequence number, if it is still known."""
        kept = self.memory.kept[sequence & HISTORY - 1]
        return int(kept.timestamp) if kept.sequence == sequence else None
