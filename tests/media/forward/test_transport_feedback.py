"""Transport-wide feedback: what a leg's packets report about arrivals, and what feedback says about packets sent."""

import random

import pytest

from media.congestion.acknowledgement import Report
from media.forward import fastpath, rtcp
from media.forward.arrivals import Arrivals
from media.forward.datagrams import Inbox, Outbox
from media.forward.departures import Departures
from media.forward.memory import ARRIVALS, DEPARTURES, LATE, SLOTS_IN, SLOTS_OUT, TICKS_A_SECOND, ffi
from media.forward.repair import OVERHEAD
from tests.support.depth import examples

pytestmark = pytest.mark.once

_ID = 3


def _numbered(number: int) -> bytes:
    return (
        bytes([0x90])
        + bytes(11)
        + b"\xbe\xde\0\1"
        + bytes([_ID << 4 | 1])
        + (number & 0xFFFF).to_bytes(2, "big")
        + b"\0"
    )


def _heard(*numbers: int, at: float = 1.0) -> Arrivals:
    arrivals = Arrivals()
    arrivals.id = _ID
    for place, number in enumerate(numbers):
        arrivals.hear(_numbered(number), 1 << _ID, at + place / 1000)
    return arrivals


def _reported(arrivals: Arrivals) -> list[int]:
    """Return the numbers (16 bits) of the packets that are reported as arrived now."""
    arrived = arrivals.take()
    return [] if arrived is None else [arrived.first + i & 0xFFFF for i, at in enumerate(arrived.at) if at >= 0]


class TestArrivals:
    def test_each_packet_is_reported_once(self) -> None:
        arrivals = _heard(65_534, 65_535, 1)
        assert _reported(arrivals) == [65_534, 65_535, 1]
        assert arrivals.take() is None

    def test_a_packet_that_comes_late_is_reported_later(self) -> None:
        arrivals = _heard(10, 12)
        assert _reported(arrivals) == [10, 12]
        arrivals.hear(_numbered(11), 1 << _ID, 2.0)
        assert _reported(arrivals) == [11, 12]

    def test_a_packet_that_comes_too_late_is_not(self) -> None:
        arrivals = _heard(10, 10 + LATE)
        arrivals.take()
        arrivals.hear(_numbered(9), 1 << _ID, 2.0)
        assert arrivals.take() is None

    def test_a_repetition_changes_nothing(self) -> None:
        arrivals = _heard(10)
        arrivals.hear(_numbered(10), 1 << _ID, 2.0)
        assert arrivals.take() == rtcp.Arrived(0x10000 + 10, [TICKS_A_SECOND])

    def test_what_lies_before_a_long_jump_is_forgotten(self) -> None:
        arrivals = _heard(10, 10 + 2 * ARRIVALS)
        arrived = arrivals.take()
        assert arrived is not None
        assert len(arrived.at) == ARRIVALS
        assert [at >= 0 for at in arrived.at] == [False] * (ARRIVALS - 1) + [True]

    def test_an_element_of_another_size_is_no_number(self) -> None:
        arrivals = _heard()
        arrivals.hear(bytes([0x90]) + bytes(11) + b"\xbe\xde\0\1" + bytes([_ID << 4, 1, 0, 0]), 1 << _ID, 1.0)
        assert arrivals.take() is None


def _read(packets: list[bytes]) -> list[int | None]:
    """Return the arrival times in ticks that feedback packets state."""
    times: list[int | None] = []
    for packet in packets:
        feedback = rtcp.read_transport_feedback(packet)
        begin = feedback.reference * rtcp.TICKS_A_REFERENCE
        times += [None if ticks is None else begin + ticks for ticks in feedback.arrived]
    return times


def _written(arrived: rtcp.Arrived | None) -> list[bytes]:
    packets: list[bytes] = []
    while arrived is not None:
        packet, count = rtcp.transport_feedback(1, 2, arrived, len(packets))
        assert len(packet) < 1200
        assert len(packet) % 4 == 0
        packets.append(packet)
        arrived = arrived.after(count)
    return packets


