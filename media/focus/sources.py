"""SSRC demultiplexing: find the stream and the track to which a participant's packet belongs (RFC 9143 section 9.2)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from media.forward import rtp
from media.forward.memory import NEAR, ffi
from media.forward.repair import RoundTrip
from media.forward.streams import Stream
from media.forward.tracks import Track
from media.sdp.codecs import Codec
from media.sdp.extensions import AUDIO_LEVEL, MID, REPAIRED_RID, RID
from media.sdp.media_section import Section

# How many SSRCs a leg may use. libsrtp keeps each SSRC until the leg is closed, and searches them one by one.
MOST_SSRCS = 256
# A source that no description names replaces its section's current source only after the current source was silent for
# this many seconds. So two sources never feed one track at the same time.
SILENT_SOURCE_SECONDS = 1.0

# A function that returns the track that the participant publishes with a section, or with one layer (rid) of it.
TrackOf = Callable[[Section, str], Track | None]


class Source(NamedTuple):
    """A stream of the participant, and the track that it feeds."""

    stream: Stream
    track: Track


class Sources:
    """The streams that a participant sends, by SSRC.

    `memory` is the leg's `struct leg` (fastpath.h), where the fast path finds the streams. `met` holds the SSRCs that
    were unknown when their first authentic packet came. `unknown` counts the packets that belong to no section or
    cannot be read.
    """

    def __init__(self, memory: Any, round_trip: RoundTrip, *, made_at: float) -> None:
        self.streams: dict[int, Source] = {}
        self.met: set[int] = set()
        self.unknown = 0
        self._memory = memory
        self._round_trip = round_trip
        # The `struct flow`s, which must live as long as `memory` points to them.
        self._flows: Any = None
        # The sources that the description names for a section, except the first. Only the first source is forwarded.
        self._ignored: set[int] = set()
        # For each source: how many packets had come at the last tick, and when that number last rose.
        self._heard: dict[int, tuple[int, float]] = {}
        self._ticked_at = made_at

    def expect(self, sections: Iterable[Section], track_of: TrackOf) -> None:
        """Prepare for the streams that the settled sections name.

        The known streams of a section stay while the participant may send on it, unless the description names other
        streams for it. All other streams are forgotten.
        """
        streams: dict[int, Source] = {}
        self._ignored = set()
        for section in sections:
            if section.rids:
                # Keep the streams also during a hold. Chromium does not state their layers again.
                self._expect_layers(streams, section, track_of)
                continue
            if not section.receiving:
                continue
            track = track_of(section, "")
            if track is None:
                continue
            track.level_id = section.extensions.get(AUDIO_LEVEL, 0) if section.kind == "audio" else 0
            known = self._known(track, section)
            originals = {ssrc: stream for ssrc, stream in known.items() if stream.original is None}
            self._ignored |= set(section.ssrcs[1:])
            for ssrc in section.ssrcs[:1] or originals:
                streams[ssrc] = Source(originals.get(ssrc) or _stream(ssrc, section, self._round_trip), track)
            repeats = {ssrc: stream.original.ssrc for ssrc, stream in known.items() if stream.original is not None}
            for ssrc, primary in (section.rtx_ssrcs or repeats).items():
                if ssrc not in streams and primary in streams and streams[primary].stream.asks:
                    streams[ssrc] = Source(_retransmissions(ssrc, section, streams[primary].stream), track)
        self._take(streams)

    def _expect_layers(self, streams: dict[int, Source], section: Section, track_of: TrackOf) -> None:
        """Keep the known streams of a section with simulcast. Packets state the layer of an unknown stream."""
        for rid in section.rids:
            track = track_of(section, rid)
            if track is not None:
                streams |= {ssrc: Source(stream, track) for ssrc, stream in self._known(track, section).items()}

    def _known(self, track: Track, section: Section) -> dict[int, Stream]:
        """Return the known streams of a track, and let them keep time by the section's codec."""
        known = {ssrc: stream for ssrc, (stream, of) in self.streams.items() if of is track}
        for stream in known.values():
            stream.keep_time(section.codecs[0].clock_rate)
        return known

    def clear(self) -> None:
        """Forget all streams."""
        self._take({})

    def _take(self, streams: dict[int, Source]) -> None:
        """Accept these streams and no others. The fast path gets all of them except streams of retransmissions."""
        originals = [(ssrc, of.memory, track.memory) for ssrc, (of, track) in streams.items() if of.original is None]
        flows = ffi.new("struct flow[]", originals)
        self._memory.flows, self._memory.flow = len(originals), flows
        self.streams, self._flows = streams, flows

    def may_meet(self, ssrc: int) -> bool:
        """Tell whether a packet with this SSRC may be decrypted: the SSRC is known, or the limit is not reached."""
        return len(self.met) < MOST_SSRCS or ssrc in self.met or ssrc in self.streams

    def is_plausible(self, ssrc: int, sequence: int | None) -> bool:
        """Tell whether a packet looks like the next one of a known stream.

        :param sequence: the sequence number of an RTP packet; None for RTCP.
        """
        source = self.streams.get(ssrc)
        if source is None or sequence is None:
            return source is not None or ssrc in self.met
        expected = source.stream.expected
        return expected < 0 or (sequence - expected + NEAR) & 0xFFFF < 2 * NEAR

    def meet(self, ssrc: int, packet: bytes, sections: Iterable[Section], track_of: TrackOf) -> Source | None:
        """Find the source of an unknown SSRC, by the packet's MID or by a payload type that only one section has.

        Forget the source that the new one replaces in its section. Return None for a packet that belongs to no track,
        or whose section has an active source.
        """
        self.met.add(ssrc)
        if ssrc in self._ignored:
            return None
        payload_type = packet[1] & 0x7F
        section = _section_of(packet, payload_type, sections)
        if section is None:
            self.unknown += 1
            return None
        rid = _rid_of(packet, section)
        track = track_of(section, rid) if bool(rid) == bool(section.rids) else None
        if track is None:
            self.unknown += bool(section.rids)
            return None
        primaries = [stream for stream, of in self.streams.values() if of is track and not stream.original]
        if payload_type in {codec.rtx_payload_type for codec in section.codecs}:
            if not primaries or not primaries[-1].asks:
                return None
            source = Source(_retransmissions(ssrc, section, primaries[-1]), track)
            kept = self.streams
        elif any(self.is_active(stream) for stream in primaries):
            return None
        else:
            kept = {each: source for each, source in self.streams.items() if source.track is not track}
            source = Source(_stream(ssrc, section, self._round_trip), track)
        self._take({**kept, ssrc: source})
        return source

    def is_active(self, stream: Stream) -> bool:
        """Tell whether a source has sent within SILENT_SOURCE_SECONDS."""
        received, at = self._heard.get(stream.ssrc, (0, float("-inf")))
        return stream.received > received or self._ticked_at - at < SILENT_SOURCE_SECONDS

    def jitter(self) -> float | None:
        """Return the jitter of what the participant sends, in seconds; None before the first packet.

        Sound comes first. Packets of a picture share a timestamp, so the jitter of video is not that of the path.
        """
        begun = [each for each in self.streams.values() if each.stream.original is None and each.stream.received]
        chosen = [each for each in begun if each.track.kind == "audio"] or begun
        return max((stream.jitter / stream.clock_rate for stream, _ in chosen), default=None)

    def tick(self, now: float) -> None:
        """Record which sources have sent since the last tick."""
        heard: dict[int, tuple[int, float]] = {}
        for ssrc, (stream, _) in self.streams.items():
            received, at = self._heard.get(ssrc, (0, float("-inf")))
            heard[ssrc] = (stream.received, now if stream.received > received else at)
        self._heard, self._ticked_at = heard, now


