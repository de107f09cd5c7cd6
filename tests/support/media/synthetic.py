"""Synthetic participants: only the part of a WebRTC endpoint that tests need, a hundred times lighter than a whole one.

A `Peer` has a UDP socket, and is ICE's controlling side and DTLS client. It sends RTP that it makes up, and counts the
packets that arrive, without decrypting them. A `SyntheticConference` stands in for the operations: it knows the
participants, and gives the node one task after the other. It has the peers answer the focus's offers.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aioice import stun

from media import aiortc_adapter as adapter
from media.credentials import Fingerprint
from media.forward.datagrams import SLOT, Destination, Inbox, Outbox, sockaddr
from media.forward.rtp import HEADER
from media.sdp.extensions import TRANSPORT_CC
from media.transport.dtls import State, Transport

AUDIO, RED, VIDEO, RTX, PCMU = 111, 63, 96, 97, 0
# Sizes of whole RTP packets, in bytes.
AUDIO_SIZE, VIDEO_SIZE = 100, 1160

_CHECK_SECONDS = 0.05
_CONSENT_SECONDS = 4.0
_PATIENCE_SECONDS = 20.0
_SOCKET_BUFFER = 4 * 1024 * 1024
_SLOTS = 64
# IDs of header extensions, as a browser might number them.
_LEVEL_ID, _DELAY_ID, _MID_ID = 1, 5, 4

_AUDIO_LINES = [
    f"a=extmap:{_LEVEL_ID} urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    f"a=extmap:{_MID_ID} urn:ietf:params:rtp-hdrext:sdes:mid",
]
# By payload type: the clock rate, and the lines that describe it. PCMU's type is static (RFC 3551).
_AUDIO_CODECS: Mapping[int, tuple[int, list[str]]] = {
    AUDIO: (48000, [f"a=rtpmap:{AUDIO} opus/48000/2", f"a=fmtp:{AUDIO} minptime=10;useinbandfec=1"]),
    RED: (48000, [f"a=rtpmap:{RED} red/48000/2", f"a=fmtp:{RED} {AUDIO}/{AUDIO}"]),
    PCMU: (8000, []),
}
_VIDEO_LINES = [
    f"a=extmap:{_DELAY_ID} http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    f"a=extmap:{_MID_ID} urn:ietf:params:rtp-hdrext:sdes:mid",
    f"a=rtpmap:{VIDEO} VP8/90000",
    f"a=rtcp-fb:{VIDEO} nack",
    f"a=rtcp-fb:{VIDEO} nack pli",
    f"a=rtcp-fb:{VIDEO} ccm fir",
    f"a=rtcp-fb:{VIDEO} goog-remb",
    f"a=rtpmap:{RTX} rtx/90000",
    f"a=fmtp:{RTX} apt={VIDEO}",
]
_REVERSED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
# The second byte of other packets than RTP: RTCP (RFC 5761 section 4), STUN's binding responses, DTLS.
_NO_RTP = bytes([*range(192, 224), 0x01, 0x11, 0xFE, 0xFD])


@cache
def certificate() -> adapter.Certificate:
    """Return the certificate that all peers of this process share."""
    return adapter.Certificate()


class _Buffers:
    """The buffers of all peers of this process."""

    def __init__(self) -> None:
        cast = adapter.ffi.cast
        self.inbox, self.outbox = Inbox(_SLOTS), Outbox(_SLOTS)
        self.pointers = [cast("void *", each) for each in self.outbox.addresses]
        self.lengths = [cast("int *", each) for each in self.outbox.length_addresses]


_buffers = cache(_Buffers)


@dataclass
class Source:
    """A stream of RTP that a peer sends. The timestamps are the times at which packets were made, modulo 2**32."""

    ssrc: int
    payload_type: int
    clock_rate: int
    size: int
    rtx_ssrc: int | None = None
    sequence: int = field(default_factory=lambda: secrets.randbits(15))

    def __post_init__(self) -> None:
        level, delay = bytes([_LEVEL_ID << 4, 40, 0, 0]), bytes([_DELAY_ID << 4 | 2, 0, 0, 0])
        extensions = level if self.payload_type in _AUDIO_CODECS else delay
        # The bytes after the fixed header of each packet. The payload begins like a delta frame of VP8; its other bytes
        # do not matter.
        self.rest = b"\xbe\xde" + (len(extensions) // 4).to_bytes(2, "big") + extensions + b"\x10\x01"
        self.rest += secrets.token_bytes(self.size - 12 - len(self.rest))

    def packet(self, *, last: bool = False) -> bytes:
        """Return the next packet. `last` says whether it ends a frame."""
        timestamp = time.time_ns() * self.clock_rate // 1_000_000_000 & 0xFFFFFFFF
        self.sequence = self.sequence + 1 & 0xFFFF
        return HEADER.pack(0x90, last << 7 | self.payload_type, self.sequence, timestamp, self.ssrc) + self.rest


@dataclass
class PeerSection:
    """A media section as the peer knows it: its codecs, and which way media goes."""

    kind: str
    mid: str
    formats: str
    attributes: list[str]
    source: Source | None = None
    receives: bool = True
    rejected: bool = False

    def direction(self, offered: str = "sendrecv") -> str:
        """Return the section's direction, as an answer to what was offered."""
        ways = _REVERSED[offered]
        sends = self.source is not None and ways in ("sendrecv", "sendonly")
        receives = self.receives and ways in ("sendrecv", "recvonly")
        return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
            (sends, receives), "inactive"
        )


