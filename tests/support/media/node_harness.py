"""A node with real sockets, and its participants."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pylibsrtp

from media.aiortc_adapter import parse_rtcp
from media.focus.leg import Leg
from media.focus.node import Node, Settings
from media.forward import rtp
from media.forward.tracks import Track
from media.reports import Connection, Notice, Sample, Verdict
from media.transport.consent import CONSENT_SECONDS
from media.transport.dtls import Transport
from tests.support.media.by_json import by_json
from tests.support.media.synthetic import VIDEO, Peer, PeerSection, Source, SyntheticConference

SECONDS = 10.0


class Listener(Peer):
    """A peer that decrypts what it receives, and can lose packets and send RTCP."""

    def __init__(self, id_: str, **options: Any) -> None:
        super().__init__(id_, **options)
        self.packets: list[bytes] = []
        self.reports: list[Any] = []
        self._arrived = asyncio.Event()

    def read(self) -> int:
        """Read the packets that have arrived, and decrypt them."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.take(self.socket.recv(2048))
        return 0

    def take(self, datagram: bytes) -> None:
        """Handle a datagram that has arrived. Decrypt RTP and RTCP."""
        if datagram[0] < 64:
            self._take(datagram[0], datagram)
        elif self.dtls.srtp is None:
            return
        elif 192 <= datagram[1] < 224:
            self.reports += parse_rtcp(self._rx.unprotect_rtcp(datagram))
        else:
            self.packets.append(self._rx.unprotect(datagram))
        self._arrived.set()

    @property
    def dtls(self) -> Transport:
        """The DTLS transport."""
        assert self._transport is not None
        return self._transport

    @property
    def outward(self) -> pylibsrtp.Session:
        """The SRTP session that encrypts."""
        assert self.dtls.srtp is not None
        return self.dtls.srtp.sessions[0]

    @property
    def _rx(self) -> pylibsrtp.Session:
        assert self.dtls.srtp is not None
        return self.dtls.srtp.sessions[1]

    def tap(self) -> list[bytes]:
        """Return a list to which all packets are added from now on, without decrypting them."""
        wire: list[bytes] = []

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    wire.append(self.socket.recv(2048))
                    self._arrived.set()

        self.pause_reading()
        asyncio.get_running_loop().add_reader(self.fd, read)
        return wire

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until the condition is true of the packets that have arrived; return its result."""
        async with asyncio.timeout(SECONDS):
            while not (found := condition()):
                self._arrived.clear()
                await self._arrived.wait()
        return found

    async def gets(self, count: int, kind: int = VIDEO) -> list[tuple[int, int, int]]:
        """Wait for this many packets of a payload type; return the sequence number, timestamp and SSRC of each."""
        await self.until(lambda: len(self.of(kind)) >= count)
        got = self.of(kind)
        self.packets = [packet for packet in self.packets if packet[1] & 0x7F != kind]
        return [rtp.HEADER.unpack_from(packet)[2:] for packet in got]

    def of(self, kind: int) -> list[bytes]:
        """Return the packets of a payload type that have arrived."""
        return [packet for packet in self.packets if packet[1] & 0x7F == kind]

    def send_rtcp(self, packet: Any) -> None:
        """Send RTCP."""
        self.send_datagram(self.outward.protect_rtcp(bytes(packet)))

    @property
    def video_section(self) -> PeerSection:
        """The media section of the camera."""
        return next(section for section in self.sections if section.kind == "video")

    @property
    def audio(self) -> Source:
        """The microphone."""
        return self.sources[0]

    @property
    def video(self) -> Source:
        """The camera."""
        return self.sources[1]

    def film(self, count: int = 1) -> None:
        """Send packets of video."""
        self.send([self.video.packet() for _ in range(count)])


class Notes:
    """Records the reports of a node."""

    def __init__(self) -> None:
        self.lost_legs: list[tuple[str, str, str]] = []
        self.spoken: list[str] = []
        self.heard: list[tuple[str, Connection]] = []
        self.samples: list[Sample] = []
        self.judged: list[tuple[str, Verdict, float]] = []
        self.noticed_by: list[tuple[str, Notice]] = []

    def leg_lost(self, conference: str, participant: str, leg: str) -> None:
        """Record a lost leg."""
        self.lost_legs.append((conference, participant, leg))

    def speaker_changed(self, conference: str, participant: str) -> None:
        """Record the speaker."""
        self.spoken.append(participant)

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None:
        """Record the quality of a connection."""
        self.heard.append((participant, connection))

    def connection_judged(self, conference: str, participant: str, verdict: Verdict, since: float) -> None:
        """Record a change of a connection."""
        self.judged.append((participant, verdict, since))

    def sampled(self, conference: str, samples: list[Sample]) -> None:
        """Record samples of quality."""
        self.samples += samples

    def noticed(self, conference: str, participant: str, notice: Notice) -> None:
        """Record a notice and its receiver."""
        self.noticed_by.append((participant, notice))


class Clock:
    """The time of a node: a fixed time, or the loop's time plus what a test adds."""

    def __init__(self) -> None:
        self.added = 0.0
        self.fixed: float | None = None

    def time(self) -> float:
        """Return the time."""
        return asyncio.get_running_loop().time() + self.added if self.fixed is None else self.fixed


