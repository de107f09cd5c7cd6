"""One participant's connection with the focus: addresses, keys, the streams that come over it, and RTCP about them."""

import logging
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
)

from media.aiortc_adapter import address_of_session, parse_rtcp
from media.focus.layout import Layout
from media.focus.quality import REPORT_COUNTS_SECONDS
from media.forward import rtcp, rtp
from media.forward.datagrams import Destination, address_of
from media.forward.history import Kept
from media.forward.memory import NEAR, Shared, ffi
from media.forward.repair import REQUESTS_A_TICK, Retransmissions, RoundTrip
from media.forward.streams import Stream
from media.forward.tracks import Sink, Track
from media.sdp.codecs import Codec
from media.sdp.negotiation import Negotiation, Section
from media.transport.consent import Consent
from media.transport.dtls import State, Transport
from media.transport.ice import Agent
from media.transport.sctp import DataChannels
from media.transport.strangers import network_of

logger = logging.getLogger(__name__)

# What a leg may send within a tick of TICK_SECONDS: 2,000 packets and 20 Mbit a second.
TICK_SECONDS = 0.1
PACKETS_A_TICK = 200
BYTES_A_TICK = 250_000
# And of RTCP, where a few bytes may ask for much work: 1,000 packets and 800 kbit a second. Somebody who misses packets
# of thirty cameras comes near that.
RTCP_A_TICK = 100
RTCP_BYTES_A_TICK = 10_000
# Packets from a leg's addresses that libsrtp may refuse within a tick, 1,000 a second. Beyond that, only packets that
# look like the next ones of a known stream are tried: anybody can forge an address, few know SSRC and sequence number.
FAILURES_A_TICK = 100
# How often what was forwarded to a leg is measured.
MEASURE_SECONDS = 1.0
# A packet is not sent again this long after its successor, which has shown that it is missing.
OLDEST_SECONDS = 1.5
# In bits a second: what no video is limited below, what is left to sound beside it, what stands for no limit.
LEAST_RATE = 150_000
AUDIO_RATE = 48_000
NO_LIMIT = 1 << 27
# SSRCs that a leg may send with: libsrtp keeps each for as long as the leg lives, and looks through them one by one.
MOST_SSRCS = 256
# A source that no description names replaces the present one of its line once that was silent this long, in seconds:
# never do two sources feed one track at the same time.
SILENT_SOURCE_SECONDS = 1.0
# A participant's estimate of its connection counts for this many seconds. Browsers repeat it at least once a second.
ESTIMATE_COUNTS_SECONDS = 8.0
# The addresses that a leg may use at the same time: a browser checks several before it settles on one.
MOST_ADDRESSES = 8

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"


class LegPort(Protocol):
    """What a leg needs of the port."""

    def send(self, name: bytes, datagram: bytes) -> None:
        """Send a datagram to a sockaddr."""

    def send_rtcp(self, leg: "Leg", packet: bytes) -> None:
        """Encrypt RTCP for a leg and send it."""

    def send_rtp(self, leg: "Leg", packet: bytes) -> None:
        """Encrypt one RTP packet for a leg and send it."""

    def forget(self, leg: "Leg") -> None:
        """Take nothing more from the leg's addresses."""


class LegObserver(Protocol):
    """What a leg needs of its conference."""

    def connected(self, leg: "Leg") -> None:
        """The leg can send and receive media now."""

    def disconnected(self, leg: "Leg") -> None:
        """The other side has ended the connection, or it came to nothing."""

    def moved(self, leg: "Leg") -> None:
        """The leg's media goes to another address from now on, or in another manner."""

    def track_of(self, leg: "Leg", section: Section) -> Track | None:
        """Return the track that the participant publishes with this media line."""

    def key_frame_wanted(self, leg: "Leg", track: Track) -> None:
        """A leg's participant says that it needs a key frame of a track."""

    def sender_reported(self, track: Track, ntp_time: int, timestamp: int) -> None:
        """The source of a track has sent a report."""


