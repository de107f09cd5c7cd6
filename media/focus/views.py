"""Stop sending the videos that a participant cannot see, and begin again when it can."""

from collections.abc import Iterable, Iterator

from media.focus.leg import Leg
from media.focus.routing import Routing
from media.forward.tracks import Track


class Views:
    """What the participants of one conference see, by what they tell (`tiles`)."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing

    def update(self, legs: Iterable[Leg]) -> Iterator[None]:
        """Send each leg only what its participant sees. Yield after each leg, like `Conference.tick`."""
        for leg in legs:
            before, now = leg.downlink.hidden, self._hidden(leg)
            leg.downlink.hidden = now
            for track in before ^ now:
                self._routing.connect(leg, track)
            yield

    def _hidden(self, leg: Leg) -> set[Track]:
        """Return the videos that a leg's participant cannot see."""
        unseen = {mid for mid, width in leg.tiles.widths.items() if not width}
        if not unseen:
            return set()
        tracks = (self._routing.tracks.get(key) for key, section in leg.layout.carried.items() if section.mid in unseen)
        return {track for track in tracks if track is not None and track.kind == "video"}
