"""Connect the tracks of a conference with the legs that get them, and pass on key frame requests and sender reports."""

import secrets
from collections.abc import Callable, Iterable, Iterator

from media.focus.layout import Layout, changed
from media.focus.leg import Leg
from media.focus.participants import Participant, Participants, legs_of
from media.forward import rtcp
from media.forward.history import Arena, History
from media.forward.ladder import Ladder
from media.forward.tracks import NO_NUMBERS, NumberIds, Sink, Track
from media.sdp.extensions import HOP_BY_HOP, TRANSPORT_CC
from media.sdp.media_section import Section
from media.sdp.writer import cname_of

# How many arenas the video tracks of one participant share. With two, a camera and a screen each keep more than a
# second of video at 4 Mbit/s. Further tracks share these two, so that they do not increase the memory that one
# participant can fill.
ARENAS = 2


class Routing:
    """The tracks of one conference and their receivers. `tracks` holds the tracks by participant and label.

    `send_rtcp` encrypts an RTCP packet for a leg and sends it. `now` is the node's clock, in seconds.
    """

    def __init__(
        self, participants: Participants, send_rtcp: Callable[[Leg, bytes], None], now: Callable[[], float]
    ) -> None:
        self.tracks: dict[tuple[str, str], Track] = {}
        # The layers of the tracks that have been sent with simulcast. The track itself is the first layer.
        self.ladders: dict[tuple[str, str], Ladder] = {}
        self._participants = participants
        self._send_rtcp = send_rtcp
        self._now = now

    # --- Tracks -----------------------------------------------------------------------------------------------

    def every_track(self) -> Iterator[Track]:
        """Yield all tracks, also every layer of those with layers."""
        for track in self.tracks.values():
            yield from self._layers(track)

    def publish(self, id_: str, sections: Iterable[Section]) -> None:
        """Ensure that there is a track for each audio or video section that a participant sends on.

        A section with simulcast has a track for each layer.
        """
        for section in sections:
            if section.kind in {"audio", "video"}:
                key = id_, section.label
                if key not in self.tracks:
                    self.tracks[key] = self._new_track(id_, section)
                if section.rids:
                    self._extend(self.tracks[key], section)
                for track in self._layers(self.tracks[key]):
                    track.clock_rate = section.codecs[0].clock_rate
                    track.codecs = {codec.payload_type: codec.name for codec in section.codecs}

    def _extend(self, track: Track, section: Section) -> None:
        """Ensure that a track has enough layers for a section with simulcast."""
        ladder = self._ladder(track)
        if ladder is None:
            ladder = self.ladders[track.participant, track.label] = Ladder(track, self._began)
        while len(ladder.layers) < len(section.rids):
            layer = self._new_track(track.participant, section, track)
            layer.is_open = track.is_open
            ladder.add(layer)

    def _ladder(self, track: Track) -> Ladder | None:
        """Return the layers of a track, if it has any. A removed track may have left layers under the same label."""
        ladder = self.ladders.get((track.participant, track.label))
        return ladder if ladder is not None and ladder.layers[0] is track else None

    def _layers(self, track: Track) -> list[Track]:
        """Return the layers of a track; the track itself if it has none."""
        ladder = self._ladder(track)
        return ladder.layers if ladder is not None else [track]

    def layer(self, id_: str, section: Section, rid: str) -> Track | None:
        """Return the track that a participant publishes with a section, or with one layer of the section."""
        track = self.tracks.get((id_, section.label))
        if track is None or rid not in section.rids:
            return None if rid else track
        layers, place = self._layers(track), section.rids.index(rid)
        return layers[place] if place < len(layers) else None

    def rid(self, layer: Track) -> str:
        """Return the rid of a layer, as the participant that sends it names it; "" if it has none now."""
        section = self._layout(layer).published.get(layer.label)
        ladder = self.ladders.get((layer.participant, layer.label))
        if section is None or ladder is None or layer not in ladder.layers[: len(section.rids)]:
            return ""
        return section.rids[ladder.layers.index(layer)]

    def _new_track(self, id_: str, section: Section, like: Track | None = None) -> Track:
        """Return a new track, or a further layer of another one."""
        history = self._new_history(id_) if section.kind == "video" else None
        ssrc, rtx_ssrc = (like.ssrc, like.rtx_ssrc) if like else (secrets.randbits(32), secrets.randbits(32))
        return Track(id_, section.label, section.kind, ssrc, rtx_ssrc, section.codecs[0].clock_rate, history=history)

    def _new_history(self, id_: str) -> History:
        """Return a history for a participant's next video track. These tracks use the participant's arenas in turn."""
        own = (track.history for track in self.every_track() if track.participant == id_)
        arenas = [history.arena for history in own if history is not None]
        return History(arenas[-ARENAS] if len(arenas) >= ARENAS else Arena())

    def open_tracks(self) -> None:
        """Open the tracks of participants that are present, not on hold and not muted. Close the others."""
        for track in self.every_track():
            is_open = _may_send(self._participants[track.participant], track)
            if is_open != track.is_open:
                track.open() if is_open else track.close()
                if is_open:
                    track.key_frame_wanted = track.kind == "video" and bool(track.sinks or not track.is_layer)

    def interrupt(self, leg: Leg) -> None:
        """Mark the tracks that a leg's participant no longer sends. If sent again, they continue as after a pause."""
        for track in self.every_track():
            if track.participant == leg.participant:
                track.resumes = track.resumes or track.label not in leg.layout.published

    def remove_tracks(self, id_: str) -> list[Track]:
        """Remove a participant's tracks and return them. The caller must `end` each."""
        return [self.tracks.pop(key) for key in list(self.tracks) if key[0] == id_]

    def end(self, track: Track) -> None:
        """Send a BYE to the receivers of a removed track, and free the track's memory."""
        for leg in legs_of(self._participants):
            leg.downlink.paused.discard(track)
            leg.downlink.hidden.discard(track)
            leg.downlink.redundant.discard(track)
            leg.parked.pop(track.ssrc, None)
            if track.ssrc in leg.sinks:
                self._send_rtcp(leg, rtcp.goodbye(track.ssrc))
                del leg.sinks[track.ssrc]
        for participant in self._participants.values():
            for layer in self._layers(track):
                participant.key_frames.pop(layer, None)
        ladder = self._ladder(track)
        if ladder is not None:
            del self.ladders[track.participant, track.label]
            ladder.end()
        track.end()

    # --- Routes -----------------------------------------------------------------------------------------------

    def route(self, leg: Leg) -> None:
        """Give a leg the tracks for which it has sections, and no others."""
        leg.sinks = {}
        for track in self.tracks.values():
            self.connect(leg, track)

    def reroute(self, leg: Leg, before: Layout) -> None:
        """Renew the routes from the leg and to the leg for sections that its new layout has changed."""
        for label in changed(before.published, leg.layout.published):
            track = self.tracks.get((leg.participant, label))
            for other in legs_of(self._participants) if track is not None else ():
                if track is not None and (leg.participant, label) in other.layout.carried:
                    self.connect(other, track)
        for key in changed(before.carried, leg.layout.carried):
            if key in self.tracks:
                self.connect(leg, self.tracks[key])

    def detach(self, leg: Leg) -> None:
        """Remove a dropped leg from all tracks. The tracks that the leg sends stay, and continue as after a pause."""
        for ladder in self.ladders.values():
            ladder.detach(leg.id, for_good=True)
        for track in self.every_track():
            track.detach(leg.id, for_good=True)
            track.resumes = track.resumes or track.participant == leg.participant

    def connect(self, leg: Leg, track: Track, layer: Track | None = None) -> None:
        """Give a leg a track if the sections of the sender and of the leg allow it. Otherwise take the track away.

        :param layer: the layer of the track that the leg shall get; None for the one that it gets or awaits already.
        """
        participant = self._participants.get(leg.participant)
        ladder = self._ladder(track)
        # A handshake may succeed just after its leg was dropped.
        is_served = leg.is_connected and participant is not None and participant.leg is leg
        layout = self._layout(track)
        if not _is_layered(track, layout):
            leg.downlink.paused.discard(track)
        if ladder is not None:
            self._unpark(leg, ladder)
        section = leg.layout.carried.get((track.participant, track.label)) if is_served else None
        downlink = leg.downlink
        is_wanted = not any(track in kept for kept in (downlink.withheld, downlink.paused, downlink.hidden))
        sink = None
        if section is not None and is_wanted:
            before = ladder.wanted(leg.id) if ladder is not None else track.sinks.get(leg.id)
            if not _is_layered(track, layout):
                layer = track
            elif layer is None:
                layer = before.track if before is not None else track
            # While the sender moves between two devices, its track has no source, and the sink stays unchanged.
            sink = _sink(layer, layout, leg, section) or before
        if sink is not None and participant is not None:
            self._attach(participant, leg, ladder, sink)
        else:
            (ladder or track).detach(leg.id)
            leg.sinks.pop(track.ssrc, None)
            if ladder is not None and section is not None and track in leg.downlink.paused:
                self._park(leg, ladder, _sink(track, layout, leg, section))

    def _park(self, leg: Leg, ladder: Ladder, sink: Sink | None) -> None:
        """Keep a sink for padding while a video is paused for a leg. Otherwise nothing could probe for bandwidth."""
        pause = ladder.pause(leg.id)
        if sink is not None and pause is not None:
            sink.rtx_sequence = pause.rtx_sequence
            leg.parked[sink.track.ssrc] = sink

    def _unpark(self, leg: Leg, ladder: Ladder) -> None:
        """Let the stream of retransmissions continue after the padding."""
        sink = leg.parked.pop(ladder.layers[0].ssrc, None)
        if sink is not None:
            ladder.has_padded(leg.id, sink.rtx_sequence)

    def _attach(self, participant: Participant, leg: Leg, ladder: Ladder | None, sink: Sink) -> None:
        """Give a leg a track. A new receiver needs a key frame."""
        track, is_new = sink.track, leg.id not in sink.track.sinks
        if ladder is not None:
            leg.sinks[track.ssrc] = ladder.give(leg.id, sink)
            self.renew_wait(leg, ladder)
        else:
            leg.sinks[track.ssrc] = track.attach(leg.id, sink)
            if is_new and leg.id in track.sinks:
                self._want_key_frame(participant, track)

    def renew_wait(self, leg: Leg, ladder: Ladder) -> None:
        """Want the key frame for which a leg waits. The last request for it may have been lost, or too early."""
        track, participant = ladder.asks(leg.id, self._now()), self._participants.get(leg.participant)
        if track is not None and participant is not None:
            self._want_key_frame(participant, track)

    def _began(self, leg_id: str, sink: Sink) -> None:
        """Record which layer a leg gets from now on."""
        for leg in legs_of(self._participants):
            if leg.id == leg_id:
                leg.sinks[sink.track.ssrc] = sink

    def _layout(self, track: Track) -> Layout:
        """Return the layout of the leg that sends a track; an empty layout if there is no such leg."""
        leg = self._leg(track.participant)
        return leg.layout if leg is not None else Layout()

    def _leg(self, id_: str) -> Leg | None:
        """Return a participant's leg, if it has one."""
        participant = self._participants.get(id_)
        return participant.leg if participant is not None else None

    # --- Key frames and sender reports ------------------------------------------------------------------------

    def request_key_frame(self, leg: Leg, track: Track) -> None:
        """Ask a track's sender for a key frame that this leg needs. If the last request was recent, ask later."""
        participant = self._participants.get(leg.participant)
        if participant is not None:
            self._want_key_frame(participant, track)
        source = self._leg(track.participant)
        if source is not None:
            source.ask_for_key_frames(self._now())

    def ask_for_key_frames(self) -> None:
        """Ask at once for the key frames that are wanted."""
        now = self._now()
        for leg in legs_of(self._participants):
            leg.ask_for_key_frames(now)

    def _want_key_frame(self, participant: Participant, track: Track) -> None:
        """Record that a participant needs a key frame of a track, if it may cause one."""
        if track.kind == "video" and not track.key_frame_wanted:
            track.key_frame_wanted = participant.may_cause_key_frame(track, self._now())

    def forward_sender_report(self, track: Track, ntp_time: int, timestamp: int) -> None:
        """Tell a track's receivers how its RTP clock relates to the time of day (RFC 3550 section 6.4.1)."""
        for leg in legs_of(self._participants):
            sink = leg.sinks.get(track.ssrc)
            if sink is not None and sink.track is track:
                report = rtcp.sender_report(
                    track.ssrc,
                    ntp_time=ntp_time,
                    timestamp=timestamp + track.timestamp_shift + sink.shift.timestamp,
                    packets=sink.forwarded[0],
                    octets=sink.forwarded[1],
                    cname=cname_of(track.participant),
                )
                self._send_rtcp(leg, report)


