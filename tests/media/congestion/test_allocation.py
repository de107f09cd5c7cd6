"""The bandwidth of a receiver is divided among its videos."""

import random

import pytest

from media.congestion.allocation import PAUSED, Demand, allocate, most
from tests.support.depth import examples

pytestmark = pytest.mark.once

_CAMERA = (150.0, 500.0, 1500.0)


def _cameras(*present: int, priority: int = 1) -> list[Demand[str]]:
    return [Demand(f"c{place}", priority, _CAMERA, layer) for place, layer in enumerate(present)]


@pytest.mark.parametrize(
    ("budget", "layers"),
    [(10_000, [2, 2]), (3_000, [2, 2]), (2_999, [2, 1]), (1_000, [1, 1]), (649, [0, 0]), (300, [0, 0]), (299, [0, -1])],
)
def test_the_largest_layers_that_fit_are_chosen(budget: float, layers: list[int]) -> None:
    assert list(allocate(budget, _cameras(2, 2)).values()) == layers


def test_a_larger_layer_needs_some_to_spare() -> None:
    assert allocate(549, _cameras(0)) == {"c0": 0}
    assert allocate(551, _cameras(0)) == {"c0": 1}
    assert allocate(501, _cameras(1)) == {"c0": 1}


def test_a_screen_comes_first() -> None:
    screen = Demand("screen", 0, (300.0, 1000.0), 1)
    assert allocate(1_300, [*_cameras(0, 0), screen]) == {"c0": 0, "c1": 0, "screen": 1}
    assert allocate(500, [*_cameras(0, 0), screen]) == {"c0": 0, "c1": PAUSED, "screen": 0}


@pytest.mark.parametrize("seed", range(examples(50, deep=1000)))
def test_what_a_receiver_gets_fits_into_its_sum(seed: int) -> None:
    chance = random.Random(seed)
    rates = [tuple(sorted(chance.uniform(3e4, 2e6) for _ in range(3))) for _ in range(4)]
    videos = [Demand(place, 1, each, chance.randrange(3)) for place, each in enumerate(rates)]
    chosen = allocate(sum(each.rate(each.present) for each in videos), [each.within(0) for each in videos])
    assert chosen == {each.video: each.present for each in videos}


def test_a_video_that_is_received_stays_before_one_that_is_paused() -> None:
    assert allocate(160, _cameras(PAUSED, 0)) == {"c0": PAUSED, "c1": 0}


def test_a_video_that_is_paused_needs_some_to_spare() -> None:
    assert allocate(160, _cameras(PAUSED)) == {"c0": PAUSED}
    assert allocate(165, _cameras(PAUSED)) == {"c0": 0}


def test_a_rise_may_be_limited() -> None:
    assert allocate(10_000, [each.within(1) for each in _cameras(0, PAUSED, 2)]) == {"c0": 1, "c1": 0, "c2": 2}
    assert allocate(10_000, [each.within(0) for each in _cameras(0, PAUSED, 2)]) == {"c0": 0, "c1": PAUSED, "c2": 2}


@pytest.mark.parametrize("seed", range(examples(20, deep=1_000)))
def test_the_choice_never_exceeds_the_budget_and_never_changes_by_itself(seed: int) -> None:
    chance = random.Random(seed)
    demands = []
    for number in range(chance.randint(1, 40)):
        rates = tuple(sorted(chance.uniform(10, 3_000) for _ in range(chance.randint(1, 3))))
        demands.append(Demand(number, chance.randint(0, 2), rates, chance.randint(PAUSED, len(rates) - 1)))
    budget = chance.uniform(0, 1.2 * most(demands))
    chosen = allocate(budget, demands)
    assert sum(each.rate(chosen[each.video]) for each in demands) <= budget + 1e-6
    settled = [Demand(each.video, each.priority, each.rates, chosen[each.video]) for each in demands]
    again = allocate(budget, settled)
    # What is received stays. Something may be left that is enough for more, now that the receiver keeps what it has.
    assert all(again[each.video] >= chosen[each.video] for each in demands)
