"""Retransmissions take a bounded share of a receiver's bandwidth. Each packet is repeated at most once a round trip."""

import random
from collections import deque

import pytest

from media.forward.repair import BURST, LEAST_RATE, REQUESTS_A_TICK, SHARE, Retransmissions

# No test in this module uses the database.
pytestmark = pytest.mark.once

_SIZE = 1200


def simulate(line: int, sending: int, seconds: int, *, estimate: bool) -> float:
    """Send video over a link of `line` bits per second with a queue of 300 ms.

    The receiver asks for all missing packets every 100 ms. Return the rate of retransmissions in the last five seconds,
    in bits per second.
    """
    budget, chance = Retransmissions(), random.Random(1)
    queue, missing, repeated = 0.0, deque[int](maxlen=1000), 0
    sequence, sent_before, round_trip = 0, 0, 0.35
    for tick in range(10 * seconds):
        now = tick / 10
        queue = max(0.0, queue - line / 80)
        room = 0.3 * line / 8
        for _ in range(sending // (80 * _SIZE)):
            sequence += 1
            if queue + _SIZE > room:
                missing.append(sequence)
            else:
                queue += _SIZE
        for number in chance.sample(list(missing), len(missing)):
            if not budget.look_up():
                break
            if budget.is_due(1, number, now, round_trip) and budget.spend(1, number, _SIZE, now):
                repeated += _SIZE if now >= seconds - 5 else 0
                if queue + _SIZE <= room:
                    queue += _SIZE
                    missing.remove(number)
        if tick % 10 == 9:
            budget.forwarded((sequence - sent_before) * _SIZE, sequence - sent_before, 1.0)
            sent_before = sequence
        budget.tick(now, 0.1, estimate=line if estimate else 0, lost=0.0)
    return 8 * repeated / 5


@pytest.mark.parametrize("line", [150_000, 500_000])
@pytest.mark.parametrize("estimate", [True, False])
def test_repeats_into_a_narrow_line_stay_a_share_of_it(line: int, estimate: bool) -> None:
    assert simulate(line, 2_000_000, 30, estimate=estimate) <= 0.3 * line


def test_line_with_room_may_repeat_what_is_lost() -> None:
    budget = Retransmissions()
    budget.forwarded(250_000, 200, 1.0)
    assert budget.rate(estimate=4_000_000, lost=0.3) == pytest.approx(0.5 * 0.7 * 2_000_000)
    assert budget.rate(estimate=0, lost=0.0) == pytest.approx(SHARE * 2_000_000)


def test_a_receiver_that_gets_nothing_has_hardly_anything_sent_again() -> None:
    assert Retransmissions().rate(estimate=1 << 60, lost=0.0) == LEAST_RATE


def test_packet_is_sent_again_once_per_round_trip() -> None:
    budget = Retransmissions()
    sent = []
    for step in range(10):
        now = step / 100
        if budget.is_due(1, 7, now, 0.05) and budget.spend(1, 7, 100, now):
            sent.append(step)
    assert sent == [0, 5]


def test_bursts_and_lookups_are_bounded() -> None:
    budget = Retransmissions()
    sizes = [_SIZE for number in range(1000) if budget.spend(1, number, _SIZE, 0.0)]
    assert sum(sizes) <= BURST
    assert sum(budget.look_up() for _ in range(1000)) == REQUESTS_A_TICK


def test_requests_are_forgotten() -> None:
    budget = Retransmissions()
    for number in range(100):
        budget.is_due(1, number, 0.0, 0.1)
    assert budget.remembered == 100
    budget.tick(10.0, 0.1, estimate=0, lost=0.0)
    assert budget.remembered == 0
