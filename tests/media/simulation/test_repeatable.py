"""One seed gives one run, and the fast path forwards what Python forwards."""

from collections import Counter

import pytest

from tests.support.depth import examples
from tests.support.media.simulation.call import Call, calling
from tests.support.media.simulation.camera import Camera
from tests.support.media.simulation.loop import simulate

pytestmark = pytest.mark.once

SECONDS = 6
# When each packet arrived, its size, and its participant. Encryption makes the contents differ from run to run.
Run = list[tuple[str, float, int]]


async def _meet(call: Call) -> None:
    await call.join("alice", camera=Camera(seed=call.seed))
    await call.join("bob")
    await call.join("carol")
    await call.start()


def _arrived(call: Call) -> Run:
    return [(name, round(at, 6), size) for name, each in call.endpoints.items() for at, size in each.arrived]


async def _lossy(seed: int, *, fast: bool) -> Run:
    async with calling(seed=seed, fast=fast) as call:
        await _meet(call)
        call.endpoints["bob"].link.change(loss=0.05, jitter=0.01)
        await call.pass_time(SECONDS)
        return _arrived(call)


async def _cut(seed: int, *, fast: bool) -> Run:
    """Lose all packets of some times: which these are does not depend on the order of packets."""
    async with calling(seed=seed, fast=fast) as call:
        await _meet(call)
        call.endpoints["alice"].link.up.loss = 0.02
        for number in range(2 * SECONDS):
            await call.pass_time(0.46)
            call.endpoints["bob" if number % 2 else "carol"].link.down.is_cut = True
            await call.pass_time(0.04)
            call.endpoints["bob" if number % 2 else "carol"].link.down.is_cut = False
        return _arrived(call)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "python"])
def test_a_seed_gives_the_same_run_each_time(fast: bool) -> None:
    runs = [simulate(_lossy(seed, fast=fast)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("seed", range(examples(3, deep=25)))
def test_the_fast_path_forwards_the_same_packets_at_the_same_times(seed: int) -> None:
    fast, slow = (Counter(simulate(_cut(seed, fast=fast))) for fast in (True, False))
    assert fast == slow
