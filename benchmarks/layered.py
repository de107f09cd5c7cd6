"""Participants that use what browsers negotiate for bad networks: simulcast, and transport-wide feedback in both ways.

The camera sends three layers. Each packet has a transport-wide number. Ten times a second, a participant reports when
the packets with the node's numbers arrived. Header extensions are not encrypted, so it reads the numbers without
decrypting anything.
"""

import itertools
import time
from collections.abc import Iterator
from typing import Any

from media.forward import rtcp
from media.forward.datagrams import SLOT, Inbox
from media.forward.memory import TICKS_A_SECOND
from media.forward.rtp import HEADER
from media.sdp.extensions import RID
from tests.support.media.synthetic import AUDIO_SIZE, VIDEO, VIDEO_SIZE, Peer, Source

# For each layer: its rid, the packets of a frame, and the bytes of a packet. The largest is like the video of a `Peer`.
_LAYERS = (("l", 1, 600), ("m", 2, 1000), ("h", 5, VIDEO_SIZE))
_NUMBER_ID, _RID_ID, _LEVEL_ID = 3, 10, 1
# The number is the first element of every packet's header extension, to the node and from it.
_NUMBER_AT = 17
_FEEDBACK_SECONDS = 0.1
_FRAMES_A_KEY_FRAME = 30
_RTP = frozenset(range(256)) - frozenset(range(192, 224))


class NumberedSource(Source):
    """A stream whose packets have transport-wide numbers. `numbers` yields the next one of the connection."""

    numbers: Iterator[int]

    def begin(self, numbers: Iterator[int], element: bytes, payload: bytes) -> None:
        """Have packets of `size` bytes with this further element in the header extension.

        :param element: two bytes without those of the number, padded so that both together end at four bytes.
        """
        self.numbers, self._element = numbers, element
        self._extension = b"\xbe\xde" + ((3 + len(element)) // 4).to_bytes(2, "big") + bytes([_NUMBER_ID << 4 | 1])
        self._payload = payload.ljust(self.size - 12 - len(self._extension) - 2 - len(element), b"\x55")

    def packet(self, *, last: bool = False) -> bytes:
        """Return the next packet. `last` says whether it ends a frame."""
        return self.numbered(b"", last=last)

    def numbered(self, descriptor: bytes, *, last: bool) -> bytes:
        """Return the next packet, whose payload begins with `descriptor`."""
        timestamp = time.time_ns() * self.clock_rate // 1_000_000_000 & 0xFFFFFFFF
        self.sequence = self.sequence + 1 & 0xFFFF
        head = HEADER.pack(0x90, last << 7 | self.payload_type, self.sequence, timestamp, self.ssrc)
        number = (next(self.numbers) & 0xFFFF).to_bytes(2, "big")
        return head + self._extension + number + self._element + descriptor + self._payload[len(descriptor) :]


class Layer(NumberedSource):
    """One layer of VP8. Every _FRAMES_A_KEY_FRAME-th frame is a key frame, so that nobody waits for one."""

    frames = 0
    _is_first = True

    def packet(self, *, last: bool = False) -> bytes:
        """Return the next packet. `last` says whether it ends a frame."""
        first, self._is_first = self._is_first, last
        is_delta = self.frames % _FRAMES_A_KEY_FRAME != 0
        picture = (0x8000 | self.frames & 0x7FFF).to_bytes(2, "big")
        descriptor = bytes([0x80 | first << 4, 0xC0]) + picture + bytes([self.frames & 0xFF, is_delta])
        self.frames += last
        return self.numbered(descriptor, last=last)


class LayeredPeer(Peer):
    """A participant with a microphone and three layers of a camera."""

    def __init__(self, id_: str, **options: Any) -> None:
        super().__init__(id_, number_id=_NUMBER_ID, **options)
        numbers = itertools.count()
        audio, video = self.sections
        assert audio.source is not None
        assert video.source is not None
        video.attributes = [
            *video.attributes,
            f"a=extmap:{_RID_ID} {RID}",
            *(f"a=rid:{rid} send" for rid, _, _ in _LAYERS),
            f"a=simulcast:send {';'.join(rid for rid, _, _ in _LAYERS)}",
        ]
        self.microphone = NumberedSource(audio.source.ssrc, audio.source.payload_type, 48000, AUDIO_SIZE)
        self.microphone.begin(numbers, bytes([_LEVEL_ID << 4, 40, 0, 0, 0]), b"")
        # Each layer, and the packets of its frames, the smallest layer first.
        self.layers: list[tuple[Layer, int]] = []
        for place, (rid, packets, size) in enumerate(_LAYERS):
            layer = Layer(video.source.ssrc + 1 + place, VIDEO, 90000, size)
            layer.begin(numbers, bytes([_RID_ID << 4, ord(rid), 0, 0, 0]), b"")
            self.layers.append((layer, packets))
        # The first number that is not reported yet, and for it and each later one, the tick of its arrival or -1.
        self._first, self._arrived = -1, list[int]()
        self._feedback_at, self._feedbacks = 0.0, 0

    def heard(self, inbox: Inbox, count: int) -> None:
        """Note the numbers of packets that have just arrived, and report them when it is time."""
        now = time.perf_counter()
        end, ticks = count * SLOT, int(now * TICKS_A_SECOND)
        columns = (inbox.view[at:end:SLOT].tobytes() for at in (0, 1, _NUMBER_AT, _NUMBER_AT + 1))
        for first, second, high, low in zip(*columns, strict=True):
            if 128 <= first < 192 and second in _RTP:
                self._note(high << 8 | low, ticks)
        if now >= self._feedback_at and self._arrived:
            self._feedback_at = now + _FEEDBACK_SECONDS
            self._report()

    def _note(self, number: int, ticks: int) -> None:
        if self._first < 0:
            self._first = number
        place = (number - self._first + 0x8000 & 0xFFFF) - 0x8000
        if place == len(self._arrived):
            self._arrived.append(ticks)
        elif place > len(self._arrived):
            self._arrived += [-1] * (place - len(self._arrived)) + [ticks]
        elif place >= 0:
            self._arrived[place] = ticks

    def _report(self) -> None:
        assert self._transport is not None
        assert self._transport.srtp is not None
        left: rtcp.Arrived | None = rtcp.Arrived(self._first, self._arrived)
        self._first, self._arrived = self._first + len(self._arrived) & 0xFFFF, []
        while left is not None:
            packet, reported = rtcp.transport_feedback(1, self.microphone.ssrc, left, self._feedbacks)
            self._feedbacks += 1
            self.send_datagram(self._transport.srtp.sessions[0].protect_rtcp(packet))
            left = left.after(reported)