class Leg:
    """A peer connection of a participant.

    `id` is the modification whose offer made it. What the port and the fast path look at for each packet, the keys and
    what the leg may still send within a tick, stands in its `memory`.
    """

    packets_left = Shared[int]()
    bytes_left = Shared[int]()
    failures_left = Shared[int]()
    excess = Shared[int]()
    unauthentic = Shared[int]()

    def __init__(
        self,
        id_: str,
        participant: str,
        negotiation: Negotiation,
        port: LegPort,
        observer: LegObserver,
        *,
        made_at: float,
    ) -> None:
        self.id = id_
        self.participant = participant
        self.negotiation = negotiation
        self.layout = Layout()
        # The `struct leg` of fastpath.h.
        self.memory: Any = ffi.new("struct leg *")
        self._flows: Any = None
        self.ssrc = secrets.randbits(32)
        self._cname = secrets.token_hex(8)
        # Whether feedback may go without a compound packet (RFC 5506): all lines share one transport.
        self._takes_reduced_size = False
        self.streams: dict[int, tuple[Stream, Track]] = {}
        self.sinks: dict[int, Sink] = {}
        # The SSRCs that authentic packets have come with, but for those that were known before.
        self.met: set[int] = set()
        self._srtp_rx: Any = None
        self.srtp_tx: Any = None
        self.packets_left = PACKETS_A_TICK
        self.bytes_left = BYTES_A_TICK
        self.failures_left = FAILURES_A_TICK
        self.rtcp_left = RTCP_A_TICK
        self.rtcp_bytes_left = RTCP_BYTES_A_TICK
        self._requests_left = REQUESTS_A_TICK
        self.destination: Destination | None = None
        self.gso = True
        self.addresses: list[bytes] = []
        self.agent: Agent[Leg] | None = None
        self.transport: Transport | None = None
        self.channels: DataChannels | None = None
        self.answers: dict[str, str] = {}
        # What the connection to the participant can carry, in bits a second, as it last said; and whether that has
        # become less, which means that packets queue on the way: its estimate counts from then on.
        self.estimate = 0
        self.is_congested = False
        self._estimated_at = made_at
        # Video of senders that defy their limits, which this leg does not get, and for how many seconds more at least.
        self.withheld: dict[Track, float] = {}
        self._was_limited = False
        self._octets_repeated = 0
        # The share of packets that was lost lately: of the participant's streams, the worst one's; and of what it gets,
        # as it has reported last of each SSRC, and when.
        self._lost = 0.0
        self._lost_down: dict[int, tuple[float, float]] = {}
        self.unknown = 0
        # Further sources that the description names for one line: only the first is forwarded.
        self._ignored: set[int] = set()
        # How many packets of each source had come, and when that last became more.
        self._heard: dict[int, tuple[int, float]] = {}
        self._ticked_at = made_at
        self.round_trip = RoundTrip()
        self._retransmissions = Retransmissions()
        # What had been forwarded of each track, in packets and octets, when that was measured last.
        self._forwarded: dict[int, tuple[int, int]] = {}
        self._measured_at = made_at
        self._consent = Consent(made_at)
        # Bursts that the port has not sent yet point to the memory of former ones. It reads 64 datagrams at a time.
        self._destinations: deque[Destination] = deque(maxlen=64)
        self._is_over = False
        self._port = port
        self._observer = observer

    @property
    def srtp_rx(self) -> Any:
        """The session that decrypts what the participant sends; None while there is none."""
        return self._srtp_rx

    @srtp_rx.setter
    def srtp_rx(self, handle: Any) -> None:
        self._srtp_rx = handle
        self.memory.session = 0 if handle is None else address_of_session(handle)

    @property
    def seen_at(self) -> float:
        """When the address in use last answered a check, while the connection was not over (RFC 7675)."""
        return self._consent.proved_at

    @property
    def is_connected(self) -> bool:
        """Whether media can be sent and received."""
        return self.srtp_tx is not None and self.destination is not None

    # --- Addresses and keys -----------------------------------------------------------------------------------

    def reached(self, name: bytes, now: float, *, nominated: bool) -> list[bytes]:
        """Note a valid connectivity check from a sockaddr; return those sockaddrs that count no more.

        Media goes there once the sockaddr has answered a check of ours: see `proved`.
        """
        if name not in self.addresses:
            self.addresses.append(name)
        if self._consent.reach(name, now, nominated=nominated):
            self._check(name)
        in_use = self.destination.name if self.destination is not None else None
        gone = [each for each in self.addresses[:-MOST_ADDRESSES] if each != in_use]
        self.addresses = [each for each in self.addresses if each not in gone]
        return gone

    def proved(self, name: bytes, now: float) -> None:
        """Note that a sockaddr has answered a check of ours."""
        if not self._is_over and self._consent.prove(name, now):
            self._move(name)

    def _check(self, name: bytes) -> None:
        """Send a connectivity check to a sockaddr, if the other side's credentials are known yet."""
        check = self.agent.check(address_of(name)) if self.agent is not None else None
        if check is not None:
            self._port.send(name, check)

    def _move(self, name: bytes) -> None:
        """Let the media go to a sockaddr."""
        logger.info("leg %s: media goes to %s port %s", self.id, *address_of(name))
        self.destination, self.gso = Destination.of(name), True
        self._destinations.append(self.destination)
        self._observer.moved(self)

    def end_gso(self) -> None:
        """Stop using GSO for this destination: its route cannot segment."""
        logger.info("leg %s: the route to this address does not support GSO", self.id)
        self.gso = False
        self._observer.moved(self)

    def begin(self) -> None:
        """Begin the handshake, for which there is only so much time: not before the other side has been heard of."""
        if self.transport is not None and self.destination is not None:
            fingerprints = [(each.algorithm, each.value) for each in self.negotiation.remote_fingerprints]
            network = network_of(address_of(self.destination.name)[0])
            self.transport.start(fingerprints, id(self._observer), network)

    def send_datagram(self, datagram: bytes) -> None:
        """Send DTLS to where the leg is."""
        if self.destination is not None:
            self._port.send(self.destination.name, datagram)

    def transport_is(self, state: State) -> None:
        """Take note of a new state of the transport."""
        logger.info("leg %s: %s", self.id, state)
        if state is State.CONNECTED and self.transport is not None and self.transport.srtp is not None:
            # The sessions live as long as the transport, which this object keeps.
            self.srtp_tx, self.srtp_rx = self.transport.srtp.tx, self.transport.srtp.rx
            self._observer.connected(self)
        elif state in {State.FAILED, State.CLOSED}:
            self._is_over = True
            self.srtp_tx = self.srtp_rx = None
            self._observer.disconnected(self)

    async def close(self) -> None:
        """End the connection, politely where there is one."""
        self.srtp_tx = self.srtp_rx = None
        if self.channels is not None:
            await self.channels.close()
        if self.transport is not None:
            await self.transport.close()
        self._port.forget(self)
        self._take_from({})
        self.sinks = {}
        # Without cycles, memory is free at once and not when garbage is collected.
        self.transport = self.channels = self.agent = None

    # --- Streams ----------------------------------------------------------------------------------------------

    def expect(self) -> None:
        """Get ready for the streams that the settled description names.

        Those that it names no more are forgotten; those that no description names stay, while their line receives.
        """
        streams: dict[int, tuple[Stream, Track]] = {}
        self._ignored = set()
        media = [each for each in self.layout.sections if each.codecs and not each.rejected]
        self._takes_reduced_size = all(each.reduced_size for each in media)
        for section in self.layout.sections:
            track = self._observer.track_of(self, section) if section.receiving else None
            if track is None:
                continue
            track.level_id = section.extensions.get(AUDIO_LEVEL, 0) if section.kind == "audio" else 0
            known = {ssrc: stream for ssrc, (stream, of) in self.streams.items() if of is track}
            originals = {ssrc: stream for ssrc, stream in known.items() if stream.original is None}
            for stream in known.values():
                stream.keep_time(section.codecs[0].clock_rate)
            self._ignored |= set(section.ssrcs[1:])
            for ssrc in section.ssrcs[:1] or originals:
                streams[ssrc] = (originals.get(ssrc) or _stream(ssrc, section, self.round_trip), track)
            repeats = {ssrc: stream.original.ssrc for ssrc, stream in known.items() if stream.original is not None}
            for ssrc, primary in (section.rtx_ssrcs or repeats).items():
                if ssrc not in streams and primary in streams and streams[primary][0].asks:
                    streams[ssrc] = (_retransmissions(ssrc, section, streams[primary][0]), track)
        self._take_from(streams)

    def _take_from(self, streams: dict[int, tuple[Stream, Track]]) -> None:
        """Take these streams and no others. The fast path knows them, but for retransmissions."""
        originals = [(ssrc, of.memory, track.memory) for ssrc, (of, track) in streams.items() if of.original is None]
        flows = ffi.new("struct flow[]", originals)
        self.memory.flows, self.memory.flow = len(originals), flows
        self.streams, self._flows = streams, flows

    def may_meet(self, ssrc: int) -> bool:
        """Tell whether a packet with this SSRC, which is perhaps unknown, may be decrypted."""
        return len(self.met) < MOST_SSRCS or ssrc in self.met or ssrc in self.streams

    def may_try(self, ssrc: int, sequence: int | None = None) -> bool:
        """Tell whether a packet may be decrypted although many were refused in this tick.

        `sequence` is the sequence number that an RTP packet claims to have; RTCP has none.
        """
        if self.failures_left > 0:
            return True
        entry = self.streams.get(ssrc)
        if entry is None or sequence is None:
            return entry is not None or ssrc in self.met
        expected = entry[0].expected
        return expected < 0 or (sequence - expected + NEAR) & 0xFFFF < 2 * NEAR

    def fail(self) -> None:
        """Count a packet that is not authentic, or that was not tried."""
        self.failures_left -= 1
        self.unauthentic += 1

    def charge_rtcp(self, size: int) -> None:
        """Charge an authentic RTCP packet of this many bytes to the leg."""
        self.packets_left -= 1
        self.bytes_left -= size
        self.rtcp_left -= 1
        self.rtcp_bytes_left -= size

    def meet(self, ssrc: int, packet: bytes) -> tuple[Stream, Track] | None:
        """Find out what an unknown SSRC is: by the MID that its packets carry, or by a payload type of one line alone.

        RFC 9143 section 9.2. The source that it replaces on its line is forgotten.
        """
        self.met.add(ssrc)
        if ssrc in self._ignored:
            return None
        payload_type = packet[1] & 0x7F
        for section in self._sections_of(packet, payload_type):
            track = self._observer.track_of(self, section)
            if track is None:
                return None
            primaries = [stream for stream, of in self.streams.values() if of is track and not stream.original]
            if payload_type in {codec.rtx_payload_type for codec in section.codecs}:
                if not primaries or not primaries[-1].asks:
                    return None
                entry = (_retransmissions(ssrc, section, primaries[-1]), track)
                kept = self.streams
            elif any(self._is_active(stream) for stream in primaries):
                return None
            else:
                kept = {each: entry for each, entry in self.streams.items() if entry[1] is not track}
                entry = (_stream(ssrc, section, self.round_trip), track)
            self._take_from({**kept, ssrc: entry})
            return entry
        self.unknown += 1
        return None

    def _is_active(self, stream: Stream) -> bool:
        """Tell whether a source has sent lately."""
        received, at = self._heard.get(stream.ssrc, (0, float("-inf")))
        return stream.received > received or self._ticked_at - at < SILENT_SOURCE_SECONDS

    def _listen(self, now: float) -> None:
        """Note which sources have sent since the last tick."""
        heard: dict[int, tuple[int, float]] = {}
        for ssrc, (stream, _) in self.streams.items():
            received, at = self._heard.get(ssrc, (0, float("-inf")))
            heard[ssrc] = (stream.received, now if stream.received > received else at)
        self._heard, self._ticked_at = heard, now

    def _sections_of(self, packet: bytes, payload_type: int) -> list[Section]:
        """Return the one media line that a packet belongs to, or none."""
        able = [
            section
            for section in self.layout.sections
            if section.receiving
            and payload_type in {type_ for codec in section.codecs for type_ in _payload_types(codec)}
        ]
        for section in able:
            id_ = section.extensions.get(MID)
            mid = rtp.element(packet, id_) if id_ is not None else None
            if mid is not None:
                return [each for each in able if each.mid.encode() == mid]
        return able if len(able) == 1 else []

    # --- RTCP -------------------------------------------------------------------------------------------------

    def take_rtcp(self, data: bytes, now: float) -> None:
        """Act on a compound packet from the participant. What it says about others' streams is nobody's business."""
        self._requests_left -= rtcp.requests(data)
        if self._requests_left < 0:
            self.excess += 1
            return
        try:
            packets = parse_rtcp(data)
        except ValueError:
            self.unknown += 1
            return
        frozen: set[Track] = set()
        for packet in packets:
            if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
                self._take_receiver_reports(packet.reports, now)
            match packet:
                case RtcpSrPacket() if packet.ssrc in self.streams:
                    self._take_sender_report(packet, now)
                case RtcpRtpfbPacket(fmt=fmt) if fmt == RTCP_RTPFB_NACK and packet.media_ssrc in self.sinks:
                    self._retransmit(self.sinks[packet.media_ssrc], packet.lost, now)
                case RtcpPsfbPacket(fmt=fmt) if fmt == RTCP_PSFB_APP:
                    self._take_estimate(rtcp.read_bandwidth(packet.fci), now)
                case RtcpPsfbPacket():
                    sources = rtcp.key_frame_sources(packet)
                    frozen |= {self.sinks[ssrc].track for ssrc in sources if ssrc in self.sinks}
        for track in frozen:
            self._observer.key_frame_wanted(self, track)

    def _take_receiver_reports(self, reports: Iterable[RtcpReceiverInfo], now: float) -> None:
        """Note what the participant says of what it gets."""
        for report in reports:
            if report.ssrc in self.sinks:
                self._lost_down[report.ssrc] = (now, report.fraction_lost / 256)
                self._take_round_trip(self.sinks[report.ssrc], report, now)

    def _take_round_trip(self, sink: Sink, report: RtcpReceiverInfo, now: float) -> None:
        """Learn the round trip from a report that names a sender report of ours (RFC 3550 section 6.4.1)."""
        stream = sink.track.stream
        sent_at = stream.reported_at(report.lsr) if stream is not None and report.lsr else None
        if sent_at is not None and (sample := now - sent_at - report.dlsr / 65536) >= 0:
            self.round_trip.measure(sample)

    def lost(self, now: float) -> float:
        """Return the share of packets that was lost lately, on the way that is worse."""
        return max(self._lost, self._lost_on_the_way_down(now))

    def _lost_on_the_way_down(self, now: float) -> float:
        """Return the share of packets that was lost lately on the way to the participant, of the worst stream.

        What was lost on the way to the focus already is missing everywhere: that is its sender's connection alone.
        """
        worst = 0.0
        for ssrc, (at, share) in list(self._lost_down.items()):
            sink = self.sinks.get(ssrc)
            if sink is None or now - at >= REPORT_COUNTS_SECONDS:
                del self._lost_down[ssrc]
            else:
                source = sink.track.stream
                worst = max(worst, share - (source.lost if source is not None else 0))
        return worst

    def _take_estimate(self, estimate: int | None, now: float) -> None:
        """Note what the connection to the participant can carry, if it says so."""
        if estimate:
            self.is_congested = self.is_congested or estimate < self.estimate
            self.estimate, self._estimated_at = estimate, now

    def _forget_estimate(self, now: float) -> None:
        """Forget an estimate that was not repeated, so that a silent receiver slows nobody down."""
        if now - self._estimated_at >= ESTIMATE_COUNTS_SECONDS:
            self.estimate, self.is_congested = 0, False

    def _take_sender_report(self, packet: RtcpSrPacket, now: float) -> None:
        """Note how a stream's clock relates to the time of day, and let the receivers of its track know."""
        stream, track = self.streams[packet.ssrc]
        info = packet.sender_info
        stream.take_sender_report(info.ntp_timestamp, now)
        if stream is track.stream and track.is_open and track.may_report(now):
            self._observer.sender_reported(track, info.ntp_timestamp, info.rtp_timestamp)

    def _retransmit(self, sink: Sink, lost: Iterable[int], now: float) -> None:
        """Send packets again that the participant has missed: those that are of use, within its budget."""
        track, budget = sink.track, self._retransmissions
        for sequence in lost:
            if not budget.look_up():
                return
            kept = track.kept(sequence - sink.distance & 0xFFFF)
            if kept is None or kept.sequence < sink.begins or kept.packet[1] & 0x7F not in sink.payload_types:
                continue
            is_due = budget.is_due(track.ssrc, sequence, now, self.round_trip.seconds)
            is_of_use = is_due and not _is_too_old(track, kept, now)
            if is_of_use and budget.spend(track.ssrc, sequence, len(kept.packet), now):
                packet = _repeated(sink, kept)
                self._octets_repeated += len(packet)
                self._port.send_rtp(self, packet)

    def ask(self, stream: Stream, now: float) -> None:
        """Ask the participant for what is missing of its stream."""
        if lost := list(stream.due(now)):
            self._send_feedback(rtcp.nack(self.ssrc, stream.ssrc, lost))

    def _send_feedback(self, packet: bytes) -> None:
        """Send feedback, in a compound packet where nothing else was agreed (RFC 4585 section 3.1)."""
        if not self._takes_reduced_size:
            packet = rtcp.receiver_reports(self.ssrc, [], cname=self._cname) + packet
        self._port.send_rtcp(self, packet)

    def tick(self, now: float) -> None:
        """Renew the allowances, and ask again for what is still missing, and for key frames."""
        self.packets_left, self.bytes_left, self.failures_left = PACKETS_A_TICK, BYTES_A_TICK, FAILURES_A_TICK
        self.rtcp_left, self.rtcp_bytes_left = RTCP_A_TICK, RTCP_BYTES_A_TICK
        self._requests_left = REQUESTS_A_TICK
        for name in self._consent.due(now):
            self._check(name)
        self._listen(now)
        if now - self._measured_at >= MEASURE_SECONDS:
            self._measure(now)
        self._forget_estimate(now)
        lost = self._lost_on_the_way_down(now)
        self._retransmissions.tick(now, TICK_SECONDS, estimate=self.estimate, lost=lost)
        if not self.is_connected:
            return
        for stream, track in self.streams.values():
            if stream.missing:
                self.ask(stream, now)
            if stream.is_broken:
                stream.is_broken = False
                track.key_frame_wanted = track.key_frame_wanted or track.kind == "video"
        self.ask_for_key_frames(now)

    def _measure(self, now: float) -> None:
        """Measure what was forwarded to the participant since the last time."""
        before = self._forwarded
        self._forwarded = {ssrc: (sink.track.packets, sink.track.octets) for ssrc, sink in self.sinks.items()}
        packets = sum(each - before.get(ssrc, (each, 0))[0] for ssrc, (each, _) in self._forwarded.items())
        octets = sum(each - before.get(ssrc, (0, each))[1] for ssrc, (_, each) in self._forwarded.items())
        self._retransmissions.forwarded(octets + rtp.HEADER_SIZE * packets, packets, now - self._measured_at)
        self._measured_at = now

    def ask_for_key_frames(self, now: float) -> None:
        """Ask the participant for the key frames that somebody wants of its tracks."""
        for stream, track in self.streams.values():
            if stream.original is None and track.key_frame_wanted and self.is_connected and track.wants_key_frame(now):
                self._send_feedback(rtcp.picture_loss(self.ssrc, stream.ssrc))

    def repeated_rate(self, seconds: float) -> float:
        """Return what was sent again since this was last asked, so many seconds ago, in bits a second."""
        octets, self._octets_repeated = self._octets_repeated, 0
        return 8 * octets / seconds

    def limit(self, limits: Mapping[Track, float], rates: Mapping[Track, float]) -> None:
        """Tell the participant how fast it may send its video (REMB), and when nothing limits it any more.

        `limits` has the tracks that must be sent more slowly, `rates` how fast all are sent, in bits a second.
        """
        tracks = {
            stream.ssrc: track
            for stream, track in self.streams.values()
            if stream.original is None and stream.takes_limits
        }
        is_limited = any(track in limits for track in tracks.values())
        if self.is_connected and (is_limited or self._was_limited):
            wanted = AUDIO_RATE + sum(max(LEAST_RATE, limits.get(track, rates[track])) for track in tracks.values())
            allowed = int(wanted) if is_limited else NO_LIMIT
            self._send_feedback(rtcp.bandwidth(self.ssrc, allowed, list(tracks)))
        self._was_limited = is_limited

    def report(self, now: float) -> None:
        """Tell the participant how its streams arrive."""
        reports = [
            report
            for stream, _ in self.streams.values()
            if stream.original is None and (report := stream.report(now)) is not None
        ]
        self._lost = max((report.fraction_lost for report in reports), default=0) / 256
        if self.is_connected and reports:
            self._port.send_rtcp(self, rtcp.receiver_reports(self.ssrc, reports, cname=self._cname))