def _may_send(participant: Participant, track: Track) -> bool:
    """Tell whether the packets of a participant's track may be forwarded."""
    state = participant.state
    kind = "audio" if track.kind == "audio" else "video"
    return state.is_present and not state.is_on_hold and kind not in state.muted


def _is_layered(track: Track, layout: Layout) -> bool:
    """Tell whether a track is sent in layers, by the layout of the leg that sends it."""
    source = layout.published.get(track.label)
    return source is None or bool(source.rids)


def _sink(track: Track, layout: Layout, leg: Leg, section: Section) -> Sink | None:
    """Return the sink for a track on a leg's section; None while the track has no source or the leg no address.

    A section without the source's preferred codec gets a sink that takes no packets. Otherwise the track would stop for
    all receivers: a packet is forwarded only if all of them can take it.

    :param layout: the layout of the leg that sends the track.
    """
    destination, source = leg.addresses.destination, layout.published.get(track.label)
    if source is None or destination is None:
        return None
    ours = {codec.key: codec for codec in section.codecs}
    types, inner = {}, {}
    for codec in source.codecs:
        if codec.is_redundant and not (codec.key in ours and track in leg.downlink.redundant):
            opus = codec.primary(source.codecs)
            if opus is not None and opus.key in ours:
                types[codec.payload_type], inner[codec.payload_type] = ours[opus.key], opus.payload_type
        elif codec.key in ours:
            types[codec.payload_type] = ours[codec.key]
    if source.codecs[0].payload_type not in types:
        types = {}
    retransmits = {
        codec.payload_type: codec.rtx_payload_type for codec in types.values() if codec.rtx_payload_type is not None
    }
    # A packet that is sent again must be the same to the last bit, unless RTX gives it another sequence number. With
    # another transport-wide number, AES-GCM would reveal its authentication key.
    is_numbered = track.kind == "audio" or len(retransmits) == len(types)
    number_id = section.extensions.get(TRANSPORT_CC, 0) if is_numbered else 0
    return Sink(
        track=track,
        handle=leg.srtp_tx,
        address=destination.address,
        payload_types={type_: codec.payload_type for type_, codec in types.items()},
        extensions={
            id_: section.extensions[uri]
            for uri, id_ in source.extensions.items()
            if uri in section.extensions and uri not in HOP_BY_HOP
        },
        retransmits=retransmits,
        gso=leg.addresses.gso,
        tcp=destination.is_tcp,
        departures=leg.departures if number_id else None,
        number_ids=NumberIds(layout.number_id, number_id) if number_id else NO_NUMBERS,
        inner=inner,
    )
