"""A simulated browser: one participant's connection with the node, what it sends, and what it shows and plays."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import pylibsrtp
from aiortc.rtp import RTCP_PSFB_APP, RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRtpfbPacket

from media.aiortc_adapter import parse_rtcp
from media.forward import rtcp, rtp
from media.forward.arrivals import Arrivals
from media.sdp.extensions import REPAIRED_RID, RID
from tests.support.media.simulation import sender as sending
from tests.support.media.simulation.camera import Camera
from tests.support.media.simulation.hearing import Hearing
from tests.support.media.simulation.network import Link, Network
from tests.support.media.simulation.screen import Screen
from tests.support.media.simulation.sender import Sender
from tests.support.media.synthetic import AUDIO, RED, VIDEO, Peer

# How often a browser sends transport-wide feedback, requests missing packets again, and reports on its streams.
FEEDBACK_SECONDS, REQUEST_SECONDS, REPORT_SECONDS = 0.1, 0.02, 1.0
_SSRC = 0x51
# Added to the round trip before a packet is requested again.
_PATIENCE = 0.02


class _Door:
    """Stands in for a peer's socket: the network has one for all."""

    def __init__(self, name: tuple[str, int]) -> None:
        self._name = name

    def getsockname(self) -> tuple[str, int]:
        """Return the participant's address."""
        return self._name

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def close(self) -> None:
        """There is nothing to close."""


