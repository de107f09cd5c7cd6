"""Answer NACKs: send again the packets that a participant reports as missing (RFC 4585 section 6.2.1, RFC 4588)."""

from collections.abc import Iterable, Iterator, Mapping

from media.forward import rtp
from media.forward.history import Kept
from media.forward.pictures import shifted
from media.forward.repair import Retransmissions, RoundTrip
from media.forward.tracks import Sink, Track

# The interval at which the rate of the media forwarded to a leg is measured.
MEASURE_SECONDS = 1.0
# A packet is not sent again if its successor came this long ago, because then it is too late for a picture.
OLDEST_SECONDS = 1.5
# If a packet that is still missing after this time cannot be sent again, only a key frame helps.
UNREPAIRED_SECONDS = 0.4
# From this share of lost packets on, repeats are sent twice, the second time after AGAIN_SECONDS. A lost repeat costs
# another round trip, which is long enough to be seen. The budget is the same.
LOSSY, AGAIN_SECONDS = 0.02, 0.02
# The bytes of padding in a packet of a probe: the most that its last byte can state. And the bytes of that packet.
_PADDING = 255
_PADDING_SIZE = rtp.HEADER_SIZE + 8 + _PADDING


class Retransmitter:
    """Answers one participant's NACKs. The budget depends on the rate that the participant's connection carries."""

    def __init__(self, round_trip: RoundTrip, *, made_at: float) -> None:
        self._round_trip = round_trip
        self._budget = Retransmissions()
        self._octets = 0
        self._is_lossy = False
        # The tracks of which a requested packet could not be sent again in time.
        self.unrepaired: set[Track] = set()
        # The packets that were sent again since the caller last cleared this list, if they should be sent once more.
        self.again: list[int] = []
        # For each track, by SSRC: the packets and octets that had been forwarded at the last measurement.
        self._forwarded: dict[int, tuple[int, int]] = {}
        self._measured_at = made_at

    def answer(self, sink: Sink, lost: Iterable[int], now: float, queue: float) -> Iterator[bytes]:
        """Yield the packets to send again, in the form in which the participant gets them.

        :param sink: the participant's sink of the track for which the NACK asks.
        :param lost: the sequence numbers in the NACK, in the participant's numbering.
        :param queue: how long packets wait on the way to the participant, in seconds. The round trip may have been
            measured without this queue.
        """
        track, budget = sink.track, self._budget
        for sequence in lost:
            if not budget.look_up():
                return
            kept = _kept(sink, sequence - sink.distance)
            if kept is None or not budget.is_due(track.ssrc, sequence, now, self._round_trip.seconds + queue):
                continue
            age = _age(track, kept, now)
            if age <= OLDEST_SECONDS and budget.spend(track.ssrc, sequence, len(kept.packet), now):
                yield self._repeat(sink, kept, now)
                if self._is_lossy:
                    self.again.append(kept.sequence)
            elif age > UNREPAIRED_SECONDS:
                self.unrepaired.add(track)

    def repeat(self, sink: Sink, sequences: Iterable[int], now: float) -> Iterator[bytes]:
        """Yield packets of a sink once more, as far as the budget allows.

        :param sequences: the track's own numbers, as `again` lists them.
        """
        for sequence in sequences:
            kept, number = _kept(sink, sequence), sequence + sink.distance & 0xFFFF
            if kept is not None and self._budget.spend(sink.track.ssrc, number, len(kept.packet), now):
                yield self._repeat(sink, kept, now)

    def _repeat(self, sink: Sink, kept: Kept, now: float) -> bytes:
        packet = _repeated(sink, kept, now)
        self._octets += len(packet)
        return packet

    def rate(self, seconds: float) -> float:
        """Return the rate of retransmissions in bits per second since the last call.

        :param seconds: the time since the last call.
        """
        octets, self._octets = self._octets, 0
        return 8 * octets / seconds

    def tick(self, now: float, seconds: float, *, estimate: int, lost: float) -> None:
        """Renew the budget. The arguments are those of `Retransmissions.tick`."""
        self._budget.tick(now, seconds, estimate=estimate, lost=lost)
        self._is_lossy = lost >= LOSSY

    def measure(self, sinks: Mapping[int, Sink], now: float) -> None:
        """Measure, once per MEASURE_SECONDS, the rate of the media forwarded to the participant."""
        if now - self._measured_at < MEASURE_SECONDS:
            return
        before = self._forwarded
        self._forwarded = {ssrc: sink.forwarded for ssrc, sink in sinks.items()}
        packets = sum(each - before.get(ssrc, (each, 0))[0] for ssrc, (each, _) in self._forwarded.items())
        octets = sum(each - before.get(ssrc, (0, each))[1] for ssrc, (_, each) in self._forwarded.items())
        self._budget.forwarded(octets + rtp.HEADER_SIZE * packets, packets, now - self._measured_at)
        self._measured_at = now