def _section_of(packet: bytes, payload_type: int, sections: Iterable[Section]) -> Section | None:
    """Return the section to which a packet belongs; None if there is none, or if several are possible."""
    able = [section for section in sections if section.receiving and payload_type in _payload_types(section.codecs)]
    stated: dict[int, bytes] = {}
    for id_, _, data, end in rtp.elements(packet):
        stated.setdefault(id_, packet[data:end])
    for section in able:
        mid = stated.get(section.extensions.get(MID, -1))
        if mid is not None:
            return next((each for each in able if each.mid.encode() == mid), None)
    return able[0] if len(able) == 1 else None


def _rid_of(packet: bytes, section: Section) -> str:
    """Return the layer to which a packet of a section with simulcast belongs; "" if it states none (RFC 8852)."""
    for uri in (RID, REPAIRED_RID) if section.rids else ():
        name = rtp.element(packet, section.extensions[uri]) if uri in section.extensions else None
        if name is not None:
            return name.decode("ascii", "replace")
    return ""


def _payload_types(codecs: Sequence[Codec]) -> set[int | None]:
    """Return the payload types of codecs and of their retransmissions."""
    return {type_ for codec in codecs for type_ in (codec.payload_type, codec.rtx_payload_type)}


def _stream(ssrc: int, section: Section, round_trip: RoundTrip) -> Stream:
    """Return a new stream for a section."""
    asks = any("nack" in codec.feedback for codec in section.codecs) and section.kind == "video"
    takes_limits = any("goog-remb" in codec.feedback for codec in section.codecs)
    return Stream(ssrc, section.codecs[0].clock_rate, asks=asks, takes_limits=takes_limits, round_trip=round_trip)


def _retransmissions(ssrc: int, section: Section, original: Stream) -> Stream:
    """Return a new stream for the retransmissions of another stream (RFC 4588)."""
    original.is_repeated_apart = True
    types = {
        codec.rtx_payload_type: codec.payload_type for codec in section.codecs if codec.rtx_payload_type is not None
    }
    return Stream(ssrc, section.codecs[0].clock_rate, original=original, original_types=types)