class Peer:
    """One participant's peer connection. It runs on the loop that called `connect`."""

    def __init__(
        self,
        id_: str,
        *,
        address: str = "127.0.0.1",
        sends: bool = True,
        receives: bool = True,
        data: bool = False,
        audio: Sequence[int] = (AUDIO,),
        number_id: int = 0,
        opens: Callable[[str], socket.socket] | None = None,
    ) -> None:
        """Have a microphone and a camera, unless `sends` is false.

        :param audio: the microphone's payload types.
        :param number_id: the ID of the header extension with transport-wide numbers; 0 without it.
        :param opens: makes the peer's socket, given its address.
        """
        self.id = id_
        self._audio = audio
        self.number_id = number_id
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        # How many RTP packets, and how many datagrams of any kind, have arrived.
        self.received = self.datagrams = 0
        self.refused = 0
        self._opens = opens or _socket
        self.socket = self._opens(address)
        self.fd = self.socket.fileno()
        # The other side's ICE user fragment and password, and its address.
        self.remote = ("", "")
        self.host: tuple[str, int] = ("", 0)
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(16)
        self._version = 0
        self._session = secrets.randbits(60)
        self._transport: Transport | None = None
        self._destination: Destination | None = None
        self._checking: asyncio.Task[None] | None = None
        self._tx: Any = None
        self.sections: list[PeerSection] = []
        for kind in ("audio", "video") if sends else ():
            self.sections.append(self.own_section(kind, receives))
        if data:
            self.sections.append(PeerSection("application", "d", "webrtc-datachannel", ["a=sctp-port:5000"]))

    def own_section(self, kind: str, receives: bool) -> PeerSection:
        """Return a further section of this kind, with a source that sends in it."""
        mid = f"o{len(self.sections)}"
        numbers = [f"a=extmap:{self.number_id} {TRANSPORT_CC}"] if self.number_id else []
        if kind == "audio":
            stated = [each for type_ in self._audio for each in _AUDIO_CODECS[type_][1]]
            source = Source(_ssrc(), self._audio[0], _AUDIO_CODECS[self._audio[0]][0], AUDIO_SIZE)
            return PeerSection(
                kind, mid, " ".join(map(str, self._audio)), _AUDIO_LINES + numbers + stated, source, receives
            )
        source = Source(_ssrc(), VIDEO, 90000, VIDEO_SIZE, rtx_ssrc=_ssrc())
        return PeerSection(kind, mid, f"{VIDEO} {RTX}", _VIDEO_LINES + numbers, source, receives)

    @property
    def sources(self) -> list[Source]:
        """The sources of the peer: audio first, then video."""
        return [section.source for section in self.sections if section.source is not None and not section.rejected]

    def speak(self, payload_type: int) -> None:
        """Send audio with this codec from now on, on the same SSRC, as browsers do."""
        source = self.sources[0]
        source.payload_type, source.clock_rate = payload_type, _AUDIO_CODECS[payload_type][0]

    def share_screen(self) -> None:
        """Add a further video section, which the next `offer` contains."""
        self.sections.append(self.own_section("video", receives=False))

    # --- Offers and answers -----------------------------------------------------------------------------------

    def offer(self, setup: str = "actpass") -> str:
        """Return an offer of all sections, with this `a=setup`. The peer can only be DTLS client."""
        return self._describe(setup, ["sendrecv"] * len(self.sections))

    def answer(self, offer: str) -> str:
        """Return the answer to an offer. It accepts every section that the offer does not reject."""
        directions = []
        for index, text in enumerate(offer.replace("\r\n", "\n").split("\nm=")[1:]):
            head, *attributes = text.strip().split("\n")
            kind, port, _, formats = head.split(" ", 3)
            if index == len(self.sections):
                self.sections.append(PeerSection(kind, _value(attributes, "mid"), formats, []))
            elif self.sections[index].mid != _value(attributes, "mid"):
                # The section was rejected before, and carries something else now (RFC 8829 section 5.2.2).
                self.sections[index] = PeerSection(kind, _value(attributes, "mid"), formats, [])
            if self.sections[index].source is None and kind != "application":
                # In a section that the other side has added, the peer accepts the codecs and extensions of this offer.
                kept = [each for each in attributes if each.startswith(("a=rtpmap", "a=fmtp", "a=rtcp-fb", "a=extmap"))]
                self.sections[index].formats, self.sections[index].attributes = formats, kept
            self.sections[index].rejected = port == "0" and "a=bundle-only" not in attributes
            stated = [each for each in _REVERSED if f"a={each}" in attributes]
            directions.append(stated[0] if stated else "sendrecv")
        return self._describe("active", directions)

    def _describe(self, setup: str, offered: Iterable[str]) -> str:
        self._version += 1
        bundle = " ".join(section.mid for section in self.sections if not section.rejected)
        address, port = self.socket.getsockname()[:2]
        lines = ["v=0", f"o=- {self._session} {self._version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
        lines += [f"a=group:BUNDLE {bundle}", "a=extmap-allow-mixed", "a=msid-semantic: WMS"]
        for section, direction in zip(self.sections, offered, strict=True):
            protocol = "UDP/DTLS/SCTP" if section.kind == "application" else "UDP/TLS/RTP/SAVPF"
            lines += [
                f"m={section.kind} {0 if section.rejected else 9} {protocol} {section.formats}",
                "c=IN IP4 0.0.0.0",
                f"a=candidate:1 1 udp 2122260223 {address} {port} typ host",
                "a=end-of-candidates",
                f"a=ice-ufrag:{self._ufrag}",
                f"a=ice-pwd:{self._password}",
                f"a=fingerprint:sha-256 {certificate().fingerprint}",
                f"a=setup:{setup}",
                f"a=mid:{section.mid}",
                *section.attributes,
            ]
            if section.kind != "application":
                lines += [f"a={section.direction(direction)}", "a=rtcp-mux", "a=rtcp-rsize"]
            if section.source is not None:
                lines += _sources_of(section.source, self.id)
        return "\r\n".join(lines) + "\r\n"

    # --- Connection -------------------------------------------------------------------------------------------

    async def connect(self, remote: str) -> None:
        """Connect with the other side. `remote` is the other side's answer or offer.

        :raises TimeoutError: when that takes too long.
        """
        lines = remote.replace("\r\n", "\n").split("\n")
        family = ":" in self.socket.getsockname()[0]
        candidates = [line.split(" ") for line in lines if line.startswith("a=candidate:")]
        candidate = next(each for each in candidates if (":" in each[4]) == family)
        self.remote = (_value(lines, "ice-ufrag"), _value(lines, "ice-pwd"))
        self._destination = Destination.of(sockaddr(candidate[4], int(candidate[5])))
        self.host = (candidate[4], int(candidate[5]))
        algorithm, fingerprint = _value(lines, "fingerprint").split(" ")
        self._transport = Transport(certificate(), "client", self.send_datagram, on_state=self._transport_is)
        self.resume_reading()
        # A full ICE implementation receives only after it has sent its own check. When its second answer arrives, it
        # has sent this check.
        self._answers_wanted = 1 if "a=ice-lite" in lines else 2
        self._fingerprints = [Fingerprint(algorithm, fingerprint)]
        self._checking = asyncio.create_task(self.keep_checking())
        await asyncio.wait_for(self.connected.wait(), _PATIENCE_SECONDS)

    def restart(self) -> None:
        """Choose new ICE credentials, and another socket, for the next offer."""
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(16)
        self.rebind()

    def rebind(self) -> None:
        """Use another socket, as behind a NAT that has changed its mapping."""
        self.pause_reading()
        host = self.socket.getsockname()[0]
        self.socket.close()
        self.socket = self._opens(host)
        self.fd = self.socket.fileno()
        self.resume_reading()

    def restarted(self, remote: str) -> None:
        """Check connectivity with the credentials in the other side's answer to the offer after `restart`."""
        lines = remote.replace("\r\n", "\n").split("\n")
        self.remote = (_value(lines, "ice-ufrag"), _value(lines, "ice-pwd"))
        self.send_datagram(self.check())

    async def keep_checking(self) -> None:
        """Check connectivity: often until there is a connection, and then for consent (RFC 7675)."""
        while True:
            self.send_datagram(self.check())
            await asyncio.sleep(_CONSENT_SECONDS if self.connected.is_set() else _CHECK_SECONDS)

    def check(self, *, nominate: bool = True) -> bytes:
        """Return a connectivity check with the credentials in use (RFC 8445 section 7.2.2)."""
        request = stun.Message(
            stun.Method.BINDING,
            stun.Class.REQUEST,
            attributes={
                "USERNAME": f"{self.remote[0]}:{self._ufrag}",
                "PRIORITY": 2122260223,
                # The largest tie-breaker: the other side gives way in a role conflict.
                "ICE-CONTROLLING": 2**64 - 1,
                **({"USE-CANDIDATE": None} if nominate else {}),
            },
        )
        request.add_message_integrity(self.remote[1].encode())
        return bytes(request)

    def reply(self, request: stun.Message) -> bytes:
        """Return the answer to a check of the other side (only a full ICE implementation sends checks)."""
        response = stun.Message(
            stun.Method.BINDING,
            stun.Class.RESPONSE,
            request.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": self.host},
        )
        response.add_message_integrity(self._password.encode())
        return bytes(response)

    def _transport_is(self, state: State) -> None:
        if state is State.CONNECTED and self._transport is not None and self._transport.srtp is not None:
            self._tx = self._transport.srtp.tx
            self.connected.set()
        elif state in {State.FAILED, State.CLOSED}:
            self._tx = None
            self.ended.set()

    def send_datagram(self, datagram: bytes) -> None:
        """Send any datagram to the focus."""
        try:
            self.socket.sendto(datagram, self.host)
        except OSError:
            self.refused += 1

    def pause_reading(self) -> None:
        """Read only when `read` is called."""
        asyncio.get_running_loop().remove_reader(self.fd)

    def resume_reading(self) -> None:
        """Read datagrams as they arrive again."""
        asyncio.get_running_loop().add_reader(self.fd, self.read)

    def read(self) -> int:
        """Read what has arrived: count RTP, and handle STUN and DTLS. Return the number of datagrams."""
        inbox = _buffers().inbox
        total = 0
        while count := inbox.receive(self.fd):
            total += count
            # The first bytes of all datagrams, and their second bytes, without a loop.
            firsts = inbox.view[: count * SLOT : SLOT].tobytes()
            seconds = inbox.view[1 : count * SLOT : SLOT].tobytes()
            self.received += len(seconds.translate(None, _NO_RTP))
            self.heard(inbox, count)
            if min(firsts) < 64:
                for slot, first in enumerate(firsts):
                    if first < 64:
                        start = slot * SLOT
                        self._take(first, inbox.view[start : start + inbox.length(slot)].tobytes())
            if count < inbox.slots:
                break
        self.datagrams += total
        return total

    def heard(self, inbox: Inbox, count: int) -> None:
        """Look at the datagrams that have just arrived. The inbox has this many."""

    def _take(self, first: int, datagram: bytes) -> None:
        """Handle a STUN or DTLS datagram."""
        if self._transport is None:
            return
        if datagram[:2] == b"\x01\x01":
            self._answers_wanted -= 1
            if self._answers_wanted <= 0:
                self._transport.start(self._fingerprints)
        elif datagram[:2] == b"\x00\x01":
            self.send_datagram(self.reply(stun.parse_message(datagram)))
        elif first >= 20:
            self._transport.feed(datagram)

    # --- Media ------------------------------------------------------------------------------------------------

    def send(self, packets: Iterable[bytes]) -> int:
        """Send RTP packets at once; return how many were sent. Without a connection, nothing is sent."""
        if self._tx is None or self._destination is None:
            return 0
        buffers = _buffers()
        box, count = buffers.outbox, 0
        for packet in packets:
            box.view[count * SLOT : count * SLOT + len(packet)] = packet
            box.lengths[2 * count + 1] = len(packet)
            box.fields[8 * count] = self._destination.address
            if adapter.srtp_protect(self._tx, buffers.pointers[count], buffers.lengths[count]) == adapter.SRTP_OK:
                count += 1
        undelivered = box.undelivered
        box.send(self.fd, count)
        return count - (box.undelivered - undelivered)

    def stop_checking(self) -> None:
        """Stop sending checks, but still answer those of the other side."""
        if self._checking is not None:
            self._checking.cancel()

    def fall_silent(self) -> None:
        """Send no more checks and answer none."""
        self.stop_checking()
        self.pause_reading()

    async def close(self) -> None:
        """Close the connection with a close-notify, and release everything."""
        self.stop_checking()
        if self._checking is not None:
            self.pause_reading()
            await asyncio.wait([self._checking])
        if self._transport is not None:
            await self._transport.close()
        self.socket.close()


def _socket(address: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        bound.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
    bound.bind((address, 0))
    return bound


def _ssrc() -> int:
    return secrets.randbits(31) + 1


def _value(lines: Iterable[str], name: str) -> str:
    """Return the value of the first such attribute."""
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"a={name}:"))


