"""Probes: short bursts of packets, sent faster than the present rate, which show whether the path carries more."""

from media.congestion.acknowledgement import Acknowledgement

# A probe counts once at least this many of its packets have arrived, and this share of its bytes.
LEAST_PACKETS, LEAST_SHARE = 4, 0.8
# If packets arrive at less than SATURATED of the rate at which they were sent, the path is full at RESULT of the rate
# at which they arrived.
SATURATED, RESULT = 0.9, 0.95
# A rate of arrival above this multiple of the rate of sending is an artefact of buffers on the path.
MOST_RATIO = 2.0


class Probe:
    """The packets of one probe that have arrived. `octets` is the number of bytes that were sent."""

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._packets: list[Acknowledgement] = []

    def take(self, packet: Acknowledgement) -> float:
        """Take a packet into account. Return the bits per second that the probe has shown; 0 while it shows nothing."""
        if packet.arrived_at is not None:
            self._packets.append(packet)
        packets = self._packets
        if len(packets) < LEAST_PACKETS or sum(each.size for each in packets) < LEAST_SHARE * self._octets:
            return 0.0
        sent = sorted((each.sent_at, each.size) for each in packets)
        arrived = sorted((each.arrived_at or 0.0, each.size) for each in packets)
        sending, arriving = _rate(sent, left_out=sent[-1][1]), _rate(arrived, left_out=arrived[0][1])
        if not sending or not arriving or arriving > MOST_RATIO * sending:
            return 0.0
        return RESULT * arriving if arriving < SATURATED * sending else min(sending, arriving)


def _rate(packets: list[tuple[float, int]], *, left_out: int) -> float:
    """Return the bits per second of packets, given the time and size of each.

    :param left_out: the size of the packet at one end, whose own transmission is outside the measured time.
    """
    seconds = packets[-1][0] - packets[0][0]
    return 8 * (sum(size for _, size in packets) - left_out) / seconds if seconds > 0 else 0.0
