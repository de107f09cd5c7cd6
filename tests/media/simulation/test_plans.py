"""Each plan, with each seed, measures what `thresholds` asks for."""

import pytest

from tests.media.simulation.plans import PLANS, Measures
from tests.media.simulation.thresholds import ROWS, THRESHOLDS
from tests.support.depth import examples
from tests.support.media.simulation.call import calling
from tests.support.media.simulation.loop import simulate

pytestmark = pytest.mark.once

_CASES = [
    (name, seed)
    for name in PLANS
    for seed in range(1, 1 + (examples(3, deep=20) if name in ROWS else examples(1, deep=11)))
]


async def _measured(name: str, seed: int) -> Measures:
    async with calling(seed=seed) as call:
        return await PLANS[name](call)


@pytest.mark.parametrize(("name", "seed"), _CASES)
def test_a_call_is_as_good_as_the_thresholds_say(name: str, seed: int) -> None:
    measured = simulate(_measured(name, seed))
    missed = {
        measure: f"{measured[measure]:g} is not {bound}"
        for measure, bound in THRESHOLDS[name].items()
        if not bound.holds(measured[measure])
    }
    assert not missed
