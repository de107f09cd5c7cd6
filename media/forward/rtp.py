"""RTP headers (RFC 3550 section 5.1), their extensions (RFC 8285) and retransmissions (RFC 4588), in plain bytes."""

import struct
from collections.abc import Iterator, Mapping

HEADER = struct.Struct(">BBHII")
HEADER_SIZE = HEADER.size
# The bytes that a retransmission has more than the original (RFC 4588 section 4).
RTX_HEADER_SIZE = 2

# A packet with more elements and runs of padding than this in its header extension is not sound. Browsers write about
# ten. A member could write hundreds, and each takes time.
MOST_ELEMENTS = 32

_ONE_BYTE = 0xBEDE
_TWO_BYTES = 0x1000  # with any value of its last four bits


def extension_bounds(packet: bytes) -> tuple[int, int]:
    """Return where the data of a packet's header extension begins and ends; an empty range without an extension.

    :raises ValueError: when the header is longer than the packet.
    """
    start = HEADER_SIZE + 4 * (packet[0] & 0x0F)
    if not packet[0] & 0x10:
        end = start
    else:
        start += 4
        if len(packet) < start:
            raise ValueError("the extension's header is cut off")
        end = start + 4 * int.from_bytes(packet[start - 2 : start], "big")
    if len(packet) < end:
        raise ValueError("the header is longer than the packet")
    return start, end


