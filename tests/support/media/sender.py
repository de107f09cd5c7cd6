"""A simulated sender of video over a simulated path, with feedback from its receiver. One seed, one run."""

from dataclasses import dataclass, field
from typing import NamedTuple

from media.congestion.acknowledgement import Acknowledgement, Report
from media.congestion.estimator import Estimator
from tests.support.media.path import Path

FRAMES_A_SECOND = 30
# Every so many frames a key frame comes, which has KEY_FRAME_FACTOR times the bytes of another.
KEY_FRAMES, KEY_FRAME_FACTOR = 300, 4
_PACKET, _HEADERS = 1100, 60


class Moment(NamedTuple):
    """What a run has come to at one moment."""

    at: float
    # In bits per second: what the estimator allows, and what arrived in the last second.
    rate: float
    arrived: float
    # The longest wait in the queue of the path in the last second.
    queue: float


@dataclass
class Run:
    """A sender that uses all of what its estimator allows, between `least` and `most` bits per second."""

    path: Path
    most: float = 2_500_000
    least: float = 0
    # In seconds: the way back, and the time between two feedbacks.
    back: float = 0.02
    interval: float = 0.1
    estimator: Estimator = field(default_factory=Estimator)
    now: float = 0.0
    # What each second has come to.
    moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with nothing on the way."""
        # For each packet whose fate is not reported: when it was sent, when it arrives, and its size.
        self._waiting: list[tuple[float, float | None, int]] = []
        self._arrived: list[tuple[float, int]] = []
        self._frames = 0
        self._reported_at = self._noted_at = 0.0
        self._longest_queue = 0.0

    def go(self, seconds: float, **changes: float | None) -> "Run":
        """Change the path, and go on for this many seconds."""
        for name, value in changes.items():
            setattr(self.path, name, value)
        until = self.now + seconds
        while self.now < until:
            self._send_frame()
            if self.now - self._reported_at >= self.interval:
                self._reported_at = self.now
                self._report()
            if self.now - self._noted_at >= 1.0:
                self._note()
            self.now += 1 / FRAMES_A_SECOND
        return self

    def since(self, at: float) -> list[Moment]:
        """Return the moments from then on."""
        return [moment for moment in self.moments if moment.at > at]

    def _send_frame(self) -> None:
        octets = min(self.most, max(self.least, self.estimator.rate)) / FRAMES_A_SECOND / 8
        if self._frames % KEY_FRAMES == 0:
            octets *= KEY_FRAME_FACTOR
        self._frames += 1
        count = max(1, round(octets / _PACKET))
        for _ in range(count):
            size = int(octets / count) + _HEADERS
            arrives_at = self.path.send(size, self.now)
            self._waiting.append((self.now, arrives_at, size))
            if arrives_at is not None:
                self._arrived.append((arrives_at, size))
        self._longest_queue = max(self._longest_queue, self.path.waiting(self.now))

    def _report(self) -> None:
        """Give the estimator the feedback that arrives now: about all packets up to the newest that has arrived."""
        known = [sent for sent, arrives, _ in self._waiting if arrives is not None and arrives + self.back <= self.now]
        if not known:
            return
        newest = max(known)
        reported: list[tuple[float, float | None, int]] = []
        rest: list[tuple[float, float | None, int]] = []
        for packet in self._waiting:
            sent, arrives, _ = packet
            is_reported = sent <= newest and (arrives is None or arrives + self.back <= self.now)
            (reported if is_reported else rest).append(packet)
        self._waiting = rest
        acknowledged = [Acknowledgement(sent, arrives, size) for sent, arrives, size in reported]
        self.estimator.acknowledge(Report.of(acknowledged), self.now, self.path.delay + self.back)

    def _note(self) -> None:
        seconds = self.now - self._noted_at
        arrived = 8 * sum(size for at, size in self._arrived if at <= self.now) / seconds
        self._arrived = [(at, size) for at, size in self._arrived if at > self.now]
        self.moments.append(Moment(self.now, self.estimator.rate, arrived, self._longest_queue))
        self._noted_at, self._longest_queue = self.now, 0.0
