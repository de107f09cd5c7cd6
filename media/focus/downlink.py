"""The participant's RTCP reports about the connection from the node: bandwidth, loss and round trip."""

from collections.abc import Mapping
from typing import NamedTuple

from aiortc.rtp import RtcpReceiverInfo

from media.congestion.acknowledgement import Report
from media.congestion.estimator import Estimator
from media.congestion.queue import LONG_QUEUE
from media.focus.quality import REPORT_COUNTS_SECONDS
from media.forward.repair import RoundTrip
from media.forward.tracks import Sink, Track

# An estimate of the bandwidth is valid for this many seconds. Browsers repeat their estimates at least once a second.
ESTIMATE_COUNTS_SECONDS = 8.0


class _Report(NamedTuple):
    """What the last receiver report about a track says."""

    at: float
    # The share of lost packets.
    lost: float
    # In units of the RTP clock.
    jitter: int


class Downlink:
    """One participant's reports about the media that it gets.

    `estimate` is the last estimate of the bandwidth in bits per second; 0 while there is none. It is the node's own if
    the participant sends transport-wide feedback, otherwise the participant's (REMB).

    `is_congested` is set when packets queue on the way: the node's estimate says so, or the participant's estimate is
    lower than the previous one. While it is set, estimates limit the senders (`pacing`).

    `withheld` contains the tracks that the leg does not get. Its values are the remaining seconds. A track returns
    earlier if its sender slows down, and later if the connection is still congested.
    """

    def __init__(self, round_trip: RoundTrip, *, made_at: float) -> None:
        self.estimate = 0
        self.is_congested = False
        # When congestion was last seen.
        self.congested_at = float("-inf")
        # When packets have last waited too long in a queue.
        self.queued_at = float("-inf")
        self.withheld: dict[Track, float] = {}
        # The videos with layers that do not fit now, not even with their smallest layer.
        self.paused: set[Track] = set()
        # The videos that the participant cannot see (`views`).
        self.hidden: set[Track] = set()
        # The audio of which the leg gets the redundancy (RED), too.
        self.redundant: set[Track] = set()
        self._round_trip = round_trip
        self._estimated_at = made_at
        # The node's own estimate, once feedback for it has come.
        self.estimator: Estimator | None = None
        # The last receiver report by SSRC.
        self._reports: dict[int, _Report] = {}

    def take_estimate(self, estimate: int | None, now: float) -> None:
        """Record the participant's estimate of the bandwidth (REMB) in bits per second; None if it has stated none."""
        if estimate and self.estimator is None:
            if estimate < self.estimate:
                self.is_congested, self.congested_at = True, now
            self.estimate, self._estimated_at = estimate, now

    def take_feedback(self, report: Report, now: float) -> None:
        """Estimate the bandwidth by the arrival of packets at the participant."""
        if not report.reported:
            return
        if self.estimator is None:
            self.estimator = Estimator()
        estimator = self.estimator
        estimator.acknowledge(report, now, self._round_trip.seconds)
        if estimator.is_congested:
            self.is_congested, self.congested_at = True, now
        if estimator.queue >= LONG_QUEUE:
            self.queued_at = now
        self.estimate, self._estimated_at = int(estimator.rate), now

    @property
    def queue(self) -> float:
        """How long packets wait on the way to the participant, in seconds; 0 if that is unknown."""
        return self.estimator.queue if self.estimator is not None else 0.0

    def tick(self, now: float) -> None:
        """Forget an estimate that was not renewed, so that a silent receiver slows nobody down."""
        if now - self._estimated_at >= ESTIMATE_COUNTS_SECONDS:
            self.estimate, self.is_congested, self.estimator = 0, False, None

    def take_report(self, sink: Sink, report: RtcpReceiverInfo, now: float) -> None:
        """Record a receiver report about a track that the participant gets."""
        self._reports[report.ssrc] = _Report(now, report.fraction_lost / 256, report.jitter)
        self._measure_round_trip(sink, report, now)

    def _measure_round_trip(self, sink: Sink, report: RtcpReceiverInfo, now: float) -> None:
        """Measure the round trip, if the report names one of our sender reports (RFC 3550 section 6.4.1)."""
        stream = sink.track.stream
        sent_at = stream.reported_at(report.lsr) if stream is not None and report.lsr else None
        if sent_at is not None and (sample := now - sent_at - report.dlsr / 65536) >= 0:
            self._round_trip.measure(sample)

    def lost(self, sinks: Mapping[int, Sink], now: float) -> float:
        """Return the share of packets that was recently lost on the way to the participant, in the worst stream.

        This excludes packets that were lost before they reached the focus. Those count as losses of their sender's
        connection.
        """
        worst = 0.0
        for ssrc, (at, share, _) in list(self._reports.items()):
            sink = sinks.get(ssrc)
            if sink is None or now - at >= REPORT_COUNTS_SECONDS:
                del self._reports[ssrc]
            else:
                source = sink.track.stream
                worst = max(worst, share - (source.lost if source is not None else 0))
        return worst

    def jitter(self, sinks: Mapping[int, Sink]) -> float | None:
        """Return the jitter on the way to the participant, in seconds; None if it is unknown.

        Sound comes first. Packets of a picture share a timestamp, so the jitter of video is not that of the path.
        """
        tracks = [(sinks[ssrc].track, report.jitter) for ssrc, report in self._reports.items() if ssrc in sinks]
        chosen = [each for each in tracks if each[0].kind == "audio"] or tracks
        return max((jitter / track.clock_rate for track, jitter in chosen), default=None)
