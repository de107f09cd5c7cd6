"""A model of how a browser receives a video: repair, complete frames, what can be decoded, and when it is shown."""

from dataclasses import dataclass, field
from typing import NamedTuple

from media.forward import rtp
from media.forward.pictures import counters

# Times are in seconds. How long a frame of a stream may be missing before a key frame is requested: at the beginning,
# and later. Requests are repeated after the same time.
FIRST_PATIENCE, PATIENCE = 0.2, 3.0
# A packet is requested at most this often. If this many are missing, a key frame is requested instead.
MOST_REQUESTS, MOST_MISSING = 10, 1000
# Each frame that comes in time shortens the delay of the jitter buffer by this share.
_DELAY_KEPT = 0.998
_LONGEST_DELAY = 1.0
# The base of the delay may rise this fast, so that a longer path becomes normal.
_RISE_A_FRAME = 0.0005
_FRAMES_KEPT = 120


class Shown(NamedTuple):
    """A frame that was shown: when, in which layer, and its RTP timestamp."""

    at: float
    place: int
    timestamp: int


@dataclass
class _Frame:
    timestamp: int
    numbers: set[int] = field(default_factory=set)
    first: int = -1
    last: int = -1
    picture: int = -1
    is_key: bool = False
    place: int = 0

    @property
    def is_complete(self) -> bool:
        return self.first >= 0 and self.last >= 0 and len(self.numbers) == self.last - self.first + 1


@dataclass
class _Missing:
    asked_at: float
    requests: int


class Screen:
    """One video as a receiver sees it. `shown` lists what was shown."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.received = self.expected = self.repeats = 0
        self.key_frames_wanted = 0
        self._highest = -1
        self._missing: dict[int, _Missing] = {}
        self._frames: dict[int, _Frame] = {}
        self._wants_key = True
        self._picture = -1
        self._newest = -1
        self._timestamp = 0
        self._base: float | None = None
        self._delay = 0.0
        self._advanced_at: float | None = None
        self._heard_at = float("-inf")

    # --- Packets ----------------------------------------------------------------------------------------------

    def take(self, packet: bytes, now: float, *, is_repeat: bool = False) -> list[int]:
        """Take a packet. Return the sequence numbers to request now."""
        _, second, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        if self._advanced_at is None:
            self._advanced_at = now
        self._heard_at = now
        self.received += 1
        self.repeats += is_repeat
        place = self._unwrap(sequence)
        lost = self._note(place, now)
        self._assemble(packet, place, timestamp, bool(second & 0x80), now)
        return lost

    def _unwrap(self, sequence: int) -> int:
        if self._highest < 0:
            return 0x10000 + sequence
        return self._highest + (sequence - self._highest + 0x8000 & 0xFFFF) - 0x8000

    def _note(self, place: int, now: float) -> list[int]:
        """Record which packets are missing, and return those to request at once."""
        self._missing.pop(place, None)
        if self._highest < 0:
            self._highest, self.expected = place, 1
            return []
        lost = list(range(self._highest + 1, place))
        self.expected += max(0, place - self._highest)
        self._highest = max(self._highest, place)
        if len(self._missing) + len(lost) > MOST_MISSING:
            self._missing.clear()
            self._wants_key = True
            return []
        self._missing |= {each: _Missing(now, 1) for each in lost}
        return [each & 0xFFFF for each in lost]

    def requests(self, now: float, round_trip: float) -> list[int]:
        """Return the sequence numbers to request again now, after a round trip without an answer."""
        due = [each for each, missing in self._missing.items() if now - missing.asked_at >= round_trip]
        for each in due:
            missing = self._missing[each]
            missing.asked_at, missing.requests = now, missing.requests + 1
            if missing.requests > MOST_REQUESTS:
                del self._missing[each]
        return [each & 0xFFFF for each in due if each in self._missing]

    def wants_key_frame(self, now: float) -> bool:
        """Tell whether to request a key frame now."""
        if self._advanced_at is None:
            return False
        if now - self._advanced_at < (FIRST_PATIENCE if self._wants_key else PATIENCE):
            return False
        if not self._wants_key and now - self._heard_at > PATIENCE:
            # The sender is silent.
            return False
        self._advanced_at, self._wants_key = now, True
        self.key_frames_wanted += 1
        return True

    # --- Frames -----------------------------------------------------------------------------------------------

    def _assemble(self, packet: bytes, place: int, timestamp: int, is_last: bool, now: float) -> None:
        _, begin = rtp.extension_bounds(packet)
        if len(packet) <= begin + 6:
            return
        frame = self._frames.setdefault(timestamp, _Frame(timestamp))
        if place in frame.numbers:
            return
        frame.numbers.add(place)
        if packet[begin] & 0x10:
            frame.first = place
        if is_last:
            frame.last = place
        frame.picture = counters(packet).picture
        frame.is_key, frame.place = not packet[begin + 5] & 1, packet[begin + 6]
        if frame.is_complete:
            self._decode(now)
        while len(self._frames) > _FRAMES_KEPT:
            del self._frames[next(iter(self._frames))]

    def _decode(self, now: float) -> None:
        """Decode all frames that can be decoded now."""
        while True:
            able = [each for each in self._frames.values() if each.is_complete and self._follows(each)]
            if not able:
                return
            frame = min(able, key=lambda each: each.first)
            self._newest, self._picture, self._wants_key = frame.last, frame.picture, False
            self._frames = {each: kept for each, kept in self._frames.items() if not self._is_past(kept)}
            # What was missing in frames that are skipped is no longer needed.
            self._missing = {each: kept for each, kept in self._missing.items() if each > frame.last}
            self._show(frame, now)

    def _is_past(self, frame: _Frame) -> bool:
        return max(frame.numbers) <= self._newest

    def _follows(self, frame: _Frame) -> bool:
        if frame.is_key:
            return frame.first > self._newest
        return not self._wants_key and frame.picture == self._picture + 1 & 0x7FFF

    def _show(self, frame: _Frame, now: float) -> None:
        """Show a frame: when the jitter buffer would, or now if it comes late."""
        self._advanced_at = now
        ahead = (frame.timestamp - self._timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        self._timestamp += ahead
        sent = self._timestamp / 90000
        if self._base is None or abs(now - sent - self._base) > 10:
            self._base = now - sent
        late = now - sent - self._base
        self._base += min(late, _RISE_A_FRAME) if late < self._delay or late < 0 else _RISE_A_FRAME
        at = max(now, sent + self._base + self._delay, self.shown[-1].at if self.shown else 0.0)
        self._delay = min(_LONGEST_DELAY, max(late, _DELAY_KEPT * self._delay))
        self.shown.append(Shown(at, frame.place, frame.timestamp))
