"""One participant's connection with the focus. Each part of the connection has a module of its own:

- `addresses`: where the participant can be reached, and which of these addresses gets media.
- `quota`: what the participant may send within a tick.
- `sources`: the stream and the track to which each packet of the participant belongs (SSRC demultiplexing).
- `retransmission`: answers the participant's NACKs.
- `downlink`: the participant's reports about the media that it gets.
- `feedback`: the RTCP to the participant about its own streams.
- `tiles`: the sizes at which the participant shows its videos.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
)

from media.aiortc_adapter import address_of_session, parse_rtcp
from media.congestion.acknowledgement import Report
from media.focus.addresses import Addresses
from media.focus.downlink import Downlink
from media.focus.feedback import Feedback
from media.focus.layout import Layout
from media.focus.quota import TICK_SECONDS, Quota
from media.focus.retransmission import AGAIN_SECONDS, Retransmitter, padding
from media.focus.sources import Source, Sources
from media.focus.tiles import Tiles
from media.forward import rtcp
from media.forward.arrivals import Arrivals
from media.forward.datagrams import Destination, address_of, source_of
from media.forward.departures import Departures
from media.forward.memory import ffi
from media.forward.repair import OVERHEAD, RoundTrip
from media.forward.streams import Stream
from media.forward.tracks import Sink, Track
from media.sdp.media_section import Section
from media.sdp.negotiation import Negotiation
from media.transport.dtls import State, Transport
from media.transport.ice import Agent
from media.transport.sctp import DataChannels
from media.transport.strangers import network_of

logger = logging.getLogger(__name__)


class LegPort(Protocol):
    """The methods of the port that a leg uses."""

    def send(self, name: bytes, datagram: bytes) -> None:
        """Send a datagram to a sockaddr."""

    def destination(self, name: bytes) -> Destination | None:
        """Return the destination for media to a sockaddr; None if it is that of a closed connection."""

    def send_rtcp(self, leg: "Leg", packet: bytes) -> None:
        """Encrypt RTCP for a leg and send it."""

    def send_rtp(self, leg: "Leg", packet: bytes) -> None:
        """Encrypt one RTP packet for a leg and send it."""

    def acknowledge(self, departures: Departures, feedback: bytes) -> Report:
        """Return what transport-wide feedback says about packets that were sent.

        :raises ValueError: when it is malformed.
        """

    def forget(self, leg: "Leg") -> None:
        """Accept no more datagrams from the leg's addresses."""


class LegObserver(Protocol):
    """The methods of a leg's conference that the leg uses."""

    def connected(self, leg: "Leg") -> None:
        """The leg can send and receive media from now on."""

    def disconnected(self, leg: "Leg") -> None:
        """The other side has ended the connection, or the handshake has failed."""

    def moved(self, leg: "Leg") -> None:
        """From now on, the leg's media goes to another address, or no longer uses GSO."""

    def track_of(self, leg: "Leg", section: Section, rid: str) -> Track | None:
        """Return the track that the participant publishes with this section, or with one layer (rid) of it."""

    def key_frame_wanted(self, leg: "Leg", track: Track) -> None:
        """A leg's participant needs a key frame of a track (PLI or FIR)."""

    def sender_reported(self, track: Track, ntp_time: int, timestamp: int) -> None:
        """The source of a track has sent a sender report."""


