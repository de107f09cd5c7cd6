"""The heartbeats of all WebSockets of a process."""

import asyncio
import time
from typing import Any

import pytest

from events.heartbeats import Heartbeats


class Member:
    """Records the times of its heartbeats."""

    def __init__(self) -> None:
        self.beats: list[float] = []

    def beat(self) -> None:
        self.beats.append(time.monotonic())


async def beaten(members: list[Member], number: int) -> None:
    """Wait until each member has had this many heartbeats."""
    async with asyncio.timeout(10):
        while min(len(member.beats) for member in members) < number:
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _hasty(settings: Any) -> None:
    settings.HEARTBEAT_SECONDS = 0.2


async def test_each_member_gets_heartbeats_at_the_interval() -> None:
    heartbeats, members = Heartbeats(), [Member() for _ in range(3)]
    for member in members:
        heartbeats.add(member)
        await asyncio.sleep(0.06)
    await beaten(members, 4)
    for member in members:
        heartbeats.remove(member)
        assert member.beats[3] - member.beats[0] >= 3 * 0.2 - 0.01
    assert members[0].beats[0] < members[2].beats[0]


async def test_many_members_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    rung: list[float] = []

    def note(when: float, callback: Any, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        if getattr(callback, "__self__", None) is heartbeats:
            rung.append(when)
        return call_at(when, callback, *args, **kwargs)

    monkeypatch.setattr(loop, "call_at", note)
    heartbeats, members = Heartbeats(), [Member() for _ in range(500)]
    for member in members:
        heartbeats.add(member)
    assert len(rung) == 1
    await beaten(members, 2)
    assert len(rung) < 20
    for member in members:
        heartbeats.remove(member)


async def test_removed_member_gets_no_more_heartbeats() -> None:
    heartbeats, stays, goes = Heartbeats(), Member(), Member()
    heartbeats.add(goes)
    heartbeats.add(stays)
    await beaten([stays, goes], 1)
    heartbeats.remove(goes)
    beats = len(goes.beats)
    await beaten([stays], 4)
    assert len(goes.beats) == beats
    heartbeats.remove(stays)
    heartbeats.remove(stays)
