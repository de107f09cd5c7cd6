"""Choose the layer of each video that each receiver gets, and probe for the bandwidth that the next layer needs."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from media.congestion.allocation import PAUSED, SPARE, Demand, allocate, most
from media.congestion.estimator import Estimator
from media.congestion.patience import Patience
from media.congestion.queue import LONG_QUEUE
from media.focus.leg import Leg
from media.focus.routing import Routing
from media.focus.usage import Usage
from media.forward.ladder import Ladder
from media.forward.tracks import Track

# A layer that has sent nothing in this many measurements in a row is not in use.
SILENT = 2
# A layer has stopped if another layer of the same video is ahead of it by this many seconds.
STOPPED_SECONDS = 0.3
# The share of a track's earlier rates in its smoothed rate. A key frame may take a quarter of a second's bits.
KEPT = 0.6
# The share of the estimate that is left for retransmissions.
RESERVE = 0.02
# The share of the bits of redundant audio that is left without the redundancy, with one redundant block in each packet.
PRIMARY_SHARE = 0.65
# A probe is sent at this multiple of the wanted rate, but at most at MOST_STEP times the estimate, for about
# PROBE_SECONDS.
BEYOND, MOST_STEP, PROBE_SECONDS = 1.1, 3.0, 0.025
# A probe has at least this many bytes: five packets.
LEAST_OCTETS = 1_650
# The result of a probe is known after this many seconds. It is a success if the estimate is SHOWN times as high.
RESULT_SECONDS, SHOWN = 0.3, 1.1
# After a probe that has shown too little, the next one waits for this long at first, and twice as long each time.
FIRST_WAIT, LONGEST_WAIT = 1.0, 4.0
# A leg that was congested within this many seconds gets only what its estimate allows. Otherwise it keeps its layers:
# an estimate is bounded by what is sent, so it says nothing against layers whose rates have grown.
CONGESTED_SECONDS = 1.0
# If the present layers need FLOOD times the budget, a queue of FLOOD_QUEUE seconds is assumed before it is measured.
FLOOD, FLOOD_QUEUE = 1.5, 0.2
# After a congestion, two key frames for the same leg are this many seconds apart.
KEY_FRAME_STEP = 0.1
# A layer with this share of a tile's width is wide enough for it. A tile that is MAIN times as wide as the others comes
# before them.
ENOUGH, MAIN = 0.8, 1.5


# The layers of a video that are being sent, with their rates in bits per second, the smallest first.
Active = list[tuple[float, Track]]


@dataclass
class _State:
    """What is known about one leg."""

    # When the leg may be probed next, and the wait after the next probe that fails.
    probe_at: float = 0.0
    wait: float = FIRST_WAIT
    probes: int = 0
    chosen_at: float = 0.0
    key_frame_at: float = 0.0
    patience: Patience = field(default_factory=Patience)

    def changed(self, steps: int, now: float) -> None:
        """Record by how many layers a video has risen; fallen if negative."""
        if steps:
            self.patience.rose(now) if steps > 0 else self.patience.fell(now)

    def next_key_frame(self, at: float) -> float:
        """Return when the next key frame may be requested, if its packets would queue until `at`."""
        self.key_frame_at = max(at, self.key_frame_at + KEY_FRAME_STEP)
        return self.key_frame_at


@dataclass
class _Video:
    """A video that a leg gets in layers."""

    ladder: Ladder
    # The layer that the leg gets or awaits; None while the video is paused.
    layer: Track | None
    layers: Active
    # The width in pixels at which the participant shows the video; None if it has not told.
    width: float | None

    @property
    def face(self) -> Track:
        """The track that stands for all layers."""
        return self.ladder.layers[0]

    @property
    def largest(self) -> int:
        """The place of the largest layer that makes sense: the smallest one that is wide enough."""
        for place, (_, layer) in enumerate(self.layers):
            if self.width is not None and layer.width >= max(1, ENOUGH * self.width):
                return place
        return len(self.layers) - 1

    def demand(self, main: float) -> Demand[Track]:
        """Return what the video asks of the leg's bandwidth. A screen comes first, then a camera in a main tile.

        :param main: the least width of a main tile.
        """
        present = next((place for place, (_, layer) in enumerate(self.layers) if layer is self.layer), self.largest)
        present = PAUSED if self.layer is None else min(present, self.largest)
        priority = 0 if self.face.label != "video" else 1 if (self.width or 0) >= main else 2
        return Demand(self.face, priority, tuple(rate for rate, _ in self.layers[: self.largest + 1]), present)


class LayerChoice:
    """Chooses the layers of one conference, and tells the senders (`usage`) which of them are needed.

    `spawn` runs a coroutine in the background.
    """

    def __init__(
        self,
        routing: Routing,
        usage: Usage,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        now: Callable[[], float],
    ) -> None:
        self._routing = routing
        self._usage = usage
        self._spawn = spawn
        self._now = now
        # The bits per second of each track.
        self._rates: dict[Track, float] = {}
        # In how many measurements in a row each silent track has sent nothing.
        self._silent: dict[Track, int] = {}
        self._states: dict[str, _State] = {}

    def measured(self, rates: Mapping[Track, float]) -> None:
        """Take the present rate of every track into account."""
        before = self._rates
        self._silent = {track: self._silent.get(track, 0) + 1 for track, rate in rates.items() if not rate}
        self._rates = {
            track: rate + KEPT * (before.get(track, rate) - rate)
            for track, rate in rates.items()
            if self._silent.get(track, 0) < SILENT
        }

    def choose(self, legs: Iterable[Leg], now: float, *, only_urgent: bool = False) -> Iterator[None]:
        """Choose the layers of every leg anew. Yield after each leg, like `Conference.tick`.

        :param only_urgent: leave out the legs that have not been congested since their last choice, and whose layers
            have not stopped.
        """
        legs, ladders = list(legs), [(each, self._active(each, now)) for each in self._routing.ladders.values()]
        stopped = {leg for ladder, active in ladders for leg in _receivers_of_stopped(ladder, active)}
        for leg in legs if ladders else ():
            state = self._states.setdefault(leg.id, _State())
            if not only_urgent or leg.downlink.congested_at > state.chosen_at or leg.id in stopped:
                state.chosen_at = now
                self._choose(leg, state, ladders, now)
                yield
        if not only_urgent:
            self._usage.update(legs, self._routing.ladders.values(), self._rates, now)
        for id_ in self._states.keys() - {leg.id for leg in legs}:
            del self._states[id_]

    def _active(self, ladder: Ladder, now: float) -> Active:
        """Return the layers that are being sent, or can be switched on, with their rates, the smallest first."""
        newest = max(layer.heard_at for layer in ladder.layers)
        active = []
        for layer in ladder.layers:
            measured = self._rates.get(layer, 0.0) if newest - layer.heard_at < STOPPED_SECONDS else 0.0
            if rate := self._usage.rate(ladder, layer, measured, now):
                active.append((rate, layer))
        return sorted(active, key=lambda each: each[0])

    def _choose(self, leg: Leg, state: _State, ladders: Iterable[tuple[Ladder, Active]], now: float) -> None:
        videos = {video.face: video for video in _videos(leg, ladders)}
        for video in videos.values():
            self._routing.renew_wait(leg, video.ladder)
        main = _main_width(video.width or 0 for video in videos.values() if video.face.label == "video")
        demands = [video.demand(main) for video in videos.values() if video.layers]
        if not demands:
            return
        may_raise = state.patience.may_raise(leg.downlink.estimate or inf, now)
        is_calm = now - leg.downlink.congested_at >= CONGESTED_SECONDS
        budget = self._budget(leg)
        if is_calm:
            budget = max(budget, _kept(leg, demands, may_raise=may_raise))
        chosen = allocate(budget, [each.within(int(may_raise)) for each in demands])
        if not state.patience.may_pause(_share(demands, budget), now):
            pauses = [each.video for each in demands if chosen[each.video] == PAUSED != each.present]
            chosen |= dict.fromkeys(pauses, 0)
        queue = _queue(leg, demands, budget)
        for demand in demands:
            video = videos[demand.video]
            place = self._ready(video, chosen[demand.video], demand.present)
            if video.layer is not (video.layers[place][1] if place != PAUSED else None):
                if place < demand.present and queue >= LONG_QUEUE:
                    # Packets of the larger layer would come too late, and delay the sound. The key frame of the smaller
                    # one must not find the queue full.
                    video.ladder.cut(leg.id, state.next_key_frame(now + queue))
                self._give(leg, video, place)
                state.changed(place - demand.present, now)
        wanted = most(demands)
        if wanted > budget and is_calm:
            self._probe(leg, state, leg.downlink.estimate + wanted - budget, now)

    def _ready(self, video: _Video, place: int, present: int) -> int:
        """Return the layer to give instead of a chosen one.

        A fall does not wait for a layer that is switched off, and neither does a receiver whose layer has stopped.
        """
        has_stopped = video.layer not in [layer for _, layer in video.layers]
        while (
            place > 0
            and (place < present or has_stopped)
            and not self._usage.is_on(video.ladder, video.layers[place][1])
        ):
            place -= 1
        return place

    def _give(self, leg: Leg, video: _Video, place: int) -> None:
        """Give a leg another layer of a video, or pause the video."""
        paused = leg.downlink.paused
        if place == PAUSED:
            paused.add(video.face)
        else:
            paused.discard(video.face)
        self._routing.connect(leg, video.face, None if place == PAUSED else video.layers[place][1])

    def _budget(self, leg: Leg) -> float:
        """Return the bits per second for the videos with layers."""
        downlink = leg.downlink
        if not downlink.estimate or (downlink.estimator is None and not downlink.is_congested):
            return inf
        others = sum(
            self._rates.get(sink.track, 0.0) * (PRIMARY_SHARE if sink.inner else 1.0)
            for sink in leg.sinks.values()
            if not sink.track.is_layer
        )
        return max(0.0, (1 - RESERVE) * downlink.estimate - others)

    # --- Probes -----------------------------------------------------------------------------------------------

    def _probe(self, leg: Leg, state: _State, rate: float, now: float) -> None:
        """Send a probe, if the leg's path has room and the last probe that failed was long enough ago."""
        estimator = leg.downlink.estimator
        if estimator is None or estimator.is_congested or now < state.probe_at:
            return
        state.probe_at, state.wait = now + state.wait, min(LONGEST_WAIT, 2 * state.wait)
        state.probes += 1
        self._spawn(self._send_probe(leg, estimator, min(BEYOND * rate, MOST_STEP * estimator.rate), state))

    async def _send_probe(self, leg: Leg, estimator: Estimator, rate: float, state: _State) -> None:
        """Send padding at this rate for a moment. If the estimate rises, the next probe may follow at once."""
        octets, sent, begun_at, before = max(LEAST_OCTETS, PROBE_SECONDS * rate / 8), 0, self._now(), estimator.rate
        estimator.probe(state.probes, int(octets))
        while sent < octets:
            size = leg.pad(state.probes, self._now())
            if not size:
                return
            sent += size
            await asyncio.sleep(max(0.0, begun_at + 8 * sent / rate - self._now()))
        await asyncio.sleep(RESULT_SECONDS)
        if estimator.rate > SHOWN * before:
            state.probe_at, state.wait = 0.0, FIRST_WAIT


