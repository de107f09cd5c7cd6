"""A token bucket: a limit on how much may be done at once, and on how much more per second."""


class Allowance:
    """Allows `burst` at once, and `rate` more per second. The bucket begins full.

    Times are in seconds of one clock.
    """

    __slots__ = ("_burst", "_counted_at", "_rate", "left")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self.left, self._counted_at = float(burst), 0.0

    def grow(self, now: float) -> float:
        """Add the amount for the time since the last call. Return how much is left."""
        self.left = min(self.left + (now - self._counted_at) * self._rate, self._burst)
        self._counted_at = now
        return self.left

    def take(self, cost: float, now: float) -> bool:
        """Take this amount if that much is left. Otherwise take nothing. Return whether it was taken."""
        if cost > self.grow(now):
            return False
        self.left -= cost
        return True
