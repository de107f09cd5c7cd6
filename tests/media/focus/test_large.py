"""The cost of a join or a leave is linear in the number of participants. The tests count work instead of time."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

import media.focus.node
from media.focus.leg import Leg
from media.focus.node import Node, Settings
from media.forward.tracks import Track
from media.sdp import media_section, sections
from media.sdp.negotiation import Negotiation
from tests.support.media.by_json import by_json
from tests.support.media.node_harness import Notes
from tests.support.media.synthetic import Peer, SyntheticConference

# No test in this module uses the database.
pytestmark = pytest.mark.once

SMALL, LARGE = 4, 8


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node that no other test uses."""
    node = Node(Settings(), Notes())
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the calls of functions that a join could call too often."""
    counts: Counter[str] = Counter()

    def counted(of: type, name: str) -> None:
        method: Callable[..., Any] = getattr(of, name)

        def call(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return method(*arguments, **options)

        monkeypatch.setattr(of, name, call)

    for of, names in (
        (Track, ("attach", "detach", "lay_routes")),
        (Negotiation, ("create_offer", "receive_answer")),
    ):
        for name in names:
            counted(of, name)

    def replaced(*arguments: Any, **options: Any) -> Any:
        counts["replace"] += 1
        return replace(*arguments, **options)

    for module in (media_section, sections):
        monkeypatch.setattr(module, "replace", replaced)
    return counts


async def cost(node: Node, work: Counter[str], size: int) -> tuple[Counter[str], Counter[str]]:
    """Return the counts for one join and one leave, in a conference of this size."""
    conference = SyntheticConference(f"room-{size}", by_json(node))
    peers = [Peer(f"p{number}") for number in range(size)]
    for peer in peers[:-1]:
        await conference.join(peer)
    work.clear()
    await conference.join(peers[-1])
    joined = Counter(work)
    work.clear()
    await conference.leave(peers[-1])
    await conference.settle()
    left = Counter(work)
    for peer in peers[:-1]:
        await conference.leave(peer)
    return joined, left


async def test_work_of_a_join_and_a_leave_is_linear(node: Node, work: Counter[str]) -> None:
    small, large = await cost(node, work, SMALL), await cost(node, work, LARGE)
    for before, after in zip(small, large, strict=True):
        for name, count in after.items():
            assert count <= before[name] * LARGE / SMALL * 1.2 + 8, (name, before, after)


async def test_join_touches_its_own_tracks_and_no_others(node: Node, work: Counter[str]) -> None:
    joined, _ = await cost(node, work, LARGE)
    others = LARGE - 1
    # The newcomer sends two tracks to each other participant, and gets two from each. Routes are laid only for a
    # track's first receiver.
    assert joined["attach"] <= 2 * 2 * others + 4
    assert joined["lay_routes"] <= 4
    assert joined["receive_answer"] == LARGE
    assert joined["create_offer"] <= 3 * LARGE


async def test_unchanged_media_sections_stay_the_same_objects(node: Node, work: Counter[str]) -> None:
    """New objects are work for the garbage collector, which stops the loop. Each of N members has 2 N sections."""
    joined, left = await cost(node, work, LARGE)
    assert joined["replace"] <= 20 * LARGE
    assert left["replace"] <= 20 * LARGE


def test_other_threads_and_the_garbage_collector_stop_the_loop_only_briefly() -> None:
    program = (
        "import gc, sys; from media.focus.node import prepare_interpreter as prepare; prepare();"
        "print(sys.getswitchinterval(), *gc.get_threshold(), gc.get_freeze_count())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    interval, new, young, middle, frozen = map(float, done.stdout.split())
    assert interval <= 0.0001
    # A collection of young objects scans at most 7,000 of them. A full collection is rare and skips frozen objects.
    assert new * young <= 7_000
    assert new * young * middle >= 10_000_000
    assert frozen > 10_000


async def test_ticks_yield_to_the_network_after_a_few_legs(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one large conference nor several conferences together block the loop."""
    conferences = [SyntheticConference(f"room-{size}", by_json(node)) for size in (2, 6)]
    peers = {
        conference: [Peer(f"{conference.id}-{number}") for number in range(size)]
        for conference, size in zip(conferences, (2, 6), strict=True)
    }
    for conference in conferences:
        for peer in peers[conference]:
            await conference.join(peer, settle=False)
    legs_between_looks, done = [0], asyncio.Event()
    tick, selector = Leg.tick, asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    select = selector.select

    def ticked(leg: Leg, now: float) -> None:
        legs_between_looks[-1] += 1
        tick(leg, now)
        if sum(legs_between_looks) == 3 * 8:
            done.set()

    def look(timeout: float | None) -> Any:
        legs_between_looks.append(0)
        return select(timeout)

    monkeypatch.setattr(media.focus.node, "LEGS_AT_ONCE", 3, raising=False)
    monkeypatch.setattr(Leg, "tick", ticked)
    monkeypatch.setattr(selector, "select", look)
    await asyncio.wait_for(done.wait(), 20)
    assert max(legs_between_looks) <= 3
    for conference in conferences:
        for peer in peers[conference]:
            await conference.leave(peer)


async def test_participant_that_is_up_to_date_gets_no_offer(node: Node, work: Counter[str]) -> None:
    conference = SyntheticConference("room", by_json(node))
    peers = [Peer(f"p{number}") for number in range(3)]
    for peer in peers:
        await conference.join(peer)
    await conference.update()
    work.clear()
    await conference.update()
    assert not work
    for peer in peers:
        await conference.leave(peer)


async def test_descriptions_are_read_and_written_off_the_loops_thread(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One description of a large conference takes milliseconds. The loop could not forward packets during that time."""
    threads: dict[str, set[int]] = {}

    def noted(name: str) -> None:
        method: Callable[..., Any] = getattr(Negotiation, name)

        def call(*arguments: Any, **options: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident())
            return method(*arguments, **options)

        monkeypatch.setattr(Negotiation, name, call)

    names = {"receive_offer", "create_answer", "create_offer", "receive_answer", "adopt"}
    for name in names:
        noted(name)
    conference = SyntheticConference("room", by_json(node))
    peers = {f"p{number}": Peer(f"p{number}") for number in range(3)}
    for peer in peers.values():
        await conference.join(peer)
    restarted = SyntheticConference("restarted", by_json(node))
    await restarted.take_over(peers, {id_: peer.offer() for id_, peer in peers.items()})
    for peer in peers.values():
        await conference.leave(peer)
    assert threads.keys() == names
    assert threading.get_ident() not in set.union(*threads.values())
