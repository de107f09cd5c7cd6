"""How much may be done at a time: a burst at once, and a rate from then on (a token bucket)."""


class Allowance:
    """Up to `burst` at once, and `rate` more a second. It begins full. Times are in seconds of any one clock."""

    __slots__ = ("_burst", "_counted_at", "_rate", "left")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self.left, self._counted_at = float(burst), 0.0

    def grow(self, now: float) -> float:
        """Add what has been earned since the last time; return how much is left."""
        self.left = min(self.left + (now - self._counted_at) * self._rate, self._burst)
        self._counted_at = now
        return self.left

    def take(self, cost: float, now: float) -> bool:
        """Tell whether so much is left, and take it. What is refused costs nothing."""
        if cost > self.grow(now):
            return False
        self.left -= cost
        return True
