"""Decide when a receiver may get larger layers again, and when a video may be paused. Nothing here knows the time."""

from math import inf

# Videos rise by one layer at a time, and the effect is awaited for this long, in seconds.
RAISE_SECONDS = 0.6
# After a receiver has got smaller layers, it gets no larger ones for this long, and twice as long each time that larger
# layers have lasted for less than LASTING_SECONDS.
FIRST_HOLD, LONGEST_HOLD, LASTING_SECONDS = 2.0, 30.0, 10.0
# If the estimate is this many times what it was during the congestion, the path is another now, and the hold ends. The
# factor doubles each time that this was an error.
ANOTHER_PATH = 2.0
# A video is paused if less than LEAST_SHARE of all smallest layers has fitted for PAUSE_SECONDS. Until the queue of a
# suddenly narrow path is empty, estimates are low, and while another receiver behind the same path fills its queue. If
# less than FAR_SHARE fits, the wait is FAR_PAUSE_SECONDS, because the sound suffers meanwhile.
LEAST_SHARE, PAUSE_SECONDS = 0.8, 3.0
FAR_SHARE, FAR_PAUSE_SECONDS = 0.5, 0.5


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
        # Since when the smallest layers have not fitted, and since when they have been far from it.
        self._squeezed_at = self._far_at = inf

    def may_raise(self, rate: float, now: float) -> bool:
        """Tell whether the receiver may get larger layers.

        :param rate: the estimate of the receiver's bandwidth.
        """
        self._narrow = min(self._narrow, rate)
        if now >= self._raise_at:
            return True
        self._is_early = self._has_fallen and rate >= self._factor * self._narrow
        return self._is_early

    def may_pause(self, share: float, now: float) -> bool:
        """Tell whether a video may be paused, because it has not fitted for long enough.

        :param share: the budget for all videos as a share of the rate of their smallest layers.
        """
        self._squeezed_at = min(self._squeezed_at, now) if share < LEAST_SHARE else inf
        self._far_at = min(self._far_at, now) if share < FAR_SHARE else inf
        return now - self._squeezed_at >= PAUSE_SECONDS or now - self._far_at >= FAR_PAUSE_SECONDS

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