class World:
    """A node and its conferences."""

    def __init__(self, node: Node, notes: "Notes", clock: Clock) -> None:
        self.node, self.clock = node, clock
        self.lost, self.spoken, self.heard = notes.lost_legs, notes.spoken, notes.heard
        self.samples, self.judged = notes.samples, notes.judged
        self.noticed = notes.noticed_by
        self.peers: list[Listener] = []
        self.conference = SyntheticConference("room", by_json(node))

    def stop_ticking(self) -> None:
        """Stop the ticks of the node, so that no allowance is renewed while a test counts."""
        self.node.stop_ticking()

    async def pass_time(self, seconds: float, *alive: Listener) -> None:
        """Advance the time of a node whose ticks are stopped. These peers answer its checks meanwhile."""
        until = self.clock.added + seconds
        while self.clock.added < until:
            self.clock.added = min(until, self.clock.added + CONSENT_SECONDS)
            now = self.clock.time()
            for conference in list(self.node.conferences.values()):
                for _ in conference.tick(now):
                    pass
            for peer in alive:
                await self._answered(peer, now)

    async def _answered(self, peer: Listener, now: float) -> None:
        """Wait until a peer has answered all checks that are due."""
        leg = self.leg(peer.id)
        await true(lambda: now - leg.addresses.seen_at < CONSENT_SECONDS)

    def leg(self, name: str) -> Leg:
        """Return a participant's leg."""
        leg = self.node.conferences["room"].participants[name].leg
        assert leg is not None
        return leg

    def track(self, name: str, label: str) -> Track:
        """Return a track that a participant publishes."""
        return self.node.conferences["room"].tracks[name, label]

    async def join(self, *names: str, **options: Any) -> list[Listener]:
        """Have participants join, and settle all offers."""
        joined = [Listener(name, **options) for name in names]
        for each in joined:
            self.peers.append(each)
            await self.conference.join(each)
        return joined


async def true(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


@asynccontextmanager
async def around(settings: Settings) -> AsyncIterator[World]:
    """Start a node. At the end, require that it has left nothing behind."""
    threads, files = set(threading.enumerate()), psutil.Process().num_fds()
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    before = asyncio.all_tasks()
    notes, clock = Notes(), Clock()
    node = Node(settings, notes, now=clock.time)
    assert node.is_fast is settings.fast, "the fast path is not compiled: `make test` does that"
    await node.start()
    made = World(node, notes, clock)
    try:
        yield made
    finally:
        for peer in made.peers:
            await peer.close()
        await node.stop()
    await asyncio.sleep(0)
    assert not errors
    assert not asyncio.all_tasks() - before - {asyncio.current_task()}
    # There may be fewer threads than before: a thread of an earlier test may have ended since.
    assert not set(threading.enumerate()) - threads
    assert psutil.Process().num_fds() <= files


def numbers_used_twice(wire: list[bytes]) -> list[tuple[int, int]]:
    """Return the SSRCs and numbers that two different packets share. With AES-GCM that would reveal both packets."""
    by_number: dict[tuple[int, int], set[bytes]] = {}
    for datagram in wire:
        if 127 < datagram[0] < 192 and not 191 < datagram[1] < 224:
            _, _, sequence, _, ssrc = rtp.HEADER.unpack_from(datagram)
            by_number.setdefault((ssrc, sequence), set()).add(datagram)
    return [number for number, datagrams in by_number.items() if len(datagrams) > 1]


def in_order(packets: list[tuple[int, int, int]]) -> bool:
    """Tell whether sequence numbers increase by one each time, on one SSRC."""
    numbers = [sequence for sequence, _, _ in packets]
    return len({ssrc for _, _, ssrc in packets}) == 1 and all(
        later - earlier & 0xFFFF == 1 for earlier, later in itertools.pairwise(numbers)
    )
