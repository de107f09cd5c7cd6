"""A node samples the quality of its connections, in both directions."""

import asyncio

import pytest
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpReceiverInfo, RtcpRrPacket, RtcpRtpfbPacket

from media.focus import conference, retransmission, sampler
from media.reports import Direction, Sample, Source
from tests.support.media.layers import layered
from tests.support.media.node_harness import SECONDS, World, true

pytestmark = pytest.mark.once

UP, DOWN = Direction.UP, Direction.DOWN


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample several times a second."""
    monkeypatch.setattr(conference, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(conference, "SAMPLE_SECONDS", 0.3)
    monkeypatch.setattr(retransmission, "MEASURE_SECONDS", 0.05)
    monkeypatch.setattr(sampler, "SHORTEST_SECONDS", 0.1)


def newest(world: World, who: str, direction: Direction) -> Sample | None:
    """Return the newest sample of a participant."""
    own = [each for each in world.samples if (each.participant, each.direction) == (who, direction)]
    return own[-1] if own else None


async def test_a_leg_is_sampled_in_both_directions(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    async with asyncio.timeout(SECONDS):
        while True:
            alice.film()
            await asyncio.sleep(0.01)
            sent, got = newest(world, "alice", UP), newest(world, "bob", DOWN)
            if sent and got and sent.bitrate and got.bitrate:
                break
    # A packet of 1,160 bytes every 10 ms is about 900 kbit/s.
    assert 100_000 < sent.bitrate < 2_000_000
    assert 100_000 < got.bitrate < 2_000_000
    assert (sent.source, sent.videos, got.videos, got.paused) == (Source.FOCUS, 1, 1, 0)
    assert sent.loss == got.loss == 0
    assert sent.silence is not None
    assert sent.silence < 3
    # Bob sends nothing, and alice gets nothing.
    for who, direction in (("bob", UP), ("alice", DOWN)):
        idle = newest(world, who, direction)
        assert idle is not None
        assert idle.bitrate == 0


async def test_what_a_receiver_reports_is_in_its_samples(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(2)
    ((_, _, _), (sequence, _, ssrc)) = await bob.gets(2)
    block = RtcpReceiverInfo(
        ssrc=ssrc, fraction_lost=64, packets_lost=1, highest_sequence=0, jitter=9_000, lsr=0, dlsr=0
    )
    bob.send_rtcp(RtcpRrPacket(ssrc=1, reports=[block]))
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence]))
    await true(lambda: sum(each.retransmissions or 0 for each in world.samples if each.direction == DOWN) == 1)
    await true(lambda: (got := newest(world, "bob", DOWN)) and got.loss == 0.25)
    got = newest(world, "bob", DOWN)
    assert got is not None
    assert got.jitter == 0.1


async def test_lost_packets_of_a_sender_are_counted_and_requested_again(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    alice.film()
    alice.video.packet()
    alice.film()
    await true(lambda: any(each.retransmissions for each in world.samples if each.direction == UP))
    await true(lambda: any(each.loss for each in world.samples if each.direction == UP))
    assert {each.participant for each in world.samples if each.retransmissions or each.loss} == {"alice"}


async def test_layers_are_named_as_their_sender_names_them(world: World) -> None:
    alice, (low, high) = layered("alice", "low", "high")
    world.peers.append(alice)
    await world.conference.join(alice)
    await world.join("bob")
    async with asyncio.timeout(SECONDS):
        while True:
            alice.send([*low.frame(key=True), *high.frame(key=True)])
            await asyncio.sleep(0.01)
            sent, got = newest(world, "alice", UP), newest(world, "bob", DOWN)
            if sent and got and sent.layers == {"low": 1, "high": 1} and got.layers:
                break
    assert sent.videos == 1
    assert sum(got.layers.values()) == 1
    assert set(got.layers) <= {"low", "high"}


async def test_a_paused_video_is_counted(world: World) -> None:
    alice, (low, _) = layered("alice", "low", "high")
    world.peers.append(alice)
    await world.conference.join(alice)
    await world.join("bob")
    alice.send(low.frame(key=True))
    track = world.track("alice", "video")
    world.leg("bob").downlink.paused.add(track)
    world.node.conferences["room"].routing.connect(world.leg("bob"), track)
    await true(lambda: (got := newest(world, "bob", DOWN)) and (got.videos, got.paused) == (1, 1))


async def test_a_leg_that_is_gone_is_not_sampled(world: World) -> None:
    _, bob = await world.join("alice", "bob")
    await true(lambda: newest(world, "bob", UP))
    await world.conference.leave(bob)
    world.peers.remove(bob)
    world.samples.clear()
    await true(lambda: len(world.samples) > 4)
    assert {each.participant for each in world.samples} == {"alice"}