def _sources_of(source: Source, owner: str) -> list[str]:
    ssrcs = [source.ssrc] if source.rtx_ssrc is None else [source.ssrc, source.rtx_ssrc]
    group = [f"a=ssrc-group:FID {ssrcs[0]} {ssrcs[1]}"] if len(ssrcs) > 1 else []
    return [f"a=msid:{owner} track", *group, *(f"a=ssrc:{ssrc} cname:{owner}" for ssrc in ssrcs)]


Execute = Callable[[str, str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass
class _Participant:
    peer: Peer
    state: str = "accepted"
    muted: list[str] = field(default_factory=list)
    # The modification that is pending between the participant and the focus.
    pending: str | None = None


class RefusedError(Exception):
    """The node has refused an offer or an answer of a participant."""


class SyntheticConference:
    """One conference on a node. `execute(conference, kind, payload)` carries out a task and returns its result."""

    def __init__(self, id_: str, execute: Execute) -> None:
        self.id = id_
        self.participants: dict[str, _Participant] = {}
        self.tasks = 0
        self._execute = execute
        # The offers of the focus that are not answered yet: participant, modification, description.
        self.offered: list[tuple[str, str, str]] = []

    async def join(self, peer: Peer, *, settle: bool = True) -> None:
        """Admit a peer, or readmit it with a new connection, and connect it.

        Without `settle` the focus makes no offers yet.
        """
        self.participants[peer.id] = _Participant(peer)
        await self.renegotiate(peer, fresh=True, kind="sync" if settle else None)
        if settle:
            await self.settle()

    async def renegotiate(self, peer: Peer, *, fresh: bool = False, kind: str | None = "sync") -> str:
        """Send a peer's offer to the focus, and return the focus's answer.

        An offer of the focus that the peer has not answered is withdrawn.
        """
        participant = self.participants[peer.id]
        self.offered = [each for each in self.offered if each[0] != peer.id]
        participant.pending = modification = secrets.token_hex(8)
        offer = {"participant": peer.id, "modId": modification, "sdp": peer.offer(), "fresh": fresh}
        result = await self._task("offer", offer, cause=(modification, kind) if kind else None)
        participant.pending = None
        if fresh:
            await peer.connect(result["answer"])
        if kind:
            await self._task("update", {})
        answer: str = result["answer"]
        return answer

    async def take_over(
        self, peers: Mapping[str, Peer], last_offers: Mapping[str, str], answers: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """Hand the conference over to a node that does not know it, and that offers new connections to these peers."""
        self.participants = {id_: _Participant(peer) for id_, peer in peers.items()}
        restarts = [
            {"participant": id_, "modId": f"restart-{id_}", "sdp": sdp, "answer": (answers or {}).get(id_, "")}
            for id_, sdp in last_offers.items()
        ]
        return await self._task("update", {"restarts": restarts}, silently=True)

    async def leave(self, peer: Peer) -> None:
        """Remove a peer and close it."""
        self.dismiss(peer.id)
        await self.update()
        await peer.close()

    def dismiss(self, id_: str) -> None:
        """Remove a participant; the node learns of it with the next task."""
        del self.participants[id_]
        self.offered = [each for each in self.offered if each[0] != id_]

    async def set_state(self, peer: Peer, state: str, kind: str) -> None:
        """Put a peer on hold, resume it, or begin its move."""
        self.participants[peer.id].state = state
        if state == "moving":
            # An offer that the old device has not answered is withdrawn.
            self.participants[peer.id].pending = None
            self.offered = [each for each in self.offered if each[0] != peer.id]
        await self.update(kind)

    async def update(self, kind: str = "sync", *, silently: bool = False) -> None:
        """Send the node the present state of the conference; with `silently`, the node makes no offers now."""
        await self._task("update", {}, cause=(secrets.token_hex(8), kind), silently=silently)

    async def settle(self) -> None:
        """Have the peers answer the offers of the focus until there are no more."""
        while self.offered:
            await self.answer_one()

    async def answer_one(self) -> None:
        """Have a peer answer the oldest offer of the focus."""
        id_, modification, offer = self.offered.pop(0)
        participant = self.participants[id_]
        answer = participant.peer.answer(offer)
        participant.pending = None
        await self._task("answer", {"participant": id_, "modId": modification, "sdp": answer})

    async def withdraw_one(self, *, rejected: bool) -> None:
        """Withdraw an offer of the focus to a peer."""
        id_, modification, _ = self.offered.pop(0)
        self.participants[id_].pending = None
        await self._task("withdraw", {"participant": id_, "modId": modification, "rejected": rejected})

    def view(self, cause: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the view of the conference that is part of each task."""
        participants = [
            {"participant": id_, "state": participant.state, "muted": participant.muted}
            for id_, participant in self.participants.items()
        ]
        return {"seats": participants, "cause": cause}

    async def _task(
        self, kind: str, payload: Mapping[str, Any], *, cause: tuple[str, str] | None = None, silently: bool = False
    ) -> Mapping[str, Any]:
        view = self.view({"modId": cause[0], "kind": cause[1]} if cause else None)
        # A participant begins with an offer that builds a leg. Before that, the focus offers it nothing.
        quiet = silently or (kind == "offer" and cause is None)
        ready = (
            []
            if quiet
            else [
                id_
                for id_, participant in self.participants.items()
                if not participant.pending and participant.state != "moving"
            ]
        )
        result = await self._execute(self.id, kind, {**payload, "view": view, "ready": ready})
        self.tasks += 1
        if "refusal" in result:
            raise RefusedError(f"{kind}: {result['refusal']}")
        for offer in result.get("offers", ()):
            participant = self.participants[offer["participant"]]
            assert participant.pending is None, "an offer to a participant that was not ready"
            participant.pending = offer["modId"]
            self.offered.append((offer["participant"], offer["modId"], offer["sdp"]))
        return result
