"""A model of how a browser plays sound (NetEq): an adaptive delay, concealment of what is missing, time stretching."""

from collections import deque
from typing import NamedTuple

PACKET_SECONDS = 0.02
# The delay that the buffer aims at covers this share of the last packets.
_QUANTILE, _PACKETS = 0.97, 100
_LEAST_DELAY = 0.02
# If the buffer holds this many packets more than it needs, a packet is left out by playing faster: 1 of _FASTER.
_SPARE, _FASTER = 2, 8


class Played(NamedTuple):
    """One packet's time of sound: when it was played, and whether it was concealed."""

    at: float
    is_concealed: bool


class Hearing:
    """One audio track as a receiver hears it. `played` lists the sound in steps of PACKET_SECONDS."""

    def __init__(self) -> None:
        self.played: list[Played] = []
        self.received = self.expected = 0
        self._waiting: set[int] = set()
        self._highest = -1
        self._next: int | None = None
        self._due_at = 0.0
        self._late: deque[float] = deque(maxlen=_PACKETS)
        self._since_faster = 0
        # How many steps were concealed because nothing had come.
        self._empty = 0

    def take(self, sequence: int, now: float, *, is_redundant: bool = False) -> None:
        """Take a packet. `is_redundant` tells whether it holds the sound of its predecessor as well (RED)."""
        self.advance(now)
        self.received += 1
        if self._highest < 0:
            self._highest, self.expected = 0x10000 + sequence, 1
        place = self._highest + (sequence - self._highest + 0x8000 & 0xFFFF) - 0x8000
        self.expected += max(0, place - self._highest)
        self._highest = max(self._highest, place)
        self._late.append(now - place * PACKET_SECONDS)
        if self._next is None:
            self._next, self._due_at = place, now + _LEAST_DELAY
        self._waiting |= {each for each in range(place - is_redundant, place + 1) if each >= self._next}

    def advance(self, now: float) -> None:
        """Play until now."""
        while self._next is not None and self._due_at <= now:
            self._play(self._due_at)
            self._due_at += PACKET_SECONDS

    def _play(self, at: float) -> None:
        assert self._next is not None
        if self._waiting and self._next not in self._waiting:
            # What was concealed while nothing came need not be concealed again if it is lost.
            skipped = min(self._empty, min(self._waiting) - self._next)
            self._next, self._empty = self._next + skipped, self._empty - skipped
        if self._next in self._waiting:
            self._waiting.remove(self._next)
            self._next, self._empty = self._next + 1, 0
            self.played.append(Played(at, is_concealed=False))
            self._play_faster()
            return
        # With a later packet, this one is lost. Otherwise it may only be late, and the delay grows.
        is_lost = bool(self._waiting)
        self._next, self._empty = self._next + is_lost, self._empty + (not is_lost)
        self.played.append(Played(at, is_concealed=True))

    def _play_faster(self) -> None:
        """Leave a packet out if the buffer is longer than it need be."""
        self._since_faster += 1
        if len(self._waiting) <= _SPARE or self._since_faster < _FASTER:
            return
        late = sorted(self._late)
        wanted = late[int(_QUANTILE * (len(late) - 1))] - late[0]
        if len(self._waiting) > wanted / PACKET_SECONDS + _SPARE:
            self._since_faster = 0
            assert self._next is not None
            self._waiting.discard(self._next)
            self._next += 1