def _kept(leg: Leg, demands: Collection[Demand[Track]], *, may_raise: bool) -> float:
    """Return the bits per second that a leg may keep without congestion, whatever its estimate says."""
    if may_raise and not leg.can_pad and all(each.present == PAUSED for each in demands):
        # No probe can be sent, so the estimate does not grow. Try one video.
        return min((1 + SPARE) * each.rates[0] for each in demands)
    return _needed(demands)


def _needed(demands: Iterable[Demand[Track]]) -> float:
    """Return the bits per second of the present layers."""
    return sum(each.rate(each.present) for each in demands)


def _share(demands: Iterable[Demand[Track]], budget: float) -> float:
    """Return the budget as a share of what the smallest layers of the videos need that are not paused."""
    least = sum(each.rates[0] for each in demands if each.present != PAUSED)
    return budget / least if least else inf


def _queue(leg: Leg, demands: Iterable[Demand[Track]], budget: float) -> float:
    """Return how long packets wait on the way to a leg, in seconds: as measured, or as it must be with these layers."""
    return max(leg.downlink.queue, FLOOD_QUEUE if _needed(demands) > FLOOD * budget else 0.0)


def _receivers_of_stopped(ladder: Ladder, active: Active) -> set[str]:
    """Return the IDs of the legs that get a layer which is not sent any more, and do not wait for one that is sent."""
    sent = {layer for _, layer in active}
    receivers = {leg for layer in ladder.layers if sent and layer not in sent for leg in layer.sinks}
    return {leg for leg in receivers if (sink := ladder.wanted(leg)) is None or sink.track not in sent}


def _videos(leg: Leg, ladders: Iterable[tuple[Ladder, Active]]) -> Iterator[_Video]:
    """Yield the videos in layers that a leg gets, awaits, or would get if they were not paused."""
    for ladder, active in ladders:
        sink, face = ladder.wanted(leg.id), ladder.layers[0]
        if sink is not None or (face in leg.downlink.paused and face not in leg.downlink.hidden):
            section = leg.layout.carried.get((face.participant, face.label))
            width = leg.tiles.widths.get(section.mid) if section is not None else None
            yield _Video(ladder, sink.track if sink is not None else None, active, width)


def _main_width(widths: Iterable[float]) -> float:
    """Return the least width of the main tile: it is much wider than the tile of any other camera."""
    second = sorted(widths, reverse=True)[1:2]
    return max(1.0, MAIN * sum(second))
