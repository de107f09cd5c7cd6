"""Bandwidth: video is sent at the rate that the slowest receiver's connection can carry (decision 0010).

The focus tells senders to slow down (REMB). If a sender does not slow down, receivers on congested connections get none
of its video. Otherwise this video would leave no bandwidth for other participants' sound. Audio has a fixed limit, and
a sender that exceeds it is treated in the same way.
"""

from collections import defaultdict
from collections.abc import Sequence

from media.focus.feedback import LEAST_RATE, NO_LIMIT
from media.focus.leg import Leg
from media.forward.tracks import Track

# With each call of `pace`, a congested connection lowers a video's limit to no less than this share of the video's
# rate.
LEAST_SHARE = 0.7
# In bits per second for each video. If a receiver's estimate is higher, its connection is no longer congested, because
# no browser sends a camera's video faster than this.
PLENTY = 2_500_000
# A sender defies its limits if its rate exceeds EXCESS_FACTOR * limit + EXCESS_RATE (bits per second) in MOST_DEFIANCES
# calls of `pace` in a row, or in most of more calls. Browsers obey before the next call.
EXCESS_FACTOR, EXCESS_RATE, MOST_DEFIANCES = 1.25, 300_000, 4
# In bits per second for all audio of one participant. Opus needs at most 510 kbit/s (RFC 6716 section 2.1.1), and twice
# as much with redundancy (RED).
MOST_AUDIO = 1_200_000
# A track is withheld for at least this many seconds, unless its sender slows down.
WITHHELD_SECONDS = 30.0


class Pacer:
    """The limits of one conference's senders. Call `pace` periodically; this object has no clock."""

    def __init__(self) -> None:
        # The rate that each limited sender would have now if it had obeyed, in bits per second.
        self._expected: dict[Track, float] = {}
        # The tracks that exceed their limit now, and the count of `_count_defiances` for each track.
        self._exceeding: set[Track] = set()
        self._defiances: dict[Track, int] = {}

    def pace(self, legs: Sequence[Leg], rates: dict[Track, float], seconds: float) -> list[tuple[Leg, Track]]:
        """Tell senders how fast they may send. Return each leg and track for which withholding begins or ends.

        Each sender must slow down in proportion to its rate. If no connection is congested, nothing is limited: each
        sender finds the rate of its own connection.

        :param rates: the current rate of every track, in bits per second.
        :param seconds: the time since the last call.
        """
        self._count_defiances(rates)
        limits: dict[Track, float] = {}
        changed: list[tuple[Leg, Track]] = []
        for leg in legs:
            _limit(leg, rates, limits, seconds)
            changed += [(leg, track) for track in self._withhold(leg, rates, seconds)]
        for leg in legs:
            leg.limit(limits, rates)
        self._expect(limits, rates)
        return changed

    def _expect(self, limits: dict[Track, float], rates: dict[Track, float]) -> None:
        """Record the rate that each sender should have after these limits, as if it had also obeyed earlier limits."""
        before = self._expected
        self._expected = {
            track: min(limit, before.get(track, NO_LIMIT) * limit / rates[track]) if limit < rates[track] else limit
            for track, limit in limits.items()
        }

    def _count_defiances(self, rates: dict[Track, float]) -> None:
        """Find the tracks that exceed their limit, and count for each in how many calls of `pace` it does so.

        A call in which a track exceeds its limit counts twice, and each other call takes one off. So pauses do not make
        a sender's defiance forgotten. All tracks of one kind of a participant must keep the sum of their limits.
        """
        groups: dict[tuple[str, str], list[Track]] = defaultdict(list)
        for track in rates:
            if track.kind == "audio" or track in self._expected:
                groups[track.participant, track.kind].append(track)
        self._exceeding = set()
        for (_, kind), tracks in groups.items():
            limits = {track: EXCESS_FACTOR * max(LEAST_RATE, self._expected.get(track, 0.0)) for track in tracks}
            most = MOST_AUDIO if kind == "audio" else sum(limits.values()) + EXCESS_RATE
            if sum(rates[track] for track in tracks) > most:
                self._exceeding |= {track for track in tracks if kind == "audio" or rates[track] > limits[track]}
        counts = {track: self._defiances.get(track, 0) + (2 if track in self._exceeding else -1) for track in rates}
        self._defiances = {track: min(count, 2 * MOST_DEFIANCES) for track, count in counts.items() if count > 0}

    def _withhold(self, leg: Leg, rates: dict[Track, float], seconds: float) -> list[Track]:
        """Withhold each track from a congested leg if the track's sender defies its limit.

        Return the tracks for which withholding begins or ends.
        """
        # Tracks that have ended are left out.
        left = {track: time - seconds for track, time in leg.downlink.withheld.items() if track in rates}
        back = [track for track, time in left.items() if self._may_return(track, rates[track], leg, time)]
        leg.downlink.withheld = {track: time for track, time in left.items() if track not in back}
        new = [
            sink.track
            for sink in leg.sinks.values()
            if leg.downlink.is_congested and self._defiances.get(sink.track, 0) >= 2 * MOST_DEFIANCES
        ]
        leg.downlink.withheld |= dict.fromkeys(new, WITHHELD_SECONDS)
        return back + new

    def _may_return(self, track: Track, rate: float, leg: Leg, time: float) -> bool:
        """Tell whether a leg gets a withheld track again.

        The fixed limit of audio is far above what anybody needs. So excessive audio stays withheld for the whole time.

        :param time: the rest of WITHHELD_SECONDS, in seconds.
        """
        if track.kind == "audio":
            return time <= 0 and track not in self._defiances
        has_slowed_down = rate <= leg.downlink.estimate / 2 and track not in self._exceeding
        return has_slowed_down or (time <= 0 and not leg.downlink.is_congested)


def _video(leg: Leg) -> list[Track]:
    """Return the video tracks without layers that a leg gets. For those with layers, each leg gets what fits."""
    return [sink.track for sink in leg.sinks.values() if sink.track.kind == "video" and not sink.track.is_layer]


def _limit(leg: Leg, rates: dict[Track, float], limits: dict[Track, float], seconds: float) -> None:
    """Lower the limits of the video that congests a leg's connection."""
    incoming = sum(rates[sink.track] for sink in leg.sinks.values()) + leg.retransmitter.rate(seconds)
    video = _video(leg)
    if leg.downlink.estimate > PLENTY * (len(video) + len(leg.downlink.withheld)):
        leg.downlink.is_congested = False
    if leg.downlink.is_congested:
        # A single estimate may be far off, so LEAST_SHARE bounds each step. If packets still queue, the next estimate
        # is low as well.
        share = max(LEAST_SHARE, leg.downlink.estimate / incoming) if incoming else 1.0
        for track in video:
            limit = rates[track] * share or leg.downlink.estimate / len(video)
            limits[track] = min(limits.get(track, NO_LIMIT), limit)