def elements(packet: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield each element of a packet's header extension: its ID, its begin, and the begin and end of its data.

    :raises ValueError: when an element is longer than the extension, or there are more than MOST_ELEMENTS.
    """
    at, end = extension_bounds(packet)
    if at == end:
        return
    profile = int.from_bytes(packet[at - 4 : at - 2], "big")
    short = profile == _ONE_BYTE
    if not short and profile & 0xFFF0 != _TWO_BYTES:
        return
    left = MOST_ELEMENTS
    while at < end:
        if left == 0:
            raise ValueError("too many elements")
        left -= 1
        first = packet[at]
        if first == 0:
            at = _after_padding(packet, at, end)
            continue
        if short:
            id_, data, size = first >> 4, at + 1, (first & 0x0F) + 1
            if id_ == 15:  # RFC 8285 section 4.2: ignore everything after it
                return
        else:
            if at + 1 >= end:
                raise ValueError("an element is cut off")
            id_, data, size = first, at + 2, packet[at + 1]
        if data + size > end:
            raise ValueError("an element is longer than its extension")
        yield id_, at, data, data + size
        at = data + size


def _after_padding(packet: bytes, at: int, end: int) -> int:
    """Return where the padding that begins here ends, in a header extension that ends at `end`."""
    return end - len(packet[at:end].lstrip(b"\0"))


def translate_extensions(packet: bytes, ids: Mapping[int, int]) -> bytes:
    """Return a packet whose extension elements have the receiver's IDs.

    Elements for which the receiver has no ID become padding. Nothing moves within the packet, so the translation is
    cheap.

    :raises ValueError: when the extension is malformed.
    """
    changed = bytearray(packet)
    at, _ = extension_bounds(packet)
    short = packet[at - 4 : at - 2] == b"\xbe\xde"
    for id_, begin, _, end in elements(packet):
        new = ids.get(id_, 0)
        if new == 0 or (short and new > 14):
            changed[begin:end] = bytes(end - begin)
        elif new != id_:
            changed[begin] = new << 4 | changed[begin] & 0x0F if short else new
    return bytes(changed)


def number_place(packet: bytes, id_: int) -> int:
    """Return where the transport-wide number is, in the first extension element with this ID; 0 without one.

    The packet must be sound (`element_ids`). 0 is no ID.
    """
    for each, _, data, end in elements(packet):
        if each == id_ != 0:
            return data if end - data == 2 else 0
    return 0


def with_number(packet: bytes, place: int, id_: int) -> tuple[bytes, int]:
    """Return a packet with an extension element for a transport-wide number, and the place of the number.

    :param place: where the packet has such a number already; 0 if it has none. A new element becomes the first one, so
        that no other element can hide it.
    :param id_: the ID of the element, below 15.
    """
    at, end = extension_bounds(packet)
    profile = int.from_bytes(packet[at - 4 : at - 2], "big") if packet[0] & 0x10 else 0
    is_short = profile & 0xFFF0 != _TWO_BYTES
    head = bytes([id_ << 4 | 1]) if is_short else bytes([id_, 2])
    if place:
        return packet[: place - len(head)] + head + packet[place:], place
    rest = packet[at:end] if profile == _ONE_BYTE or not is_short else b""
    added = head + bytes(4 - len(head))
    begin = packet[: HEADER_SIZE + 4 * (packet[0] & 0x0F)]
    extension = struct.pack(">HH", _ONE_BYTE if is_short else profile, 1 + len(rest) // 4) + added + rest
    return bytes([begin[0] | 0x10]) + begin[1:] + extension + packet[end:], len(begin) + 4 + len(head)


def element(packet: bytes, id_: int) -> bytes | None:
    """Return the data of an extension element, if the packet has it. The packet must be sound (`element_ids`)."""
    if packet[0] == 0x90 and packet[12:15] == b"\xbe\xde\0" and packet[15] and packet[16] >> 4 == id_ < 15:
        # This is the first element, where browsers write the audio level.
        return packet[17 : 18 + (packet[16] & 0x0F)]
    for each, _, data, end in elements(packet):
        if each == id_:
            return packet[data:end]
    return None


def primary(packet: bytes, inner: int) -> bytes:
    """Return a packet with redundant audio (RED, RFC 2198) as a packet of its primary encoding only.

    If the payload is malformed, or if its primary encoding has another payload type than `inner`, it becomes empty.
    """
    _, begin = extension_bounds(packet)
    at, skipped = begin, 0
    while at + 4 <= len(packet) and packet[at] & 0x80:
        skipped += int.from_bytes(packet[at + 2 : at + 4], "big") & 0x3FF
        at += 4
    if at < len(packet) and packet[at] == inner and at + 1 + skipped < len(packet):
        return packet[:begin] + packet[at + 1 + skipped :]
    return bytes([packet[0] & 0xDF]) + packet[1:begin]


def wrap(packet: bytes, *, payload_type: int, sequence: int, ssrc: int) -> bytes:
    """Return a packet as a retransmission. The original sequence number begins the payload (RFC 4588 section 4)."""
    first, second, original, timestamp, _ = HEADER.unpack_from(packet)
    _, end = extension_bounds(packet)
    header = HEADER.pack(first, second & 0x80 | payload_type, sequence, timestamp, ssrc)
    return header + packet[HEADER_SIZE:end] + struct.pack(">H", original) + packet[end:]


def unwrap(packet: bytes, *, payload_type: int, ssrc: int) -> bytes | None:
    """Return the original of a retransmission; None if it contains only padding, as a bandwidth probe does.

    :raises ValueError: when the header is longer than the packet.
    """
    first, second, _, timestamp, _ = HEADER.unpack_from(packet)
    _, end = extension_bounds(packet)
    padding = packet[-1] if first & 0x20 else 0
    if len(packet) - padding < end + 2:
        return None
    original = int.from_bytes(packet[end : end + 2], "big")
    header = HEADER.pack(first, second & 0x80 | payload_type, original, timestamp, ssrc)
    return header + packet[HEADER_SIZE:end] + packet[end + 2 :]


def element_ids(packet: bytes) -> int:
    """Return a bit for each ID of an element in a packet's header extension. Return -1 for a packet that is not sound.

    A packet is sound if its header, extension and padding fit into it, and it has at most MOST_ELEMENTS elements.
    """
    if packet[0] != 0x90 or packet[12:14] != b"\xbe\xde" or len(packet) < 16:
        return _element_ids(packet)
    # Nearly every packet has no padding, no contributing sources, and one-byte elements.
    at, end, ids, left = 16, 16 + 4 * (packet[14] << 8 | packet[15]), 0, MOST_ELEMENTS
    if end > len(packet):
        return -1
    while at < end:
        if left == 0:
            return -1
        left -= 1
        first = packet[at]
        if first == 0:
            at = _after_padding(packet, at, end)
        elif first >= 0xF0:
            return ids
        else:
            ids |= 1 << (first >> 4)
            at += 2 + (first & 0x0F)
    return ids if at == end else -1


def _element_ids(packet: bytes) -> int:
    """Return the result of `element_ids` for any packet, without the shortcut for ordinary packets."""
    ids = 0
    try:
        for id_, _, _, _ in elements(packet):
            ids |= 1 << id_
        _, end = extension_bounds(packet)
    except ValueError:
        return -1
    return ids if not packet[0] & 0x20 or 0 < packet[-1] <= len(packet) - end else -1
