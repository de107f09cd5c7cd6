"""A simulated network path: delay, a rate limit with a finite queue, and losses, all changeable at any time."""

import random
from dataclasses import dataclass, field

# How much later a packet comes that is overtaken by others.
LATE_SECONDS = 0.03


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
    # The largest random addition to the delay, and whether packets keep their order nevertheless.
    jitter: float = 0.0
    keeps_order: bool = False
    # The share of packets that arrive twice, and the share that is delayed by LATE_SECONDS.
    duplicated: float = 0.0
    reordered: float = 0.0
    # Whether nothing arrives at all.
    is_cut: bool = False
    seed: int = 1
    # When the bottleneck will have sent all packets that wait.
    _free_at: float = field(default=0.0, init=False)
    _is_losing: bool = field(default=False, init=False)
    _last_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Make the path's own random numbers."""
        self._chance = random.Random(self.seed)

    def reseed(self, seed: int) -> None:
        """Begin with other random numbers."""
        self._chance = random.Random(seed)

    def send(self, size: int, now: float) -> float | None:
        """Send a packet. Return when it arrives; None if it is lost. Packets stay in order, unless there is jitter."""
        if self.is_cut or self._loses():
            return None
        left_at = now
        if self.rate is not None:
            if self.waiting(now) > self.queue:
                return None
            left_at = self._free_at = max(now, self._free_at) + 8 * size / self.rate
        arrives_at = left_at + self.delay + self.jitter * self._chance.random()
        if self.keeps_order:
            arrives_at = self._last_at = max(arrives_at, self._last_at)
        return arrives_at

    def deliveries(self, size: int, now: float) -> list[float]:
        """Send a packet. Return when each copy of it arrives."""
        at = self.send(size, now)
        if at is None:
            return []
        if self.reordered and self._chance.random() < self.reordered:
            at += LATE_SECONDS
        return [at, at] if self.duplicated and self._chance.random() < self.duplicated else [at]

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
