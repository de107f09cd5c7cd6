"""What feedback costs. A receiver decides how often it sends feedback, so it must not occupy the node."""

import time

import pytest

from media.congestion.acknowledgement import Acknowledgement, Report
from media.congestion.estimator import Estimator
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_feedback_about_each_single_packet_costs_little(share: float) -> None:
    estimator, rate = Estimator(), 4000
    begun = time.thread_time()
    for number in range(2 * rate):
        sent_at = number / rate
        arrived_at = None if number % 100 < 100 * share else sent_at + 0.02
        estimator.acknowledge(Report.of([Acknowledgement(sent_at, arrived_at, 1200)]), sent_at + 0.05, 0.05)
    assert time.thread_time() - begun < 1.5 * slowness()


@pytest.mark.parametrize("at_once", [1, 3000])
def test_a_probe_of_a_fast_connection_costs_little(at_once: int) -> None:
    packets, rate = 3000, 120_000
    estimator = Estimator()
    estimator.probe(1, 340 * packets)
    sent = [Acknowledgement(each / rate, each / rate + 0.02, 340, probe=1) for each in range(packets)]
    begun = time.thread_time()
    for first in range(0, packets, at_once):
        estimator.acknowledge(Report.of(sent[first : first + at_once]), 0.1, 0.05)
    assert time.thread_time() - begun < 0.3 * slowness()
    assert estimator.rate > 30_000_000
