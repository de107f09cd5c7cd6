"""What RTP payloads say about pictures: where a key frame begins, and VP8's counters of pictures.

RFC 7741 (VP8), RFC 6184 (H.264), RFC 9628 (VP9), the RTP payload format for AV1 version 1.0.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from media.forward.rtp import extension_bounds


class Counters(NamedTuple):
    """The counters in a VP8 payload descriptor, and where they are in the packet; -1 where there is none."""

    picture: int = -1
    picture_at: int = -1
    # Whether the picture ID has 15 bits, not 7.
    is_long: bool = False
    # TL0PICIDX: a running number of the pictures of the lowest temporal layer.
    base: int = -1
    base_at: int = -1


def counters(packet: bytes) -> Counters:
    """Return the counters of a packet of VP8 (RFC 7741 section 4.2). The packet's header must be sound."""
    _, at = extension_bounds(packet)
    end = len(packet)
    if at + 2 > end or not packet[at] & 0x80:
        return Counters()
    flags, at = packet[at + 1], at + 2
    picture, picture_at, is_long = -1, -1, False
    if flags & 0x80:
        is_long = at < end and bool(packet[at] & 0x80)
        if at + 1 + is_long > end:
            return Counters()
        picture_at = at
        picture = (packet[at] & 0x7F) << 8 | packet[at + 1] if is_long else packet[at] & 0x7F
        at += 1 + is_long
    if not flags & 0x40 or at >= end:
        return Counters(picture, picture_at, is_long)
    return Counters(picture, picture_at, is_long, packet[at], at)


def shifted(packet: bytes, picture: int, base: int) -> bytes:
    """Return a packet of VP8 whose picture ID and TL0PICIDX are larger by these numbers."""
    found = counters(packet)
    changed = bytearray(packet)
    if found.picture_at >= 0 and found.is_long:
        value = 0x8000 | (found.picture + picture & 0x7FFF)
        changed[found.picture_at : found.picture_at + 2] = value.to_bytes(2, "big")
    elif found.picture_at >= 0:
        changed[found.picture_at] = found.picture + picture & 0x7F
    if found.base_at >= 0:
        changed[found.base_at] = found.base + base & 0xFF
    return bytes(changed)


def begins_key_frame(codec: str, packet: bytes) -> bool:
    """Tell whether a packet of this codec is the first one of a key frame. The packet's header must be sound."""
    _, at = extension_bounds(packet)
    payload = packet[at:]
    return len(payload) > 1 and codec in _BEGINS and _BEGINS[codec](payload)


def key_frame_width(codec: str, packet: bytes) -> int:
    """Return the width in pixels in the first packet of a key frame of VP8 (RFC 6386 section 9.1); otherwise 0."""
    _, at = extension_bounds(packet)
    payload = packet[at:]
    if codec != "VP8" or len(payload) < 2:
        return 0
    header = payload[_vp8_frame(payload) :][:8]
    is_sound = len(header) == 8 and header[3:6] == b"\x9d\x01\x2a"
    return int.from_bytes(header[6:], "little") & 0x3FFF if is_sound else 0


def _vp8(payload: bytes) -> bool:
    """Look for the start of partition 0, and a frame header that says "key frame" (RFC 7741 sections 4.2 and 4.3)."""
    if payload[0] & 0x17 != 0x10:
        return False
    at = _vp8_frame(payload)
    return at < len(payload) and not payload[at] & 1


def _vp8_frame(payload: bytes) -> int:
    """Return where the frame begins, after the payload descriptor."""
    at = 1
    if payload[0] & 0x80:
        flags, at = payload[1], 2
        if flags & 0x80:
            at += 2 if len(payload) > at and payload[at] & 0x80 else 1
        at += bool(flags & 0x40) + bool(flags & 0x30)
    return at


def _h264(payload: bytes) -> bool:
    """Look for a sequence parameter set, alone or aggregated, or the start of an IDR picture."""
    kind = payload[0] & 0x1F
    if kind == 24:  # STAP-A
        at, kinds = 1, set[int]()
        while at + 2 < len(payload):
            kinds.add(payload[at + 2] & 0x1F)
            at += 2 + int.from_bytes(payload[at : at + 2], "big")
        return not kinds.isdisjoint({5, 7})
    if kind == 28:  # FU-A
        return bool(payload[1] & 0x80) and payload[1] & 0x1F == 5
    return kind in {5, 7}


def _vp9(payload: bytes) -> bool:
    """Look for the beginning of a frame that is not predicted, in the lowest spatial layer (RFC 9628 section 4.2)."""
    first = payload[0]
    if first & 0x48 != 0x08:
        return False
    at = 1 + (2 if payload[1] & 0x80 else 1) if first & 0x80 else 1
    return not first & 0x20 or (at < len(payload) and not payload[at] & 0x0E)


def _av1(payload: bytes) -> bool:
    """Look for the first packet of a coded video sequence (N in the aggregation header)."""
    return bool(payload[0] & 0x08)


_BEGINS: Mapping[str, Callable[[bytes], bool]] = {"VP8": _vp8, "H264": _h264, "VP9": _vp9, "AV1": _av1}
