"""Participants publish tracks, and legs get them through sinks.

A track outlives its source. The source may be put on hold, muted, restarted or moved to another device. Receivers see
one SSRC whose sequence numbers and timestamps continue. So a packet is placed in the track's own numbering once, and
all receivers share the result.

Receivers may differ in payload types, in IDs of header extensions and, after a long pause, in the offset of their
sequence numbers (`distance`). Each combination is a variant. Variants are computed when the routes are built, not for
each packet.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from media.aiortc_adapter import address_of_session
from media.forward.datagrams import address_in_memory
from media.forward.departures import Departures
from media.forward.history import History, Kept
from media.forward.memory import ELEMENT_IDS, QUIET, Shared, ffi
from media.forward.pictures import Counters, begins_key_frame, counters
from media.forward.repair import OVERHEAD
from media.forward.rtp import HEADER_SIZE, element
from media.forward.streams import LARGEST_GAP, Stream

# A key frame of a track is requested at most once in this many seconds, because it costs bandwidth on every connection.
KEY_FRAME_SECONDS = 0.5
# How many sequence numbers a receiver may miss in a pause: half of the gap that SRTP can follow.
LONGEST_JUMP = 0x4000
# A new receiver may lose this many packets at first. If the sequence numbers wrapped within that gap, the receiver's
# rollover counter would be wrong (RFC 3711 section 3.3.1).
LATEST_START = 1024
# The step in sequence numbers across a gap that is never filled. Receivers see it as one missing packet.
LEAST_GAP = 2
# Sender reports are forwarded at most once in this many seconds. Browsers send one per second.
REPORT_SECONDS = 0.2
# A bit for each ID that a one-byte header extension can have, and for 0, which is not allowed.
_SHORT_IDS = (1 << ELEMENT_IDS) - 1
# How much a packet adds to the loudness of its track, by its audio level in -dBov.
_LOUDNESS = tuple(max(0.0, 1 - level / QUIET) for level in range(128))


class Packet(NamedTuple):
    """An RTP packet in a route's burst, with its numbers in the track."""

    # The sequence number, counted on beyond 16 bits.
    sequence: int
    # The timestamp, in units of the RTP clock.
    timestamp: int
    # A bit for each ID of an element in the header extension.
    elements: int
    # The packet as it came, decrypted. Its header has the source's numbers and payload type.
    content: bytes


class Receivers(NamedTuple):
    """Where the packets of a variant go."""

    # The SRTP session of each receiver.
    handles: Sequence[Any]
    # The address in memory of each receiver's sockaddr. With `tcp`, that of its `struct send_queue`.
    names: "array[int]"
    # Whether the network paths to these receivers support GSO batches.
    gso: bool = True
    # Where the packets to each receiver are recorded, if they get transport-wide numbers.
    departures: Sequence[Departures] = ()
    tcp: bool = False

    def part(self, begin: int, end: int) -> "Receivers":
        """Return the receivers from `begin` to `end`."""
        return self._replace(
            handles=self.handles[begin:end], names=self.names[begin:end], departures=self.departures[begin:end]
        )


class NumberIds(NamedTuple):
    """The IDs of the header extension with transport-wide numbers; 0 where it is not in use."""

    # In packets of the source.
    source: int = 0
    # In packets to the receiver.
    receiver: int = 0


NO_NUMBERS = NumberIds()


class Shift(NamedTuple):
    """What is added to numbers of a layer, so that they continue those of the layer that a receiver got before."""

    # To RTP timestamps.
    timestamp: int = 0
    # To VP8's picture IDs (15 or 7 bits).
    picture: int = 0
    # To VP8's TL0PICIDX (8 bits).
    base: int = 0


NO_SHIFT = Shift()


class Variant(NamedTuple):
    """How the packets of one payload type are sent to all receivers with equal negotiated values."""

    # The payload type that receivers see.
    payload_type: int
    # What is added to the track's sequence numbers.
    distance: int
    # The receivers' ID of each header extension, by the source's ID.
    ids: Mapping[int, int]
    # A bit for each ID of the source that must be changed or blanked.
    foreign: int
    # Where the packets go.
    receivers: Receivers
    number_ids: NumberIds = NO_NUMBERS
    shift: Shift = NO_SHIFT
    # The payload type of the primary encoding that is all the receivers get of redundant audio; 0: they get all.
    inner: int = 0


