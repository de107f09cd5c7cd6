"""Answer NACKs: send again the packets that a participant reports as missing (RFC 4585 section 6.2.1, RFC 4588)."""

from collections.abc import Iterable, Iterator, Mapping

from media.forward import rtp
from media.forward.history import Kept
from media.forward.repair import Retransmissions, RoundTrip
from media.forward.tracks import Sink, Track

# The interval at which the rate of the media forwarded to a leg is measured.
MEASURE_SECONDS = 1.0
# A packet is not sent again if its successor came this long ago, because then it is too late for a picture.
OLDEST_SECONDS = 1.5


class Retransmitter:
    """Answers one participant's NACKs. The budget depends on the rate that the participant's connection carries."""

    def __init__(self, round_trip: RoundTrip, *, made_at: float) -> None:
        self._round_trip = round_trip
        self._budget = Retransmissions()
        self._octets = 0
        # For each track, by SSRC: the packets and octets that had been forwarded at the last measurement.
        self._forwarded: dict[int, tuple[int, int]] = {}
        self._measured_at = made_at

    def answer(self, sink: Sink, lost: Iterable[int], now: float) -> Iterator[bytes]:
        """Yield the packets to send again, in the form in which the participant gets them.

        :param sink: the participant's sink of the track for which the NACK asks.
        :param lost: the sequence numbers in the NACK, in the participant's numbering.
        """
        track, budget = sink.track, self._budget
        for sequence in lost:
            if not budget.look_up():
                return
            kept = track.kept(sequence - sink.distance & 0xFFFF)
            if kept is None or kept.sequence < sink.begins or kept.packet[1] & 0x7F not in sink.payload_types:
                continue
            is_due = budget.is_due(track.ssrc, sequence, now, self._round_trip.seconds)
            is_of_use = is_due and not _is_too_old(track, kept, now)
            if is_of_use and budget.spend(track.ssrc, sequence, len(kept.packet), now):
                packet = _repeated(sink, kept, now)
                self._octets += len(packet)
                yield packet

    def rate(self, seconds: float) -> float:
        """Return the rate of retransmissions in bits per second since the last call.

        :param seconds: the time since the last call.
        """
        octets, self._octets = self._octets, 0
        return 8 * octets / seconds

    def tick(self, now: float, seconds: float, *, estimate: int, lost: float) -> None:
        """Renew the budget. The arguments are those of `Retransmissions.tick`."""
        self._budget.tick(now, seconds, estimate=estimate, lost=lost)

    def measure(self, sinks: Mapping[int, Sink], now: float) -> None:
        """Measure, once per MEASURE_SECONDS, the rate of the media forwarded to the participant."""
        if now - self._measured_at < MEASURE_SECONDS:
            return
        before = self._forwarded
        self._forwarded = {ssrc: (sink.track.packets, sink.track.octets) for ssrc, sink in sinks.items()}
        packets = sum(each - before.get(ssrc, (each, 0))[0] for ssrc, (each, _) in self._forwarded.items())
        octets = sum(each - before.get(ssrc, (0, each))[1] for ssrc, (_, each) in self._forwarded.items())
        self._budget.forwarded(octets + rtp.HEADER_SIZE * packets, packets, now - self._measured_at)
        self._measured_at = now


def _is_too_old(track: Track, kept: Kept, now: float) -> bool:
    """Tell whether a packet is too late for a picture: its successor came more than OLDEST_SECONDS ago."""
    shown = track.history.timestamp(kept.sequence + 1) if track.history is not None else None
    if shown is None:
        return False
    since = track.last_timestamp - shown & 0xFFFFFFFF
    return (since if since < 0x80000000 else 0) / track.clock_rate + now - track.last_at > OLDEST_SECONDS


def _repeated(sink: Sink, kept: Kept, now: float) -> bytes:
    """Return a kept packet in the form that its receiver gets, wrapped in RTX if that was negotiated."""
    track = sink.track
    first, second = kept.packet[:2]
    type_ = sink.payload_types[second & 0x7F]
    header = rtp.HEADER.pack(
        first, second & 0x80 | type_, kept.sequence + sink.distance & 0xFFFF, kept.timestamp, track.ssrc
    )
    packet = rtp.translate_extensions(header + kept.packet[rtp.HEADER_SIZE :], sink.extensions)
    if sink.departures is not None:
        place = rtp.number_place(kept.packet, sink.number_ids.source)
        packet, place = rtp.with_number(packet, place, sink.number_ids.receiver)
        number = sink.departures.note(len(packet) + rtp.RTX_HEADER_SIZE, now)
        packet = packet[:place] + number.to_bytes(2, "big") + packet[place + 2 :]
    if type_ in sink.retransmits:
        packet = rtp.wrap(packet, payload_type=sink.retransmits[type_], sequence=sink.rtx_sequence, ssrc=track.rtx_ssrc)
        sink.rtx_sequence = sink.rtx_sequence + 1 & 0xFFFF
    return packet