class Leg:
    """A peer connection of a participant. `id` is the ID of the modification whose offer made the leg.

    `layout` holds the leg's sections as last settled. `sinks` holds the tracks that the leg gets, by the SSRC with
    which they are sent. `memory` holds the data that the port and the fast path need for each packet: the keys, the
    quota and the streams.
    """

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
        # The answers to the participant's offers, by the ID of the offer.
        self.answers: dict[str, str] = {}
        self._port = port
        self._observer = observer
        self.agent: Agent[Leg] | None = None
        self.transport: Transport | None = None
        self.channels: DataChannels | None = None
        self.arrivals, self.departures = Arrivals(), Departures()
        # The `struct leg` of fastpath.h.
        self.memory: Any = ffi.new("struct leg *", {"arrivals": self.arrivals.memory})
        # The SRTP sessions that encrypt and decrypt; None while there is no connection.
        self.srtp_tx: Any = None
        self._srtp_rx: Any = None
        self._is_over = False
        self.round_trip = round_trip = RoundTrip()
        self.addresses = Addresses(made_at)
        self.quota = Quota(self.memory)
        self.sources = Sources(self.memory, round_trip, made_at=made_at)
        self.sinks: dict[int, Sink] = {}
        # The sinks of paused videos, which get only padding.
        self.parked: dict[int, Sink] = {}
        self.downlink = Downlink(round_trip, made_at=made_at)
        self.retransmitter = Retransmitter(round_trip, made_at=made_at)
        self.feedback = Feedback()
        self.tiles = Tiles()

    @property
    def srtp_rx(self) -> Any:
        """The SRTP session that decrypts the participant's packets; None while there is no connection."""
        return self._srtp_rx

    @srtp_rx.setter
    def srtp_rx(self, handle: Any) -> None:
        self._srtp_rx = handle
        self.memory.session = 0 if handle is None else address_of_session(handle)

    @property
    def is_connected(self) -> bool:
        """Whether media can be sent and received."""
        return self.srtp_tx is not None and self.addresses.destination is not None

    def losses(self, now: float) -> tuple[float, float]:
        """Return the shares of packets recently lost from the participant and to it, each between 0 and 1."""
        return self.feedback.lost, self.downlink.lost(self.sinks, now)

    def lost(self, now: float) -> float:
        """Return the share of packets that was recently lost in the worse direction, between 0 and 1."""
        return max(self.losses(now))

    # --- Addresses and keys -----------------------------------------------------------------------------------

    def reached(self, name: bytes, now: float, *, nominated: bool) -> list[bytes]:
        """Record a valid connectivity check from a sockaddr. Return the sockaddrs that no longer belong to the leg.

        Media goes to a sockaddr once it has answered a check of the node (`proved`).
        """
        if self.addresses.reach(name, now, nominated=nominated):
            self._check(name)
        return self.addresses.forget_surplus()

    def proved(self, name: bytes, now: float) -> None:
        """Record that a sockaddr has answered a check of the node."""
        if self._is_over or not self.addresses.prove(name, now):
            return
        destination = self._port.destination(name)
        if destination is not None:
            self.addresses.go(destination)
            logger.info("leg %s: media goes to %s port %s", self.id, *address_of(name))
            self._observer.moved(self)

    def _check(self, name: bytes) -> None:
        """Send a connectivity check to a sockaddr, if the other side's credentials are known yet."""
        check = self.agent.check(source_of(name)) if self.agent is not None else None
        if check is not None:
            self._port.send(name, check)

    def end_gso(self) -> None:
        """Stop using GSO for this destination: the network path to it does not support GSO."""
        logger.info("leg %s: the network path to this address does not support GSO", self.id)
        self.addresses.gso = False
        self._observer.moved(self)

    def begin(self) -> None:
        """Begin the DTLS handshake if the other side has an address. Without one, the handshake could time out."""
        destination = self.addresses.destination
        if self.transport is not None and destination is not None:
            network = network_of(address_of(destination.name)[0])
            self.transport.start(self.negotiation.remote_fingerprints, id(self._observer), network)

    def send_datagram(self, datagram: bytes) -> None:
        """Send a DTLS datagram to the participant."""
        if self.addresses.destination is not None:
            self._port.send(self.addresses.destination.name, datagram)

    def transport_is(self, state: State) -> None:
        """React to a new state of the transport."""
        logger.info("leg %s: %s", self.id, state)
        if state is State.CONNECTED and self.transport is not None and self.transport.srtp is not None:
            # The SRTP sessions exist as long as the transport, and this object keeps the transport.
            self.srtp_tx, self.srtp_rx = self.transport.srtp.tx, self.transport.srtp.rx
            self._observer.connected(self)
        elif state in {State.FAILED, State.CLOSED}:
            self._is_over = True
            self.srtp_tx = self.srtp_rx = None
            self._observer.disconnected(self)

    async def close(self) -> None:
        """End the connection. Send a close-notify if possible."""
        self.srtp_tx = self.srtp_rx = None
        if self.channels is not None:
            await self.channels.close()
        if self.transport is not None:
            await self.transport.close()
        self._port.forget(self)
        self.sources.clear()
        self.sinks, self.parked = {}, {}
        # Break the reference cycles, so that memory is freed now and not by the garbage collector.
        self.transport = self.channels = self.agent = None

    # --- Packets from the participant -------------------------------------------------------------------------

    def expect(self) -> None:
        """Get ready for the streams that the settled layout names."""
        self.feedback.settle(self.layout.sections)
        self.sources.expect(self.layout.sections, self._track_of)
        self.arrivals.id = self.layout.number_id

    def meet(self, ssrc: int, packet: bytes) -> Source | None:
        """Find the source of an unknown SSRC. Return None if its packets belong to no track."""
        return self.sources.meet(ssrc, packet, self.layout.sections, self._track_of)

    def _track_of(self, section: Section, rid: str) -> Track | None:
        return self._observer.track_of(self, section, rid)

    def may_try(self, ssrc: int, sequence: int | None = None) -> bool:
        """Tell whether a packet may be decrypted. After too many refusals in this tick, only plausible packets may.

        :param sequence: the sequence number of an RTP packet; None for RTCP.
        """
        return self.quota.failures_left > 0 or self.sources.is_plausible(ssrc, sequence)

    def take_rtcp(self, data: bytes, now: float) -> None:
        """Act on a compound RTCP packet. Ignore the parts about streams that this leg neither sends nor receives."""
        data, feedback = rtcp.split(data)
        for each in feedback:
            self._take_feedback(each, now)
        if not data:
            return
        if not self.quota.charge_requests(rtcp.requests(data)):
            self.quota.excess += 1
            return
        try:
            packets = parse_rtcp(data)
        except ValueError:
            self.sources.unknown += 1
            return
        frozen: set[Track] = set()
        for packet in packets:
            if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
                self._take_receiver_reports(packet, now)
            match packet:
                case RtcpSrPacket() if packet.ssrc in self.sources.streams:
                    self._take_sender_report(packet, now)
                case RtcpRtpfbPacket(fmt=fmt) if fmt == RTCP_RTPFB_NACK:
                    self._answer_nack(packet, now)
                case RtcpPsfbPacket(fmt=fmt) if fmt == RTCP_PSFB_APP:
                    self.downlink.take_estimate(rtcp.read_bandwidth(packet.fci), now)
                case RtcpPsfbPacket():
                    sources = rtcp.key_frame_sources(packet)
                    frozen |= {self.sinks[ssrc].track for ssrc in sources if ssrc in self.sinks}
        for track in frozen:
            self._observer.key_frame_wanted(self, track)

    def _take_feedback(self, feedback: bytes, now: float) -> None:
        """Compare the participant's transport-wide feedback with what was sent to it."""
        if not self.quota.charge_statuses(rtcp.status_count(feedback)):
            self.quota.excess += 1
            return
        try:
            report = self._port.acknowledge(self.departures, feedback)
        except ValueError:
            self.sources.unknown += 1
        else:
            self.downlink.take_feedback(report, now)

    def _answer_nack(self, nack: RtcpRtpfbPacket, now: float) -> None:
        """Send again the packets that the participant reports as missing, within the budget for retransmissions."""
        sink = self.sinks.get(nack.media_ssrc)
        if sink is not None:
            for packet in self.retransmitter.answer(sink, nack.lost, now, self.downlink.queue):
                self._port.send_rtp(self, packet)
            if again := self.retransmitter.again:
                self.retransmitter.again = []
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._repeat, sink, again, now + AGAIN_SECONDS)
        while self.retransmitter.unrepaired:
            self._observer.key_frame_wanted(self, self.retransmitter.unrepaired.pop())

    def _repeat(self, sink: Sink, sequences: list[int], now: float) -> None:
        """Send packets once more that were sent again shortly before."""
        if self.is_connected and self.sinks.get(sink.track.ssrc) is sink:
            for packet in self.retransmitter.repeat(sink, sequences, now):
                self._port.send_rtp(self, packet)

    def pad(self, probe: int, now: float) -> int:
        """Send a packet of padding as part of a probe. Return its bytes with all headers; 0 if none was sent."""
        sink = self._padded()
        if sink is None or not self.is_connected:
            return 0
        packet = padding(sink, probe, now)
        self._port.send_rtp(self, packet)
        return len(packet) + OVERHEAD

    @property
    def can_pad(self) -> bool:
        """Whether the participant gets a video whose stream can carry padding, or has a paused one."""
        return self._padded() is not None

    def _padded(self) -> Sink | None:
        """Return a sink with numbered retransmissions, whose receiver has got its first packet."""
        sinks = (
            sink
            for sink in [*self.sinks.values(), *self.parked.values()]
            if sink.attached_at <= sink.track.last_sequence
        )
        return next((sink for sink in sinks if sink.departures is not None and sink.retransmits), None)

    def _take_receiver_reports(self, packet: RtcpRrPacket | RtcpSrPacket, now: float) -> None:
        """Record what the participant reports about the tracks that it gets."""
        for report in packet.reports:
            if report.ssrc in self.sinks:
                self.downlink.take_report(self.sinks[report.ssrc], report, now)

    def _take_sender_report(self, packet: RtcpSrPacket, now: float) -> None:
        """Record how a stream's RTP clock relates to the time of day, and tell the track's receivers."""
        stream, track = self.sources.streams[packet.ssrc]
        info = packet.sender_info
        stream.take_sender_report(info.ntp_timestamp, info.rtp_timestamp, now)
        if stream is track.stream and track.is_open and track.may_report(now):
            self._observer.sender_reported(track, info.ntp_timestamp, info.rtp_timestamp)

    # --- RTCP to the participant ------------------------------------------------------------------------------

    def ask(self, stream: Stream, now: float) -> None:
        """Ask the participant for the missing packets of its stream (NACK)."""
        self._send(self.feedback.nack(stream, now))

    def ask_for_key_frames(self, now: float) -> None:
        """Ask the participant for a key frame of each of its tracks for which one is wanted (PLI)."""
        for stream, track in self.sources.streams.values():
            if stream.original is None and track.key_frame_wanted and self.is_connected and track.wants_key_frame(now):
                self._send(self.feedback.picture_loss(stream))

    def limit(self, limits: Mapping[Track, float], rates: Mapping[Track, float]) -> None:
        """Tell the participant how fast it may send its video. When a limit ends, say so once.

        :param limits: the new rate of each track that must be sent more slowly, in bits per second.
        :param rates: the current rate of every track, in bits per second.
        """
        self._send(self.feedback.limit(self.sources.streams.values(), limits, rates))

    def report(self, now: float) -> None:
        """Report to the participant how its streams arrive."""
        self._send(self.feedback.report(self.sources.streams.values(), now))

    def _send(self, packet: bytes | None) -> None:
        """Send RTCP, if there is any and the leg is connected."""
        if packet is not None and self.is_connected:
            self._port.send_rtcp(self, packet)

    # --- Time -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Renew the quota and the budget, and send the checks, NACKs and key frame requests that are due."""
        self.quota.renew()
        for name in self.addresses.due(now):
            self._check(name)
        self.sources.tick(now)
        self.retransmitter.measure(self.sinks, now)
        self.downlink.tick(now)
        lost = self.downlink.lost(self.sinks, now)
        self.retransmitter.tick(now, TICK_SECONDS, estimate=self.downlink.estimate, lost=lost)
        if not self.is_connected:
            return
        for stream, track in self.sources.streams.values():
            if stream.missing:
                self.ask(stream, now)
            if stream.is_broken:
                stream.is_broken = False
                track.key_frame_wanted = track.key_frame_wanted or track.kind == "video"
        self.ask_for_key_frames(now)
        for packet in self.feedback.arrivals(self.sources.streams, self.arrivals):
            self._send(packet)
