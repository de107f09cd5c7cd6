"""The layers of one video that its sender encodes several times (simulcast, RFC 8853). A receiver gets one at a time.

Each layer is a track of its own, with numbers of its own. A receiver changes layers where a key frame begins. Its
sequence numbers, timestamps, VP8 picture IDs and TL0PICIDX then continue, so it notices nothing but the size.
"""

from collections.abc import Callable
from math import inf

from media.forward.pictures import counters, key_frame_width
from media.forward.tracks import Pause, Shift, Sink, Track

# The first sequence number of a sink that has not begun: larger than any number.
_NOT_BEGUN = 1 << 62
# A key frame is requested again after this many seconds, because the request may have been lost.
ASK_SECONDS = 1.0
# If the senders' reports say that a switch goes further ahead in time than this, they are not believed.
_LONGEST_STEP_SECONDS = 1.0


class Ladder:
    """The layers of one video. They share one SSRC, as their receivers see it.

    `began` is called with the ID of a leg and its sink, whenever the leg begins to get a layer.
    """

    def __init__(self, first: Track, began: Callable[[str, Sink], None]) -> None:
        self.layers = [first]
        self._began = began
        # By the ID of the leg: the sink that it gets from the next key frame of the sink's track on.
        self._waiting: dict[str, Sink] = {}
        # By the ID of the leg: when to request the key frame for which it waits; missing: at once.
        self._ask_at: dict[str, float] = {}
        first.begins_layer = self._begin

    def add(self, track: Track) -> None:
        """Add a layer."""
        track.paused, track.begins_layer = self.layers[0].paused, self._begin
        self.layers.append(track)

    def present(self, leg: str) -> Sink | None:
        """Return the sink of the layer that a leg gets now."""
        return next((track.sinks[leg] for track in self.layers if leg in track.sinks), None)

    def wanted(self, leg: str) -> Sink | None:
        """Return the sink of the layer that a leg shall get: now, or from the next key frame on."""
        return self._waiting.get(leg) or self.present(leg)

    def used(self) -> set[Track]:
        """Return the layers that some leg gets or awaits."""
        return {track for track in self.layers if track.sinks} | {sink.track for sink in self._waiting.values()}

    def give(self, leg: str, sink: Sink) -> Sink:
        """Give a leg the layer `sink.track`, from its next key frame on, or change how the leg gets this layer.

        Return the sink that is in use now. Before the first key frame this is the new one, which gets nothing yet.
        """
        present = self.present(leg)
        if not sink.payload_types:
            self.detach(leg)
            return sink
        if present is not None and present.track is sink.track:
            self._waiting.pop(leg, None)
            return sink.track.attach(leg, sink)
        sink.attached_at = sink.begins = _NOT_BEGUN
        if self._waiting.get(leg, sink).track is not sink.track:
            self._ask_at.pop(leg, None)
        self._waiting[leg] = sink
        sink.track.is_awaited = True
        return present or sink

    def cut(self, leg: str, ask_at: float) -> None:
        """Stop giving a leg its layer at once, before it waits for another one.

        :param ask_at: when to request the key frame of the other layer.
        """
        self.detach(leg)
        self._ask_at[leg] = ask_at

    def detach(self, leg: str, *, for_good: bool = False) -> None:
        """Stop giving a leg any layer, for now or permanently (`for_good`)."""
        self._waiting.pop(leg, None)
        self._ask_at.pop(leg, None)
        for track in self.layers:
            track.detach(leg, for_good=for_good)

    def pause(self, leg: str) -> Pause | None:
        """Return how much of the video a leg had got before its last pause."""
        return self.layers[0].paused.get(leg)

    def has_padded(self, leg: str, rtx_sequence: int) -> None:
        """Record the number of the next retransmission to a leg, after padding was sent to it in a pause."""
        paused = self.layers[0].paused
        if leg in paused:
            paused[leg] = paused[leg]._replace(rtx_sequence=rtx_sequence)

    def asks(self, leg: str, now: float) -> Track | None:
        """Return the layer of which a key frame should be requested for a leg now. Count it as requested."""
        sink = self._waiting.get(leg)
        if sink is None or now < self._ask_at.get(leg, -inf):
            return None
        self._ask_at[leg] = now + ASK_SECONDS
        return sink.track

    def end(self) -> None:
        """Remove all receivers, so that memory is freed now and not by the garbage collector."""
        self._waiting.clear()
        self._ask_at.clear()
        for track in self.layers:
            track.begins_layer = None
            track.end()

    def _begin(self, track: Track, sequence: int, timestamp: int, packet: bytes, now: float) -> None:
        """Let the legs that wait for a layer begin with this packet, the first one of a key frame."""
        track.is_awaited = False
        track.width = key_frame_width(track.codecs.get(packet[1] & 0x7F, ""), packet)
        for leg in [leg for leg, sink in self._waiting.items() if sink.track is track]:
            self._ask_at.pop(leg, None)
            self._switch(leg, self._waiting.pop(leg), sequence, timestamp, packet, now)

    def _switch(self, leg: str, sink: Sink, sequence: int, timestamp: int, packet: bytes, now: float) -> None:
        for other in self.layers:
            other.detach(leg)
        track, pause = sink.track, sink.track.paused.get(leg)
        sink.attached_at = sink.begins = sequence
        sink.packets_before, sink.octets_before = track.packets, track.octets
        if pause is not None:
            sink.distance = pause.last_sequence + 1 - sequence
            sink.shift = _shift(track, pause, timestamp, packet, now)
            sink.packets_before -= pause.packets
            sink.octets_before -= pause.octets
            sink.rtx_sequence = pause.rtx_sequence
        track.begin(leg, sink)
        self._began(leg, sink)


def _shift(track: Track, pause: Pause, timestamp: int, packet: bytes, now: float) -> Shift:
    """Return what continues the numbers of a receiver, if its next packet is this one."""
    found = counters(packet)
    return Shift(
        timestamp=_next_timestamp(track, pause, timestamp, now) - timestamp & 0xFFFFFFFF,
        picture=pause.picture + 1 - found.picture & 0x7FFF if min(pause.picture, found.picture) >= 0 else 0,
        base=pause.base + 1 - found.base & 0xFF if min(pause.base, found.base) >= 0 else 0,
    )


def _next_timestamp(track: Track, pause: Pause, timestamp: int, now: float) -> int:
    """Return the timestamp of a receiver's next packet.

    Sender reports say which timestamps of two layers mean the same time. Without them, the time of arrival decides.
    """
    elapsed = int(max(0.0, now - pause.at) * track.clock_rate)
    own = track.sender_clock()
    if own is not None and pause.clock is not None:
        (ntp, at), (ntp_before, at_before) = own, pause.clock
        same = at_before + (ntp - ntp_before) * track.clock_rate // (1 << 32)
        ahead = same + timestamp - at - pause.timestamp & 0xFFFFFFFF
        if 0 < ahead < elapsed + _LONGEST_STEP_SECONDS * track.clock_rate:
            return pause.timestamp + ahead
    return pause.timestamp + max(1, elapsed)
