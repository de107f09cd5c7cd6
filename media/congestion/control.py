"""The rate that the delays allow: grow until the queue grows, then fall below the measured throughput.

Source: draft-ietf-rmcat-gcc-02 section 5.5. The factors and bounds are those with which browsers send.
"""

from math import inf, sqrt

from media.congestion.delay import Usage

# Rates are in bits per second, times in seconds.
# When the queue grows, the rate falls to this share of the throughput, so that the queue empties.
DECREASE = 0.85
# A long queue shall empty in this time. For that, the rate falls at most to LEAST_SHARE of the throughput.
DRAIN_SECONDS, LEAST_SHARE = 1.0, 0.5
# Until a long queue had time to empty, the rate falls again only if the path carries less than this share of it. The
# throughput that caused the first decrease may have been measured before the path became narrow.
EXCESS = 0.8
# Far from the last congestion the rate grows by this factor per second, near it by about a packet per response time.
GROWTH = 1.08
LEAST_GROWTH = 1_000
LEAST_ADDED = 4_000
# How long the sender needs to react, in addition to the round trip.
RESPONSE_SECONDS = 0.1
# The rate stays below this multiple of the throughput, because a path is not tested beyond what is sent.
MOST_BEYOND, MOST_ADDED = 1.5, 10_000
# After a decrease, the next one waits for the round trip, within these bounds.
LEAST_WAIT, MOST_WAIT = 0.01, 0.2
# Assumed to compute the growth near the last congestion: frames per second, and bits of a packet.
_FRAMES, _PACKET_BITS = 30, 8 * 1200
# The weight of a new sample of the capacity, and the bounds of its relative variance.
_CAPACITY_WEIGHT = 0.05
_LEAST_VARIANCE, _MOST_VARIANCE = 0.4, 2.5


class Capacity:
    """The throughput at which the queue began to grow: an average of the last congestions.

    `rate` is in kbit/s; 0 while it is unknown.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self._variance = _LEAST_VARIANCE

    def congested_at(self, throughput: float) -> None:
        """Take a throughput into account, in bits per second, at which the queue has begun to grow."""
        sample = throughput / 1000
        self.rate = self.rate + _CAPACITY_WEIGHT * (sample - self.rate) if self.rate else sample
        error = (self.rate - sample) ** 2 / max(self.rate, 1.0)
        variance = (1 - _CAPACITY_WEIGHT) * self._variance + _CAPACITY_WEIGHT * error
        self._variance = min(_MOST_VARIANCE, max(_LEAST_VARIANCE, variance))

    def is_left_by(self, throughput: float) -> bool:
        """Tell whether a throughput, in bits per second, is far from all congestions that this average describes."""
        return bool(self.rate) and abs(throughput / 1000 - self.rate) > 3 * sqrt(self._variance * self.rate)

    def forget(self) -> None:
        """Begin afresh: the path has changed."""
        self.rate = 0.0


class DelayControl:
    """The rate that the delays allow. `rate` is in bits per second."""

    def __init__(self, rate: float, *, least: float, most: float) -> None:
        self.rate = rate
        self._least, self._most = least, most
        self._capacity = Capacity()
        self._grows = True
        self._updated_at: float | None = None
        self._decreased_at = self._drained_at = -inf

    def set(self, rate: float, now: float) -> None:
        """Set a rate that a probe has shown."""
        self.rate = min(self._most, max(self._least, rate))
        self._updated_at = now

    def forget(self) -> None:
        """Forget earlier congestions: the path has changed."""
        self._capacity.forget()

    def drain(self, throughput: float, queue: float, now: float, round_trip: float) -> None:
        """Fall below the throughput, so that a long queue empties within DRAIN_SECONDS.

        :param throughput: in bits per second; with a queue, it is the rate of the path.
        :param queue: how long packets wait, in seconds.
        :param round_trip: in seconds.
        """
        self._updated_at, self._grows = now, False
        wanted = throughput * max(LEAST_SHARE, min(DECREASE, 1 - queue / DRAIN_SECONDS))
        has_waited = now - self._drained_at >= DRAIN_SECONDS + round_trip
        if wanted < self.rate and (has_waited or throughput < EXCESS * self.rate):
            self.rate, self._drained_at = max(self._least, wanted), now
            self._capacity.congested_at(throughput)

    def update(self, usage: Usage, throughput: float, now: float, round_trip: float) -> None:
        """Adapt the rate.

        :param throughput: the measured throughput in bits per second; 0 while it is unknown.
        :param round_trip: in seconds.
        """
        seconds = 0.0 if self._updated_at is None else min(1.0, now - self._updated_at)
        self._updated_at = now
        if usage is Usage.OVER:
            if self._may_decrease(throughput, now, round_trip):
                self._decrease(throughput or self.rate, now)
            self._grows = False
        elif usage is Usage.UNDER:
            # The queue empties. Wait until it has.
            self._grows = False
        elif self._grows:
            self._increase(throughput, seconds, round_trip)
        else:
            self._grows = True

    def _may_decrease(self, throughput: float, now: float, round_trip: float) -> bool:
        """Tell whether the last decrease has had time to take effect, or was far too small."""
        has_waited = now - self._decreased_at >= min(MOST_WAIT, max(LEAST_WAIT, round_trip))
        return has_waited or 0 < throughput < self.rate / 2

    def _decrease(self, throughput: float, now: float) -> None:
        if self._capacity.is_left_by(throughput):
            self._capacity.forget()
        decreased = DECREASE * throughput
        if decreased > self.rate and self._capacity.rate:
            decreased = DECREASE * 1000 * self._capacity.rate
        self.rate = max(self._least, min(self.rate, decreased))
        self._capacity.congested_at(throughput)
        self._decreased_at = now

    def _increase(self, throughput: float, seconds: float, round_trip: float) -> None:
        if throughput / 1000 > self._capacity.rate and self._capacity.is_left_by(throughput):
            self._capacity.forget()
        if self._capacity.rate:
            added = self._added_per_second(round_trip) * seconds
        else:
            if self._decreased_at == self._drained_at == -inf:
                # More may be sent than this rate says. What arrives before any congestion, the path carries.
                self.rate = max(self.rate, min(throughput, self._most))
            added = max(LEAST_GROWTH, self.rate * (GROWTH**seconds - 1))
        bound = MOST_BEYOND * throughput + MOST_ADDED if throughput else self._most
        self.rate = max(self.rate, min(self.rate + added, bound, self._most))

    def _added_per_second(self, round_trip: float) -> float:
        """Return the growth near the last congestion: about one packet per response time (section 5.5)."""
        bits_a_frame = self.rate / _FRAMES
        packet = bits_a_frame / max(1.0, -(-bits_a_frame // _PACKET_BITS))
        return max(LEAST_ADDED, packet / (2 * (round_trip + RESPONSE_SECONDS)))
