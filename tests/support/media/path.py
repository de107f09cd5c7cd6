"""A simulated network path: delay, a rate limit with a finite queue, and losses, all changeable at any time."""

import random
from dataclasses import dataclass, field


@dataclass
class Path:
    """One direction of a path. Times are in seconds, rates in bits per second, sizes in bytes."""

    delay: float = 0.02
    # The rate of the bottleneck; None without one.
    rate: float | None = None
    # How many seconds of the rate the queue of the bottleneck holds. Packets that find it full are lost.
    queue: float = 0.3
    # The share of packets that is lost at random, and the mean number of packets lost in a row.
    loss: float = 0.0
    burst: float = 1.0
    # The largest random addition to the delay.
    jitter: float = 0.0
    seed: int = 1
    # When the bottleneck will have sent all packets that wait.
    _free_at: float = field(default=0.0, init=False)
    _is_losing: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the path's own random numbers."""
        self._chance = random.Random(self.seed)

    def send(self, size: int, now: float) -> float | None:
        """Send a packet. Return when it arrives; None if it is lost. Packets stay in order, unless there is jitter."""
        if self._loses():
            return None
        left_at = now
        if self.rate is not None:
            if self.waiting(now) > self.queue:
                return None
            left_at = self._free_at = max(now, self._free_at) + 8 * size / self.rate
        return left_at + self.delay + self.jitter * self._chance.random()

    def waiting(self, now: float) -> float:
        """Return how long a packet would wait in the queue now."""
        return max(0.0, self._free_at - now)

    def _loses(self) -> bool:
        """Decide whether the next packet is lost (a Gilbert model: losses come in runs of `burst` on average)."""
        if self._is_losing:
            self._is_losing = self._chance.random() >= 1 / self.burst
        else:
            self._is_losing = self._chance.random() < self.loss / (self.burst * (1 - self.loss) + 1e-9)
        return self._is_losing
