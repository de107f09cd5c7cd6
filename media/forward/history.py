"""The newest packets of a track, for receivers that have missed them: bounded in number and in bytes."""

import mmap
from typing import NamedTuple

from media.forward.memory import ARENA_SIZE, HISTORY, ffi


class Kept(NamedTuple):
    """A packet as it came, and its sequence number (counted on beyond 16 bits) and timestamp in its track."""

    sequence: int
    timestamp: int
    packet: bytes


class Arena:
    """The bytes of the packets in one or more histories: a ring of ARENA_SIZE bytes, which the fast path fills as well.

    It holds more than a second of video at 4 Mbit/s. Histories that share an arena overwrite each other's oldest
    packets.
    """

    def __init__(self) -> None:
        # mmap reserves whole pages. The system allocates each page on first use and gets it back when it is freed.
        self.bytes = mmap.mmap(-1, ARENA_SIZE)
        self.memory = ffi.new("struct arena *", {"bytes": ffi.from_buffer("uint8_t[]", self.bytes)})


class History:
    """The last packets of a track: at most HISTORY of them, and only those that its arena still holds."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.memory = ffi.new("struct history *", {"arena": arena.memory})
        for kept in self.memory.kept:
            kept.sequence = -1

    def keep(self, sequence: int, timestamp: int, packet: bytes) -> None:
        """Keep a packet, in place of the oldest ones."""
        arena, size = self.arena.memory, len(packet)
        start = arena.position % ARENA_SIZE
        if start + size > ARENA_SIZE:
            arena.position += ARENA_SIZE - start
            start = 0
        self.arena.bytes[start : start + size] = packet
        self.memory.kept[sequence & HISTORY - 1] = (sequence, arena.position, size, timestamp)
        arena.position += size

    def get(self, sequence: int) -> Kept | None:
        """Return the packet with this sequence number, if it is still kept."""
        kept, position = self.memory.kept[sequence & HISTORY - 1], self.arena.memory.position
        if sequence < 0 or kept.sequence != sequence or position - kept.position > ARENA_SIZE:
            return None
        start = kept.position % ARENA_SIZE
        return Kept(sequence, kept.timestamp, self.arena.bytes[start : start + kept.size])

    def timestamp(self, sequence: int) -> int | None:
        """Return the timestamp of the packet with this sequence number, if it is still known."""
        kept = self.memory.kept[sequence & HISTORY - 1]
        return int(kept.timestamp) if kept.sequence == sequence else None
