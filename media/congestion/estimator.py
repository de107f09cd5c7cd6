"""Estimate the rate at which a receiver can be sent to (draft-ietf-rmcat-gcc-02).

The estimate is the smaller of what the delays allow and what the losses allow. A probe may raise it at once. Nothing
here knows the time or the network, so tests and simulations decide both.
"""

from collections.abc import Sequence
from itertools import islice
from operator import le, sub

from media.congestion.acknowledgement import Acknowledgement, Report
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

    def acknowledge(self, report: Report, now: float, round_trip: float) -> None:
        """Take a feedback into account.

        :param now: in seconds of the sender's clock.
        :param round_trip: in seconds.
        """
        self._throughput.take(*_by_arrival(report.arrived_at, report.sizes))
        has_queue = self._queue.is_long
        is_lowered = self._loss.update(report.lost, report.reported, self.throughput, now, has_queue=has_queue)
        self._queue.lose(report.lost / max(1, report.reported))
        usage = self._judge(report)
        shown = self._shown(report) if any(report.probes) else 0
        if shown > self._delay.rate and not self._queue.is_long:
            self._delay.set(shown, now)
        self._adapt(usage, now, round_trip)
        self._is_congested = usage is Usage.OVER or self._queue.is_long or is_lowered

    def _shown(self, report: Report) -> float:
        """Return the bits per second that probes have shown."""
        packets = map(Acknowledgement, report.sent_at, report.arrived_at, report.sizes, report.probes)
        return max((self._probes[each.probe].take(each) for each in packets if each.probe in self._probes), default=0)

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

    def _judge(self, report: Report) -> Usage:
        """Return how the path was used while these packets were sent."""
        if not report.sizes:
            return self.usage
        was_over = self._detector.take(report.sent_at, report.arrived_at)
        if self._queue.take(report.sent_at[-1], min(map(sub, report.arrived_at, report.sent_at))):
            self._delay.forget()
        return Usage.OVER if was_over else self.usage


def _by_arrival(arrived_at: Sequence[float], sizes: Sequence[int]) -> tuple[Sequence[float], Sequence[int]]:
    """Return the times and sizes of packets in the order of arrival, which is usually that of sending."""
    if all(map(le, arrived_at, islice(arrived_at, 1, None))):
        return arrived_at, sizes
    order = sorted(range(len(sizes)), key=arrived_at.__getitem__)
    return [arrived_at[place] for place in order], [sizes[place] for place in order]
