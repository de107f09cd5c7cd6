"""A model of how a browser sends: its microphone, its camera's layers, pacing, probes and retransmissions."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

from media.congestion.acknowledgement import Report
from media.congestion.estimator import Estimator
from media.forward import rtcp, rtp
from media.forward.departures import Departures
from tests.support.media.simulation.camera import PAYLOAD, Camera
from tests.support.media.synthetic import AUDIO, RED, RTX, VIDEO

# The IDs of header extensions in the sender's packets.
LEVEL_ID, NUMBER_ID, RID_ID, REPAIRED_ID = 1, 3, 10, 11
AUDIO_SECONDS, AUDIO_OCTETS = 0.02, 80
# What precedes the sound in a packet with redundancy (RED, RFC 2198): the former frame, 20 ms older, and this one.
_BLOCKS = bytes([0x80 | AUDIO]) + (960 << 10 | AUDIO_OCTETS).to_bytes(3, "big") + bytes([AUDIO])
# The rate of the sound with all headers, in bits per second.
AUDIO_RATE = 95_000
# The pacer sends at this multiple of the estimate, in bursts of this length.
PACING, PACING_SECONDS = 2.5, 0.005
# What waits longer than this in the pacer is not sent: the encoder drops the frame.
_LONGEST_PACED = 0.5
REPORT_SECONDS = 1.0
HISTORY = 600
# The first probes are sent at these multiples of the first estimate, and later ones at twice the estimate.
FIRST_PROBES, LATER_PROBE, PROBE_SECONDS, PROBES_APART = (3.0, 6.0), 2.0, 0.015, 5.0
_PADDING = 220
_NTP_EPOCH = 3_900_000_000


@dataclass
class Stream:
    """A stream of the sender: a microphone, or one layer of a camera."""

    ssrc: int
    payload_type: int
    clock_rate: int
    rid: str = ""
    rtx_ssrc: int = 0
    sequence: int = 0
    rtx_sequence: int = 0
    started: int = 0
    picture: int = 0
    base: int = 0
    packets: int = 0
    octets: int = 0
    # For each of the last packets, by sequence number: the second byte of its header, its timestamp, its payload, and
    # when it was last sent again.
    history: dict[int, tuple[int, int, bytes, float]] = field(default_factory=dict)

    def timestamp(self, now: float) -> int:
        """Return the RTP timestamp of this time."""
        return self.started + int(now * self.clock_rate) & 0xFFFFFFFF


class Sender:
    """Sends one participant's media. `send` encrypts an RTP packet and sends it, and `send_rtcp` does so with RTCP."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        send_rtcp: Callable[[bytes], None],
        microphone: Stream,
        camera: Camera | None,
        layers: list[Stream],
        *,
        seed: int,
    ) -> None:
        self._send, self._send_rtcp = send, send_rtcp
        self._loop = asyncio.get_running_loop()
        self._chance = random.Random(seed)
        self.microphone, self.camera, self.layers = microphone, camera, layers
        for stream in [microphone, *layers]:
            stream.sequence, stream.started = self._chance.getrandbits(15), self._chance.getrandbits(32)
            stream.picture, stream.base = self._chance.getrandbits(15), self._chance.getrandbits(8)
        self.estimator = Estimator()
        self.round_trip = 0.1
        self.limit = inf
        # How far the clock of the sender reports is ahead.
        self.clock_ahead = 0.0
        # How loud the microphone is: RFC 6464.
        self.level = 40
        self.is_running = False
        self.pictures_lost = 0
        self._departures = Departures()
        self._probes, self._probed_at = 0, -inf
        self._paced_until = 0.0
        self._waiting: deque[tuple[float, Stream, int, bool, bytes]] = deque()

    def start(self) -> None:
        """Begin to send."""
        self.is_running = True
        self._allow()
        begun = self._chance.random() * 0.01
        for seconds, work in (
            (AUDIO_SECONDS, self._speak),
            (1 / self.camera.frames_a_second if self.camera is not None else 1.0, self._film),
            (REPORT_SECONDS, self._report),
        ):
            self._every(seconds, work, self._loop.time() + begun)

    def stop(self) -> None:
        """Send nothing more."""
        self.is_running = False

    def _every(self, seconds: float, work: Callable[[], None], at: float) -> None:
        if self.is_running:
            if at <= self._loop.time():
                work()
                at += seconds
            self._loop.call_at(at, self._every, seconds, work, at)

    # --- Media ------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        stream, content = self.microphone, _BLOCKS + bytes(2 * AUDIO_OCTETS)
        self._emit(stream, stream.timestamp(self._loop.time()), False, content, self._loop.time())

    def _film(self) -> None:
        if self.camera is None:
            return
        now = self._loop.time()
        pictures = list(self.camera.frame())
        if self._paced_until - now > _LONGEST_PACED:
            self.pictures_lost += 1
            return
        for place, octets, is_key in pictures:
            stream = self.layers[place]
            stream.picture, stream.base = stream.picture + 1 & 0x7FFF, stream.base + 1 & 0xFF
            timestamp, count = stream.timestamp(now), -(-octets // PAYLOAD)
            for each in range(count):
                descriptor = bytes([0x80 | (not each) << 4, 0xC0, 0x80 | stream.picture >> 8, stream.picture & 0xFF])
                content = descriptor + bytes([stream.base, not is_key, place]) + bytes(octets // count)
                self._pace(stream, timestamp, each == count - 1, content)

    def _pace(self, stream: Stream, timestamp: int, is_last: bool, content: bytes) -> None:
        """Send a packet when it is its turn. Packets leave in bursts."""
        now = self._loop.time()
        begins = max(now, self._paced_until)
        self._paced_until = begins + 8 * len(content) / (PACING * max(self.estimator.rate, 150_000))
        at = max(now, begins // PACING_SECONDS * PACING_SECONDS)
        self._waiting.append((at, stream, timestamp, is_last, content))
        if at > now:
            self._loop.call_at(at, self._pump)
        else:
            self._pump()

    def _pump(self) -> None:
        """Send the packets whose turn it is."""
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            _, stream, timestamp, is_last, content = self._waiting.popleft()
            self._emit(stream, timestamp, is_last, content, now)

    def _emit(self, stream: Stream, timestamp: int, is_last: bool, content: bytes, now: float) -> None:
        if not self.is_running:
            return
        stream.sequence = stream.sequence + 1 & 0xFFFF
        stream.packets += 1
        stream.octets += len(content)
        second = is_last << 7 | stream.payload_type
        if stream.rtx_ssrc:
            stream.history[stream.sequence] = second, timestamp, content, -inf
            stream.history.pop(stream.sequence - HISTORY & 0xFFFF, None)
        elements = _element(RID_ID, stream.rid.encode()) if stream.rid else bytes([LEVEL_ID << 4, self.level])
        head = rtp.HEADER.pack(0x90, second, stream.sequence, timestamp, stream.ssrc)
        self._number(head, elements, content)

    def _number(self, head: bytes, elements: bytes, content: bytes, probe: int = 0) -> None:
        """Send a packet with its transport-wide number."""
        size = len(head) + 4 + -(-(len(elements) + 3) // 4) * 4 + len(content)
        number = self._departures.note(size, self._loop.time(), probe)
        elements += bytes([NUMBER_ID << 4 | 1, number >> 8, number & 0xFF])
        elements += bytes(-len(elements) % 4)
        self._send(head + b"\xbe\xde" + (len(elements) // 4).to_bytes(2, "big") + elements + content)

    # --- Repair -----------------------------------------------------------------------------------------------

    def repeat(self, ssrc: int, lost: Iterable[int]) -> None:
        """Send packets again for which a NACK asks."""
        now = self._loop.time()
        stream = next((each for each in self.layers if each.ssrc == ssrc), None)
        for sequence in lost if stream is not None else ():
            if stream is None or sequence not in stream.history:
                continue
            second, timestamp, content, sent_at = stream.history[sequence]
            if now - sent_at < self.round_trip:
                continue
            stream.history[sequence] = second, timestamp, content, now
            self._retransmit(stream, second & 0x80 | RTX, timestamp, sequence.to_bytes(2, "big") + content)

    def _retransmit(self, stream: Stream, second: int, timestamp: int, content: bytes, *, probe: int = 0) -> None:
        stream.rtx_sequence = stream.rtx_sequence + 1 & 0xFFFF
        first = 0xB0 if probe else 0x90
        head = rtp.HEADER.pack(first, second, stream.rtx_sequence, timestamp, stream.rtx_ssrc)
        self._number(head, _element(REPAIRED_ID, stream.rid.encode()) if stream.rid else b"", content, probe)

    # --- Feedback ---------------------------------------------------------------------------------------------

    def take_feedback(self, feedback: bytes) -> None:
        """Follow the node's feedback on when packets arrived."""
        now, estimator = self._loop.time(), self.estimator
        acknowledged = self._departures.acknowledge(rtcp.read_transport_feedback(feedback))
        estimator.acknowledge(Report.of(acknowledged), now, self.round_trip)
        self._allow()
        if self.camera is None or estimator.is_congested:
            return
        if not self._probes:
            for factor in FIRST_PROBES:
                self._probe(factor * estimator.rate)
        elif now - self._probed_at >= PROBES_APART and estimator.rate < self.camera.most + AUDIO_RATE:
            self._probe(LATER_PROBE * estimator.rate)

    def take_limit(self, limit: float) -> None:
        """Obey a limit in bits per second (REMB)."""
        self.limit = limit
        self._allow()

    def _allow(self) -> None:
        if self.camera is not None:
            self.camera.allow(max(0.0, min(self.limit, self.estimator.rate) - AUDIO_RATE))

    def _probe(self, rate: float) -> None:
        """Send padding at this rate for a moment."""
        self._probes, self._probed_at = self._probes + 1, self._loop.time()
        count = max(5, int(PROBE_SECONDS * rate / 8 / (_PADDING + 90)))
        self.estimator.probe(self._probes, count * (_PADDING + 80))
        begin = self._loop.time() + 0.03 * (self._probes if self._probes <= len(FIRST_PROBES) else 1)
        for place in range(count):
            self._loop.call_at(begin + place * 8 * (_PADDING + 90) / rate, self._pad, self._probes)

    def _pad(self, probe: int) -> None:
        if self.is_running:
            stream = self.layers[0]
            padding = bytes(_PADDING - 1) + bytes([_PADDING])
            self._retransmit(stream, RTX, stream.timestamp(self._loop.time()), padding, probe=probe)

    def _report(self) -> None:
        now = self._loop.time()
        ntp = int((_NTP_EPOCH + now + self.clock_ahead) * (1 << 32))
        for stream in [self.microphone, *self.layers]:
            if stream.packets:
                counts = {"packets": stream.packets, "octets": stream.octets}
                at = stream.timestamp(now)
                self._send_rtcp(rtcp.sender_report(stream.ssrc, ntp_time=ntp, timestamp=at, cname="c", **counts))


def _element(id_: int, data: bytes) -> bytes:
    return bytes([id_ << 4 | len(data) - 1]) + data


def microphone(ssrc: int) -> Stream:
    """Return the stream of a microphone."""
    return Stream(ssrc, RED, 48000)


def layer(ssrc: int, rtx_ssrc: int, rid: str) -> Stream:
    """Return the stream of one layer of a camera."""
    return Stream(ssrc, VIDEO, 90000, rid, rtx_ssrc)
