"""The rate that the losses allow.

draft-ietf-rmcat-gcc-02 section 6 lowers the rate as soon as a tenth of the packets is lost. But radio links lose that
many without any congestion, in bursts, and a lower rate does not help there. So a loss lowers the rate only if it is
high for some time, and only to what arrives. If the queue is short, and several decreases do not lower the loss, then
the loss has another cause. It is ignored until it rises.
"""

from collections import deque
from typing import NamedTuple


class Window(NamedTuple):
    """A loss lowers the rate if its share in a window of this many seconds is at least `share`."""

    share: float
    seconds: float
    # The least number of packets that a share must refer to.
    packets: int


WINDOWS = Window(0.15, 4.0, 100), Window(0.30, 1.0, 30)
# The feedback of this many seconds counts as one. A receiver decides how often it sends feedback, so this bounds the
# work for each.
STEP_SECONDS = 0.04
# A loss that is still at least this share of the first one after TRIES decreases has another cause than congestion.
UNCHANGED, TRIES = 0.7, 3
# If the loss rises by this factor, it may have another cause than before.
WORSE = 1.5
# Without much loss, the limit grows by this factor per second. It ends at this multiple of the throughput.
GROWTH, ENDS_AT = 1.08, 2.0


class _Recent:
    """How many packets were lost and reported within a window."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.clear()

    def clear(self) -> None:
        """Forget all feedbacks."""
        # For each step: when it began, and how many packets were lost and reported.
        self._reports: deque[tuple[float, int, int]] = deque()
        self._lost = self._reported = 0

    def add(self, now: float, lost: int, reported: int) -> None:
        """Add a feedback to the present step, or begin a new one. Forget the steps that are too old."""
        self._lost, self._reported = self._lost + lost, self._reported + reported
        begun_at = now
        if self._reports and now - self._reports[-1][0] < STEP_SECONDS:
            begun_at, lost_before, reported_before = self._reports.pop()
            lost, reported = lost + lost_before, reported + reported_before
        self._reports.append((begun_at, lost, reported))
        while now - self._reports[0][0] > self.window.seconds:
            _, lost, reported = self._reports.popleft()
            self._lost, self._reported = self._lost - lost, self._reported - reported

    @property
    def share(self) -> float | None:
        """The share of lost packets; None if the window has too few packets."""
        return self._lost / self._reported if self._reported >= self.window.packets else None


class LossControl:
    """The rate that the losses allow. `rate` is in bits per second; infinite without much loss."""

    def __init__(self) -> None:
        self.rate = float("inf")
        # The feedbacks since the last decrease.
        self._recent = [_Recent(window) for window in WINDOWS]
        self._updated_at = 0.0
        self._first, self._tries = 0.0, 0
        self._harmless = 0.0

    def update(self, lost: int, reported: int, throughput: float, now: float, *, has_queue: bool) -> bool:
        """Adapt the rate to a feedback: how many packets were lost, of how many that it reports.

        Return whether the losses have lowered the rate.

        :param has_queue: whether packets wait on the path, so that it may be full.
        """
        for recent in self._recent:
            recent.add(now, lost, reported)
        shares = [(recent.share, recent.window.share) for recent in self._recent]
        known = [(share, least) for share, least in shares if share is not None]
        worst = max((share for share, least in known if share >= least), default=0.0)
        is_lowered = bool(worst and throughput and (has_queue or worst > WORSE * self._harmless))
        if is_lowered:
            self._decrease(worst, throughput, has_queue=has_queue)
        else:
            self._grow(throughput, min(1.0, now - self._updated_at))
            if known and not worst:
                self._tries = 0
        self._updated_at = now
        return is_lowered

    def _decrease(self, share: float, throughput: float, *, has_queue: bool) -> None:
        self._first = share if not self._tries else self._first
        self._tries += 1
        for recent in self._recent:
            recent.clear()
        if self._tries > TRIES and share >= UNCHANGED * self._first and not has_queue:
            self._harmless, self._tries, self.rate = share, 0, float("inf")
        else:
            self.rate = min(self.rate, throughput)

    def _grow(self, throughput: float, seconds: float) -> None:
        self.rate *= GROWTH**seconds
        if self.rate > ENDS_AT * throughput:
            self.rate = float("inf")
