"""Measure the rate at which packets arrive at a receiver."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

# In seconds: the time over which a sample of the rate is measured; the first sample takes longer.
WINDOW_SECONDS, FIRST_WINDOW_SECONDS = 0.15, 0.5
# How far one sample may be from the estimate, as a share of the estimate. A sample below the estimate counts less,
# because a sender with little to send causes it as well.
UNCERTAINTY, UNCERTAINTY_BELOW = 10.0, 20.0
# The estimate's own variance grows by this much with each sample.
DRIFT = 5.0
# If nothing has arrived for this many seconds, the next sample begins afresh.
SILENCE_SECONDS = 1.0
# The peak is the highest rate of PEAK_PACKETS or more packets that have arrived within at least PEAK_SECONDS, of those
# of the last PEAK_WINDOW seconds.
PEAK_PACKETS, PEAK_SECONDS, PEAK_WINDOW = 6, 0.015, 0.4


class Throughput:
    """The rate at which packets have arrived recently: a Bayesian estimate over short samples.

    `rate` is in bits per second; 0 before the first sample.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self._last: tuple[float, float] = (0.0, 0.0)
        self._variance = 50.0
        self._octets = 0
        self._began_at: float | None = None
        self._last_at = 0.0
        # The arguments of `take` that contain the arrivals of the last PEAK_WINDOW seconds.
        self._arrivals: deque[tuple[Sequence[float], Sequence[int]]] = deque()

    @property
    def recent(self) -> float:
        """The rate in bits per second, if it has fallen suddenly: the larger of the last two samples.

        One sample alone may be low because of a gap on the path.
        """
        return min(self.rate, max(self._last))

    @property
    def peak(self) -> float:
        """The highest rate of a few packets in a row, in bits per second; 0 if it is unknown.

        While packets queue, they arrive at the rate of the path. So the peak is that rate, however little is sent in
        all.
        """
        newest, best, begin, octets = self._arrivals[-1][0][-1] if self._arrivals else 0.0, 0.0, 0, 0
        arrivals = [each for arrived in self._arrivals for each in zip(*arrived, strict=True)]
        arrivals = [each for each in arrivals if 0 <= newest - each[0] <= PEAK_WINDOW]
        for end, (at, size) in enumerate(arrivals):
            octets += size
            # Take the shortest stretch that ends here and is long enough.
            while end - begin > PEAK_PACKETS and at - arrivals[begin + 1][0] >= PEAK_SECONDS:
                octets -= arrivals[begin][1]
                begin += 1
            if end - begin >= PEAK_PACKETS and at - arrivals[begin][0] >= PEAK_SECONDS:
                best = max(best, 8 * (octets - arrivals[begin][1]) / (at - arrivals[begin][0]))
        return best

    def take(self, arrived_at: Sequence[float], sizes: Sequence[int]) -> None:
        """Take arrived packets into account.

        :param arrived_at: when each arrived, in seconds; in this order.
        :param sizes: the bytes of each.
        """
        at = 0
        while at < len(sizes):
            time, window = arrived_at[at], WINDOW_SECONDS if self.rate else FIRST_WINDOW_SECONDS
            if self._began_at is None or abs(time - self._last_at) > SILENCE_SECONDS:
                self._began_at, self._octets = time, 0
            elif time - self._began_at >= window:
                self._add(8 * self._octets / (time - self._began_at))
                self._began_at, self._octets = time, 0
            end = max(at + 1, bisect_left(arrived_at, min(self._began_at + WINDOW_SECONDS, time + SILENCE_SECONDS), at))
            self._octets += sum(sizes[at:end])
            time = arrived_at[end - 1]
            self._last_at = max(self._last_at, time) if self._began_at < time else time
            at = end
        if at:
            self._arrivals.append((arrived_at, sizes))
        while self._arrivals and not 0 <= self._arrivals[-1][0][-1] - self._arrivals[0][0][-1] <= PEAK_WINDOW:
            self._arrivals.popleft()

    def _add(self, sample: float) -> None:
        """Combine a sample with the estimate, each weighted by its certainty."""
        self._last = self._last[1], sample
        if not self.rate:
            self.rate = sample
            return
        scale = UNCERTAINTY_BELOW if sample < self.rate else UNCERTAINTY
        distance = scale * abs(self.rate - sample) / self.rate
        sample_variance, variance = distance**2, self._variance + DRIFT
        self.rate = (sample_variance * self.rate + variance * sample) / (sample_variance + variance)
        self._variance = sample_variance * variance / (sample_variance + variance)
