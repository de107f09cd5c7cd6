"""Probes: short bursts of packets, sent faster than the present rate, which show whether the path carries more."""

from math import inf

from media.congestion.acknowledgement import Acknowledgement

# A probe counts once at least this many of its packets have arrived, and this share of its bytes.
LEAST_PACKETS, LEAST_SHARE = 4, 0.8
# If packets arrive at less than SATURATED of the rate at which they were sent, the path is full at RESULT of the rate
# at which they arrived.
SATURATED, RESULT = 0.9, 0.95
# A rate of arrival above this multiple of the rate of sending is an artefact of buffers on the path.
MOST_RATIO = 2.0


class Probe:
    """What has arrived of one probe. `octets` is the number of bytes that were sent.

    A probe of a fast connection has thousands of packets. So the work for each does not depend on their number.
    """

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._sent, self._arrived = _Span(), _Span()

    def take(self, packet: Acknowledgement) -> float:
        """Take a packet into account. Return the bits per second that the probe has shown; 0 while it shows nothing."""
        sent, arrived = self._sent, self._arrived
        if packet.arrived_at is not None:
            sent.add(packet.sent_at, packet.size)
            arrived.add(packet.arrived_at, packet.size)
        if sent.packets < LEAST_PACKETS or sent.octets < LEAST_SHARE * self._octets:
            return 0.0
        sending, arriving = sent.rate(left_out=sent.last[1]), arrived.rate(left_out=arrived.first[1])
        if not sending or not arriving or arriving > MOST_RATIO * sending:
            return 0.0
        return RESULT * arriving if arriving < SATURATED * sending else min(sending, arriving)


class _Span:
    """Packets by one clock: how many, their bytes, and the time and size of the first and the last one."""

    def __init__(self) -> None:
        self.packets = self.octets = 0
        self.first, self.last = (inf, 0), (-inf, 0)

    def add(self, at: float, size: int) -> None:
        """Add a packet."""
        self.packets += 1
        self.octets += size
        self.first, self.last = min(self.first, (at, size)), max(self.last, (at, size))

    def rate(self, *, left_out: int) -> float:
        """Return the rate of the packets in bits per second.

        :param left_out: the size of the packet at one end, whose own transmission is outside the measured time.
        """
        seconds = self.last[0] - self.first[0]
        return 8 * (self.octets - left_out) / seconds if seconds > 0 else 0.0