class TestFeedback:
    @pytest.mark.parametrize("seed", range(examples(20, deep=500)))
    def test_what_is_written_is_read(self, seed: int) -> None:
        chance = random.Random(seed)
        at, times = chance.randrange(1_000_000), []
        loss = chance.choice([0, 0.02, 0.5, 0.95])
        for _ in range(chance.choice([1, 7, 8, 30, 1024])):
            at = max(0, at + chance.choice([0, 1, 3, 40, 255, 256, -2, chance.randrange(70_000)]))
            times.append(-1 if chance.random() < loss else at)
        times[-1] = at
        read = _read(_written(rtcp.Arrived(70_000, times)))
        expected = [None if at < 0 else at for at in times]
        assert read[: len(expected)] == expected

    def test_the_form_is_that_of_the_draft(self) -> None:
        """A run of three packets 1 ms apart, then a loss, then a packet a second later."""
        packet, count = rtcp.transport_feedback(1, 2, rtcp.Arrived(5, [512, 516, 520, -1, 4520]), 7)
        assert count == 5
        assert packet[:20] == bytes.fromhex("afcd0006 00000001 00000002 0005 0005 000002 07".replace(" ", ""))
        # One vector of two-bit symbols: small, small, small, missing, large.
        assert packet[20:22] == (0xC000 | 0b01_01_01_00_10_00_00).to_bytes(2, "big")
        assert packet[22:27] == bytes([0, 4, 4, 4000 >> 8, 4000 & 0xFF])
        assert packet[27:] == bytes([1])

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            bytes.fromhex("00050001 00000000"),  # no chunk
            bytes.fromhex("00050001 00000000 2001"),  # no delta
            bytes.fromhex("00050001 00000000 4001 00"),  # half a delta
            bytes.fromhex("00050002 00000000 2000 2001 00"),  # an empty run
        ],
    )
    def test_malformed_feedback_is_refused(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"cut off|empty"):
            rtcp.read_transport_feedback(bytes(12) + content)

    def test_it_is_taken_out_of_a_compound_packet(self) -> None:
        feedback, _ = rtcp.transport_feedback(1, 2, rtcp.Arrived(5, [512]), 0)
        loss = rtcp.picture_loss(1, 2)
        assert rtcp.split(loss + feedback + loss) == (loss + loss, [feedback])
        assert rtcp.split(b"\x80") == (b"\x80", [])
        assert rtcp.split(feedback[:-4]) == (b"", [feedback[:-4]])


class TestDepartures:
    def test_feedback_says_when_packets_arrived(self) -> None:
        departures = Departures()
        assert [departures.note(100 + i, i / 10) for i in range(3)] == [0, 1, 2]
        acknowledged = departures.acknowledge(rtcp.TransportFeedback(0, 1, [0, None, 4000]))
        assert [(each.sent_at, each.size - OVERHEAD) for each in acknowledged] == [(0.0, 100), (0.1, 101), (0.2, 102)]
        assert [each.arrived_at for each in acknowledged] == [0.064, None, 1.064]

    def test_a_packet_is_acknowledged_once(self) -> None:
        departures = Departures()
        departures.note(100, 0.0)
        assert departures.acknowledge(rtcp.TransportFeedback(0, 1, [0]))
        assert not departures.acknowledge(rtcp.TransportFeedback(0, 1, [0]))

    def test_packets_that_were_never_sent_are_left_out(self) -> None:
        departures = Departures()
        departures.note(100, 0.0)
        assert not departures.acknowledge(rtcp.TransportFeedback(1, 1, [0] * 1000))
        assert not departures.acknowledge(rtcp.TransportFeedback(0x8000, 1, [0] * 1000))

    def test_packets_that_are_forgotten_are_left_out(self) -> None:
        departures = Departures()
        for _ in range(DEPARTURES + 10):
            departures.note(100, 0.0)
        acknowledged = departures.acknowledge(rtcp.TransportFeedback(0, 1, [0] * 20))
        assert len(acknowledged) == 10

    def test_the_reference_time_may_wrap(self) -> None:
        departures = Departures()
        departures.note(100, 0.0)
        departures.note(100, 0.0)
        (before,) = departures.acknowledge(rtcp.TransportFeedback(0, 0xFFFFFF, [0]))
        (after,) = departures.acknowledge(rtcp.TransportFeedback(1, 0, [0]))
        assert before.arrived_at is not None
        assert after.arrived_at is not None
        assert after.arrived_at - before.arrived_at == pytest.approx(0.064)


