"""Decide when a receiver may get larger layers again, and when a video may be paused. Nothing here knows the time."""

from math import inf

# Videos rise by one layer at a time, and the effect is awaited for this long, in seconds.
RAISE_SECONDS = 1.0
# After a receiver has got smaller layers, it gets no larger ones for this long, and twice as long each time that larger
# layers have lasted for less than LASTING_SECONDS.
FIRST_HOLD, LONGEST_HOLD, LASTING_SECONDS = 2.0, 30.0, 10.0
# If the estimate is this many times what it was during the congestion, the path is another now, and the hold ends. The
# factor doubles each time that this was an error.
ANOTHER_PATH = 2.0
# A video is paused only if it has not fitted for this long. Estimates are low until the queue of a suddenly narrow path
# is empty.
PAUSE_SECONDS = 3.0


class Patience:
    """What is known about one receiver. All rates are in bits per second, all times in seconds of one clock."""

    def __init__(self) -> None:
        self._raise_at = 0.0
        self._hold = FIRST_HOLD
        self._raised_at = -inf
        # Whether the last change was to smaller layers, and the lowest estimate since then.
        self._has_fallen = False
        self._narrow = inf
        self._factor = ANOTHER_PATH
        # Whether the estimate has ended the last hold early.
        self._is_early = False
        self._squeezed_at = inf

    def may_raise(self, rate: float, now: float) -> bool:
        """Tell whether the receiver may get larger layers.

        :param rate: the estimate of the receiver's bandwidth.
        """
        self._narrow = min(self._narrow, rate)
        if now >= self._raise_at:
            return True
        self._is_early = self._has_fallen and rate >= self._factor * self._narrow
        return self._is_early

    def may_pause(self, *, is_needed: bool, now: float) -> bool:
        """Tell whether a video may be paused, because it has not fitted for long enough."""
        self._squeezed_at = min(self._squeezed_at, now) if is_needed else inf
        return now - self._squeezed_at >= PAUSE_SECONDS

    def rose(self, now: float) -> None:
        """Record that the receiver has got larger layers."""
        self._raised_at, self._raise_at, self._has_fallen = now, now + RAISE_SECONDS, False

    def fell(self, now: float) -> None:
        """Record that the receiver has got smaller layers. Several falls in a row count as one."""
        if not self._has_fallen:
            has_lasted = now - self._raised_at >= LASTING_SECONDS
            self._hold = FIRST_HOLD if has_lasted else min(LONGEST_HOLD, 2 * self._hold)
            self._factor = ANOTHER_PATH if has_lasted or not self._is_early else 2 * self._factor
            self._has_fallen, self._is_early, self._narrow = True, False, inf
        self._raise_at = now + self._hold
