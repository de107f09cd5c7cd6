"""Detect a growing queue by the delays of packets (draft-ietf-rmcat-gcc-02 sections 5.2 to 5.4).

Packets that were sent within a few milliseconds form a group. If the gaps between the arrivals of groups are longer
than the gaps between their departures, a queue grows on the path. The draft filters these differences with a Kalman
filter. This module fits a line to their sum instead, as browsers do since 2017: the slope of the line is the share of
time by which the queue grows.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from enum import Enum

# All times are in milliseconds, unless their names say otherwise.
# Packets sent within this time, in seconds, form a group (section 5.2).
GROUP_SECONDS = 0.005
# Packets that arrive within GROUP_SECONDS of each other, earlier than their departures suggest, were held up together
# on the path. They count as one group that lasts at most this long.
LONGEST_BURST_SECONDS = 0.1
# If arrivals and departures differ by more than this, the receiver's clock has jumped.
CLOCK_JUMP_MS = 3000.0
# The line is fitted to this many groups. A group of a video comes with each frame, so this is less than a second.
WINDOW = 20
# The sum of the differences is smoothed by this factor before the fit.
SMOOTHING = 0.9
# The slope is multiplied by this gain, and by the number of groups up to MOST_GROUPS, to compare it with the threshold.
GAIN = 4.0
MOST_GROUPS = 60
# A queue must grow for longer than this, with a slope that does not fall (section 5.4).
OVERUSE_MS = 10.0
# The threshold follows the slope, so that neither a short queue nor a competing flow of TCP starves this one
# (section 5.4): it grows by K_UP and falls by K_DOWN per millisecond. A slope that exceeds it by more than MOST_ABOVE
# does not count.
FIRST_THRESHOLD, LEAST_THRESHOLD, MOST_THRESHOLD = 12.5, 6.0, 600.0
K_UP, K_DOWN, MOST_ABOVE = 0.0087, 0.039, 15.0
# The threshold moves for at most this long at once.
LONGEST_STEP_MS = 100.0


class Usage(Enum):
    """How the path is used."""

    # Its queue becomes shorter.
    UNDER = "under"
    NORMAL = "normal"
    # Its queue grows.
    OVER = "over"


class Group:
    """Packets that were sent, or have arrived, together. All times are in seconds."""

    __slots__ = ("arrived_at", "first_arrived_at", "first_sent_at", "sent_at")

    def __init__(self, sent_at: float, arrived_at: float) -> None:
        self.first_sent_at = self.sent_at = sent_at
        self.first_arrived_at = self.arrived_at = arrived_at

    def is_continued_by(self, sent_at: float, arrived_at: float) -> bool:
        """Tell whether a packet belongs to this group although it was sent later."""
        gap = arrived_at - self.arrived_at
        is_burst = gap <= GROUP_SECONDS and gap < sent_at - self.sent_at
        return is_burst and arrived_at - self.first_arrived_at < LONGEST_BURST_SECONDS

    def add(self, sent_at: float, arrived_at: float) -> None:
        """Add packets that were sent until `sent_at`, and have arrived until `arrived_at`."""
        self.sent_at, self.arrived_at = max(self.sent_at, sent_at), max(self.arrived_at, arrived_at)


class QueueDetector:
    """Tells how a path is used, by the packets that have arrived. `usage` is the present verdict."""

    def __init__(self) -> None:
        self._threshold = FIRST_THRESHOLD
        self._forget()

    def _forget(self) -> None:
        self.usage = Usage.NORMAL
        self._before: Group | None = None
        self._group: Group | None = None
        self._groups = 0
        self._delay = self._smoothed = self._slope = 0.0
        self._overused_ms, self._overuses = 0.0, 0
        self._begun_at = 0.0
        # For each of the last groups: when it arrived, and the smoothed sum of the differences up to it.
        self._line: deque[tuple[float, float]] = deque(maxlen=WINDOW)

    def take(self, sent_at: Sequence[float], arrived_at: Sequence[float]) -> bool:
        """Take packets into account. Return whether the queue grew while one of them was sent.

        :param sent_at: when each packet was sent, in seconds of the sender's clock. The order is that of sending.
        :param arrived_at: when each arrived, in seconds of the receiver's clock.
        """
        count, was_over = len(sent_at), False
        # Packets that were sent before the present group come too late.
        at = bisect_left(sent_at, self._group.first_sent_at) if self._group is not None else 0
        while at < count:
            group = self._group
            if group is None or not _belongs(group, sent_at[at], arrived_at[at]):
                if group is not None and self._before is not None:
                    self._compare(self._before, group)
                self._before, self._group = self._group, Group(sent_at[at], arrived_at[at])
                group = self._group
            end = max(at + 1, bisect_right(sent_at, group.first_sent_at + GROUP_SECONDS, at))
            group.add(sent_at[end - 1], max(arrived_at[at:end]))
            was_over = was_over or self.usage is Usage.OVER
            at = end
        return was_over

    def _compare(self, before: Group, group: Group) -> None:
        """Add the difference between the gaps of two successive groups."""
        sent, arrived = 1000 * (group.sent_at - before.sent_at), 1000 * (group.arrived_at - before.arrived_at)
        if arrived < 0 or abs(arrived - sent) > CLOCK_JUMP_MS:
            self._forget()
            return
        self._groups += 1
        self._delay += arrived - sent
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._delay
        if not self._line:
            self._begun_at = group.arrived_at
        self._line.append((1000 * (group.arrived_at - self._begun_at), self._smoothed))
        slope = _slope(self._line) if len(self._line) == WINDOW else self._slope
        self._judge(slope, sent, arrived)
        self._slope = slope

    def _judge(self, slope: float, sent: float, arrived: float) -> None:
        """Compare the slope with the threshold."""
        value = min(self._groups, MOST_GROUPS) * slope * GAIN
        if value > self._threshold:
            self._overused_ms += sent if self._overuses else sent / 2
            self._overuses += 1
            if self._overused_ms > OVERUSE_MS and self._overuses > 1 and slope >= self._slope:
                self._overused_ms, self._overuses = 0.0, 0
                self.usage = Usage.OVER
        else:
            self._overused_ms, self._overuses = 0.0, 0
            self.usage = Usage.UNDER if value < -self._threshold else Usage.NORMAL
        self._adapt(abs(value), min(arrived, LONGEST_STEP_MS))

    def _adapt(self, value: float, milliseconds: float) -> None:
        """Let the threshold follow the slope."""
        above = value - self._threshold
        if above <= MOST_ABOVE:
            moved = self._threshold + (K_UP if above > 0 else K_DOWN) * above * milliseconds
            self._threshold = min(MOST_THRESHOLD, max(LEAST_THRESHOLD, moved))


def _belongs(group: Group, sent_at: float, arrived_at: float) -> bool:
    return sent_at - group.first_sent_at <= GROUP_SECONDS or group.is_continued_by(sent_at, arrived_at)


def _slope(line: deque[tuple[float, float]]) -> float:
    """Return the slope of the line with the least squares through these points."""
    first_x, first_y = line[0]
    sum_x = sum_y = sum_xx = sum_xy = 0.0
    for x, y in line:
        x -= first_x
        y -= first_y
        sum_x += x
        sum_y += y
        sum_xx += x * x
        sum_xy += x * y
    spread = len(line) * sum_xx - sum_x * sum_x
    return (len(line) * sum_xy - sum_x * sum_y) / spread if spread else 0.0
