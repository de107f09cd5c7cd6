"""Sample the quality of a conference's connections, for support.

Everything here reads counters that exist anyway, once per second or once per sample. Nothing is done for each packet.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from media.focus.leg import Leg
from media.focus.routing import Routing
from media.forward.tracks import Track
from media.reports import Direction, Sample, Source

# A connection that exists for less than this many seconds is not sampled yet.
SHORTEST_SECONDS = 1.0


@dataclass
class _State:
    """What has been measured of one leg since its last sample."""

    since: float
    # The lost shares that were measured each second, from the participant and to it.
    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    # The leg's counters at the last sample.
    forwarded: int = 0
    resent: int = 0
    requested: int = 0


class Sampler:
    """Samples the connections of one conference."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        # The bits that each track has sent since the last samples.
        self._bits: dict[Track, float] = {}
        self._states: dict[str, _State] = {}

    def measured(self, rates: Mapping[Track, float], seconds: float) -> None:
        """Record the rates of all tracks, in bits per second, in the last seconds."""
        for track, rate in rates.items():
            self._bits[track] = self._bits.get(track, 0.0) + rate * seconds

    def note(self, leg: Leg, up: float, down: float, now: float) -> None:
        """Record the shares of packets that were lost in the last second, from a participant and to it."""
        if leg.is_connected:
            state = self._states.setdefault(leg.id, _State(now))
            state.up.append(up)
            state.down.append(down)

    def sample(self, legs: Iterable[Leg], now: float) -> Iterator[list[Sample]]:
        """Yield the samples of each leg in turn. Afterwards, the next samples begin."""
        bits, self._bits = self._bits, {}
        states, self._states = self._states, {}
        for leg in legs:
            state = states.get(leg.id)
            if state is None:
                continue
            if now - state.since < SHORTEST_SECONDS:
                self._states[leg.id] = state
                continue
            self._states[leg.id] = _State(
                now,
                forwarded=leg.retransmitter.forwarded_octets,
                resent=leg.retransmitter.resent,
                requested=leg.feedback.requested,
            )
            yield [self._up(leg, state, bits, now), self._down(leg, state, now)]

    def _up(self, leg: Leg, state: _State, bits: Mapping[Track, float], now: float) -> Sample:
        """Sample what a participant sends."""
        sent = [track for track in bits if track.participant == leg.participant and bits[track]]
        return Sample(
            participant=leg.participant,
            source=Source.FOCUS,
            direction=Direction.UP,
            bitrate=int(sum(bits[track] for track in sent) / (now - state.since)),
            loss=_mean(state.up),
            jitter=leg.sources.jitter(),
            round_trip=leg.round_trip.seconds if leg.round_trip.is_measured else None,
            retransmissions=leg.feedback.requested - state.requested,
            silence=now - leg.addresses.seen_at,
            videos=len({track.label for track in sent if track.kind == "video"}),
            layers=self._layers(sent),
        )

    def _down(self, leg: Leg, state: _State, now: float) -> Sample:
        """Sample what a participant gets."""
        downlink, videos = leg.downlink, [sink.track for sink in leg.sinks.values() if sink.track.kind == "video"]
        paused = len(downlink.paused) + sum(track.kind == "video" for track in downlink.withheld)
        octets = leg.retransmitter.forwarded_octets - state.forwarded
        return Sample(
            participant=leg.participant,
            source=Source.FOCUS,
            direction=Direction.DOWN,
            bitrate=int(8 * max(0, octets) / (now - state.since)),
            loss=_mean(state.down),
            jitter=downlink.jitter(leg.sinks),
            round_trip=leg.round_trip.seconds if leg.round_trip.is_measured else None,
            retransmissions=leg.retransmitter.resent - state.resent,
            estimate=downlink.estimate or None,
            queue=downlink.queue if downlink.estimator is not None else None,
            silence=now - leg.addresses.seen_at,
            videos=len(videos) + paused,
            paused=paused,
            layers=self._layers(videos),
        )

    def _layers(self, tracks: Iterable[Track]) -> Counter[str]:
        """Return how many of these tracks are layers, by their rids."""
        return Counter(filter(None, (self._routing.rid(track) for track in tracks if track.is_layer)))


def _mean(values: list[float]) -> float | None:
    """Return the mean of shares; None if there are none."""
    return max(0.0, sum(values) / len(values)) if values else None
