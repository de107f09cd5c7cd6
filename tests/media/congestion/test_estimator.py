"""The estimate of a receiver's bandwidth, over simulated paths."""

import random
from statistics import mean

import pytest

from media.congestion.acknowledgement import Acknowledgement, Report
from media.congestion.estimator import FIRST_RATE, LEAST_RATE, MOST_RATE, Estimator
from tests.support.depth import examples
from tests.support.media.path import Path
from tests.support.media.sender import FRAMES_A_SECOND, Run

pytestmark = pytest.mark.once

SEEDS = range(examples(1, deep=20))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rate", [150_000, 500_000, 1_000_000, 2_000_000])
def test_it_uses_a_narrow_path_and_keeps_its_queue_short(rate: int, seed: int) -> None:
    run = Run(Path(rate=rate, seed=seed), estimator=Estimator(rate)).go(60)
    after = run.since(10)
    assert mean(each.arrived for each in after) > 0.85 * rate
    # A key frame needs more than a tenth of a second on the narrowest path.
    assert mean(each.queue for each in after) < 0.1 + 150_000 / rate * 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_it_follows_a_path_that_becomes_narrow(seed: int) -> None:
    run = Run(Path(rate=3_000_000, seed=seed), estimator=Estimator(2_000_000)).go(20).go(20, rate=500_000)
    assert all(each.rate < 600_000 for each in run.since(23))
    assert mean(each.queue for each in run.since(23)) < 0.1
    assert mean(each.arrived for each in run.since(23)) > 0.75 * 500_000


@pytest.mark.parametrize("frames", range(8))
def test_it_falls_to_the_rate_of_a_narrow_path_before_the_sender_has_reacted(frames: int) -> None:
    sender = Run(Path(rate=3_000_000), estimator=Estimator(2_600_000), least=1_600_000, interval=0.05)
    sender.go(20 + frames / FRAMES_A_SECOND)
    assert sender.go(0.7, rate=500_000).estimator.rate < 550_000


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1), (0.1, 4)])
def test_losses_without_a_queue_slow_nobody_down(loss: float, burst: int, seed: int) -> None:
    run = Run(Path(delay=0.03, loss=loss, burst=burst, seed=seed), estimator=Estimator(1_000_000)).go(60)
    assert mean(each.rate for each in run.since(20)) > 1_500_000


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_the_rate_of_a_path_without_a_queue(seed: int) -> None:
    run = Run(Path(rate=500_000, queue=0.02, seed=seed)).go(60)
    assert 350_000 < mean(each.rate for each in run.since(20)) < 650_000
    assert mean(each.arrived for each in run.since(20)) > 0.7 * 500_000


@pytest.mark.parametrize("seed", SEEDS)
def test_jitter_is_no_congestion(seed: int) -> None:
    run = Run(Path(jitter=0.02, seed=seed), estimator=Estimator(1_000_000)).go(30)
    assert run.moments[-1].rate > 1_500_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_longer_path_is_not_taken_for_a_queue_for_long(seed: int) -> None:
    run = Run(Path(rate=3_000_000, seed=seed), estimator=Estimator(1_000_000)).go(15)
    before = run.moments[-1].rate
    run.go(25, delay=0.25)
    assert min(each.rate for each in run.since(15)) > 0.4 * before
    assert run.moments[-1].rate > 0.8 * before


def test_it_is_at_least_what_arrives_without_a_queue() -> None:
    run = Run(Path(), least=1_500_000).go(3)
    assert run.estimator.rate > 0.9 * 1_500_000


def test_a_probe_raises_the_estimate_at_once() -> None:
    estimator = Estimator()
    estimator.probe(1, 10 * 1000)
    sent = [(i * 0.004, 0.1 + i * 0.004) for i in range(10)]
    packets = [Acknowledgement(at, arrived, 1000, probe=1) for at, arrived in sent]
    estimator.acknowledge(Report.of(packets), 0.2, 0.1)
    assert estimator.rate == pytest.approx(2_000_000, rel=0.01)


def test_a_probe_that_queues_shows_the_rate_of_the_path() -> None:
    estimator = Estimator()
    estimator.probe(1, 10 * 1000)
    sent = [(i * 0.004, 0.1 + i * 0.008) for i in range(10)]
    packets = [Acknowledgement(at, arrived, 1000, probe=1) for at, arrived in sent]
    estimator.acknowledge(Report.of(packets), 0.2, 0.1)
    assert estimator.rate == pytest.approx(950_000, rel=0.01)


@pytest.mark.parametrize("arriving", [0.0, 1e-9, 0.001])
def test_a_probe_that_arrives_faster_than_it_was_sent_shows_nothing(arriving: float) -> None:
    estimator = Estimator()
    estimator.probe(1, 10 * 1000)
    sent = [(i * 0.004, 0.1 + i * arriving) for i in range(10)]
    packets = [Acknowledgement(at, arrived, 1000, probe=1) for at, arrived in sent]
    estimator.acknowledge(Report.of(packets), 0.2, 0.1)
    assert estimator.rate < 1.1 * FIRST_RATE


def test_if_all_is_lost_the_estimate_stays_within_its_bounds() -> None:
    estimator = Estimator(1_000_000)
    for i in range(600):
        estimator.acknowledge(Report.of([Acknowledgement(i / 10, None, 1000)] * 10), i / 10, 0.1)
    assert LEAST_RATE <= estimator.rate <= MOST_RATE


@pytest.mark.parametrize("seed", range(examples(20, deep=500)))
def test_no_feedback_breaks_it(seed: int) -> None:
    chance = random.Random(seed)
    times = (0.0, 1e-9, 0.02, 60.0, 1e6, -1e6, 2.0**63, -(2.0**63))
    estimator, now = Estimator(), 0.0
    for number in range(300):
        now += chance.choice([0.0, 0.001, 0.1, 30.0])
        estimator.probe(number, chance.choice([0, 1, 10_000]))
        packets = [
            Acknowledgement(
                now - chance.random(),
                None if chance.random() < 0.3 else now + chance.choice(times),
                chance.choice([0, 100, 1200]),
                chance.choice([0, number]),
            )
            for _ in range(chance.choice([0, 1, 30]))
        ]
        estimator.acknowledge(Report.of(packets), now, chance.choice([0.0, 0.05, 1.0]))
        assert LEAST_RATE <= estimator.rate <= MOST_RATE
        assert estimator.throughput >= 0
