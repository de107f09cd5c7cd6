"""Who hears and sees whom: tracks, which participants publish, and sinks, where legs get them.

A track outlives what feeds it. Its source may be held, muted, restarted or moved to another device; its receivers see
one SSRC whose sequence numbers and timestamps go on. So a packet is placed in the track's own numbering once, and all
receivers share the result; what differs between them (payload types, IDs of header extensions, and a distance in
sequence numbers where a receiver has paused for long) makes a variant, worked out when the routes are laid and not for
each packet.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from media.aiortc_adapter import address_of_session
from media.forward.history import History, Kept
from media.forward.memory import ELEMENT_IDS, QUIET, Shared, ffi
from media.forward.rtp import HEADER_SIZE, element
from media.forward.streams import LARGEST_GAP, Stream

# Key frames are asked for no more often than this: they are dear to everybody.
KEY_FRAME_SECONDS = 0.5
# A receiver that pauses may see so many sequence numbers go by: half of what SRTP could follow.
LONGEST_JUMP = 0x4000
# So many packets may a receiver miss at its beginning. If the numbers started over meanwhile it would never know, and
# both ends of SRTP count those rounds (RFC 3711 section 3.3.1).
LATEST_START = 1024
# How far a packet is ahead after a gap that nobody fills: as if one packet were missing, so that receivers notice.
LEAST_GAP = 2
# Sender reports are passed on no more often than this; browsers send one a second.
REPORT_SECONDS = 0.2
# The IDs that a one-byte header extension may use, as bits; with 0, which must not be but can.
_SHORT_IDS = (1 << ELEMENT_IDS) - 1
# What a packet adds to the loudness of its track, by its level in -dBov.
_LOUDNESS = tuple(max(0.0, 1 - level / QUIET) for level in range(128))


class Packet(NamedTuple):
    """An RTP packet with what has been read of its header.

    On arrival its numbers are those of its source. In a route's burst they are those of its track.
    """

    # The sequence number, counted on beyond 16 bits.
    sequence: int
    # The first byte of the header: version, padding, extension, number of contributing sources.
    first: int
    # The second byte of the header: marker and payload type.
    second: int
    # The timestamp, in units of the RTP clock.
    timestamp: int
    # A bit for each ID of an element in the header extension.
    elements: int
    # The packet as it came, decrypted, with its header.
    content: bytes


class Receivers(NamedTuple):
    """Where a variant goes: for each receiver its SRTP session, and the address in memory of its sockaddr.

    `gso` tells whether several packets may go to each in one message that is cut on its way out.
    """

    handles: Sequence[Any]
    names: "array[int]"
    gso: bool = True

    def part(self, begin: int, end: int) -> "Receivers":
        """Return some of them."""
        return Receivers(self.handles[begin:end], self.names[begin:end], self.gso)


class Variant(NamedTuple):
    """How the packets of one payload type go to all receivers that negotiated alike."""

    # The payload type that they go out with.
    payload_type: int
    # What is added to the track's sequence numbers.
    distance: int
    # The receivers' ID of each header extension, by the source's ID.
    ids: Mapping[int, int]
    # A bit for each ID of the source that must change or be blanked.
    foreign: int
    # Where they go.
    receivers: Receivers


@dataclass(eq=False, slots=True)
class Route:
    """The way of one payload type of a track; `burst` holds what has arrived and is to be sent."""

    track: "Track"
    variants: list[Variant]
    burst: list[Packet] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Sink:
    """A leg that gets a track.

    `payload_types` maps the source's payload types to the receiver's, `extensions` likewise the IDs of header
    extensions. `retransmits` gives, for a payload type of the receiver, the one that retransmissions go out with.
    It gets the track from its packet number `attached_at` on, and may ask for those since `begins`: those before stand
    for other packets with this receiver.
    """

    track: "Track"
    handle: Any
    address: int
    payload_types: Mapping[int, int]
    extensions: Mapping[int, int]
    retransmits: Mapping[int, int]
    gso: bool = True
    distance: int = 0
    attached_at: int = 0
    begins: int = 0
    packets_before: int = 0
    octets_before: int = 0
    rtx_sequence: int = 0
    # The IDs of header extensions, as variants compare them.
    ids: tuple[tuple[int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Put the IDs in order, once for all payload types."""
        self.ids = tuple(sorted(self.extensions.items()))

    def is_like(self, other: "Sink") -> bool:
        """Tell whether packets go the same way with both."""
        return self.handle is other.handle and self._way == other._way

    @property
    def _way(self) -> tuple[Any, ...]:
        return self.address, self.payload_types, self.extensions, self.retransmits, self.gso


# Payload type and distance of a variant, its IDs of header extensions, and whether it goes in GSO batches.
_Key = tuple[int, int, tuple[tuple[int, int], ...], bool]


