"""A synthetic camera that sends several layers of VP8 (simulcast), as Chromium does."""

import secrets
from dataclasses import dataclass, field

from media.forward import rtp
from media.forward.pictures import counters
from media.sdp.extensions import RID
from tests.support.media.node_harness import Listener
from tests.support.media.synthetic import VIDEO

_RID_ID = 10


@dataclass
class Layer:
    """One layer, with an SSRC and numbers of its own."""

    rid: str
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    sequence: int = field(default_factory=lambda: secrets.randbits(15))
    timestamp: int = field(default_factory=lambda: secrets.randbits(32))
    picture: int = field(default_factory=lambda: secrets.randbits(15))
    base: int = field(default_factory=lambda: secrets.randbits(8))
    # In pixels. A key frame states it, unless it is 0.
    width: int = 0

    def frame(self, *, key: bool = False, packets: int = 1, milliseconds: int = 33) -> list[bytes]:
        """Return the packets of the next picture, which was taken this long after the last one."""
        self.timestamp = self.timestamp + 90 * milliseconds & 0xFFFFFFFF
        self.picture, self.base = self.picture + 1 & 0x7FFF, self.base + 1 & 0xFF
        return [self._packet(key, first=not each, last=each == packets - 1) for each in range(packets)]

    def _packet(self, key: bool, *, first: bool, last: bool) -> bytes:
        self.sequence = self.sequence + 1 & 0xFFFF
        name = bytes([_RID_ID << 4 | len(self.rid) - 1]) + self.rid.encode()
        name += bytes(-len(name) % 4)
        header = rtp.HEADER.pack(0x90, last << 7 | VIDEO, self.sequence, self.timestamp, self.ssrc)
        extension = b"\xbe\xde" + (len(name) // 4).to_bytes(2, "big") + name
        descriptor = bytes([0x80 | first << 4, 0xC0]) + (0x8000 | self.picture).to_bytes(2, "big") + bytes([self.base])
        frame = bytes([not key]) + self.rid.encode()
        if key and first and self.width:
            frame = b"\0\0\0\x9d\x01\x2a" + self.width.to_bytes(2, "little") + b"\0\0"
        return header + extension + descriptor + frame + secrets.token_bytes(100)


def layered(name: str, *rids: str, number_id: int = 0) -> tuple[Listener, list[Layer]]:
    """Return a peer whose camera sends these layers, and the layers."""
    peer = Listener(name, number_id=number_id)
    section = peer.video_section
    section.attributes = [
        *section.attributes,
        f"a=extmap:{_RID_ID} {RID}",
        *(f"a=rid:{rid} send" for rid in rids),
        f"a=simulcast:send {';'.join(rids)}",
    ]
    return peer, [Layer(rid) for rid in rids]


def seen(packet: bytes) -> tuple[int, int, int, int, bytes]:
    """Return a packet's sequence number, timestamp, picture ID, TL0PICIDX and the name of its layer."""
    _, _, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
    found = counters(packet)
    return sequence, timestamp, found.picture, found.base, packet[found.base_at + 2 : -100]
