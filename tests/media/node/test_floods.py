"""A participant that floods the node is cut off. The others are not affected."""

import asyncio

import pytest
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRrPacket, RtcpRtpfbPacket, RtcpSenderInfo, RtcpSrPacket

from media.forward import repair, rtp, tracks
from tests.support.media.attacks import flood_of
from tests.support.media.node_harness import World, in_order

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_flood_is_cut_off_and_hurts_nobody_else(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    world.stop_ticking()
    allowance = world.leg("alice").quota.packets_left
    for _ in range(30):
        alice.film(32)
    carol.film(3)
    await bob.until(lambda: len({rtp.HEADER.unpack_from(packet)[4] for packet in bob.packets}) == 2)
    assert world.leg("alice").quota.excess == 960 - allowance
    assert len(bob.packets) == allowance + 3


async def test_flood_of_sender_reports_is_not_passed_on(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    await bob.gets(1)
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=1, packet_count=1, octet_count=1)
    flood = flood_of(RtcpSrPacket(ssrc=alice.video.ssrc, sender_info=info))
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        alice.send_rtcp(flood)
        alice.film()
        await bob.gets(1)
    seconds = asyncio.get_running_loop().time() - started
    passed_on = [each for each in bob.reports if isinstance(each, RtcpSrPacket)]
    assert 1 <= len(passed_on) <= 1 + seconds / tracks.REPORT_SECONDS


async def test_flood_of_negative_acknowledgements_is_not_looked_through(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((sequence, _, ssrc),) = await bob.gets(1)
    world.stop_ticking()
    asked: list[int] = []
    monkeypatch.setattr(tracks.Track, "kept", lambda self, number: asked.append(number))
    everything = [sequence + number & 0xFFFF for number in range(3, 4000)]
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=everything))
    bob.film()
    await alice.gets(1)
    assert len(asked) == repair.REQUESTS_A_TICK


async def test_flood_of_feedback_is_cut_off_and_hurts_nobody_else(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    report = bytes(RtcpRrPacket(ssrc=1))
    world.stop_ticking()
    allowance = world.leg("alice").quota.rtcp_left
    for _ in range(5):
        for _ in range(200):
            alice.send_rtcp(report)
        carol.film(3)
        assert in_order(await bob.gets(3))
    assert world.leg("alice").quota.excess == 1000 - allowance