def _kept(sink: Sink, sequence: int) -> Kept | None:
    """Return the newest packet with this sequence number in the track, if it may be sent to the participant again."""
    kept = sink.track.kept(sequence & 0xFFFF)
    if kept is None or kept.sequence < sink.begins or kept.packet[1] & 0x7F not in sink.payload_types:
        return None
    return kept


def padding(sink: Sink, probe: int, now: float) -> bytes:
    """Return a packet of padding in the stream of a sink's retransmissions (RFC 4588 section 4 allows it).

    :raises ValueError: when the receiver does not get numbers in its retransmissions.
    """
    if sink.departures is None or not sink.retransmits:
        raise ValueError("The receiver does not get numbers in its retransmissions.")
    number, payload_type = sink.departures.note(_PADDING_SIZE, now, probe), next(iter(sink.retransmits.values()))
    timestamp = sink.track.last_timestamp + sink.shift.timestamp & 0xFFFFFFFF
    header = rtp.HEADER.pack(0xB0, payload_type, sink.rtx_sequence, timestamp, sink.track.rtx_ssrc)
    sink.rtx_sequence = sink.rtx_sequence + 1 & 0xFFFF
    extension = bytes([0xBE, 0xDE, 0, 1, sink.number_ids.receiver << 4 | 1]) + number.to_bytes(2, "big") + b"\0"
    return header + extension + bytes(_PADDING - 1) + bytes([_PADDING])


def _age(track: Track, kept: Kept, now: float) -> float:
    """Return how long ago the successor of a packet came, in seconds: for so long, its picture has been incomplete."""
    shown = track.history.timestamp(kept.sequence + 1) if track.history is not None else None
    if shown is None:
        return 0.0
    since = track.last_timestamp - shown & 0xFFFFFFFF
    return (since if since < 0x80000000 else 0) / track.clock_rate + now - track.last_at


def _repeated(sink: Sink, kept: Kept, now: float) -> bytes:
    """Return a kept packet in the form that its receiver gets, wrapped in RTX if that was negotiated."""
    track = sink.track
    first, second = kept.packet[:2]
    type_ = sink.payload_types[second & 0x7F]
    sequence, timestamp = kept.sequence + sink.distance & 0xFFFF, kept.timestamp + sink.shift.timestamp & 0xFFFFFFFF
    header = rtp.HEADER.pack(first, second & 0x80 | type_, sequence, timestamp, track.ssrc)
    packet = rtp.translate_extensions(header + kept.packet[rtp.HEADER_SIZE :], sink.extensions)
    if sink.shift.picture or sink.shift.base:
        packet = shifted(packet, sink.shift.picture, sink.shift.base)
    if sink.departures is not None:
        place = rtp.number_place(kept.packet, sink.number_ids.source)
        packet, place = rtp.with_number(packet, place, sink.number_ids.receiver)
        number = sink.departures.note(len(packet) + rtp.RTX_HEADER_SIZE, now)
        packet = packet[:place] + number.to_bytes(2, "big") + packet[place + 2 :]
    if type_ in sink.retransmits:
        packet = rtp.wrap(packet, payload_type=sink.retransmits[type_], sequence=sink.rtx_sequence, ssrc=track.rtx_ssrc)
        sink.rtx_sequence = sink.rtx_sequence + 1 & 0xFFFF
    return packet
