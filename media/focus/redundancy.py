"""Choose who gets redundant audio (RED, RFC 2198): the receivers that lose packets, and those of a sender that does.

A receiver whose packets wait in a queue gets none: more packets would only make the queue longer.
"""

from collections.abc import Iterable, Iterator

from media.focus.leg import Leg
from media.forward.tracks import Track

# A path from which this share of the packets is missing loses packets. It counts as such for KEEP_SECONDS more.
LOSS, KEEP_SECONDS = 0.01, 10.0


class Redundancy:
    """The redundancy of one conference's audio. Browsers send each frame twice; without losses, once is enough."""

    def __init__(self) -> None:
        # When each leg has last lost packets on the way from the node, and each track on the way to the node.
        self._lost_at: dict[Leg | Track, float] = {}

    def choose(self, legs: Iterable[Leg], now: float) -> Iterator[tuple[Leg, Track]]:
        """Decide anew for each leg and each audio track that it gets. Yield those for which something has changed."""
        legs = list(legs)
        self._note({leg: leg.downlink.lost(leg.sinks, now) for leg in legs}, now)
        audio = {sink.track for leg in legs for sink in leg.sinks.values() if sink.track.kind == "audio"}
        self._note({track: track.stream.lost for track in audio if track.stream is not None}, now)
        for leg in legs:
            has_room = now - leg.downlink.queued_at >= KEEP_SECONDS
            for sink in list(leg.sinks.values()):
                is_lossy = leg in self._lost_at or sink.track in self._lost_at
                wants = has_room and is_lossy and sink.track in audio
                if wants != (sink.track in leg.downlink.redundant):
                    (leg.downlink.redundant.add if wants else leg.downlink.redundant.discard)(sink.track)
                    yield leg, sink.track

    def _note(self, losses: "dict[Leg, float] | dict[Track, float]", now: float) -> None:
        """Take the present losses into account, and forget those of long ago."""
        self._lost_at |= {path: now for path, share in losses.items() if share >= LOSS}
        self._lost_at = {path: at for path, at in self._lost_at.items() if now - at < KEEP_SECONDS}
