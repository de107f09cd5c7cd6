"""RTCP that the focus writes itself (RFC 3550 section 6, RFC 4585, RFC 5104). aiortc parses the RTCP that arrives."""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    pack_remb_fci,
    unpack_remb_fci,
)

FIR = 4  # RFC 5104 section 4.3.1
# draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
_TRANSPORT_FEEDBACK = 15
# A reference time has this many ticks (64 ms).
TICKS_A_REFERENCE = 256
# The bytes before the packet chunks of transport-wide feedback, and the symbols of packets that have arrived.
_FEEDBACK_HEADER = 20
_SMALL, _LARGE = 1, 2
# A run-length chunk describes at most _LONGEST_RUN packets, and a vector chunk of two-bit symbols _VECTOR packets.
_LONGEST_RUN, _VECTOR = 0x1FFF, 7
# The most packets that one feedback packet reports, so that it fits into a datagram: at most 2.3 bytes each.
_MOST_ARRIVALS = 400
_CNAME = 1
# The most report blocks that a packet's count field (5 bits) allows.
_MOST_REPORTS = 31


def sender_report(ssrc: int, *, ntp_time: int, timestamp: int, packets: int, octets: int, cname: str) -> bytes:
    """Return a sender report with its source description: a compound packet."""
    info = RtcpSenderInfo(
        ntp_timestamp=ntp_time,
        rtp_timestamp=timestamp & 0xFFFFFFFF,
        packet_count=packets & 0xFFFFFFFF,
        octet_count=octets & 0xFFFFFFFF,
    )
    return bytes(RtcpSrPacket(ssrc=ssrc, sender_info=info)) + _description(ssrc, cname)


def receiver_reports(ssrc: int, reports: list[RtcpReceiverInfo], *, cname: str) -> bytes:
    """Return receiver reports about any number of streams, with a source description."""
    packets = b""
    for begin in range(0, max(1, len(reports)), _MOST_REPORTS):
        packets += bytes(RtcpRrPacket(ssrc=ssrc, reports=reports[begin : begin + _MOST_REPORTS]))
    return packets + _description(ssrc, cname)


def nack(ssrc: int, source: int, lost: Iterable[int]) -> bytes:
    """Return a request for missing packets (RFC 4585 section 6.2.1)."""
    return bytes(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=ssrc, media_ssrc=source, lost=sorted(lost)))


def picture_loss(ssrc: int, source: int) -> bytes:
    """Return a request for a key frame (RFC 4585 section 6.3.1)."""
    return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=ssrc, media_ssrc=source))


def bandwidth(ssrc: int, bits_per_second: int, sources: list[int]) -> bytes:
    """Return a limit on the total rate of these sources (REMB, draft-alvestrand-rmcat-remb)."""
    fci = pack_remb_fci(bits_per_second, sources)
    return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=ssrc, media_ssrc=0, fci=fci))


def read_bandwidth(fci: bytes) -> int | None:
    """Return the bits per second that a REMB allows; None if `fci` is not a REMB."""
    try:
        return int(unpack_remb_fci(fci)[0])
    except (ValueError, struct.error):
        # struct.error: the REMB announces more sources than it names.
        return None


class Arrived(NamedTuple):
    """Packets with successive numbers, and when each arrived."""

    # The first number, counted on beyond 16 bits.
    first: int
    # In ticks of the node's clock; -1 for a packet that has not arrived.
    at: list[int]

    def after(self, count: int) -> "Arrived | None":
        """Return the packets after the first `count`, if one of them has arrived."""
        rest = self.at[count:]
        return Arrived(self.first + count, rest) if any(at >= 0 for at in rest) else None


def transport_feedback(ssrc: int, source: int, arrived: Arrived, count: int) -> tuple[bytes, int]:
    """Return feedback on when packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).

    Also return how many packets it reports. That may be only a part: a delta between two arrivals must fit into 16
    bits, and the feedback into a datagram.

    :param source: the SSRC of any stream in the transport.
    :param count: the number of this feedback packet, in the order of sending.
    """
    reference = next(at for at in arrived.at if at >= 0) // TICKS_A_REFERENCE
    before, symbols, deltas = reference * TICKS_A_REFERENCE, bytearray(), bytearray()
    for at in arrived.at[:_MOST_ARRIVALS]:
        if at < 0:
            symbols.append(0)
        elif 0 <= at - before <= 0xFF:
            symbols.append(_SMALL)
            deltas.append(at - before)
            before = at
        elif -0x8000 <= at - before <= 0x7FFF:
            symbols.append(_LARGE)
            deltas += (at - before & 0xFFFF).to_bytes(2, "big")
            before = at
        else:
            break
    head = struct.pack(">HHI", arrived.first & 0xFFFF, len(symbols), (reference & 0xFFFFFF) << 8 | count & 0xFF)
    content = head + _chunks(symbols) + deltas
    padding = -len(content) % 4
    if padding:
        content += bytes(padding - 1) + bytes([padding])
    first = 0x80 | bool(padding) << 5 | _TRANSPORT_FEEDBACK
    words = 2 + len(content) // 4
    return struct.pack(">BBHII", first, RTCP_RTPFB, words, ssrc, source) + content, len(symbols)