def _payload_types(codec: Codec) -> list[int]:
    """Return the payload types of a codec and of its retransmissions."""
    return [type_ for type_ in (codec.payload_type, codec.rtx_payload_type) if type_ is not None]


def _stream(ssrc: int, section: Section, round_trip: RoundTrip) -> Stream:
    """Return a stream that comes over a media line."""
    asks = any("nack" in codec.feedback for codec in section.codecs) and section.kind == "video"
    takes_limits = any("goog-remb" in codec.feedback for codec in section.codecs)
    return Stream(ssrc, section.codecs[0].clock_rate, asks=asks, takes_limits=takes_limits, round_trip=round_trip)


def _retransmissions(ssrc: int, section: Section, original: Stream) -> Stream:
    """Return the stream of retransmissions that belongs to another one."""
    original.is_repeated_apart = True
    types = {
        codec.rtx_payload_type: codec.payload_type for codec in section.codecs if codec.rtx_payload_type is not None
    }
    return Stream(ssrc, section.codecs[0].clock_rate, original=original, original_types=types)


def _is_too_old(track: Track, kept: Kept, now: float) -> bool:
    """Tell whether a packet comes too late for a picture: so long ago did its successor show that it is missing."""
    shown = track.history.timestamp(kept.sequence + 1) if track.history is not None else None
    if shown is None:
        return False
    since = track.last_timestamp - shown & 0xFFFFFFFF
    return (since if since < 0x80000000 else 0) / track.clock_rate + now - track.last_at > OLDEST_SECONDS


def _repeated(sink: Sink, kept: Kept) -> bytes:
    """Return a kept packet as it goes to a receiver once more, wrapped where that was agreed."""
    track = sink.track
    first, second = kept.packet[:2]
    type_ = sink.payload_types[second & 0x7F]
    header = rtp.HEADER.pack(
        first, second & 0x80 | type_, kept.sequence + sink.distance & 0xFFFF, kept.timestamp, track.ssrc
    )
    packet = rtp.translate_extensions(header + kept.packet[rtp.HEADER_SIZE :], sink.extensions)
    if type_ in sink.retransmits:
        packet = rtp.wrap(packet, payload_type=sink.retransmits[type_], sequence=sink.rtx_sequence, ssrc=track.rtx_ssrc)
        sink.rtx_sequence = sink.rtx_sequence + 1 & 0xFFFF
    return packet
