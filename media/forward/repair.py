"""Repair of lost packets: the round trip of a leg, and a receiver's budget for retransmissions."""

# In seconds: the round trip and the patience (how long to wait before requesting a packet again) that are assumed
# before the first measurement, and the bounds of the patience. The first two are long, because one request too few is
# better than four too many.
INITIAL_SECONDS = 0.1
INITIAL_PATIENCE = 0.25
SHORTEST_PATIENCE = 0.04
LONGEST_PATIENCE = 1.0

# Retransmissions may always use SHARE of the rate that the connection carried recently. They may use up to
# LARGEST_SHARE of that rate if the receiver's estimate leaves room.
SHARE = 0.2
LARGEST_SHARE = 0.5
# The smallest budget, in bits per second: for a connection that carries hardly anything, or is not measured yet.
LEAST_RATE = 20_000
# A burst of this many bytes is always allowed. A larger burst is allowed if it does not exceed the budget of
# BURST_SECONDS.
BURST = 14_400
BURST_SECONDS = 0.5
# IP, UDP and SRTP add this many bytes to a packet.
OVERHEAD = 60
# How many requested packets are looked up within a tick. If 5 % of the packets of forty cameras are lost, a tenth of
# this number is enough.
REQUESTS_A_TICK = 300
# A request is remembered for this many seconds. REQUESTS_A_TICK bounds the number of remembered requests.
REMEMBERED_SECONDS = 2.0


class RoundTrip:
    """The round trip of a leg, smoothed as TCP does it (RFC 6298)."""

    def __init__(self) -> None:
        self.is_measured = False
        self._smoothed = INITIAL_SECONDS
        self._variation = 0.0
        self._patience = INITIAL_PATIENCE

    @property
    def seconds(self) -> float:
        """The smoothed round trip, in seconds."""
        return self._smoothed

    @property
    def patience(self) -> float:
        """How long to wait for an answer before asking again, in seconds."""
        return self._patience

    def measure(self, sample: float) -> None:
        """Take a measured round trip, in seconds, into account."""
        sample = min(LONGEST_PATIENCE, max(0.0, sample))
        if self.is_measured:
            self._variation += (abs(sample - self._smoothed) - self._variation) / 4
            self._smoothed += (sample - self._smoothed) / 8
        else:
            self.is_measured, self._smoothed, self._variation = True, sample, sample / 2
        self._patience = min(LONGEST_PATIENCE, max(SHORTEST_PATIENCE, self._smoothed + 4 * self._variation))

    def back_off(self) -> None:
        """Wait longer, because it is unknown which of several requests was answered (RFC 6298 section 5.5)."""
        self._patience = min(LONGEST_PATIENCE, 2 * self._patience)


class Retransmissions:
    """The retransmission budget of one receiver, and its requests.

    The budget depends on the rate that its connection carried recently. That is the rate of the forwarded media, less
    the packets that the receiver reports or requests as lost. The receiver's own estimate also bounds the budget. So a
    receiver that requests everything gets at most half of its media's rate in addition.
    """

    def __init__(self) -> None:
        self._octets_left: float = BURST
        self._requests_left = REQUESTS_A_TICK
        # By SSRC and sequence number: when the packet was first requested, and when it was last sent again (-infinity:
        # never).
        self._sent_at: dict[tuple[int, int], tuple[float, float]] = {}
        # The rate of forwarded media in bits and packets per second, and the requested packets per second.
        self._forwarded = self._packets = self._missed = 0.0

    @property
    def remembered(self) -> int:
        """How many packets have a remembered request or retransmission."""
        return len(self._sent_at)

    def look_up(self) -> bool:
        """Tell whether one more request may be looked up within this tick, and count it."""
        self._requests_left -= 1
        return self._requests_left >= 0

    def is_due(self, ssrc: int, sequence: int, now: float, round_trip: float) -> bool:
        """Record a request. Return False while an earlier retransmission of the packet may still be on its way."""
        asked_at, sent_at = self._sent_at.get((ssrc, sequence), (None, float("-inf")))
        if asked_at is None:
            self._missed += 1
            self._sent_at[ssrc, sequence] = now, sent_at
        return now - sent_at >= round_trip

    def spend(self, ssrc: int, sequence: int, size: int, now: float) -> bool:
        """Tell whether the budget allows a packet of this size now. If so, count it as sent."""
        if size + OVERHEAD > self._octets_left:
            return False
        self._octets_left -= size + OVERHEAD
        self._sent_at[ssrc, sequence] = self._sent_at.get((ssrc, sequence), (now, now))[0], now
        return True

    def forwarded(self, octets: int, packets: int, seconds: float) -> None:
        """Record how much was forwarded to the receiver in this many seconds."""
        self._forwarded, self._packets = 8 * octets / seconds, packets / seconds

    def rate(self, *, estimate: int, lost: float) -> float:
        """Return the budget in bits per second.

        :param estimate: the receiver's estimate of its bandwidth in bits per second; 0 while there is none.
        :param lost: the share of packets that the receiver reports as lost.
        """
        missed = self._missed / self._packets if self._packets else 0.0
        took = self._forwarded * (1 - min(1.0, max(lost, missed)))
        if not estimate:
            return max(LEAST_RATE, SHARE * took)
        room = min(estimate - self._forwarded, LARGEST_SHARE * took)
        return max(LEAST_RATE, SHARE * min(estimate, took), room)

    def tick(self, now: float, seconds: float, *, estimate: int, lost: float) -> None:
        """Renew the budget, and forget old requests. Call it a few times per second; the arguments are those of `rate`.

        :param seconds: the time since the last call.
        """
        octets = self.rate(estimate=estimate, lost=lost) / 8
        self._octets_left = min(max(BURST, BURST_SECONDS * octets), self._octets_left + seconds * octets)
        self._requests_left = REQUESTS_A_TICK
        # A moving average over about a second.
        self._missed *= max(0.0, 1 - seconds)
        while self._sent_at:
            key = next(iter(self._sent_at))
            if now - self._sent_at[key][0] < REMEMBERED_SECONDS:
                break
            del self._sent_at[key]