def _outcome(report: Report) -> list[tuple[float | int, ...] | int]:
    return [*(tuple(column) for column in report[:-1]), report.lost]


def _in_python(departures: Departures, feedback: bytes) -> object:
    try:
        return _outcome(Report.of(departures.acknowledge(rtcp.read_transport_feedback(feedback))))
    except ValueError:
        return "refused"


def _in_c(fast: fastpath.FastPath, departures: Departures, feedback: bytes) -> object:
    try:
        return _outcome(fast.acknowledge(departures.memory, feedback))
    except ValueError:
        return "refused"


def _any_feedback(chance: random.Random, next_: int) -> bytes:
    """Return feedback that may be sound, about packets that were never sent, inconsistent, or cut off."""
    chunks, symbols = b"", list[int]()
    for _ in range(chance.choice([0, 1, 1, 2, 5, 30])):
        match chance.randrange(3):
            case 0:
                symbol, run = chance.choice([0, 1, 1, 2, 3]), chance.choice([1, 2, 7, 20, 200, 0x1FFF, 0])
                chunks += (symbol << 13 | run).to_bytes(2, "big")
                symbols += [symbol] * run
            case 1:
                bits = chance.randrange(1 << 14)
                chunks += (0x8000 | bits).to_bytes(2, "big")
                symbols += [bits >> shift & 1 for shift in range(13, -1, -1)]
            case _:
                bits = chance.randrange(1 << 14)
                chunks += (0xC000 | bits).to_bytes(2, "big")
                symbols += [bits >> shift & 3 for shift in range(12, -1, -2)]
    count = min(0xFFFF, chance.choice([len(symbols)] * 6 + [max(0, len(symbols) - 3), len(symbols) + 1, 0xFFFF]))
    size = sum(each for each in symbols[:count] if each < 3)
    deltas = chance.randbytes(max(0, size + chance.choice([0, 0, 0, 0, 3, -1, -size])))
    first = next_ - chance.choice([0, 1, 20, 300, DEPARTURES, 0x8000, chance.randrange(0x10000)]) & 0xFFFF
    reference = chance.choice([0, 1, 1000, 0x7FFFFF, 0x800000, 0xFFFFFF, chance.randrange(1 << 24)])
    head = first.to_bytes(2, "big") + count.to_bytes(2, "big") + reference.to_bytes(3, "big") + b"\x07"
    feedback = b"\x8f\xcd\0\0" + bytes(8) + head + chunks + deltas
    return feedback[: chance.choice([len(feedback)] * 9 + [chance.randrange(len(feedback))])]


@pytest.mark.parametrize("seed", range(examples(4, deep=100)))
def test_the_fast_path_reads_any_feedback_as_python_does(seed: int) -> None:
    chance = random.Random(seed)
    library = fastpath.load()
    assert library is not None, "the fast path is not compiled: `make test` does that"
    fast = fastpath.FastPath(library, -1, (0, 0), Inbox(SLOTS_IN), Outbox(SLOTS_OUT), longest_batch=1)
    worlds = Departures(), Departures()
    next_ = chance.choice([0, 1, 0xFFFE, DEPARTURES, 2**40])
    for departures in worlds:
        departures.next = next_
    read, reported = 0, 0
    for _ in range(300):
        for _ in range(chance.choice([0, 1, 20, 300])):
            size, now, probe = chance.randint(1, 1400), chance.random() * 1e6, chance.choice([0, 0, 7])
            assert worlds[0].note(size, now, probe) == worlds[1].note(size, now, probe)
        feedback = _any_feedback(chance, worlds[0].next)
        compiled, interpreted = _in_c(fast, worlds[0], feedback), _in_python(worlds[1], feedback)
        assert compiled == interpreted
        assert bytes(ffi.buffer(worlds[0].memory)) == bytes(ffi.buffer(worlds[1].memory))
        if isinstance(compiled, list):
            read, reported = read + 1, reported + len(compiled[0])
    # Both would agree about anything if they refused it.
    assert read > 100
    assert reported > 500
