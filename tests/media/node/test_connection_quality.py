"""The node reports a connection that is broken or poor, and when it is fine again."""

import asyncio
from collections.abc import Callable

import pytest
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket

from media.focus import conference, liveness
from media.focus.record import CALM_SECONDS
from media.reports import Connection, Verdict
from tests.support.media.node_harness import SECONDS, World

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_broken_connection_is_reported_and_so_is_its_return(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    bob.fall_silent()
    await world.pass_time(liveness.SILENT_SECONDS - 1, alice)
    assert world.heard == []
    await world.pass_time(3, alice)
    assert world.heard == [("bob", Connection.DISCONNECTED)]
    bob.resume_reading()
    await world.pass_time(3, alice, bob)
    await world.pass_time(1)
    assert world.heard[1:] == [("bob", Connection.CONNECTED)]
    assert world.lost == []
    # His log records when it began and ended.
    await world.pass_time(CALM_SECONDS + 1, alice, bob)
    assert [(who, verdict) for who, verdict, _ in world.judged] == [
        ("bob", Verdict.INTERRUPTED),
        ("bob", Verdict.FINE),
    ]
    (*_, began_at), (*_, ended_at) = world.judged
    assert 15 < ended_at - began_at < 25


def _loses(share: float, ssrc: int) -> RtcpRrPacket:
    """Return a receiver report with this share of lost packets."""
    block = RtcpReceiverInfo(
        ssrc=ssrc, fraction_lost=int(256 * share), packets_lost=0, highest_sequence=0, jitter=0, lsr=0, dlsr=0
    )
    return RtcpRrPacket(ssrc=1, reports=[block])


async def test_poor_connection_is_reported_again_and_again_until_it_is_fine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conference, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(liveness, "REMINDER_SECONDS", 0.2)
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    # Bob's reports about a stream that he does not get are ignored.
    bob.send_rtcp(_loses(0.9, alice.video.ssrc))
    bob.send_rtcp(_loses(0.25, ssrc))
    await until(lambda: len(world.heard) >= 3)
    assert set(world.heard) == {("bob", Connection.POOR)}
    # The log records it once.
    assert [(who, verdict) for who, verdict, _ in world.judged] == [("bob", Verdict.POOR)]
    bob.send_rtcp(_loses(0.0, ssrc))
    await until(lambda: world.heard[-1] == ("bob", Connection.CONNECTED))


async def test_connection_on_which_the_focus_loses_too_much_is_poor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conference, "REPORT_SECONDS", 0.05)
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    lost = 0
    async with asyncio.timeout(SECONDS):
        while lost < 100 or not world.heard:
            alice.video.packet()
            lost += 1
            alice.film(2)
            # Packets lost on the way from alice are missing for bob too. But his own connection is still good.
            bob.send_rtcp(_loses(1 / 3, ssrc))
            await asyncio.sleep(0.01)
    assert world.heard == [("alice", Connection.POOR)]


async def until(condition: Callable[[], object]) -> None:
    """Wait until the node's reports meet a condition."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.05)
