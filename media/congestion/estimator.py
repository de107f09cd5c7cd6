"""Estimate the rate at which a receiver can be sent to (draft-ietf-rmcat-gcc-02).

The estimate is the smaller of what the delays allow and what the losses allow. A probe may raise it at once. Nothing
here knows the time or the network, so tests and simulations decide both.
"""

from collections.abc import Sequence
from math import inf

from media.congestion.acknowledgement import Acknowledgement
from media.congestion.control import DelayControl
from media.congestion.delay import QueueDetector, Usage
from media.congestion.loss import LossControl
from media.congestion.probes import Probe
from media.congestion.queue import QueueDelay
from media.congestion.throughput import Throughput

# In bits per second: the estimate before the first feedback, and its bounds.
FIRST_RATE = 300_000
LEAST_RATE = 30_000
MOST_RATE = 100_000_000
# A probe is forgotten after this many others.
_PROBES_KEPT = 4


class Estimator:
    """The rate at which one receiver can be sent to, in bits per second."""

    def __init__(self, rate: float = FIRST_RATE) -> None:
        self._detector = QueueDetector()
        self._throughput = Throughput()
        self._delay = DelayControl(rate, least=LEAST_RATE, most=MOST_RATE)
        self._loss = LossControl()
        self._queue = QueueDelay()
        self._is_congested = False
        self._probes: dict[int, Probe] = {}

    @property
    def rate(self) -> float:
        """The rate at which the receiver can be sent to."""
        return max(LEAST_RATE, min(self._delay.rate, self._loss.rate))

    @property
    def throughput(self) -> float:
        """The rate at which packets arrive; 0 while it is unknown."""
        return self._throughput.rate

    @property
    def queue(self) -> float:
        """How long packets wait on the path, in seconds."""
        return self._queue.seconds

    @property
    def is_congested(self) -> bool:
        """Whether the last feedback has shown that the path carries less than was sent."""
        return self._is_congested

    @property
    def usage(self) -> Usage:
        """Whether the queue on the path grows."""
        return self._detector.usage

    def probe(self, number: int, octets: int) -> None:
        """Expect the acknowledgements of a probe of this many bytes."""
        self._probes[number] = Probe(octets)
        while len(self._probes) > _PROBES_KEPT:
            del self._probes[next(iter(self._probes))]

    def acknowledge(self, packets: Sequence[Acknowledgement], now: float, round_trip: float) -> None:
        """Take a feedback into account.

        :param packets: the packets that it reports, in the order in which they were sent.
        :param now: in seconds of the sender's clock.
        :param round_trip: in seconds.
        """
        arrived = [packet for packet in packets if packet.arrived_at is not None]
        lost = len(packets) - len(arrived)
        for packet in sorted(arrived, key=lambda each: each.arrived_at or 0.0):
            self._throughput.take(packet)
        has_queue = self._queue.is_long
        is_lowered = self._loss.update(lost, len(packets), self.throughput, now, has_queue=has_queue)
        self._queue.lose(lost / max(1, len(packets)))
        usage = self._judge(arrived)
        shown = max((self._probes[each.probe].take(each) for each in arrived if each.probe in self._probes), default=0)
        if shown > self._delay.rate and not self._queue.is_long:
            self._delay.set(shown, now)
        self._adapt(usage, now, round_trip)
        self._is_congested = usage is Usage.OVER or self._queue.is_long or is_lowered

    def _adapt(self, usage: Usage, now: float, round_trip: float) -> None:
        """Adapt the rate to how the path is used."""
        # If the path has just become narrow, an average over some time is too high.
        recent = self._throughput.recent
        if self._queue.is_long and usage is not Usage.UNDER and recent:
            self._delay.drain(recent, self.queue, now, round_trip)
        else:
            # A burst, such as a key frame, may queue for a moment on a path that is far from full.
            measured = max(recent, self._throughput.peak) if usage is Usage.OVER else self.throughput
            self._delay.update(usage, measured, now, round_trip)

    def _judge(self, arrived: Sequence[Acknowledgement]) -> Usage:
        """Return how the path was used while these packets were sent."""
        if not arrived:
            return self.usage
        was_over, detector, shortest = False, self._detector, inf
        for sent_at, arrived_at, *_ in arrived:
            if arrived_at is not None:
                detector.take(sent_at, arrived_at)
                was_over = was_over or detector.usage is Usage.OVER
                shortest = min(shortest, arrived_at - sent_at)
        if self._queue.take(arrived[-1].sent_at, shortest):
            self._delay.forget()
        return Usage.OVER if was_over else self.usage