class Endpoint(Peer):
    """One simulated participant. `screens` and `hearings` hold what it gets, by participant and label."""

    def __init__(
        self, id_: str, network: Network, address: str, link: Link, camera: Camera | None, *, watches: bool, seed: int
    ) -> None:
        """Have a microphone, and a camera if there is one.

        :param watches: whether the participant gets the media of others.
        """

        def opens(host: str) -> socket.socket:
            return cast(socket.socket, _Door((host, network.port)))

        super().__init__(
            id_, address=address, sends=False, audio=(RED, AUDIO), number_id=sending.NUMBER_ID, opens=opens
        )
        self._network, self.address, self.link, self.watches = network, address, link, watches
        self.screens: dict[tuple[str, str], Screen] = {}
        self.hearings: dict[tuple[str, str], Hearing] = {}
        # When each packet of media arrived, and its size on the path.
        self.arrived: list[tuple[float, int]] = []
        # The packets that could not be decrypted.
        self.forged = 0
        self.sender = Sender(self._send_rtp, self.send_rtcp, *self._sources(camera), seed=seed)
        # Changes transport-wide feedback before it is sent.
        self.distort: Callable[[bytes], list[bytes]] = lambda feedback: [feedback]
        # How far the clock is ahead by which the feedback states the times of arrival.
        self.clock_ahead = 0.0
        self._arrivals = Arrivals()
        self._arrivals.id = sending.NUMBER_ID
        self._feedbacks = 0
        self._owners: dict[int, tuple[str, str]] = {}
        self._repairs: dict[int, int] = {}
        self._reports: dict[int, tuple[int, float]] = {}
        self._counted: dict[int, tuple[int, int]] = {}
        self._loop = asyncio.get_running_loop()

    def _sources(self, camera: Camera | None) -> tuple[sending.Stream, Camera | None, list[sending.Stream]]:
        """Add the sections of the microphone and the camera. Return what they send."""
        audio = self.own_section("audio", receives=self.watches)
        self.sections.append(audio)
        assert audio.source is not None
        layers = []
        if camera is not None:
            video = self.own_section("video", receives=False)
            self.sections.append(video)
            assert video.source is not None
            rids = "lmh"[: len(camera.sizes)] if len(camera.sizes) > 1 else ""
            if rids:
                video.source.rtx_ssrc = None
                video.attributes = [
                    *video.attributes,
                    f"a=extmap:{sending.RID_ID} {RID}",
                    f"a=extmap:{sending.REPAIRED_ID} {REPAIRED_RID}",
                    *(f"a=rid:{rid} send" for rid in rids),
                    f"a=simulcast:send {';'.join(rids)}",
                ]
                first = video.source.ssrc
                layers = [sending.layer(first + 2 * i + 1, first + 2 * i + 2, rid) for i, rid in enumerate(rids)]
            else:
                assert video.source.rtx_ssrc is not None
                layers = [sending.layer(video.source.ssrc, video.source.rtx_ssrc, "")]
        return sending.microphone(audio.source.ssrc), camera, layers

    # --- Connection -------------------------------------------------------------------------------------------

    def answer(self, offer: str) -> str:
        """Answer an offer, and learn the SSRCs of what the participant will get."""
        for text in offer.replace("\r\n", "\n").split("\nm=")[1:]:
            self._learn(text.split("\n"))
        text = super().answer(offer)
        if not self.watches:
            for section in self.sections:
                section.receives = False
        return text

    def _learn(self, lines: list[str]) -> None:
        msid = next((line[7:].split(" ") for line in lines if line.startswith("a=msid:")), None)
        ssrcs = [int(line[7:].split(" ")[0]) for line in lines if line.startswith("a=ssrc:")]
        if msid is None or not ssrcs:
            return
        owner = msid[0], msid[1]
        self._owners[ssrcs[0]] = owner
        if len(ssrcs) > 1:
            self._repairs[ssrcs[1]] = ssrcs[0]
        if lines[0].startswith("audio"):
            self.hearings.setdefault(owner, Hearing())
        else:
            self.screens.setdefault(owner, Screen())

    def resume_reading(self) -> None:
        """Receive what the network delivers to the participant's address."""
        self._network.connect(self.address, self.link, self.receive)

    def pause_reading(self) -> None:
        """Receive nothing any more."""
        self._network.disconnect(self.address)

    def move(self, address: str) -> None:
        """Change the address, as when a telephone leaves its Wi-Fi. A check from the new address follows at once."""
        self.pause_reading()
        self.address = address
        self.resume_reading()
        self.send_datagram(self.check())

    def send_datagram(self, datagram: bytes) -> None:
        """Send any datagram to the node."""
        self._network.send(self.address, self.link, datagram)

    def start(self) -> None:
        """Send media, and give feedback on what arrives."""
        self.sender.start()
        for seconds, work in (
            (FEEDBACK_SECONDS, self._give_feedback),
            (REQUEST_SECONDS, self._request),
            (REPORT_SECONDS, self._report),
        ):
            if self.watches:
                self._every(seconds, work)

    def stop(self) -> None:
        """Send no more media and no more feedback."""
        self.sender.stop()

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        if self.sender.is_running:
            work()
            self._loop.call_later(seconds, self._every, seconds, work)

    # --- Out --------------------------------------------------------------------------------------------------

    @property
    def _sessions(self) -> tuple[pylibsrtp.Session, pylibsrtp.Session] | None:
        transport = self._transport
        return None if transport is None or transport.srtp is None else transport.srtp.sessions

    def _send_rtp(self, packet: bytes) -> None:
        if self._sessions is not None:
            self.send_datagram(self._sessions[0].protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt RTCP and send it."""
        if self._sessions is not None:
            self.send_datagram(self._sessions[0].protect_rtcp(packet))

    def _give_feedback(self) -> None:
        arrived = self._arrivals.take()
        while arrived is not None:
            packet, reported = rtcp.transport_feedback(_SSRC, next(iter(self._owners), 1), arrived, self._feedbacks)
            self._feedbacks += 1
            for each in self.distort(packet):
                self.send_rtcp(each)
            arrived = arrived.after(reported)

    def _request(self) -> None:
        now = self._loop.time()
        for ssrc, owner in self._owners.items():
            screen = self.screens.get(owner)
            if screen is not None:
                self._nack(ssrc, screen.requests(now, self.link.up.delay + self.link.down.delay + _PATIENCE))
                if screen.wants_key_frame(now):
                    self.send_rtcp(rtcp.picture_loss(_SSRC, ssrc))

    def _nack(self, ssrc: int, lost: list[int]) -> None:
        if lost:
            self.send_rtcp(rtcp.nack(_SSRC, ssrc, lost))

    def _report(self) -> None:
        now = self._loop.time()
        reports = []
        for ssrc, owner in self._owners.items():
            expected, received = self._counts(owner)
            if received:
                before = self._counted.get(ssrc, (0, 0))
                self._counted[ssrc] = expected, received
                reports.append(self._block(ssrc, expected - before[0], received - before[1], now))
        if reports:
            self.send_rtcp(rtcp.receiver_reports(_SSRC, reports, cname="c"))

    def _counts(self, owner: tuple[str, str]) -> tuple[int, int]:
        """Return how many packets of a track were expected, and how many came at the first attempt."""
        if owner in self.hearings:
            return self.hearings[owner].expected, self.hearings[owner].received
        screen = self.screens[owner]
        return screen.expected, screen.received - screen.repeats

    def _block(self, ssrc: int, expected: int, received: int, now: float) -> RtcpReceiverInfo:
        lost = max(0.0, 1 - received / expected) if expected > 0 else 0.0
        middle, at = self._reports.get(ssrc, (0, now))
        return RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=min(255, int(256 * lost)),
            packets_lost=0,
            highest_sequence=0,
            jitter=0,
            lsr=middle,
            dlsr=int((now - at) * 65536) if middle else 0,
        )

    # --- In ---------------------------------------------------------------------------------------------------

    def receive(self, datagram: bytes) -> None:
        """Take a datagram of the node."""
        if datagram[0] < 64:
            self._take(datagram[0], datagram)
        elif self._sessions is not None:
            is_rtcp = 192 <= datagram[1] < 224
            try:
                packet = (self._sessions[1].unprotect_rtcp if is_rtcp else self._sessions[1].unprotect)(datagram)
            except pylibsrtp.Error:
                # A copy of a packet that has arrived before, or a forged one.
                self.forged += 1
                return
            (self._take_rtcp if is_rtcp else self._take_rtp)(packet)

    def _take_rtp(self, packet: bytes) -> None:
        now = self._loop.time()
        self.arrived.append((now, len(packet)))
        self._arrivals.hear(packet, rtp.element_ids(packet), now + self.clock_ahead)
        ssrc = int.from_bytes(packet[8:12], "big")
        is_repeat = ssrc in self._repairs
        if is_repeat:
            ssrc = self._repairs[ssrc]
            restored = rtp.unwrap(packet, payload_type=VIDEO, ssrc=ssrc)
            if restored is None:
                return
            packet = restored
        owner = self._owners.get(ssrc)
        if owner in self.hearings:
            is_redundant = packet[1] & 0x7F == RED
            self.hearings[owner].take(int.from_bytes(packet[2:4], "big"), now, is_redundant=is_redundant)
        elif owner in self.screens:
            self._nack(ssrc, self.screens[owner].take(packet, now, is_repeat=is_repeat))

    def _take_rtcp(self, data: bytes) -> None:
        data, feedback = rtcp.split(data)
        for each in feedback:
            self.sender.take_feedback(each)
        for packet in parse_rtcp(data) if data else ():
            self._take_packet(packet)

    def _take_packet(self, packet: Any) -> None:
        match packet:
            case RtcpRtpfbPacket(fmt=fmt) if fmt == RTCP_RTPFB_NACK:
                self.sender.repeat(packet.media_ssrc, packet.lost)
            case RtcpPsfbPacket(fmt=fmt) if fmt == RTCP_PSFB_PLI:
                if self.sender.camera is not None:
                    self.sender.camera.ask(self._loop.time())
            case RtcpPsfbPacket(fmt=fmt) if fmt == RTCP_PSFB_APP:
                limit = rtcp.read_bandwidth(packet.fci)
                if limit is not None:
                    self.sender.take_limit(limit)
            case _ if hasattr(packet, "sender_info"):
                self._reports[packet.ssrc] = packet.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF, self._loop.time()