@dataclass(eq=False, slots=True)
class _Group:
    """The sinks of a variant. One more or one less costs nothing for the others."""

    variant: Variant
    sinks: list[Sink]
    # The `struct variant`; its arrays are `sessions` and the variant's names.
    memory: Any
    handles: list[Any] = field(init=False)
    sessions: "array[int]" = field(init=False)

    def __post_init__(self) -> None:
        """Let the fast path know the variant."""
        receivers = self.variant.receivers
        self.handles = list(receivers.handles)
        self.variant = variant = self.variant._replace(receivers=receivers._replace(handles=self.handles))
        self.sessions = array("Q", map(address_of_session, self.handles))
        memory = self.memory
        memory.payload_type, memory.distance, memory.gso = variant.payload_type, variant.distance, receivers.gso
        memory.foreign = variant.foreign & _SHORT_IDS
        memory.ids = [variant.ids.get(id_, 0) for id_ in range(ELEMENT_IDS)]
        self._share()

    def add(self, sink: Sink) -> None:
        """Send to one more."""
        self.sinks.append(sink)
        self.handles.append(sink.handle)
        self.sessions.append(address_of_session(sink.handle))
        self.variant.receivers.names.append(sink.address)
        self._share()

    def remove(self, sink: Sink) -> None:
        """Send to one less."""
        index = self.sinks.index(sink)
        for each in (self.sinks, self.handles, self.sessions, self.variant.receivers.names):
            del each[index]
        self._share()

    def _share(self) -> None:
        """Tell the fast path where the arrays are now."""
        self.memory.receivers = len(self.sinks)
        self.memory.sessions = ffi.cast("uintptr_t *", self.sessions.buffer_info()[0])
        self.memory.names = ffi.cast("uintptr_t *", self.variant.receivers.names.buffer_info()[0])


class Pause(NamedTuple):
    """What a leg had of a track before it paused: the last sequence number, as it saw it, and how much altogether."""

    last_sequence: int
    distance: int
    packets: int
    octets: int
    rtx_sequence: int


