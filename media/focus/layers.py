"""Choose the layer of each video that each receiver gets, and probe for the bandwidth that the next layer needs."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from media.congestion.allocation import Demand, allocate, wish
from media.focus.leg import Leg
from media.focus.routing import Routing
from media.forward.ladder import Ladder
from media.forward.tracks import Sink, Track

# In bits per second. A layer that sends less is not in use.
LEAST_RATE = 5_000
# The share of a track's earlier rates in its smoothed rate. A key frame may take a quarter of a second's bits.
KEPT = 0.6
# The share of the estimate that is left for retransmissions.
RESERVE = 0.05
# A probe is sent at this multiple of the wanted rate, but at most at MOST_STEP times the estimate, for about
# PROBE_SECONDS.
BEYOND, MOST_STEP, PROBE_SECONDS = 1.2, 4.0, 0.025
# After a probe that has shown too little, the next one waits for this long at first, and twice as long each time.
FIRST_WAIT, LONGEST_WAIT = 1.0, 16.0


@dataclass
class _Probing:
    """When a leg may be probed next, and the wait after the next probe that fails."""

    due_at: float = 0.0
    wait: float = FIRST_WAIT
    number: int = 0


@dataclass
class _Video:
    """A video that a leg gets in layers."""

    ladder: Ladder
    # The sink of the layer that the leg gets or awaits.
    sink: Sink
    # The layers that are being sent, with their rates in bits per second, the smallest first.
    layers: list[tuple[float, Track]]

    @property
    def face(self) -> Track:
        """The track that stands for all layers."""
        return self.ladder.layers[0]

    def demand(self) -> Demand[Track]:
        """Return what the video asks of the leg's bandwidth. A screen comes before a camera."""
        present = next((place for place, (_, layer) in enumerate(self.layers) if layer is self.sink.track), 0)
        rates = tuple(rate for rate, _ in self.layers)
        return Demand(self.face, int(self.face.label == "video"), rates, present)


class LayerChoice:
    """Chooses the layers of one conference. `spawn` runs a coroutine in the background."""

    def __init__(
        self, routing: Routing, spawn: Callable[[Coroutine[Any, Any, None]], None], now: Callable[[], float]
    ) -> None:
        self._routing = routing
        self._spawn = spawn
        self._now = now
        # The bits per second of each track.
        self._rates: dict[Track, float] = {}
        self._probing: dict[str, _Probing] = {}

    def measured(self, rates: Mapping[Track, float]) -> None:
        """Take the present rate of every track into account."""
        before = self._rates
        self._rates = {track: rate + KEPT * (before.get(track, rate) - rate) for track, rate in rates.items()}

    def choose(self, legs: Iterable[Leg], now: float) -> None:
        """Choose the layers of every leg anew."""
        legs = list(legs)
        for leg in legs if self._routing.ladders else ():
            self._choose(leg, now)
        for id_ in self._probing.keys() - {leg.id for leg in legs}:
            del self._probing[id_]

    def _choose(self, leg: Leg, now: float) -> None:
        videos = {video.face: video for video in self._videos(leg)}
        for video in videos.values():
            self._routing.renew_wait(leg, video.ladder)
        demands = [video.demand() for video in videos.values() if video.layers]
        if not demands:
            return
        budget = self._budget(leg)
        chosen = allocate(budget, demands)
        for face, place in chosen.items():
            _, layer = videos[face].layers[place]
            if videos[face].sink.track is not layer:
                self._routing.connect(leg, face, layer)
        wanted = wish(chosen, demands)
        if wanted > budget:
            self._probe(leg, leg.downlink.estimate + wanted - budget, now)

    def _videos(self, leg: Leg) -> Iterator[_Video]:
        """Yield the videos that a leg gets or awaits in layers."""
        for ladder in self._routing.ladders.values():
            sink = ladder.wanted(leg.id)
            if sink is not None:
                rates = [(self._rates.get(layer, 0.0), layer) for layer in ladder.layers]
                active = sorted((each for each in rates if each[0] >= LEAST_RATE), key=lambda each: each[0])
                yield _Video(ladder, sink, active)

    def _budget(self, leg: Leg) -> float:
        """Return the bits per second for the videos with layers."""
        downlink = leg.downlink
        if not downlink.estimate or (downlink.estimator is None and not downlink.is_congested):
            return inf
        others = sum(self._rates.get(sink.track, 0.0) for sink in leg.sinks.values() if not sink.track.is_layer)
        return max(0.0, (1 - RESERVE) * downlink.estimate - others)

    # --- Probes -----------------------------------------------------------------------------------------------

    def _probe(self, leg: Leg, rate: float, now: float) -> None:
        """Send a probe, if the leg's path has room and the last probe that failed was long enough ago."""
        estimator = leg.downlink.estimator
        probing = self._probing.setdefault(leg.id, _Probing())
        if estimator is None or estimator.is_congested or now < probing.due_at:
            return
        probing.due_at, probing.wait = now + probing.wait, min(LONGEST_WAIT, 2 * probing.wait)
        probing.number += 1
        self._spawn(self._send_probe(leg, min(BEYOND * rate, MOST_STEP * estimator.rate), probing))

    async def _send_probe(self, leg: Leg, rate: float, probing: _Probing) -> None:
        """Send padding at this rate for a moment."""
        estimator = leg.downlink.estimator
        octets, sent, begun_at = max(1500.0, PROBE_SECONDS * rate / 8), 0, self._now()
        if estimator is None:
            return
        before = estimator.rate
        estimator.probe(probing.number, int(octets))
        while sent < octets:
            size = leg.pad(probing.number, self._now())
            if not size:
                return
            sent += size
            ahead = begun_at + 8 * sent / rate - self._now()
            if ahead > 0:
                await asyncio.sleep(ahead)
        await asyncio.sleep(0.5)
        if estimator.rate > before * 1.1:
            probing.due_at, probing.wait = 0.0, FIRST_WAIT