def _chunks(symbols: bytearray) -> bytes:
    """Return the packet chunks of these status symbols (sections 3.1.3 and 3.1.4)."""
    chunks, at = bytearray(), 0
    while at < len(symbols):
        run = len(symbols) - at - len(symbols[at:].lstrip(symbols[at : at + 1]))
        if run >= _VECTOR or at + run == len(symbols):
            run = min(run, _LONGEST_RUN)
            chunk = symbols[at] << 13 | run
        else:
            run = _VECTOR
            chunk = 0xC000
            for place, symbol in enumerate(symbols[at : at + run]):
                chunk |= symbol << 2 * (_VECTOR - 1 - place)
        chunks += chunk.to_bytes(2, "big")
        at += run
    return bytes(chunks)


class TransportFeedback(NamedTuple):
    """Transport-wide feedback, as read."""

    # The number (16 bits) of the first packet that it reports.
    first: int
    # The reference time (24 bits), in units of TICKS_A_REFERENCE.
    reference: int
    # For each packet: when it arrived, in ticks after the reference time; None if it has not arrived.
    arrived: list[int | None]


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """Divide a compound packet into its transport-wide feedback, packet by packet, and everything else."""
    at, rest, feedback = 0, b"", []
    while at + 4 <= len(data):
        end = at + 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == RTCP_RTPFB and data[at] & 0x1F == _TRANSPORT_FEEDBACK:
            feedback.append(data[at:end])
        else:
            rest += data[at:end]
        at = end
    return rest + data[at:], feedback


def status_count(feedback: bytes) -> int:
    """Return how many packets transport-wide feedback reports, without reading the reports."""
    return int.from_bytes(feedback[14:16], "big")


def read_transport_feedback(data: bytes) -> TransportFeedback:
    """Read transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).

    :raises ValueError: when it is malformed.
    """
    if len(data) < _FEEDBACK_HEADER:
        raise ValueError("the feedback is cut off")
    first, count, times = struct.unpack_from(">HHI", data, 12)
    symbols, at = bytearray(), _FEEDBACK_HEADER
    while len(symbols) < count:
        if at + 2 > len(data):
            raise ValueError("a packet chunk is cut off")
        chunk = data[at] << 8 | data[at + 1]
        at += 2
        if not chunk & 0x8000:
            symbols += bytes([chunk >> 13]) * min(chunk & 0x1FFF, count - len(symbols))
            if not chunk & 0x1FFF:
                raise ValueError("a run is empty")
        elif chunk & 0x4000:
            symbols += bytes(chunk >> shift & 3 for shift in range(12, -1, -2))
        else:
            symbols += bytes(chunk >> shift & 1 for shift in range(13, -1, -1))
    arrived: list[int | None] = []
    time, end = 0, len(data)
    for symbol in symbols[:count]:
        if symbol == _SMALL:
            time += data[at] if at < end else 0
            at += 1
        elif symbol == _LARGE:
            time += int.from_bytes(data[at : at + 2], "big", signed=True)
            at += 2
        arrived.append(time if symbol in {_SMALL, _LARGE} else None)
    if at > end:
        raise ValueError("the deltas are cut off")
    return TransportFeedback(first, times >> 8, arrived)


def requests(data: bytes) -> int:
    """Return how many entries the transport feedback (RTPFB) in a compound packet has.

    An entry of a NACK requests up to 17 packets. aiortc reads all other transport feedback as if it were a NACK.
    """
    at = entries = 0
    while at + 4 <= len(data):
        words = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == RTCP_RTPFB:
            entries += max(0, words - 2)
        at += 4 + 4 * words
    return entries


def key_frame_sources(packet: RtcpPsfbPacket) -> list[int]:
    """Return the SSRCs whose key frames a feedback packet requests: a PLI names one, a FIR may name several."""
    if packet.fmt == RTCP_PSFB_PLI:
        return [packet.media_ssrc]
    if packet.fmt == FIR:
        return [int.from_bytes(packet.fci[at : at + 4], "big") for at in range(0, len(packet.fci) - 7, 8)]
    return []


def goodbye(ssrc: int) -> bytes:
    """Return a BYE for a source (RFC 3550 section 6.6), in the compound packet that it must be part of."""
    return bytes(RtcpRrPacket(ssrc=ssrc)) + bytes(RtcpByePacket(sources=[ssrc]))


def _description(ssrc: int, cname: str) -> bytes:
    """Return a source description with the canonical name, which every compound packet has (RFC 3550 section 6.1)."""
    return bytes(RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=ssrc, items=[(_CNAME, cname.encode())])]))
