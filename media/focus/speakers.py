"""Find the active speaker of a conference, by the audio levels in the participants' packets (RFC 6464)."""

from collections.abc import Callable, Iterable

from media.forward.tracks import Track

# From this loudness on, a participant counts as speaking. A packet adds at most 1, and 50 packets come per second. So a
# participant counts as speaking after about 0.2 s of speech.
AUDIBLE = 3.0
# The share of the loudness that remains after each tick.
LOUDNESS_KEPT = 0.8
# The most loudness that counts: that of 50 packets a second with the loudest level, all the time. Otherwise a sender of
# thousands of packets would be louder than every speaker.
LOUDEST = 25.0
# The speaker changes at most once in this many seconds, because each change is announced to everybody.
SPEAKER_SECONDS = 1.0


class Speakers:
    """The active speaker of one conference. `speaker_changed` is called with the ID of each new speaker."""

    def __init__(self, speaker_changed: Callable[[str], None]) -> None:
        self._speaker_changed = speaker_changed
        self._speaker = ""
        self._speaks_since = float("-inf")

    def listen(self, tracks: Iterable[Track], now: float) -> None:
        """Compare how loud the participants are. Call it once per tick.

        A participant is as loud as its loudest track. The loudest participant becomes the speaker if it is audible and
        more than twice as loud as the current speaker. Otherwise the current speaker stays. A speaker without a track,
        for example on hold, is no longer the speaker, and is announced again when it returns and speaks.
        """
        loudness: dict[str, float] = {}
        for track in tracks:
            track.loudness = min(track.loudness, LOUDEST)
            loudness[track.participant] = max(track.loudness, loudness.get(track.participant, 0.0))
            track.loudness *= LOUDNESS_KEPT
        if self._speaker not in loudness:
            self._speaker = ""
        loudest = max(loudness, key=loudness.__getitem__, default=None)
        if loudest is None or loudest == self._speaker or loudness[loudest] < AUDIBLE:
            return
        if now - self._speaks_since < SPEAKER_SECONDS:
            return
        if loudness[loudest] > 2 * loudness.get(self._speaker, 0.0):
            self._speaker, self._speaks_since = loudest, now
            self._speaker_changed(loudest)
