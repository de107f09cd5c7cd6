"""Key frames are requested when a receiver needs one, but at a bounded rate."""

import asyncio

import pytest
from aiortc.rtp import RTCP_PSFB_PLI, RtcpPsfbPacket, RtcpRtpfbPacket

from media.focus import connections, participants
from media.forward import rtp, streams, tracks
from tests.support.media.attacks import flood_of
from tests.support.media.node_harness import Listener, World

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_key_frame_is_asked_for_when_somebody_joins_and_in_moderation_after_that(world: World) -> None:
    (alice,) = await world.join("alice")
    (bob,) = await world.join("bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    await alice.until(lambda: pictures_lost(alice))
    alice.reports.clear()
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        bob.send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=ssrc))
    await alice.until(lambda: pictures_lost(alice))
    bob.film(1)
    await alice.gets(1)
    seconds = asyncio.get_running_loop().time() - started
    assert len(pictures_lost(alice)) <= 1 + seconds / tracks.KEY_FRAME_SECONDS


async def without_requests(world: World) -> tuple[Listener, Listener]:
    """Connect alice and bob. The first key frame has been requested, and the node's ticks are stopped."""
    alice, bob = await world.join("alice", "bob")
    alice.film()
    await bob.gets(1)
    await alice.until(lambda: pictures_lost(alice))
    world.stop_ticking()
    await world.pass_time(tracks.KEY_FRAME_SECONDS, alice, bob)
    bob.film()
    await alice.gets(1)
    alice.reports.clear()
    return alice, bob


def asked_for(peer: Listener) -> list[int]:
    """Return the sequence numbers of the packets that a peer was asked to send again."""
    return [number for each in peer.reports if isinstance(each, RtcpRtpfbPacket) for number in each.lost]


async def test_key_frame_is_asked_for_when_repair_is_given_up(world: World) -> None:
    alice, bob = await without_requests(world)
    lost, *others = [alice.video.packet() for _ in range(3)]
    alice.send(others)
    await bob.gets(2)
    await world.pass_time(streams.USEFUL_SECONDS - 0.2, alice, bob)
    await alice.until(lambda: asked_for(alice))
    bob.film()
    await alice.gets(1)
    assert set(asked_for(alice)) == {rtp.HEADER.unpack_from(lost)[2]}
    assert not pictures_lost(alice)
    await world.pass_time(streams.USEFUL_SECONDS, alice, bob)
    await alice.until(lambda: pictures_lost(alice))


@pytest.mark.parametrize(("gap", "is_repaired"), [(streams.LARGEST_GAP, True), (streams.LARGEST_GAP + 1, False)])
async def test_key_frame_is_asked_for_when_the_gap_is_too_large(world: World, gap: int, is_repaired: bool) -> None:
    alice, bob = await without_requests(world)
    alice.video.sequence += gap
    alice.film()
    await bob.gets(1)
    await world.pass_time(tracks.KEY_FRAME_SECONDS, alice, bob)
    await alice.until(lambda: asked_for(alice) if is_repaired else pictures_lost(alice))
    bob.film()
    await alice.gets(1)
    assert len(set(asked_for(alice))) == (gap if is_repaired else 0)
    assert bool(pictures_lost(alice)) is not is_repaired


def pictures_lost(peer: Listener) -> list[RtcpPsfbPacket]:
    """Return the requests for key frames that a peer has got for its camera."""
    return [
        each
        for each in peer.reports
        if isinstance(each, RtcpPsfbPacket) and each.fmt == RTCP_PSFB_PLI and each.media_ssrc == peer.video.ssrc
    ]


async def test_flood_of_requests_for_key_frames_is_one_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    wanted: list[str] = []
    monkeypatch.setattr(
        connections.Connections, "key_frame_wanted", lambda self, leg, track: wanted.append(track.participant)
    )
    bob.send_rtcp(flood_of(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=ssrc)))
    bob.film()
    await alice.gets(1)
    assert wanted == ["alice"]


async def test_constant_requests_for_key_frames_cost_the_sender_few_and_a_new_receiver_waits_for_none(
    world: World,
) -> None:
    alice, bob = await without_requests(world)
    ssrc, seconds = world.track("alice", "video").ssrc, 20
    for _ in range(2 * seconds):
        bob.send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=ssrc))
        bob.film()
        await alice.gets(1)
        await world.pass_time(tracks.KEY_FRAME_SECONDS, alice, bob)
    bob.film()
    await alice.gets(1)
    assert len(pictures_lost(alice)) <= participants.KEY_FRAME_BURST + seconds / participants.KEY_FRAME_RENEWAL_SECONDS
    alice.reports.clear()
    await world.join("carol")
    await alice.until(lambda: pictures_lost(alice))


async def test_turning_a_section_off_and_on_costs_the_sender_few_key_frames(world: World) -> None:
    alice, bob = await without_requests(world)
    section, count = bob.sections[1], 6 * participants.KEY_FRAME_BURST
    for number in range(count):
        section.receives = bool(number % 2)
        await world.conference.renegotiate(bob)
        await world.pass_time(tracks.KEY_FRAME_SECONDS, alice, bob)
    bob.film()
    await alice.gets(1)
    seconds = count * tracks.KEY_FRAME_SECONDS
    assert len(pictures_lost(alice)) <= participants.KEY_FRAME_BURST + seconds / participants.KEY_FRAME_RENEWAL_SECONDS