@dataclass(eq=False, slots=True)
class Track:
    """One audio or video track that a participant publishes, as its receivers see it.

    The fast path forwards those packets of it that follow their predecessors.
    """

    participant: str
    label: str
    kind: str
    ssrc: int
    rtx_ssrc: int
    clock_rate: int
    sinks: dict[str, Sink] = field(default_factory=dict)
    routes: dict[int, Route] = field(default_factory=dict)
    is_open: bool = True
    # Of video only: for audio a retransmission would come too late.
    history: History | None = None
    # Of each leg that has paused, its last pause.
    paused: dict[str, Pause] = field(default_factory=dict)
    # The `struct track` of fastpath.h.
    memory: Any = field(init=False, repr=False)

    # The next packet comes after a pause. So it is always while the track is closed.
    resumes = Shared[bool]()
    packets = Shared[int]()
    octets = Shared[int]()
    sequence_shift = Shared[int]()
    timestamp_shift = Shared[int]()
    # The newest packet in the track's own numbering, counted on beyond 16 bits, and when it came.
    last_sequence = Shared[int]()
    last_timestamp = Shared[int]()
    last_at = Shared[float]()
    # The ID of the header extension with the audio level (RFC 6464), and how loud it has been of late.
    level_id = Shared[int]()
    loudness = Shared[float]()
    # Of the present source, since it began or went on: older packets of it have no number that is still free.
    first_sequence: int = 0
    # The largest `begins` of a sink.
    begins: int = 0
    key_frame_wanted: bool = False
    key_frame_asked_at: float = float("-inf")
    reported_at: float = float("-inf")
    _stream: Stream | None = None
    # What the fast path knows of the routes lives as long as this.
    _laid: list[object] = field(default_factory=list)
    # By payload type and by variant, who gets it; and whether every sink takes the types of the routes and no others.
    _groups: dict[int, dict[_Key, _Group]] = field(default_factory=dict)
    _are_alike: bool = True
    _sent_before: int = 0

    def __post_init__(self) -> None:
        """Be open, and wait for the first packet."""
        self.memory = ffi.new("struct track *", {"ssrc": self.ssrc, "resumes": True, "last_sequence": -1})
        if self.kind == "video":
            self.history = History()
            self.memory.history = self.history.memory

    @property
    def stream(self) -> Stream | None:
        """The present source."""
        return self._stream

    @stream.setter
    def stream(self, stream: Stream) -> None:
        self._stream = stream
        self.memory.stream = stream.memory

    def place(self, stream: Stream, arrived: Packet, now: float) -> Route | None:
        """Put a packet, still in its source's numbering, on its way; return its route if that had been idle.

        Its number is what `Stream.take` has returned: none comes twice, and none leads to a number used before.
        """
        sequence, first, second, timestamp, elements, content = arrived
        route = self.routes.get(second & 0x7F)
        if route is None or not self.is_open:
            self.resumes = True
            return None
        memory = self.memory
        if memory.resumes or stream is not self._stream:
            self._continue_with(stream, sequence, timestamp, now)
        ahead = sequence + memory.sequence_shift - memory.last_sequence
        timestamp = timestamp + memory.timestamp_shift & 0xFFFFFFFF
        if ahead <= 0:
            sequence = memory.last_sequence + ahead
            if ahead == 0 or sequence < self.first_sequence:
                return None
            if sequence < self.begins:
                route = self._route_of_before(second & 0x7F, sequence)
        else:
            if ahead > LEAST_GAP and sequence == stream.jumped_to:
                ahead = self._shorten(ahead, LEAST_GAP)
            elif ahead > LARGEST_GAP:
                ahead = self._shorten(ahead, LARGEST_GAP)
            sequence = memory.last_sequence = memory.last_sequence + ahead
            memory.last_timestamp, memory.last_at = timestamp, now
        if self.history is not None:
            self.history.keep(sequence, timestamp, content)
        memory.octets += len(content) - HEADER_SIZE
        route.burst.append(Packet(sequence, first, second, timestamp, elements, content))
        return route if len(route.burst) == 1 else None

    def _route_of_before(self, payload_type: int, sequence: int) -> Route:
        """Return the route of a late packet alone: to those receivers that had the track already at that number."""
        return Route(self, _variants(payload_type, [sink for sink in self.sinks.values() if sink.begins <= sequence]))

    def hear(self, packet: bytes) -> None:
        """Note how loud a packet of audio says it is: 0 dBov counts 1, and silence (-127 dBov) nothing."""
        level = element(packet, self.level_id)
        if level and self.is_open:
            self.loudness += _LOUDNESS[level[0] & 0x7F]

    def _continue_with(self, stream: Stream, sequence: int, timestamp: int, now: float) -> None:
        """Let the track go on with this packet, which comes after a pause or from a new source."""
        if self.last_sequence >= 0:
            self.first_sequence = self.last_sequence + 1
            self.sequence_shift = self.first_sequence - sequence
            if stream is not self.stream:
                elapsed = max(1, int((now - self.last_at) * self.clock_rate))
                self.timestamp_shift = self.last_timestamp + elapsed - timestamp & 0xFFFFFFFF
        else:
            # Far from a new round of numbers, whatever the source began with, so that no receiver meets one at once.
            # And a round ahead, so that what comes late has no negative number.
            begin = 0x10000 + (sequence & 0xFFFF) - (sequence >> 15 & 1) * 0x4000
            self.sequence_shift = begin - sequence
            self.last_sequence = begin - 1
        self.stream = stream
        self.resumes = False
        self.key_frame_wanted = self.kind == "video"

    def _shorten(self, ahead: int, gap: int) -> int:
        """Return how far a packet is ahead that jumps further than what can be repaired: receivers see a loss, no more.

        A few such jumps, of packets that one of them does not get, and its encryption would be out of step. And
        receivers ask for what they miss, within a budget that other tracks need too.
        """
        self.sequence_shift -= ahead - gap
        self.first_sequence = self.last_sequence + gap
        return gap

    def close(self) -> None:
        """Let nothing through until the track is opened."""
        self.is_open, self.resumes = False, True

    def open(self) -> None:
        """Let through what comes."""
        self.is_open = True

    def end(self) -> None:
        """Be over: let go of all receivers, so that its memory is free at once and not when garbage is collected."""
        self.sinks.clear()
        self.lay_routes()

    def rate(self, seconds: float) -> float:
        """Return what its source has sent since this was last asked, so many seconds ago, in bits a second."""
        sent = self.octets + HEADER_SIZE * self.packets
        octets, self._sent_before = sent - self._sent_before, sent
        return 8 * octets / seconds

    def wants_key_frame(self, now: float) -> bool:
        """Tell whether the source is to be asked for a key frame now, and note that it is."""
        if not self.key_frame_wanted or now - self.key_frame_asked_at < KEY_FRAME_SECONDS:
            return False
        self.key_frame_wanted, self.key_frame_asked_at = False, now
        return True

    def may_report(self, now: float) -> bool:
        """Tell whether a sender report is passed on now, and note that it is: each goes to all receivers."""
        if now - self.reported_at < REPORT_SECONDS:
            return False
        self.reported_at = now
        return True

    def attach(self, leg: str, sink: Sink) -> Sink:
        """Give a leg the track, or give it the track in another way, without a break in its numbers.

        Return the sink that counts from now on: the former one where nothing differs.
        """
        before = self.sinks.get(leg)
        if not sink.payload_types:
            # It may come to nothing for long, and then goes on like any other after a pause.
            self.detach(leg)
            return sink
        if before is not None and before.is_like(sink):
            return before
        if before is not None:
            is_same = (before.payload_types, before.extensions) == (sink.payload_types, sink.extensions)
            sink.distance, sink.rtx_sequence = before.distance, before.rtx_sequence
            # A packet that went out before would look otherwise now, under the same number.
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
        """Tell whether the routes may change in place: none holds packets that are for its former receivers."""
        return self._are_alike and not any(route.burst for route in self.routes.values())

    def _enters(self, sink: Sink) -> bool:
        """Add a sink to the groups that there are; return False where the routes must be laid anew."""
        if not self.routes or sink.payload_types.keys() != self.routes.keys():
            return False
        groups = [groups.get(_key(type_, sink)) for type_, groups in self._groups.items()]
        for group in groups:
            if group is not None:
                group.add(sink)
        return None not in groups

    def _leaves(self, sink: Sink) -> bool:
        """Take a sink out of its groups; return False where the routes must be laid anew."""
        groups = [groups[_key(type_, sink)] for type_, groups in self._groups.items()]
        for group in groups:
            group.remove(sink)
        return all(group.sinks for group in groups)

    def _resume(self, sink: Sink, pause: Pause | None) -> None:
        """Let a sink begin, or go on after a pause.

        No number may be used twice: receivers would refuse the second packet, and AES-GCM would give both away (RFC
        7714 section 8.1). So it keeps its distance, and sees the pause as a loss, of which it may ask for what is still
        kept; only what would put encryption out of step (RFC 3711 section 3.3.1) is worth a variant of its own.
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
            # The new round of numbers is near: this receiver begins in it.
            sink.distance = LATEST_START

    def detach(self, leg: str, *, for_good: bool = False) -> None:
        """Give a leg the track no more, or not for now."""
        sink = self.sinks.pop(leg, None)
        if sink is not None:
            # One that has got nothing since its last pause pauses still.
            if self.last_sequence >= sink.attached_at:
                self.paused[leg] = Pause(
                    self.last_sequence + sink.distance,
                    sink.distance,
                    self.packets - sink.packets_before,
                    self.octets - sink.octets_before,
                    sink.rtx_sequence,
                )
            if not (self._is_flexible() and self._leaves(sink)):
                self.lay_routes()
        if for_good:
            self.paused.pop(leg, None)

    def kept(self, sequence: int) -> Kept | None:
        """Return the newest packet of this number (16 bits), where it is still kept."""
        sequence = self.last_sequence - (self.last_sequence - sequence & 0xFFFF)
        return self.history.get(sequence) if self.history is not None else None

    def lay_routes(self) -> None:
        """Work out for each payload type which variants there are, and who gets them.

        What somebody cannot take nobody gets, as conferences agree to it: who misses too many packets would have
        numbers a second time.
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
        """Return who gets a payload type, and let the fast path know in its `struct route`."""
        grouped = _grouped(payload_type, self.sinks.values())
        memory = ffi.new("struct variant[]", len(grouped))
        self._laid.append(memory)
        route.payload_type, route.variants, route.variant = payload_type, len(grouped), memory
        each = zip(grouped.items(), memory, strict=True)
        return {key: _Group(_variant(key, sinks), sinks, variant) for (key, sinks), variant in each}


def _key(payload_type: int, sink: Sink) -> _Key:
    """Return what makes a sink one of a variant."""
    return sink.payload_types[payload_type], sink.distance, sink.ids, sink.gso


def _grouped(payload_type: int, sinks: Iterable[Sink]) -> dict[_Key, list[Sink]]:
    """Return the sinks of each variant of a payload type; sinks that cannot take it are in none."""
    groups: dict[_Key, list[Sink]] = {}
    for sink in sinks:
        if payload_type in sink.payload_types:
            groups.setdefault(_key(payload_type, sink), []).append(sink)
    return groups


def _variant(key: _Key, sinks: Iterable[Sink]) -> Variant:
    """Return the variant of these sinks."""
    type_, distance, ids, gso = key
    receivers = Receivers([sink.handle for sink in sinks], array("Q", (sink.address for sink in sinks)), gso)
    return Variant(type_, distance, dict(ids), ~sum(1 << id_ for id_, new in ids if id_ == new), receivers)


def _variants(payload_type: int, sinks: Iterable[Sink]) -> list[Variant]:
    """Return the variants of a payload type."""
    return [_variant(key, each) for key, each in _grouped(payload_type, sinks).items()]