@dataclass(eq=False, slots=True)
class Route:
    """The receivers of one payload type of a track. `burst` holds packets that have arrived and will be sent."""

    track: "Track"
    variants: list[Variant]
    burst: list[Packet] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Sink:
    """How one leg gets a track."""

    track: "Track"
    # The SRTP session that encrypts for the leg.
    handle: Any
    # The address in memory of the leg's sockaddr. With `tcp`, that of its `struct send_queue`.
    address: int
    # The receiver's payload type, by the source's payload type.
    payload_types: Mapping[int, int]
    # The receiver's ID of each header extension, by the source's ID.
    extensions: Mapping[int, int]
    # The payload type of retransmissions (RTX), by the receiver's payload type.
    retransmits: Mapping[int, int]
    # Whether the network path to the leg supports GSO batches.
    gso: bool = True
    # Whether the leg uses TCP.
    tcp: bool = False
    # Where the packets to the leg are recorded, if they get transport-wide numbers.
    departures: Departures | None = None
    number_ids: NumberIds = NO_NUMBERS
    # By the source's payload type of redundant audio (RED): the payload type of the primary encoding, if that is all
    # that the leg gets.
    inner: Mapping[int, int] = field(default_factory=dict)
    # What is added to the track's sequence numbers for this receiver, and to its other numbers.
    distance: int = 0
    shift: Shift = NO_SHIFT
    # The first packet, in the track's numbering, that the receiver gets.
    attached_at: int = 0
    # The first packet that the receiver may request again. To this receiver, earlier numbers mean other packets.
    begins: int = 0
    # The track's counts before this receiver was added.
    packets_before: int = 0
    octets_before: int = 0
    # The sequence number of the next retransmission.
    rtx_sequence: int = 0
    # The IDs of header extensions, in the order in which variants compare them.
    ids: tuple[tuple[int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Sort the IDs, once for all payload types."""
        self.ids = tuple(sorted(self.extensions.items()))

    @property
    def forwarded(self) -> tuple[int, int]:
        """How many packets and octets of the track the leg has got in total, as sender reports count them."""
        if self.attached_at > self.track.last_sequence:
            return 0, 0
        return self.track.packets - self.packets_before, self.track.octets - self.octets_before

    def is_like(self, other: "Sink") -> bool:
        """Tell whether packets would be sent in the same form to both sinks."""
        return self.handle is other.handle and self._way == other._way

    @property
    def _way(self) -> tuple[Any, ...]:
        return (
            self.address,
            self.payload_types,
            self.extensions,
            self.retransmits,
            self.gso,
            self.number_ids,
            self.inner,
        )


# The payload type and the distance of a variant, its IDs of header extensions, whether it uses GSO batches, whether it
# uses TCP, the IDs of its transport-wide numbers, its shift, and the payload type of a primary encoding.
_Key = tuple[int, int, tuple[tuple[int, int], ...], bool, bool, NumberIds, Shift, int]


@dataclass(eq=False, slots=True)
class _Group:
    """The sinks of a variant. Adding or removing a sink does not affect the others."""

    variant: Variant
    sinks: list[Sink]
    # The `struct variant`. It points into `sessions` and the variant's names.
    memory: Any
    handles: list[Any] = field(init=False)
    departures: list[Departures] = field(init=False)
    sessions: "array[int]" = field(init=False)
    ledgers: "array[int]" = field(init=False)

    def __post_init__(self) -> None:
        """Write the variant into the memory of the fast path."""
        receivers = self.variant.receivers
        self.handles, self.departures = list(receivers.handles), list(receivers.departures)
        receivers = receivers._replace(handles=self.handles, departures=self.departures)
        self.variant = variant = self.variant._replace(receivers=receivers)
        self.sessions = array("Q", map(address_of_session, self.handles))
        self.ledgers = array("Q", (address_in_memory(each.memory) for each in self.departures))
        memory = self.memory
        memory.payload_type, memory.distance, memory.gso = variant.payload_type, variant.distance, receivers.gso
        memory.tcp = receivers.tcp
        memory.foreign = variant.foreign & _SHORT_IDS
        memory.number_id = variant.number_ids.receiver
        memory.timestamp_shift, memory.picture_shift, memory.base_shift = variant.shift
        memory.inner = variant.inner
        memory.ids = [variant.ids.get(id_, 0) for id_ in range(ELEMENT_IDS)]
        self._share()

    def add(self, sink: Sink) -> None:
        """Add a receiver."""
        self.sinks.append(sink)
        self.handles.append(sink.handle)
        self.sessions.append(address_of_session(sink.handle))
        self.variant.receivers.names.append(sink.address)
        if sink.departures is not None:
            self.departures.append(sink.departures)
            self.ledgers.append(address_in_memory(sink.departures.memory))
        self._share()

    def remove(self, sink: Sink) -> None:
        """Remove a receiver."""
        index = self.sinks.index(sink)
        for each in (self.sinks, self.handles, self.sessions, self.variant.receivers.names):
            del each[index]
        if sink.departures is not None:
            del self.departures[index], self.ledgers[index]
        self._share()

    def _share(self) -> None:
        """Write the current addresses of the arrays into the memory of the fast path."""
        self.memory.receivers = len(self.sinks)
        self.memory.sessions = ffi.cast("uintptr_t *", self.sessions.buffer_info()[0])
        self.memory.names = ffi.cast("uintptr_t *", self.variant.receivers.names.buffer_info()[0])
        self.memory.departures = ffi.cast("struct departures **", self.ledgers.buffer_info()[0])


class Pause(NamedTuple):
    """How much of a track a leg had got before its last pause."""

    # The last sequence number, as the receiver saw it.
    last_sequence: int
    distance: int
    # The packets and octets that the leg had got in total, as sender reports count them.
    packets: int
    octets: int
    rtx_sequence: int
    # The last timestamp, VP8 picture ID and TL0PICIDX, as the receiver saw them (-1: none), and when they came.
    timestamp: int = 0
    picture: int = -1
    base: int = -1
    at: float = 0.0
    # A time of day in the sender's NTP format, and the timestamp that the receiver would have seen then.
    clock: tuple[int, int] | None = None


@dataclass(eq=False, slots=True)
class Track:
    """One audio or video track that a participant publishes, as its receivers see it.

    The fast path forwards the packets that arrive in order.
    """

    # The ID of the participant that publishes the track.
    participant: str
    # "audio", "video", "screen" …
    label: str
    # "audio" or "video".
    kind: str
    ssrc: int
    # The SSRC of the track's retransmissions.
    rtx_ssrc: int
    # The rate of the RTP clock, in Hz.
    clock_rate: int
    # The sinks, by the ID of the leg that gets the track.
    sinks: dict[str, Sink] = field(default_factory=dict)
    # The routes, by the source's payload type.
    routes: dict[int, Route] = field(default_factory=dict)
    # The newest packets. Only video has a history: for audio, a retransmission would come too late.
    history: History | None = None
    # The last pause of each leg that has paused, by the leg's ID.
    paused: dict[str, Pause] = field(default_factory=dict)
    # The `struct track` of fastpath.h.
    memory: Any = field(init=False, repr=False)

    # Whether the next packet comes after a pause. This is always true while the track is closed.
    resumes = Shared[bool]()
    packets = Shared[int]()
    # The octets of payloads, including their header extensions.
    octets = Shared[int]()
    # The offsets that are added to the source's numbers and timestamps.
    sequence_shift = Shared[int]()
    timestamp_shift = Shared[int]()
    # The newest packet in the track's own numbering, counted on beyond 16 bits, and when it came.
    last_sequence = Shared[int]()
    last_timestamp = Shared[int]()
    last_at = Shared[float]()
    # When a packet last came, whether or not it was forwarded.
    heard_at = Shared[float]()
    # The ID of the header extension with the audio level (RFC 6464); 0 without one.
    level_id = Shared[int]()
    # Whether packets are forwarded.
    is_open = Shared[bool]()
    # Whether receivers wait for the next key frame.
    is_awaited = Shared[bool]()
    # How loud the track was recently. The speaker is chosen by this value, which falls with every tick.
    loudness = Shared[float]()
    # The first sequence number since the current source began or resumed. Older packets of the source are dropped: no
    # sequence number is free for them.
    first_sequence: int = 0
    # The largest `begins` of all sinks.
    begins: int = 0
    # The codec of each payload type of the source.
    codecs: Mapping[int, str] = field(default_factory=dict)
    # Called while the track is awaited, when a key frame begins: with the track, the packet's number and timestamp in
    # the track, the packet, and the time. None unless the track is a layer of a `Ladder`.
    begins_layer: "Callable[[Track, int, int, bytes, float], None] | None" = None
    # The width of the picture in pixels, as its last awaited key frame stated it; 0 if unknown.
    width: int = 0
    key_frame_wanted: bool = False
    key_frame_asked_at: float = float("-inf")
    reported_at: float = float("-inf")
    _stream: Stream | None = None
    # The `struct route`s and `struct variant`s of fastpath.h, which must live as long as `memory` points to them.
    _laid: list[object] = field(default_factory=list)
    # The receivers by payload type and variant; and whether every sink takes exactly the payload types of the routes.
    _groups: dict[int, dict[_Key, _Group]] = field(default_factory=dict)
    _are_alike: bool = True
    _sent_before: int = 0

    def __post_init__(self) -> None:
        """Open the track for its first packet."""
        self.memory = ffi.new(
            "struct track *", {"ssrc": self.ssrc, "resumes": True, "is_open": True, "last_sequence": -1}
        )
        if self.history is not None:
            self.memory.history = self.history.memory

    @property
    def stream(self) -> Stream | None:
        """The current source."""
        return self._stream

    @stream.setter
    def stream(self, stream: Stream) -> None:
        self._stream = stream
        self.memory.stream = stream.memory

    def place(
        self, stream: Stream, sequence: int, timestamp: int, elements: int, content: bytes, now: float
    ) -> Route | None:
        """Give a packet the track's numbers and add it to a route's burst. Return the route if its burst was empty.

        :param sequence: the number that `Stream.take` has returned, so that no number is used twice.
        :param timestamp: the timestamp of the source.
        :param elements: a bit for each ID of an element in the header extension.
        :param content: the packet as it came, decrypted.
        """
        payload_type = content[1] & 0x7F
        route, memory = self.routes.get(payload_type), self.memory
        memory.heard_at = now
        if not memory.is_open:
            self.resumes = True
            return None
        if route is None and not memory.is_awaited:
            if not self.routes:
                self._pass_over(content)
            self.resumes = True
            return None
        if memory.resumes or stream is not self._stream:
            self._continue_with(stream, sequence, timestamp, now)
        ahead = sequence + memory.sequence_shift - memory.last_sequence
        timestamp = timestamp + memory.timestamp_shift & 0xFFFFFFFF
        if ahead <= 0:
            sequence = memory.last_sequence + ahead
            if ahead == 0 or sequence < self.first_sequence:
                return None
            if sequence < self.begins:
                route = self._route_of_before(payload_type, sequence)
        else:
            if ahead > LEAST_GAP and sequence == stream.jumped_to:
                ahead = self._shorten(ahead, LEAST_GAP)
            elif ahead > LARGEST_GAP:
                ahead = self._shorten(ahead, LARGEST_GAP)
            sequence = memory.last_sequence = memory.last_sequence + ahead
            memory.last_timestamp, memory.last_at = timestamp, now
            if memory.is_awaited and self.begins_layer is not None and self._begins_key_frame(payload_type, content):
                self.begins_layer(self, sequence, timestamp, content, now)
                route = self.routes.get(payload_type)
        if route is None:
            return None
        if self.history is not None:
            self.history.keep(sequence, timestamp, content)
        memory.octets += len(content) - HEADER_SIZE
        route.burst.append(Packet(sequence, timestamp, elements, content))
        return route if len(route.burst) == 1 else None

    def _pass_over(self, content: bytes) -> None:
        """Count a packet that nobody gets."""
        self.packets += 1
        self.octets += len(content) - HEADER_SIZE

    def _begins_key_frame(self, payload_type: int, content: bytes) -> bool:
        return begins_key_frame(self.codecs.get(payload_type, ""), content)

    def _route_of_before(self, payload_type: int, sequence: int) -> Route:
        """Return a route for one late packet, to the receivers that may get this sequence number (`Sink.begins`)."""
        return Route(self, _variants(payload_type, [sink for sink in self.sinks.values() if sink.begins <= sequence]))

    def hear(self, packet: bytes) -> None:
        """Add a packet's audio level to the loudness: 1 for 0 dBov, falling to 0 at -60 dBov (`QUIET`) and below."""
        level = element(packet, self.level_id)
        if level and self.is_open:
            self.loudness += _LOUDNESS[level[0] & 0x7F]

    def _continue_with(self, stream: Stream, sequence: int, timestamp: int, now: float) -> None:
        """Continue the track with this packet, which comes after a pause or from a new source."""
        if self.last_sequence >= 0:
            self.first_sequence = self.last_sequence + 1
            self.sequence_shift = self.first_sequence - sequence
            if stream is not self.stream:
                elapsed = max(1, int((now - self.last_at) * self.clock_rate))
                self.timestamp_shift = self.last_timestamp + elapsed - timestamp & 0xFFFFFFFF
        else:
            # Whatever the source's first number is, begin far from a wrap, so that receivers do not reach a wrap soon.
            # Also add 65,536, so that a late packet has no negative sequence number.
            begin = 0x10000 + (sequence & 0xFFFF) - (sequence >> 15 & 1) * 0x4000
            self.sequence_shift = begin - sequence
            self.last_sequence = begin - 1
        self.stream = stream
        self.resumes = False
        self.key_frame_wanted = self.kind == "video"

    def _shorten(self, ahead: int, gap: int) -> int:
        """Reduce an unrepairable jump to this gap, so that receivers see a small loss. Return the gap.

        Unshortened, a few long jumps could desynchronise a receiver's rollover counter. Receivers would also request
        the missing packets, from a budget that other tracks need too.
        """
        self.sequence_shift -= ahead - gap
        self.first_sequence = self.last_sequence + gap
        return gap

    def close(self) -> None:
        """Drop packets until the track is opened."""
        self.is_open, self.resumes = False, True

    def open(self) -> None:
        """Forward packets from now on."""
        self.is_open = True

    def end(self) -> None:
        """Remove all receivers, so that memory is freed now and not by the garbage collector."""
        self.sinks.clear()
        self.lay_routes()

    def rate(self, seconds: float) -> float:
        """Return the bits per second that the source has sent since the last call, which was this many seconds ago.

        They include the headers of all protocols, as estimates of the bandwidth do.
        """
        sent = self.octets + (HEADER_SIZE + OVERHEAD) * self.packets
        octets, self._sent_before = sent - self._sent_before, sent
        return 8 * octets / seconds

    def wants_key_frame(self, now: float) -> bool:
        """Tell whether to request a key frame from the source now. If so, count it as requested."""
        if not self.key_frame_wanted or now - self.key_frame_asked_at < KEY_FRAME_SECONDS:
            return False
        self.key_frame_wanted, self.key_frame_asked_at = False, now
        return True

    def may_report(self, now: float) -> bool:
        """Tell whether to forward a sender report now, to all receivers. If so, count it as forwarded."""
        if now - self.reported_at < REPORT_SECONDS:
            return False
        self.reported_at = now
        return True

    def attach(self, leg: str, sink: Sink) -> Sink:
        """Give a leg the track, or change how it gets the track, without a break in the track's numbers.

        Return the sink that is in use from now on. This is the previous sink if nothing differs.
        """
        before = self.sinks.get(leg)
        if not sink.payload_types:
            # The leg gets nothing, perhaps for a long time. Later it continues as after a pause.
            self.detach(leg)
            return sink
        if before is not None and before.is_like(sink):
            return before
        if before is not None:
            is_same = (before.payload_types, before.extensions) == (sink.payload_types, sink.extensions)
            sink.distance, sink.shift, sink.rtx_sequence = before.distance, before.shift, before.rtx_sequence
            # Sent again, an earlier packet would now have other content under its sequence number. So it is not sent
            # again.
            sink.attached_at, sink.begins = before.attached_at, before.begins if is_same else self.last_sequence + 1
            self.begins = max(self.begins, sink.begins)
            sink.packets_before, sink.octets_before = before.packets_before, before.octets_before
        else:
            self._resume(sink, self.paused.get(leg))
        self.sinks[leg] = sink
        if not (self._is_flexible() and (before is None or self._leaves(before)) and self._enters(sink)):
            self.lay_routes()
        return sink

    def _is_flexible(self) -> bool:
        """Tell whether the routes may change in place: no burst waits to be sent to the present receivers."""
        return self._are_alike and not any(route.burst for route in self.routes.values())

    def _enters(self, sink: Sink) -> bool:
        """Add a sink to the existing groups. Return False if the routes must be built again."""
        if not self.routes or sink.payload_types.keys() != self.routes.keys():
            return False
        groups = [groups.get(_key(type_, sink)) for type_, groups in self._groups.items()]
        for group in groups:
            if group is not None:
                group.add(sink)
        return None not in groups

    def _leaves(self, sink: Sink) -> bool:
        """Remove a sink from its groups. Return False if the routes must be built again."""
        groups = [groups[_key(type_, sink)] for type_, groups in self._groups.items()]
        for group in groups:
            group.remove(sink)
        return all(group.sinks for group in groups)

    def _resume(self, sink: Sink, pause: Pause | None) -> None:
        """Prepare a sink to begin, or to continue after a pause.

        No sequence number may be used twice. Receivers would refuse the second packet, and AES-GCM would reveal both
        packets (RFC 7714 section 8.1). So a sink keeps its distance, and the receiver sees the pause as a loss. The
        receiver may request the packets of the pause that are still kept. The sink gets a new distance, and thus a
        variant of its own, only if the pause would desynchronise the receiver's rollover counter (RFC 3711 section
        3.3.1).
        """
        sink.packets_before, sink.octets_before = self.packets, self.octets
        sink.attached_at = self.last_sequence + 1
        if pause is not None:
            if self.last_sequence + pause.distance - pause.last_sequence < LONGEST_JUMP:
                sink.distance = pause.distance
            else:
                sink.distance = pause.last_sequence - self.last_sequence
            sink.begins = pause.last_sequence - sink.distance + 1
            self.begins = max(self.begins, sink.begins)
            sink.packets_before -= pause.packets
            sink.octets_before -= pause.octets
            sink.rtx_sequence = pause.rtx_sequence
        elif self.last_sequence >= 0 and self.last_sequence & 0xFFFF >= 0x10000 - LATEST_START:
            # A wrap is near, so this receiver begins after the wrap.
            sink.distance = LATEST_START

    def detach(self, leg: str, *, for_good: bool = False) -> None:
        """Stop giving a leg the track, for now or permanently (`for_good`)."""
        sink = self.sinks.pop(leg, None)
        if sink is not None:
            # A sink that has got nothing since its last pause is still in that pause.
            if self.last_sequence >= sink.attached_at:
                self.paused[leg] = self._pause(sink)
            if not (self._is_flexible() and self._leaves(sink)):
                self.lay_routes()
        if for_good:
            self.paused.pop(leg, None)

    def _pause(self, sink: Sink) -> Pause:
        """Return how much of the track a receiver has got."""
        last = self.history.get(self.last_sequence) if self.history is not None else None
        found = counters(last.packet) if last is not None and self.is_layer else Counters()
        clock = self.sender_clock()
        return Pause(
            self.last_sequence + sink.distance,
            sink.distance,
            self.packets - sink.packets_before,
            self.octets - sink.octets_before,
            sink.rtx_sequence,
            timestamp=self.last_timestamp + sink.shift.timestamp & 0xFFFFFFFF,
            picture=found.picture + sink.shift.picture & 0x7FFF if found.picture >= 0 else -1,
            base=found.base + sink.shift.base & 0xFF if found.base >= 0 else -1,
            at=self.last_at,
            clock=clock and (clock[0], clock[1] + sink.shift.timestamp),
        )

    @property
    def is_layer(self) -> bool:
        """Whether the track is one of the layers of a video."""
        return self.begins_layer is not None

    def sender_clock(self) -> tuple[int, int] | None:
        """Return a time of day in the sender's NTP format (64 bits), and the track's timestamp at that time."""
        clock = self._stream.sender_clock if self._stream is not None else None
        return clock and (clock[0], clock[1] + self.timestamp_shift)

    def begin(self, leg: str, sink: Sink) -> None:
        """Give a leg the track from its newest packet on."""
        self.sinks[leg] = sink
        self.begins = max(self.begins, sink.begins)
        if not (self._is_flexible() and self._enters(sink)):
            self.lay_routes()

    def kept(self, sequence: int) -> Kept | None:
        """Return the newest packet with this sequence number (16 bits), if it is still kept."""
        sequence = self.last_sequence - (self.last_sequence - sequence & 0xFFFF)
        return self.history.get(sequence) if self.history is not None else None

    def lay_routes(self) -> None:
        """Compute the variants of each payload type, and their receivers.

        If one receiver cannot take a payload type, no receiver gets it. Otherwise the 16-bit sequence numbers could
        wrap while that receiver gets no packet.
        """
        each = [set(sink.payload_types) for sink in self.sinks.values()]
        types = set.intersection(*each) if each else set()
        self._are_alike = all(taken == types for taken in each)
        self._laid = [memory := ffi.new("struct route[]", len(types))]
        self._groups = {type_: self._lay(type_, route) for type_, route in zip(types, memory, strict=True)}
        self.routes = {
            type_: Route(self, [group.variant for group in groups.values()]) for type_, groups in self._groups.items()
        }
        self.memory.routes, self.memory.route = len(types), memory

    def _lay(self, payload_type: int, route: Any) -> dict[_Key, _Group]:
        """Return the receivers of a payload type by variant, and write them into the fast path's `struct route`."""
        grouped = _grouped(payload_type, self.sinks.values())
        memory = ffi.new("struct variant[]", len(grouped))
        self._laid.append(memory)
        route.payload_type, route.variants, route.variant = payload_type, len(grouped), memory
        each = zip(grouped.items(), memory, strict=True)
        return {key: _Group(_variant(key, sinks), sinks, variant) for (key, sinks), variant in each}


def _key(payload_type: int, sink: Sink) -> _Key:
    """Return the values that all sinks of a variant share."""
    inner, way = sink.inner.get(payload_type, 0), (sink.gso, sink.tcp)
    return sink.payload_types[payload_type], sink.distance, sink.ids, *way, sink.number_ids, sink.shift, inner


def _grouped(payload_type: int, sinks: Iterable[Sink]) -> dict[_Key, list[Sink]]:
    """Return the sinks of each variant of a payload type, without the sinks that cannot take it."""
    groups: dict[_Key, list[Sink]] = {}
    for sink in sinks:
        if payload_type in sink.payload_types:
            groups.setdefault(_key(payload_type, sink), []).append(sink)
    return groups


def _variant(key: _Key, sinks: Iterable[Sink]) -> Variant:
    """Return the variant of these sinks."""
    type_, distance, ids, gso, tcp, number_ids, shift, inner = key
    sinks = list(sinks)
    departures = [sink.departures for sink in sinks if sink.departures is not None]
    receivers = Receivers(
        [sink.handle for sink in sinks], array("Q", (sink.address for sink in sinks)), gso, departures, tcp
    )
    foreign = ~sum(1 << id_ for id_, new in ids if id_ == new)
    return Variant(type_, distance, dict(ids), foreign, receivers, number_ids, shift, inner)


def _variants(payload_type: int, sinks: Iterable[Sink]) -> list[Variant]:
    """Return the variants of a payload type."""
    return [_variant(key, each) for key, each in _grouped(payload_type, sinks).items()]
