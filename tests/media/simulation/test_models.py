"""The models of browsers show and play what a browser would."""

import itertools
import random

import pytest

from tests.support.media.path import Path
from tests.support.media.simulation.call import heard, seen
from tests.support.media.simulation.camera import THREE, Camera
from tests.support.media.simulation.hearing import Hearing
from tests.support.media.simulation.screen import Screen, Shown

pytestmark = pytest.mark.once


def _hear(lost: set[int], *, is_redundant: bool = False, late: float = 0.0) -> float:
    """Return the share of the sound that is concealed if these packets of 500 are lost."""
    hearing = Hearing()
    for number in range(500):
        if number not in lost:
            delay = late if number >= 250 else 0.0
            hearing.take(number, number * 0.02 + delay, is_redundant=is_redundant)
    return heard(hearing, 0.5, 9.5).concealed


def test_lost_sound_is_concealed_once() -> None:
    assert _hear(set()) == 0
    assert _hear(set(range(100, 400, 10))) == pytest.approx(30 / 450, abs=0.005)


def test_redundancy_repairs_single_losses() -> None:
    # The first loss makes the delay longer by one packet.
    assert _hear(set(range(100, 400, 10)), is_redundant=True) == pytest.approx(1 / 450, abs=0.001)
    assert _hear({100, 101, 102, 103}, is_redundant=True) == pytest.approx(3 / 450, abs=0.001)


def test_a_longer_path_is_heard_once() -> None:
    assert _hear(set(), late=0.2) == pytest.approx(10 / 450, abs=0.005)


def test_an_outage_is_concealed_and_then_over() -> None:
    assert _hear(set(range(100, 200))) == pytest.approx(100 / 450, abs=0.01)


def test_a_freeze_counts_as_in_browsers() -> None:
    screen = Screen()
    screen.shown = [Shown(each * 0.05, 0, 0) for each in range(200) if not 50 <= each < 60]
    view = seen(screen, 0.0, 10.0, frames_a_second=20)
    assert view.frozen == pytest.approx(0.055)
    assert view.longest_gap == pytest.approx(0.55)
    assert view.frames_a_second == pytest.approx(19.0)


@pytest.mark.parametrize(
    ("rate", "layers"), [(100_000, {0}), (300_000, {0, 1}), (800_000, {0, 1}), (1_000_000, {0, 1, 2})]
)
def test_a_camera_sends_the_layers_that_fit(rate: float, layers: set[int]) -> None:
    camera, octets = Camera(), 0
    for _ in range(200):
        camera.allow(rate)
        pictures = list(camera.frame())
        octets += sum(each.octets for each in pictures)
        assert {each.place for each in pictures} == layers
    given = min(rate, sum(THREE[place].most for place in layers))
    assert 8 * octets / 10 == pytest.approx(given, rel=0.15)


def test_losses_come_in_bursts() -> None:
    chance = random.Random(1)
    path = Path(loss=0.1, burst=4.0, seed=chance.randrange(100))
    lost = [not path.deliveries(100, number * 0.01) for number in range(50_000)]
    bursts = sum(is_lost and not before for before, is_lost in itertools.pairwise(lost))
    assert sum(lost) / len(lost) == pytest.approx(0.1, abs=0.01)
    assert sum(lost) / bursts == pytest.approx(4.0, abs=0.3)
