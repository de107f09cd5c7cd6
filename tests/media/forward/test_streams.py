"""The state of an arriving stream: its gaps, the packets to ask for, and reception reports."""

import pytest
from aiortc.rtp import RtcpReceiverInfo

from media.forward.repair import INITIAL_PATIENCE
from media.forward.streams import LARGEST_GAP, REQUEST_BURST, REQUEST_RATE, TRIES, Stream

# No test in this module uses the database.
pytestmark = pytest.mark.once


def stream(*, asks: bool = True) -> Stream:
    """Return a video stream whose packet 65,534 arrived at second 0."""
    made = Stream(ssrc=1, clock_rate=90000, asks=asks)
    assert made.take(65534, 0, 0.0) is not None
    return made


def told(arriving: Stream, now: float) -> RtcpReceiverInfo:
    """Return the reception report of a stream that has begun."""
    report = arriving.report(now)
    assert report is not None
    return report


def test_sequence_numbers_go_on_beyond_sixteen_bits() -> None:
    arriving = stream()
    for sequence in (65535, 0, 1):
        assert arriving.take(sequence, 0, 0.0) is not None
    assert told(arriving, 1.0).highest_sequence == 65536 + 1
    assert not arriving.missing


def test_missing_packets_are_asked_for_at_once_and_again_until_they_come() -> None:
    arriving = stream()
    arriving.take(1, 0, 1.0)
    assert list(arriving.due(1.0)) == [65535, 0]
    assert list(arriving.due(1.0)) == []
    assert arriving.take(65535, 0, 1.01) is not None
    assert list(arriving.due(1.0 + INITIAL_PATIENCE)) == [0]


def test_a_missing_packet_is_taken_once() -> None:
    arriving = stream()
    arriving.take(0, 0, 0.0)
    assert arriving.take(65535, 0, 0.01) is not None  # the packet comes late; its retransmission follows
    assert arriving.take(65535, 0, 0.02) is None
    assert arriving.take(0, 0, 0.03) is None
    assert told(arriving, 1.0).packets_lost == 0


def test_a_packet_that_never_comes_is_given_up_and_breaks_the_picture() -> None:
    arriving = stream()
    arriving.take(0, 0, 0.0)
    asked = [number for tick in range(100) for number in arriving.due(tick / 10)]
    assert 1 <= len(asked) <= TRIES
    assert not arriving.missing
    assert arriving.is_broken


def test_a_sender_that_leaves_gaps_all_the_time_is_asked_at_a_bounded_rate() -> None:
    arriving, sequence, asked = stream(), 65534, 0
    for packet in range(1000):
        sequence += LARGEST_GAP
        assert arriving.take(sequence & 0xFFFF, 0, packet / 1000) is not None
        asked += len(list(arriving.due(packet / 1000)))
    assert asked <= (REQUEST_BURST + REQUEST_RATE) * TRIES
    assert arriving.is_broken
    # Once the sender leaves no more false gaps, real losses are repaired again.
    list(arriving.due(3.0))
    arriving.take(sequence + 2 & 0xFFFF, 0, 3.0)
    assert list(arriving.due(3.0)) == [sequence + 1 & 0xFFFF]


def test_nothing_is_asked_for_twice_within_a_round_trip() -> None:
    arriving, clock = stream(), 0.0
    sequence = 65534
    requests = []
    for loss in range(5):
        sequence += 2
        arriving.take(sequence & 0xFFFF, 0, clock)
        asked = sum(len(list(arriving.due(clock + tick / 100))) for tick in range(20))
        requests.append(asked)
        arriving.take(sequence - 1 & 0xFFFF, 0, clock + 0.2)
        clock += 1 + loss
    assert requests == [1] * 5
    assert arriving.round_trip.seconds == pytest.approx(0.2)


def test_answers_that_take_longer_than_before_make_it_wait_longer() -> None:
    arriving = stream()
    arriving.round_trip.measure(0.01)
    sequence, asked = 65534, []
    for clock in range(20):
        sequence += 2
        arriving.take(sequence & 0xFFFF, 0, float(clock))
        asked.append(sum(len(list(arriving.due(clock + tick / 100))) for tick in range(30)))
        arriving.take(sequence - 1 & 0xFFFF, 0, clock + 0.3)
    assert asked[0] > 1
    assert asked[-1] == 1


def test_without_nack_nothing_is_asked_for() -> None:
    arriving = stream(asks=False)
    arriving.take(5, 0, 0.0)
    assert not arriving.missing


def test_a_new_beginning_is_no_loss() -> None:
    arriving = stream()
    arriving.take(65534 + LARGEST_GAP + 5 & 0xFFFF, 0, 0.0)
    assert not arriving.missing
    assert arriving.is_broken


def test_the_list_of_missing_packets_is_bounded() -> None:
    arriving = stream()
    sequence = 0
    for _ in range(10):
        sequence += LARGEST_GAP
        arriving.take(sequence & 0xFFFF, 0, 0.0)
    assert len(arriving.missing) <= LARGEST_GAP


def test_very_old_packet_is_of_no_use() -> None:
    arriving = stream()
    assert arriving.take(65534 - 3 * LARGEST_GAP, 0, 0.0) is None


def test_report_states_the_share_lost_since_the_last_one() -> None:
    arriving = stream()
    for sequence in (65535, 1, 2):  # one of five is lost
        arriving.take(sequence, 0, 0.0)
    first = told(arriving, 1.0)
    assert (first.fraction_lost, first.packets_lost) == (256 // 5, 1)
    arriving.take(3, 0, 0.0)
    second = told(arriving, 2.0)
    assert (second.fraction_lost, second.packets_lost) == (0, 1)


def test_report_echoes_the_last_sender_report() -> None:
    arriving = stream()
    arriving.take_sender_report(0x0123456789ABCDEF, 90_000, 10.0)
    report = told(arriving, 10.5)
    assert (report.lsr, report.dlsr) == (0x456789AB, 32768)
    assert arriving.sender_clock == (0x0123456789ABCDEF, 90_000)


def test_jitter_follows_the_differences_of_arrival() -> None:
    arriving = stream()
    for i in range(1, 100):
        arriving.take(65534 + i & 0xFFFF, 3000 * i, i / 30)
    assert told(arriving, 4.0).jitter == 0
    for i in range(100, 200):
        arriving.take(65534 + i & 0xFFFF, 3000 * i, i / 30 + (i % 2) * 0.01)
    assert 600 < told(arriving, 8.0).jitter < 1000


def test_nothing_is_reported_before_the_first_packet() -> None:
    assert Stream(ssrc=1, clock_rate=90000).report(1.0) is None
