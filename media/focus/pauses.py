"""Tell the receivers of one conference which videos they do not get, because their connections are too slow."""

from collections.abc import Callable, Iterable

from media.focus.leg import Leg
from media.reports import PausedVideos, Video

# A participant gets at most one notice in this many seconds.
LEAST_SECONDS = 1.0
# Repeat the notice this often while a video is paused, for pages that reload or reconnect.
REMINDER_SECONDS = 10.0


class Pauses:
    """The pauses of one conference. `tell` is called with the ID of a participant and its notice."""

    def __init__(self, tell: Callable[[str, PausedVideos], None]) -> None:
        self._tell = tell
        # By participant: the last notice, and when it was sent.
        self._told: dict[str, tuple[PausedVideos, float]] = {}

    def update(self, legs: Iterable[Leg], now: float) -> None:
        """Tell each participant what has changed. If it changes back at once, tell nothing."""
        before, self._told = self._told, {}
        for leg in legs:
            notice = _paused(leg)
            told, told_at = before.get(leg.participant, (PausedVideos(()), now - REMINDER_SECONDS))
            wait = LEAST_SECONDS if notice != told else REMINDER_SECONDS if notice.videos else float("inf")
            if now - told_at >= wait:
                told, told_at = notice, now
                self._tell(leg.participant, notice)
            self._told[leg.participant] = told, told_at


def _paused(leg: Leg) -> PausedVideos:
    """Return the videos that a leg does not get for now."""
    tracks = {*leg.downlink.paused, *(track for track in leg.downlink.withheld if track.kind == "video")}
    tracks -= leg.downlink.hidden
    return PausedVideos(tuple(sorted((Video(each.participant, each.label) for each in tracks), key=str)))
