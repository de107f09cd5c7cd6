"""A token bucket: how much may be done at once, and how much per second from then on."""


class Allowance:
    """Up to `burst` at once, and `rate` more per second. It begins full. Times are in seconds of any one clock."""

    __slots__ = ("_burst", "_counted_at", "_rate", "left")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self.left, self._counted_at = float(burst), 0.0

    def grow(self, now: float) -> float:
        """Add what the time since the last call has earned. Return how much is left."""
        self.left = min(self.left + (now - self._counted_at) * self._rate, self._burst)
        self._counted_at = now
        return self.left

    def take(self, cost: float, now: float) -> bool:
        """Take this much if it is left. Return whether it was; a refusal costs nothing."""
        if cost > self.grow(now):
            return False
        self.left -= cost
        return True
