"""A node among real sockets: what one participant sends, the others get, as one stream each, and nobody else's harm."""

import asyncio
import contextlib
import errno
import gc
import itertools
import random
import secrets
import socket
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from aioice import stun
from aiortc import rtcdtlstransport
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    unpack_remb_fci,
)

from media.focus import (
    addresses,
    conference,
    connections,
    downlink,
    feedback,
    liveness,
    pacing,
    participants,
    quota,
    sources,
    speakers,
)
from media.focus.leg import Leg
from media.focus.node import Settings
from media.focus.retransmission import OLDEST_SECONDS
from media.focus.sources import Sources
from media.forward import datagrams, repair, rtcp, rtp, streams, tracks
from media.forward.datagrams import SLOT, address_of
from media.forward.memory import NEAR
from media.reports import LOST_SECONDS, Connection
from media.sdp.description import parse
from media.transport import consent
from tests.support.depth import examples
from tests.support.media import synthetic
from tests.support.media.dtls_pair import mutate
from tests.support.media.node_harness import SECONDS, Listener, World, around, in_order, numbers_used_twice, true
from tests.support.media.synthetic import AUDIO, PCMU, RTX, VIDEO, VIDEO_SIZE, Line, RefusedError, Source
from tests.support.media.tunnels import Tunnel

# It touches no database.
pytestmark = pytest.mark.once


# --- Forwarding ---------------------------------------------------------------------------------------------------


async def test_each_gets_what_the_others_send_and_nothing_of_its_own(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    alice.film(5)
    for other in (bob, carol):
        assert in_order(await other.gets(5))
    bob.film(2)
    await alice.gets(2)
    assert alice.packets == []


async def test_body_arrives_unchanged_and_unknown_extensions_blanked(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packet = alice.audio.packet()
    alice.send([packet])
    (got,) = await bob.until(lambda: bob.packets)
    assert got[-60:] == packet[-60:]
    assert rtp.element(got, 1) == bytes([40])


async def test_receiver_is_told_the_ssrc_that_it_gets(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    assert ssrc != alice.video.ssrc
    assert ssrc in {track.ssrc for track in world.node.conferences["room"].tracks.values()}


async def test_bursts_go_out_as_gso_batches_and_arrive_whole(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    for _ in range(5):
        alice.film(20)
        assert in_order(await bob.gets(20))


async def test_who_is_behind_a_tunnel_gets_bursts_singly_and_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async with around(Settings(fast=False)) as world:
        alice, bob, carol = await world.join("alice", "bob", "carol")
        tunnelled = world.leg("bob").addresses.destination
        assert tunnelled is not None
        tunnel = Tunnel(errno.EIO, {tunnelled.address})
        monkeypatch.setattr(datagrams, "_libc", tunnel)
        for _ in range(5):
            alice.film(20)
            for other in (bob, carol):
                assert in_order(await other.gets(20))
        assert tunnel.refusals == 1
        assert [world.leg(peer.id).addresses.gso for peer in (bob, carol)] == [False, True]


async def test_hold_reaches_nobody_and_resume_leaves_no_gap(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    before = await bob.gets(3)
    await world.room.set_state(alice, "on-hold", "hold")
    await world.room.settle()
    alice.film(3)
    bob.film()
    await alice.gets(1)  # the holder goes on receiving
    await world.room.set_state(alice, "accepted", "resume")
    await world.room.settle()
    alice.film(3)
    assert in_order(before + await bob.gets(3))
    assert bob.packets == []


async def test_receivers_share_what_they_get_also_after_their_sender_was_on_hold(world: World) -> None:
    alice, *others = await world.join("alice", "bob", "carol", "dave")
    track = world.track("alice", "video")
    alice.film(3)
    for each in others:
        await each.gets(3)
    for _ in range(2):
        await world.room.set_state(alice, "on-hold", "hold")
        await world.room.settle()
        assert track.sinks == {}
        await world.room.set_state(alice, "accepted", "resume")
        # It films while they answer one by one.
        while world.room.offered:
            await world.room.answer_one()
            alice.film(3)
            await others[0].gets(3)
    assert [len(route.variants) for route in track.routes.values()] == [1]
    for each in others:
        each.packets.clear()
    alice.film(3)
    for each in others:
        assert in_order(await each.gets(3))


async def test_mute_is_for_one_kind(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.room.seats["alice"].muted = ["audio"]
    await world.room.update()
    await world.room.settle()
    alice.send([alice.audio.packet()])
    alice.film()
    await bob.gets(1)
    assert bob.packets == []


async def test_move_to_another_device_goes_on_without_renegotiation(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    before = await bob.gets(3)
    await world.room.set_state(alice, "moving", "move")
    assert world.room.offered == []
    phone = Listener("alice")
    world.peers.append(phone)
    world.room.seats["alice"].peer = phone
    world.room.seats["alice"].state = "accepted"
    await world.room.renegotiate(phone, fresh=True, kind="move")
    assert [each for each in world.room.offered if each[0] == "bob"] == []
    phone.film(3)
    after = await bob.gets(3)
    assert in_order(before + after)
    assert (after[0][1] - before[-1][1]) & 0xFFFFFFFF < 90000 * SECONDS


async def test_who_leaves_is_heard_no_more_and_its_lines_are_used_again(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    await world.room.leave(carol)
    await world.room.settle()
    lines = len(bob.lines)
    await world.join("dave")
    assert len(bob.lines) == lines
    world.peers[-1].film()
    await bob.gets(1)
    await alice.gets(1)


def _memory_of(gone: Leg) -> list[Any]:
    """Return what a leg is made of."""
    assert gone.transport is not None
    assert gone.channels is not None
    dtls, sctp = gone.transport._dtls, gone.channels._sctp
    return [gone, gone.transport, dtls, dtls._ssl, dtls._rx_srtp, gone.channels, sctp]


async def test_memory_of_who_has_left_is_free_without_garbage_collection(world: World) -> None:
    alice, bob = await world.join("alice", "bob", data=True)
    kept = [weakref.ref(each) for each in _memory_of(world.leg("alice"))]
    kept.append(weakref.ref(world.track("alice", "video").history))
    gc.disable()
    try:
        await world.room.leave(alice)
        await world.room.settle()
        await true(lambda: not [each() for each in kept if each() is not None])
    finally:
        gc.enable()
    assert world.leg(bob.id).sinks == {}


async def test_screen_beside_the_camera(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.share_screen()
    await world.room.renegotiate(alice)
    await world.room.settle()
    alice.film()
    alice.send([alice.sources[2].packet()])
    got = await bob.gets(2)
    assert len({ssrc for _, _, ssrc in got}) == 2


async def test_who_speaks_is_told_once_and_changes_with_the_loudest(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    for speaker in (alice, bob, alice):
        heard = len(world.spoken)
        async with asyncio.timeout(SECONDS):
            while len(world.spoken) == heard:
                speaker.send([speaker.audio.packet()])
                await asyncio.sleep(0.01)
    assert world.spoken == ["alice", "bob", "alice"]


async def test_the_speaker_changes_no_more_than_once_a_second(world: World) -> None:
    await world.join("alice", "bob")
    world.stop_ticking()
    seconds = 4
    for number in range(10 * seconds):
        for index, name in enumerate(("alice", "bob")):
            world.track(name, "audio").loudness = 10.0 * (number % 2 == index)
        await world.pass_time(0.1)
    assert 2 <= len(world.spoken) <= 1 + seconds / speakers.SPEAKER_SECONDS


async def test_who_speaks_is_heard_beside_the_silent_sound_of_a_screen(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    alice.lines.append(alice._own_line("audio", receives=False))
    await world.room.renegotiate(alice)
    await world.room.settle()
    assert sum(track.kind == "audio" for track in world.node.conferences["room"].tracks.values()) == 3
    async with asyncio.timeout(SECONDS):
        while not world.spoken:
            alice.send([alice.audio.packet()])
            await asyncio.sleep(0.01)
    assert world.spoken == ["alice"]


# --- RTCP ---------------------------------------------------------------------------------------------------------


async def test_lost_on_the_way_down_is_sent_again_as_rtx(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(4)
    got = await bob.gets(4)
    sequence, _, ssrc = got[1]
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence, sequence + 1 & 0xFFFF]))
    await bob.until(lambda: len(bob.of(RTX)) == 2)
    restored = [rtp.unwrap(packet, payload_type=VIDEO, ssrc=ssrc) or b"" for packet in bob.of(RTX)]
    assert [rtp.HEADER.unpack_from(packet)[2] for packet in restored] == [sequence, sequence + 1 & 0xFFFF]
    assert len({rtp.HEADER.unpack_from(packet)[4] for packet in bob.of(RTX)} | {ssrc}) == 2


async def test_a_receiver_gets_no_more_sent_again_than_its_budget(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    alice.film(40)
    got = await bob.gets(40)
    lost = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=got[0][2], lost=[each for each, _, _ in got])
    affordable = repair.BURST // (alice.video.size + repair.OVERHEAD)
    assert 0 < affordable < 40
    for _ in range(2):
        bob.send_rtcp(lost)
        bob.film()
        await alice.gets(1)
    alice.film()
    await bob.gets(1)
    assert len(bob.of(RTX)) == affordable


async def test_lost_after_a_pause_is_sent_again_and_what_was_before_it_is_not(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    video = bob.lines[1]
    for _ in range(2):
        alice.film(4)
        got = await bob.gets(4)
        sequence, _, ssrc = got[0]
        lost = [sequence + i & 0xFFFF for i in range(4)]
        bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=lost))
        await bob.gets(4, RTX)
        video.receives = False
        await world.room.renegotiate(bob)
        alice.film(6)
        bob.film()
        await alice.gets(1)
        video.receives = True
        await world.room.renegotiate(bob)
        await world.room.settle()
        bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=lost))
    alice.film()
    await bob.gets(1)
    assert bob.packets == []


async def test_what_a_short_pause_has_left_out_may_be_asked_for(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    alice.film()
    ((before, _, ssrc),) = await bob.gets(1)
    video = bob.lines[1]
    video.receives = False
    await world.room.renegotiate(bob)
    alice.film(4)
    await carol.gets(5)
    video.receives = True
    await world.room.renegotiate(bob)
    await world.room.settle()
    alice.film()
    ((after, _, _),) = await bob.gets(1)
    missed = [before + i & 0xFFFF for i in range(1, 5)]
    assert after == before + 5 & 0xFFFF
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=missed))
    assert len(await bob.gets(4, RTX)) == 4


async def test_what_comes_late_and_was_asked_for_is_passed_on_once(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packets = [alice.video.packet() for _ in range(3)]
    wrapped = rtp.wrap(packets[1], payload_type=RTX, sequence=1, ssrc=alice.video.rtx_ssrc or 0)
    alice.send([packets[0], packets[2], packets[1], wrapped])
    alice.film()
    got = await bob.gets(4)
    assert in_order(sorted(got))
    assert bob.packets == []


async def test_retransmissions_that_nobody_can_have_asked_for_are_passed_over(world: World) -> None:
    alice, bob = Listener("alice"), Listener("bob")
    alice.lines[1].attributes = [each for each in alice.lines[1].attributes if each != f"a=rtcp-fb:{VIDEO} nack"]
    for peer in (alice, bob):
        world.peers.append(peer)
        await world.room.join(peer)
    packet = alice.video.packet()
    repeated = [
        rtp.wrap(packet, payload_type=RTX, sequence=number, ssrc=ssrc)
        for number, ssrc in ((1, alice.video.rtx_ssrc or 0), (1, 4711), (2, 4711))
    ]
    alice.send([packet, *repeated])
    alice.film()
    assert in_order(await bob.gets(2))
    assert bob.packets == []


async def test_what_was_never_sent_cannot_be_asked_for(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((sequence, _, ssrc),) = await bob.gets(1)
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence + 9 & 0xFFFF]))
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=12345, lost=[sequence]))
    alice.film()
    await bob.gets(1)
    assert bob.packets == []


@pytest.mark.parametrize(("age", "answered"), [(OLDEST_SECONDS - 0.4, True), (OLDEST_SECONDS + 0.1, False)])
async def test_what_is_too_old_for_a_picture_is_not_sent_again(world: World, age: float, answered: bool) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    (sequence, _, ssrc), *_ = await bob.gets(3)
    world.stop_ticking()
    world.clock.added += age
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence]))
    # What comes after the request is forwarded after the answer.
    bob.film()
    await alice.gets(1)
    alice.film()
    await bob.gets(1)
    assert len(bob.of(RTX)) == answered


async def test_lost_on_the_way_up_is_asked_for_and_passed_on_late(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packets = [alice.video.packet() for _ in range(3)]
    alice.send([packets[0], packets[2]])
    (nack,) = await alice.until(lambda: [each for each in alice.reports if isinstance(each, RtcpRtpfbPacket)])
    assert nack.lost == [rtp.HEADER.unpack_from(packets[1])[2]]
    wrapped = rtp.wrap(packets[1], payload_type=RTX, sequence=1, ssrc=alice.video.rtx_ssrc or 0)
    alice.send([wrapped])
    got = await bob.gets(3)
    assert in_order(sorted(got))
    assert in_order([got[0], got[2], got[1]])


@pytest.mark.parametrize("agreed", [True, False])
async def test_feedback_is_a_compound_packet_unless_reduced_size_was_agreed(
    world: World, monkeypatch: pytest.MonkeyPatch, agreed: bool
) -> None:
    offer = Listener.offer
    if not agreed:
        monkeypatch.setattr(Listener, "offer", lambda self: offer(self).replace("a=rtcp-rsize\r\n", ""))
    alice, _ = await world.join("alice", "bob")
    packets = [alice.video.packet() for _ in range(3)]
    alice.send([packets[0], packets[2]])
    await alice.until(lambda: [each for each in alice.reports if isinstance(each, RtcpRtpfbPacket)])
    place = next(index for index, each in enumerate(alice.reports) if isinstance(each, RtcpRtpfbPacket))
    before = alice.reports[max(0, place - 2) : place]
    # The reports of each second have report blocks.
    is_compound = [type(each) for each in before] == [RtcpRrPacket, RtcpSdesPacket] and not before[0].reports
    assert is_compound is not agreed


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
    """Let two join. The first key frame was asked for, and the node's ticks are stopped."""
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
    """Return the sequence numbers that a peer was asked for."""
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


async def test_sender_report_is_translated(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packet = alice.video.packet()
    alice.send([packet])
    ((_, timestamp, ssrc),) = await bob.gets(1)
    sent_timestamp = rtp.HEADER.unpack_from(packet)[3]
    info = RtcpSenderInfo(ntp_timestamp=77 << 32, rtp_timestamp=sent_timestamp, packet_count=1, octet_count=1000)
    alice.send_rtcp(RtcpSrPacket(ssrc=alice.video.ssrc, sender_info=info))
    (report,) = await bob.until(lambda: [each for each in bob.reports if isinstance(each, RtcpSrPacket)])
    assert (report.ssrc, report.sender_info.ntp_timestamp) == (ssrc, 77 << 32)
    assert report.sender_info.rtp_timestamp == timestamp
    assert report.sender_info.packet_count == 1


async def test_receivers_are_told_whose_a_stream_is_and_when_it_ends(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=1, packet_count=1, octet_count=1)
    alice.send_rtcp(RtcpSrPacket(ssrc=alice.video.ssrc, sender_info=info))
    (description,) = await bob.until(
        lambda: [
            chunk
            for each in bob.reports
            if isinstance(each, RtcpSdesPacket)
            for chunk in each.chunks
            if chunk.ssrc == ssrc
        ]
    )
    assert description.items == [(1, b"alice")]
    await world.room.leave(alice)
    await bob.until(lambda: [each for each in bob.reports if isinstance(each, RtcpByePacket) and ssrc in each.sources])


async def test_sender_is_told_how_its_media_arrives(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    alice.film(3)
    reports = await alice.until(
        lambda: [
            block
            for each in alice.reports
            if isinstance(each, RtcpRrPacket)
            for block in each.reports
            if block.ssrc == alice.video.ssrc
        ]
    )
    assert reports[-1].highest_sequence & 0xFFFF == alice.video.sequence


# --- Connections --------------------------------------------------------------------------------------------------


async def test_roaming_moves_the_media(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    before = bob._socket.getsockname()
    bob.pause_reading()
    bob._socket.close()
    replacement = Listener("bob")
    bob._socket, bob.fd = replacement._socket, replacement.fd
    bob.resume_reading()
    assert bob._socket.getsockname() != before
    started = asyncio.get_running_loop().time()
    bob._send_datagram(bob._check())
    port = bob._socket.getsockname()[1]
    await bob.until(lambda: (where := world.leg("bob").addresses.destination) and address_of(where.name)[1] == port)
    alice.film(3)
    await bob.gets(3)
    assert asyncio.get_running_loop().time() - started < 1


async def test_ice_restart_moves_the_media_and_keeps_the_keys(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    before = await bob.gets(3)
    old_check, destination = alice._check(), world.leg("alice").addresses.destination
    alice.restart()
    answer = await world.room.renegotiate(alice)
    # Until it is used nothing changes.
    assert world.leg("alice").addresses.destination is destination
    assert f"a=ice-ufrag:{alice._remote[0]}\r\n" not in answer
    alice.restarted(answer)
    await alice.until(lambda: world.leg("alice").addresses.destination is not destination)
    alice.film(3)
    assert in_order(before + await bob.gets(3))
    bob.film(3)
    assert in_order(await alice.gets(3))
    # What was good before is good no more.
    with contextlib.closing(_stranger()) as stranger:
        stranger.sendto(old_check, alice._host)
        alice.film()
        await bob.gets(1)
        bob.film()
        await alice.gets(1)


async def test_node_that_stops_says_goodbye_to_every_leg(world: World) -> None:
    peers = await world.join("alice", "bob", "carol")
    await world.node.stop()
    for each in peers:
        await asyncio.wait_for(each.ended.wait(), SECONDS)


@pytest.mark.parametrize(
    ("bind", "addresses"),
    [("::1", ("::1", "::1")), ("::", ("::1", "127.0.0.1")), ("::", ("127.0.0.1", "127.0.0.1"))],
)
async def test_either_family_connects_and_is_served(bind: str, addresses: tuple[str, str]) -> None:
    announced = ("::1",) if bind == "::1" else ("127.0.0.1", "::1")
    async with around(Settings(bind, announce=announced)) as world:
        (alice,) = await world.join("alice", address=addresses[0])
        (bob,) = await world.join("bob", address=addresses[1])
        alice.film(3)
        got = await bob.gets(3)
        assert in_order(got)
        bob.film(3)
        assert in_order(await alice.gets(3))
        sequence, _, ssrc = got[1]
        bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence]))
        await bob.gets(1, RTX)


async def test_silent_leg_is_lost(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    bob.fall_silent()
    await world.pass_time(LOST_SECONDS - 1, alice)
    assert world.lost == []
    await world.pass_time(3, alice)
    assert [(room, participant) for room, participant, _ in world.lost] == [("room", "bob")]


async def test_broken_connection_is_told_and_so_is_its_return(world: World) -> None:
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


def _loses(share: float, ssrc: int) -> RtcpRrPacket:
    """Return a receiver report that says so."""
    block = RtcpReceiverInfo(
        ssrc=ssrc, fraction_lost=int(256 * share), packets_lost=0, highest_sequence=0, jitter=0, lsr=0, dlsr=0
    )
    return RtcpRrPacket(ssrc=1, reports=[block])


async def test_poor_connection_is_told_again_and_again_until_it_is_fine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conference, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(liveness, "REMINDER_SECONDS", 0.2)
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    # What it says of a stream that it does not get is nobody's business.
    bob.send_rtcp(_loses(0.9, alice.video.ssrc))
    bob.send_rtcp(_loses(0.25, ssrc))
    await until(lambda: len(world.heard) >= 3)
    assert set(world.heard) == {("bob", Connection.POOR)}
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
            # Whatever alice loses, bob lacks as well; but his connection is as good as before.
            bob.send_rtcp(_loses(1 / 3, ssrc))
            await asyncio.sleep(0.01)
    assert world.heard == [("alice", Connection.POOR)]


async def test_who_never_connects_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (alice,) = await world.join("alice")
    bob = Listener("bob")
    world.peers.append(bob)
    monkeypatch.setattr(bob, "connect", nothing)
    await world.room.join(bob, settle=False)
    world.stop_ticking()
    await world.pass_time(LOST_SECONDS - 1, alice)
    assert world.lost == []
    await world.pass_time(3, alice)
    assert [participant for _, participant, _ in world.lost] == ["bob"]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the node reports."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


async def nothing(*_: object) -> None:
    """Do nothing."""


async def test_who_hangs_up_its_connection_may_come_back_and_is_lost_later(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    await bob.dtls.close()
    back = Listener("bob")
    world.peers.append(back)
    await world.room.join(back)
    alice.film()
    await back.gets(1)
    assert world.lost == []
    world.stop_ticking()
    leg_of_bob = world.leg("bob")
    await back.dtls.close()
    await true(lambda: not leg_of_bob.is_connected)
    # Its checks and answers go on, but they do not count.
    await world.pass_time(LOST_SECONDS - 1, alice)
    assert world.lost == []
    await world.pass_time(3, alice)
    assert [participant for _, participant, _ in world.lost] == ["bob"]


async def test_repeated_task_gives_the_same_answer(world: World) -> None:
    (alice,) = await world.join("alice")
    offer = {"participant": "alice", "modId": "m", "sdp": alice.offer(), "fresh": False, "ready": []}
    offer["view"] = {"seats": [{"participant": "alice", "state": "accepted", "muted": []}], "cause": None}
    first = await world.node.execute("room", "offer", offer)
    assert await world.node.execute("room", "offer", offer) == first


async def test_data_channels_go_with_the_offer_that_brought_them(world: World) -> None:
    (alice,) = await world.join("alice")
    task = {"participant": "alice", "modId": "chat", "fresh": False, "rejected": False, "ready": []}
    task["view"] = {"seats": [{"participant": "alice", "state": "accepted", "muted": []}], "cause": None}
    alice.lines.append(Line("application", "d", "webrtc-datachannel", ["a=sctp-port:5000"]))
    await world.node.execute("room", "offer", {**task, "sdp": alice.offer()})
    assert world.leg("alice").channels is not None
    await world.node.execute("room", "withdraw", task)
    assert world.leg("alice").channels is None


async def test_offer_that_cannot_be_agreed_to_is_refused_in_words_and_changes_nothing(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    carol = Listener("carol")
    world.peers.append(carol)
    for line in carol.lines:
        line.attributes = [each.replace("VP8", "H265").replace("opus", "G722") for each in line.attributes]
    with pytest.raises(RefusedError, match="sdp-invalid"):
        await world.room.join(carol)
    del world.room.seats["carol"]
    alice.film()
    await bob.gets(1)


async def test_what_was_rejected_is_not_offered_again_until_something_changes(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.share_screen()
    await world.room.renegotiate(alice)
    assert [id_ for id_, _, _ in world.room.offered] == ["bob"]
    await world.room.withdraw_one(rejected=True)
    assert world.room.offered == []
    await world.room.update()
    assert world.room.offered == []
    alice.film()
    await bob.gets(1)
    await world.join("carol")
    alice.send([alice.sources[2].packet()])
    await bob.gets(1)


async def test_ten_who_join_while_an_answer_is_owed_cost_one_offer_more(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    for name in ("carol", "dave", "erin"):
        peer = Listener(name)
        world.peers.append(peer)
        await world.room.join(peer, settle=False)
        await world.room.update()
    assert [id_ for id_, _, _ in world.room.offered].count("alice") == 1
    answered = 0
    while world.room.offered:
        answered += world.room.offered[0][0] == "alice"
        await world.room.answer_one()
    assert answered == 2
    world.peers[-1].film()
    await alice.gets(1)


# --- Harm ---------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("kind", ["noise", "known SSRC", "captured and broken", "RTCP"])
async def test_garbage_from_a_participants_address_costs_it_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(quota, "FAILURES_A_TICK", 20)
    alice, bob = await world.join("alice", "bob")
    chance, got = random.Random(1), 0
    for _ in range(15):
        genuine = [alice.outward.protect(alice.video.packet()) for _ in range(10)]
        for datagram in genuine:
            for _ in range(40):
                alice._send_datagram(_garbage(kind, datagram, chance))
            alice._send_datagram(datagram)
            await asyncio.sleep(0)
        got += len(await bob.gets(10))
    assert got == 150
    assert world.leg("alice").quota.excess == 0
    assert world.leg("alice").quota.unauthentic == 6000


async def test_once_many_were_refused_only_the_next_packets_of_a_stream_are_decrypted(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    await bob.gets(1)
    world.stop_ticking()
    target, allowed = world.leg("alice"), 20
    target.quota.failures_left = allowed
    for _ in range(allowed):
        alice._send_datagram(
            _garbage("captured and broken", alice.outward.protect(alice.video.packet()), random.Random(1))
        )
    alice.film()
    await bob.gets(1)
    before = target.quota.packets_left, target.quota.unauthentic
    # Authentic, but such a sequence number could be anybody's guess. The other one is of no known stream.
    alice.video.sequence = alice.video.sequence + 2 * NEAR & 0xFFFF
    alice.film()
    alice.send_rtcp(RtcpRrPacket(ssrc=1))
    await true(lambda: target.quota.unauthentic == before[1] + 2)
    assert (target.quota.packets_left, target.quota.rtcp_left) == (before[0], quota.RTCP_A_TICK)
    target.quota.failures_left = allowed
    alice.film()
    await true(lambda: target.quota.packets_left == before[0] - 1)


def _garbage(kind: str, genuine: bytes, chance: random.Random) -> bytes:
    """Return a datagram that is not authentic. Its sender has seen more or less of the genuine traffic."""
    noise = chance.randbytes(1200)
    return {
        "noise": b"\x80" + bytes([VIDEO]) + noise,
        "known SSRC": genuine[:2] + noise[:2] + genuine[4:12] + noise,
        "captured and broken": genuine[:-1] + bytes([genuine[-1] ^ 1]),
        "RTCP": b"\x80" + bytes([201]) + noise[:60],
    }[kind]


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let legs send and ask as much as they like."""
    for allowance in ("RTCP_A_TICK", "RTCP_BYTES_A_TICK", "REQUESTS_A_TICK", "PACKETS_A_TICK", "BYTES_A_TICK"):
        monkeypatch.setattr(quota, allowance, 10_000_000)


@pytest.mark.parametrize("seed", range(examples(1, deep=3)))
async def test_feedback_of_a_participant_that_means_harm_costs_nobody_anything(
    unlimited: None, world: World, seed: int
) -> None:
    """2,000 compound packets each, encrypted with the right keys, of which some bytes are wrong."""
    alice, bob, carol = await world.join("alice", "bob", "carol")
    carol.film()
    ((sequence, _, ssrc),) = await alice.gets(1)
    await bob.gets(1)
    chance = random.Random(seed)
    sound = _feedback_about(alice.video.ssrc, ssrc, sequence)
    for number in range(2_000):
        broken = mutate(b"".join(chance.sample(sound, chance.randint(1, 4))), chance)
        # What is told apart as RTCP, and comes from where it says that it does: the rest of it may be anything.
        head = [0x80 | chance.randrange(64), chance.choice([200, 201, 202, 203, 205, 206])]
        alice.send_rtcp(bytes(head) + broken[2:4].ljust(2, b"\0") + sound[0][4:8] + broken[8:])
        if number % 40 == 0:
            carol.film()
            assert len(await bob.gets(1)) == 1
    assert world.node.counts().faults == 0
    assert world.leg("alice").quota.unauthentic == world.leg("alice").quota.excess == 0
    alice.film()
    await bob.gets(1)


@pytest.mark.parametrize("seed", range(examples(1, deep=3)))
async def test_media_of_a_participant_that_means_harm_costs_nobody_anything(
    unlimited: None, world: World, seed: int
) -> None:
    """2,000 packets of RTP each, encrypted with the right keys: extensions, padding and retransmissions that lie."""
    alice, bob, carol = await world.join("alice", "bob", "carol")
    chance = random.Random(seed)
    for number in range(2_000):
        source = chance.choice(alice.sources)
        sound = source.packet()
        broken = mutate(sound[12:120], chance)
        if chance.random() < 0.3:
            sound = rtp.wrap(sound, payload_type=RTX, sequence=number, ssrc=alice.video.rtx_ssrc or 0)
            broken = mutate(sound[12:120], chance)
        # Only what libsrtp itself takes can be encrypted.
        first = 0x80 | chance.choice([0x00, 0x10, 0x20, 0x30])
        alice.send([bytes([first]) + sound[1:12] + broken])
        if number % 40 == 0:
            carol.film()
            await bob.until(lambda: any(packet[-1000:] == carol.video._rest[-1000:] for packet in bob.packets))
            bob.packets.clear()
    assert world.node.counts().faults == 0
    assert world.leg("alice").quota.unauthentic == world.leg("alice").quota.excess == 0


def _feedback_about(own: int, others: int, sequence: int) -> list[bytes]:
    """Return RTCP packets of all kinds that a participant sends, about its own stream and about another's."""
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=1, packet_count=1, octet_count=1)
    heard = RtcpReceiverInfo(
        ssrc=others, fraction_lost=0, packets_lost=0, highest_sequence=sequence, jitter=0, lsr=0, dlsr=0
    )
    refresh = others.to_bytes(4, "big") + bytes(4)
    return [
        bytes(RtcpSrPacket(ssrc=own, sender_info=info, reports=[heard])),
        bytes(RtcpRrPacket(ssrc=own, reports=[heard, heard])),
        bytes(RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=own, items=[(1, b"alice")])])),
        bytes(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=own, media_ssrc=others, lost=[sequence, sequence + 3])),
        bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=own, media_ssrc=others)),
        bytes(RtcpPsfbPacket(fmt=rtcp.FIR, ssrc=own, media_ssrc=0, fci=refresh)),
        rtcp.bandwidth(own, 500_000, [others]),
        bytes(RtcpByePacket(sources=[own])),
    ]


def flood_of(packet: Any) -> bytes:
    """Return a compound packet that repeats one packet as often as a datagram has room for."""
    return bytes(packet) * (1300 // len(bytes(packet)))


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


async def test_who_asks_for_key_frames_all_the_time_costs_the_sender_few_and_a_joiner_waits_for_none(
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


async def test_who_turns_a_line_off_and_on_costs_the_sender_few_key_frames(world: World) -> None:
    alice, bob = await without_requests(world)
    line, count = bob.lines[1], 6 * participants.KEY_FRAME_BURST
    for number in range(count):
        line.receives = bool(number % 2)
        await world.room.renegotiate(bob)
        await world.pass_time(tracks.KEY_FRAME_SECONDS, alice, bob)
    bob.film()
    await alice.gets(1)
    seconds = count * tracks.KEY_FRAME_SECONDS
    assert len(pictures_lost(alice)) <= participants.KEY_FRAME_BURST + seconds / participants.KEY_FRAME_RENEWAL_SECONDS


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


async def test_flood_of_checks_moves_the_media_a_few_times_and_hurts_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    caplog.clear()
    started = asyncio.get_running_loop().time()
    # Another socket of alice's, which answers as the first one does.
    with contextlib.closing(_stranger()) as other:
        other.setblocking(False)
        for number in range(200):
            sender = other if number % 2 else alice._socket
            sender.sendto(alice._check(), alice._host)
            with contextlib.suppress(BlockingIOError):
                while datagram := other.recv(2048):
                    if datagram[:2] == b"\0\1":
                        other.sendto(alice._reply(stun.parse_message(datagram)), alice._host)
            if number % 10 == 0:
                carol.film()
                await bob.gets(1)
    moved = [record for record in caplog.records if "media goes to" in record.message]
    assert 1 <= len(moved) <= consent.MOST_MOVES + asyncio.get_running_loop().time() - started
    leg_of_alice, here = world.leg("alice"), alice._socket.getsockname()
    async with asyncio.timeout(SECONDS):
        while leg_of_alice.addresses.destination is None or address_of(leg_of_alice.addresses.destination.name) != here:
            alice._send_datagram(alice._check())
            await asyncio.sleep(0.05)
    carol.film()
    await alice.gets(1)


async def test_media_does_not_go_to_a_forged_address(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    with contextlib.closing(_stranger()) as victim:
        victim.setblocking(False)
        # Alice sends this from the victim's address, and goes on from her own without nominating it again.
        alice.stop_checking()
        victim.sendto(alice._check(), alice._host)
        for _ in range(12):
            await world.pass_time(LOST_SECONDS / 10, alice, bob)
            alice._send_datagram(alice._check(nominate=False))
            bob.film(10)
            await alice.gets(10)
        got = _all_of(victim)
    # The answer to her check, and a few checks of the node's own.
    assert {datagram[:2] for datagram in got} == {b"\1\1", b"\0\1"}
    assert len(got) <= 1 + len(consent.RETRY_SECONDS)
    assert world.lost == []


async def test_forged_address_gets_no_handshake(world: World) -> None:
    (alice,) = await world.join("alice")
    bob = Listener("bob")
    world.peers.append(bob)
    with contextlib.closing(_stranger()) as victim, pytest.MonkeyPatch.context() as patched:
        victim.setblocking(False)
        connect = bob.connect

        async def forge_first(remote: str) -> None:
            lines = remote.splitlines()
            bob._remote = tuple(  # type: ignore[assignment]
                next(line.partition(":")[2] for line in lines if line.startswith(f"a={name}:"))
                for name in ("ice-ufrag", "ice-pwd")
            )
            for _ in range(3):
                victim.sendto(bob._check(), ("127.0.0.1", world.node.candidates[0][1]))
            await connect(remote)

        patched.setattr(bob, "connect", forge_first)
        patched.setattr(bob, "_keep_checking", partial(_keep_checking_modestly, bob))
        await world.room.join(bob)
        alice.film(3)
        await bob.gets(3)
        assert {datagram[:2] for datagram in _all_of(victim)} <= {b"\1\1", b"\0\1"}


async def _keep_checking_modestly(peer: Listener) -> None:
    """Check connectivity and nominate nothing."""
    while True:
        peer._send_datagram(peer._check(nominate=False))
        await asyncio.sleep(0.05)


async def test_consent_belongs_to_the_address_that_media_goes_to(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    alice.fall_silent()
    with contextlib.closing(_stranger()) as elsewhere:
        for _ in range(11):
            # Valid checks, but the address in use answers nothing.
            elsewhere.sendto(alice._check(), alice._host)
            alice._send_datagram(alice._check())
            await world.pass_time(LOST_SECONDS / 10, bob)
    assert [participant for _, participant, _ in world.lost] == ["alice"]


def _all_of(receiver: socket.socket) -> list[bytes]:
    """Return all datagrams that have arrived at a socket."""
    got: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            got.append(receiver.recv(2048))
    return got


async def test_flood_of_sources_is_cut_off_and_hurts_nobody_else(unlimited: None, world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    alice.film()
    await bob.gets(1)
    leg_of_alice, strays = world.leg("alice"), sources.MOST_SSRCS + 50
    for number in range(strays):
        alice.send([rtp.HEADER.pack(0x80, 35, 1, 0, 1000 + number) + b"stray"])
        if number % 20 == 0:
            carol.film()
            await bob.gets(1)
    alice.send_rtcp(RtcpRrPacket(ssrc=999))
    # Those that were known before are known still: a report of its camera, and what it films.
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=1, packet_count=1, octet_count=1)
    alice.send_rtcp(RtcpSrPacket(ssrc=alice.video.ssrc, sender_info=info))
    alice.film()
    await bob.gets(1)
    await bob.until(lambda: [each for each in bob.reports if isinstance(each, RtcpSrPacket)])
    assert len(leg_of_alice.sources.met) == sources.MOST_SSRCS
    assert leg_of_alice.quota.excess == 51


async def test_check_from_anothers_address_does_not_take_it_over(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    for _ in range(3):
        carol._socket.sendto(alice._check(), alice._host)
        carol.film(5)
        assert in_order(await bob.gets(5))
    bob.film()
    for each in (alice, carol):
        await each.gets(1)
    assert world.leg("alice").quota.unauthentic == 0


async def test_address_that_went_over_to_another_leg_is_not_taken_from_it_again(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    carol = Listener("carol")
    # From there alice has been heard of as well, but its media does not go there.
    carol._socket.sendto(alice._check(), alice._host)
    alice._send_datagram(alice._check())
    world.peers.append(carol)
    await world.room.join(carol)
    with contextlib.ExitStack() as stack:
        for _ in range(addresses.MOST_ADDRESSES + 1):
            stack.enter_context(contextlib.closing(_stranger())).sendto(alice._check(), alice._host)
        carol.film(3)
        assert in_order(await bob.gets(3))


async def test_packet_too_large_to_be_encrypted_again_goes_nowhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The shorter trailer: others' keys add more to what this participant sends.
    with monkeypatch.context() as patched:
        weak = [each for each in rtcdtlstransport.SRTP_PROFILES if "SHA1_80" in each.openssl_profile.decode()]
        patched.setattr(rtcdtlstransport, "SRTP_PROFILES", weak)
        (alice,) = await world.join("alice")
    bob, carol = await world.join("bob", "carol")
    assert [each.dtls.srtp is not None and each.dtls.srtp.profile for each in (alice, bob)] == [
        "SRTP_AES128_CM_SHA1_80",
        "SRTP_AEAD_AES_256_GCM",
    ]
    large = Source(alice.video.ssrc, VIDEO, 90000, SLOT - 10, sequence=alice.video.sequence)
    # pylibsrtp's own session takes no more than 1,500 bytes.
    alice.send([large.packet()])
    alice.video.sequence = large.sequence
    alice.film()
    for each in (bob, carol):
        await each.gets(1)
        assert each.packets == []
    assert world.node.counts().sent == 2


# A REMB that promises 255 sources and names none (draft-alvestrand-rmcat-remb section 2.2).
LYING_REMB = bytes([0x8F, 206, 0, 4]) + bytes(8) + b"REMB\xff\0\0\0"


async def test_feedback_that_lies_costs_nobody_anything(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    for _ in range(5):
        alice.send_rtcp(LYING_REMB)
        carol.film(8)
        assert in_order(await bob.gets(8))
    assert world.node.counts().faults == 0


async def test_whatever_a_datagram_is_met_with_the_others_of_its_batch_are_taken(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    monkeypatch.setattr(Leg, "take_rtcp", lambda *_: 1 / 0)
    for _ in range(3):
        alice.send_rtcp(LYING_REMB)
        carol.film(8)
        assert in_order(await bob.gets(8))
    assert world.node.counts().faults == 3
    assert [record.message.rpartition(", ")[2] for record in caplog.records if record.levelname == "ERROR"] == [
        "1 so far",
        "2 so far",
    ]


async def test_replayed_and_forged_packets_go_nowhere(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    datagram = alice.outward.protect(alice.video.packet())
    for _ in range(5):
        alice._send_datagram(datagram)
    forged = bytearray(alice.outward.protect(alice.video.packet()))
    forged[-1] ^= 1
    alice._send_datagram(bytes(forged))
    with contextlib.closing(_stranger()) as stranger:
        stranger.sendto(alice.outward.protect(alice.video.packet()), alice._host)
        alice.film()
        got = await bob.gets(2)
    assert len(got) == 2
    assert world.node.counts().strangers == 1


def _stranger() -> socket.socket:
    """Return a socket that no leg has."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def test_who_sends_with_the_ssrc_of_another_feeds_no_track_of_theirs(world: World) -> None:
    alice, bob, mallory = await world.join("alice", "bob", "mallory")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    mallory.film()
    await bob.gets(1)
    # The SSRC that Alice sends with, and the one that her receivers know.
    for forged in (alice.video.ssrc, ssrc):
        source = Source(forged, VIDEO, 90000, VIDEO_SIZE)
        mallory.send([source.packet() for _ in range(5)])
    mallory.film()
    await bob.gets(1)
    alice.film(5)
    got = await bob.gets(5)
    assert in_order(got)
    assert {each for _, _, each in got} == {ssrc}
    assert bob.packets == []


async def test_unknown_ssrc_and_payload_type_are_passed_over(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    stray = Source(secrets.randbits(31), 35, 90000, 500)
    alice.send([stray.packet() for _ in range(5)])
    alice.film()
    await bob.gets(1)
    assert bob.packets == []


async def test_source_that_is_not_named_is_known_by_its_payload_type_once_the_other_is_silent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await world.join("alice", "bob")
    other = Source(secrets.randbits(31), VIDEO, 90000, 500)
    alice.film(2)
    await bob.gets(2)
    monkeypatch.setattr(Sources, "_is_active", lambda self, stream: False)
    alice.send([other.packet(), other.packet()])
    assert in_order(await bob.gets(2))


async def test_another_source_replaces_the_present_one_after_a_second_of_its_silence(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    other = Source(secrets.randbits(31), VIDEO, 90000, 500)
    alice.film(2)
    await bob.gets(2)
    leg_of_alice, silent_at = world.leg("alice"), world.clock.time()
    for silent_for, replaces in ((0.0, False), (sources.SILENT_SOURCE_SECONDS - 0.01, False), (1.0, True)):
        leg_of_alice.tick(silent_at + silent_for)
        alice.send([other.packet(), alice.audio.packet()])
        await bob.gets(1, AUDIO)
        assert (other.ssrc in leg_of_alice.sources.streams) is replaces
        assert (alice.video.ssrc in leg_of_alice.sources.streams) is not replaces
    assert in_order(await bob.gets(1))


@pytest.mark.parametrize("is_named", [True, False])
async def test_second_source_of_a_line_is_never_mixed_into_its_track(
    world: World, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    alice, bob = Listener("alice"), Listener("bob")
    other = Source(secrets.randbits(31), VIDEO, 90000, 500)
    if is_named:
        named = [f"a=ssrc:{alice.video.ssrc} cname:alice", f"a=ssrc:{other.ssrc} cname:alice"]
        alice.lines[1].attributes = [*alice.lines[1].attributes, *named]
    for peer in (alice, bob):
        world.peers.append(peer)
        await world.room.join(peer)
    for _ in range(10):
        alice.film()
        alice.send([other.packet()])
    assert in_order(await bob.gets(10))
    alice.film()
    await bob.gets(1)
    assert all(len(packet) > 1000 for packet in bob.packets)
    assert set(world.leg("alice").sources.streams) >= {alice.video.ssrc}
    assert other.ssrc not in world.leg("alice").sources.streams


async def test_source_that_is_not_named_stays_the_same_through_negotiations(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "_sources_of", lambda *_: [])
    alice, bob = await world.join("alice", "bob")
    packets = [alice.video.packet()]
    alice.send(packets)
    got = await bob.gets(1)
    for _ in range(2):
        repeats = len(packets)
        await world.room.renegotiate(alice)
        await world.room.settle()
        packets += [alice.video.packet() for _ in range(3)]
        alice.send([packets[repeats], packets[repeats + 2]])
        wrapped = rtp.wrap(packets[repeats + 1], payload_type=RTX, sequence=repeats, ssrc=alice.video.rtx_ssrc or 0)
        alice.send([wrapped])
        got += await bob.gets(3)
    sent = [rtp.HEADER.unpack_from(packet) for packet in packets]
    got.sort()
    assert [sequence - got[0][0] for sequence, _, _ in got] == [number for number, _ in enumerate(sent)]
    assert [timestamp - got[0][1] & 0xFFFFFFFF for _, timestamp, _ in got] == [
        timestamp - sent[0][3] & 0xFFFFFFFF for _, _, _, timestamp, _ in sent
    ]
    assert alice.video.ssrc in world.leg("alice").sources.streams


@pytest.mark.parametrize("seed", range(examples(1, deep=4)))
async def test_noise_at_the_port_costs_nobody_anything(world: World, seed: int) -> None:
    """25,000 datagrams each: noise with the first bytes of STUN, DTLS, RTP and RTCP, and real datagrams mutated."""
    alice, bob = await world.join("alice", "bob")
    chance = random.Random(seed)
    genuine = [
        alice._check(),
        alice.outward.protect(alice.video.packet()),
        alice.outward.protect_rtcp(bytes(RtcpRrPacket(ssrc=1))),
        bytes([22, 254, 253]) + chance.randbytes(60),
    ]
    with contextlib.closing(_stranger()) as stranger:
        for number in range(25_000):
            sender = stranger if number % 2 else alice._socket
            sender.sendto(_noise(chance, genuine), alice._host)
            if number % 50 == 0:
                await asyncio.sleep(0)
    bob.packets.clear()
    alice.film(3)
    assert in_order(await bob.gets(3))
    assert world.lost == []
    assert world.node.counts().received > 24_000


def _noise(chance: random.Random, genuine: list[bytes]) -> bytes:
    """Return a datagram that means harm."""
    if chance.random() < 0.5:
        first = chance.choice([0, 1, 20, 22, 23, 63, 64, 127, 128, 144, 160, 191, 192, 255])
        return bytes([first, chance.choice([0, 1, 96, 111, 200, 201, 205, 206])]) + chance.randbytes(
            chance.randint(0, 1400)
        )
    mutated = bytearray(chance.choice(genuine))
    for _ in range(chance.randint(1, 8)):
        mutated[chance.randrange(len(mutated))] = chance.randrange(256)
    return bytes(mutated[: chance.randint(1, len(mutated))])


async def test_packets_whose_headers_lie_go_nowhere(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    sound = alice.video.packet()
    head = rtp.HEADER.unpack_from(sound)

    def lying(first: int, rest: bytes) -> bytes:
        alice.video.sequence = alice.video.sequence + 1 & 0xFFFF
        return rtp.HEADER.pack(first, head[1], alice.video.sequence, head[3], head[4]) + rest

    alice.send([sound])
    alice.send(
        [
            lying(0x90, b"\xbe\xde\x00\x02\x3f" + bytes(7)),
            lying(0x90, b"\x10\x00\x00\x01\x01\xff\x00\x00"),
            lying(0xA0, b"media\xff"),
            lying(0xA0, b"media\x00"),
        ]
    )
    alice.film()
    await bob.gets(2)
    assert bob.packets == []


async def test_source_that_jumps_puts_nobody_out_of_step(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    await bob.gets(1)
    for payload_type in (35, VIDEO):
        for _ in range(3):
            alice.video.sequence = alice.video.sequence + 0x7FF0 & 0xFFFF
            packet = bytearray(alice.video.packet())
            packet[1] = payload_type
            alice.send([bytes(packet)])
    alice.film()
    await bob.gets(4)


@pytest.mark.parametrize("fast", [True, False])
async def test_gaps_that_nobody_fills_are_one_missing_packet_to_receivers(fast: bool) -> None:
    async with around(Settings(fast=fast)) as world:
        alice, bob = await world.join("alice", "bob")
        for _ in range(20):
            alice.send([alice.video.packet()])
            alice.video.sequence = alice.video.sequence + streams.LARGEST_GAP - 1 & 0xFFFF
        numbers = [sequence for sequence, _, _ in await bob.gets(20)]
        gaps = [later - earlier & 0xFFFF for earlier, later in itertools.pairwise(numbers)]
        assert sum(gaps) <= streams.REQUEST_BURST + streams.LARGEST_GAP + tracks.LEAST_GAP * len(gaps)
        # The picture goes on.
        alice.film(5)
        assert in_order((await bob.gets(5))[1:])


async def test_requests_for_more_than_a_tick_serves_are_not_read(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    await bob.gets(1)
    world.stop_ticking()
    ssrc = world.track("alice", "video").ssrc
    many = rtcp.nack(1, ssrc, range(0, 290 * 17, 17))
    assert rtcp.requests(many) == 290
    for _ in range(5):
        bob.send_rtcp(many)
    await true(lambda: world.leg("bob").quota.excess == 4)


async def test_audio_keeps_its_own_numbers(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.send([packet for _ in range(3) for packet in (alice.audio.packet(), alice.video.packet())])
    assert in_order(await bob.gets(3, AUDIO))
    assert in_order(await bob.gets(3, VIDEO))


# --- Another node's conferences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
async def test_pcmu_is_forwarded_while_a_member_lacks_opus(fast: bool) -> None:
    async with around(Settings(fast=fast)) as world:
        (alice,) = await world.join("alice", audio=(AUDIO, PCMU))
        (carol,) = await world.join("carol", audio=(PCMU,))
        assert [world.leg(name).layout.published["audio"].codecs[0].name for name in ("alice", "carol")] == ["PCMU"] * 2
        assert world.track("alice", "audio").clock_rate == 8000
        # Who joins later speaks PCMU as well.
        (bob,) = await world.join("bob", audio=(AUDIO, PCMU))
        # What was still on the way is of no use to anybody any more.
        alice.send([alice.audio.packet()])
        for peer in (alice, bob):
            peer.speak(PCMU)
        # The fast path takes what follows the first packet.
        alice.send([alice.audio.packet() for _ in range(5)])
        got = await bob.gets(5, PCMU)
        assert in_order(got)
        assert in_order(await carol.gets(5, PCMU))
        carol.send([carol.audio.packet() for _ in range(5)])
        for peer in (alice, bob):
            assert in_order(await peer.gets(5, PCMU))
            assert not peer.of(AUDIO)
        await world.room.leave(carol)
        await world.room.settle()
        assert world.leg("alice").layout.published["audio"].codecs[0].name == "opus"
        alice.speak(AUDIO)
        alice.send([alice.audio.packet()])
        ((_, _, ssrc),) = await bob.gets(1, AUDIO)
        assert ssrc == got[0][2]


async def test_who_lacks_opus_takes_it_from_no_two_others_and_goes_without_audio(world: World) -> None:
    alice, bob = await world.join("alice", "bob", audio=(AUDIO, PCMU))
    (carol,) = await world.join("carol", audio=(PCMU,))
    assert world.leg("carol").layout.published.keys() == {"video"}
    assert world.leg("alice").layout.published["audio"].codecs[0].name == "opus"
    alice.send([alice.audio.packet() for _ in range(5)])
    assert in_order(await bob.gets(5, AUDIO))
    alice.film(5)
    assert in_order(await carol.gets(5))


async def test_who_has_audio_without_opus_keeps_it_whoever_joins(world: World) -> None:
    (alice,) = await world.join("alice", audio=(AUDIO, PCMU))
    (carol,) = await world.join("carol", audio=(PCMU,))
    await world.join("bob", "dave", audio=(AUDIO, PCMU))

    async def all_hear_carol() -> None:
        await world.room.settle()
        assert {world.leg(id_).layout.published["audio"].codecs[0].name for id_ in world.room.seats} == {"PCMU"}
        carol.send([carol.audio.packet() for _ in range(5)])
        assert in_order(await alice.gets(5, PCMU))

    await world.room.renegotiate(carol)
    await all_hear_carol()
    # A page that is loaded again has another peer connection.
    await carol.close()
    carol = Listener("carol", audio=(PCMU,))
    world.peers.append(carol)
    await world.room.join(carol)
    await all_hear_carol()
    # So has another device, after a time without any.
    await world.room.set_state(carol, "moving", "move")
    await world.room.settle()
    await carol.close()
    carol = Listener("carol", audio=(PCMU,))
    world.peers.append(carol)
    await world.room.join(carol)
    await all_hear_carol()


@pytest.mark.parametrize("answered", ["", "m=audio 9 UDP/TLS/RTP/SAVPF 0", "m=audio 0 UDP/TLS/RTP/SAVPF 0"])
async def test_a_new_node_knows_who_had_audio_without_opus(world: World, answered: str) -> None:
    peers = {name: Listener(name, audio=(AUDIO, PCMU)) for name in ("alice", "bob")}
    peers["carol"] = Listener("carol", audio=(PCMU,))
    world.peers += [*peers.values()]
    offers = {name: peer.offer() for name, peer in peers.items()}
    head = offers["carol"].split("m=")[0]
    answers = {"carol": f"{head}{answered}\r\n"} if answered else {}
    await world.room.take_over(peers, offers, answers)
    had_audio = not answered.startswith("m=audio 0")
    codecs = {id_: [*world.leg(id_).negotiation.capabilities] for id_ in peers}
    assert codecs["carol"] == (["audio", "video"] if had_audio else ["video"])
    assert [id_ for id_, _, _ in world.room.offered] == [*peers]


H264 = [
    "a=rtpmap:102 H264/90000",
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "a=rtcp-fb:102 nack pli",
]


async def test_an_offer_that_is_taken_back_costs_only_its_own_member_a_codec(world: World) -> None:
    names = ("host", "bob", "first", "second")
    peers = {name: Listener(name) for name in names}
    vp8 = [*peers["host"].video_line.attributes]
    for name, peer in peers.items():
        if name != "first":
            peer.video_line.formats, peer.video_line.attributes = "96 102", [*vp8, *H264]
        world.peers.append(peer)
        await world.room.join(peer, settle=False)

    async def task(kind: str, name: str, **fields: Any) -> Mapping[str, Any]:
        common = {"participant": name, "modId": f"mod-{name}", "view": world.room.view(), "ready": []}
        return await world.node.execute("room", kind, {**common, **fields})

    for name in ("first", "second"):
        peers[name].video_line.formats, peers[name].video_line.attributes = "102", H264
        assert "answer" in await task("offer", name, sdp=peers[name].offer(), fresh=False)
    # Nobody has anything in common with the VP8 that comes back.
    await task("withdraw", "first", rejected=False)
    for name in ("host", "bob"):
        answer = (await task("offer", name, sdp=peers[name].offer(), fresh=False))["answer"]
        assert [media.live for media in parse(answer).media if media.mid == peers[name].video_line.mid] == [True]
    late = Listener("late")
    late.video_line.formats, late.video_line.attributes = "96 102", [*vp8, *H264]
    world.peers.append(late)
    await world.room.join(late, settle=False)
    assert world.leg("late").layout.published.keys() == {"audio", "video"}


@pytest.mark.parametrize("fast", [True, False])
async def test_a_line_that_lacks_the_codec_that_is_sent_silences_nobody_for_others(fast: bool) -> None:
    async with around(Settings(fast=fast)) as world:
        alice, bob = await world.join("alice", "bob", audio=(AUDIO, PCMU))
        picky = Listener("picky", audio=(AUDIO, PCMU))
        # Here it takes another one's sound, in PCMU alone.
        picky.lines.append(Line("audio", "second", str(PCMU), []))
        world.peers.append(picky)
        await world.room.join(picky)
        for speaker in (alice, bob):
            speaker.send([speaker.audio.packet() for _ in range(5)])
        for hearer in (alice, bob):
            assert in_order(await hearer.gets(5, AUDIO))
        assert len(await picky.gets(5, AUDIO)) == 5


async def test_jitter_of_pcmu_is_counted_in_its_own_clock(world: World) -> None:
    (alice,) = await world.join("alice", audio=(AUDIO, PCMU))
    alice.send([alice.audio.packet()])
    await world.join("carol", audio=(PCMU,))
    (stream,) = [stream for stream, track in world.leg("alice").sources.streams.values() if track.kind == "audio"]
    assert stream.memory.clock_rate == stream.clock_rate == 8000


async def test_legs_of_a_node_that_is_gone_are_built_anew_from_their_last_offers(world: World) -> None:
    before = [Listener("alice"), Listener("bob")]
    alice, bob = Listener("alice"), Listener("bob")
    world.peers += [*before, alice, bob]
    await world.room.take_over({"alice": alice, "bob": bob}, {peer.id: peer.offer() for peer in before})
    assert sorted(id_ for id_, _, _ in world.room.offered) == ["alice", "bob"]
    for id_, _, offer in [*world.room.offered]:
        peer = world.room.seats[id_].peer
        connecting = asyncio.create_task(peer.connect(offer))
        await world.room.answer_one()
        await connecting
    await world.room.settle()
    alice.film(3)
    assert in_order(await bob.gets(3))
    bob.film(3)
    assert in_order(await alice.gets(3))


async def test_a_leg_that_cannot_be_built_anew_is_reported(world: World) -> None:
    alice, bob = Listener("alice"), Listener("bob")
    world.peers += [alice, bob]
    result = await world.room.take_over({"alice": alice, "bob": bob}, {"alice": alice.offer(), "bob": "v=0\r\n"})
    assert [offer["participant"] for offer in result["offers"]] == ["alice"]
    assert result["withoutLeg"] == ["bob"]


async def test_who_cancels_the_offer_of_a_fresh_leg_is_reported_without_one(world: World) -> None:
    await world.join("alice", "bob")
    reloaded = Listener("bob")
    world.peers.append(reloaded)
    view = world.room.view()
    offer = {"participant": "bob", "modId": "reload", "sdp": reloaded.offer(), "fresh": True, "view": view, "ready": []}
    assert "withoutLeg" not in await world.node.execute("room", "offer", offer)
    withdrawal = {"participant": "bob", "modId": "reload", "rejected": False, "view": view, "ready": []}
    assert await world.node.execute("room", "withdraw", withdrawal) == {"withoutLeg": ["bob"]}


# --- Bandwidth ----------------------------------------------------------------------------------------------------


def _limits(peer: Listener) -> list[tuple[int, list[int]]]:
    """Return how fast a peer was told to send: bits a second, and of which streams."""
    packets = (each for each in peer.reports if isinstance(each, RtcpPsfbPacket) and each.fmt == RTCP_PSFB_APP)
    return [unpack_remb_fci(each.fci) for each in packets]


@pytest.fixture
def paced(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what lets the conference look at its connections, which it does not by itself, as if a second later."""
    monkeypatch.setattr(conference, "REPORT_SECONDS", float("inf"))
    return lambda: world.node.conferences["room"].pace(1.0)


async def _estimates(world: World, peer: Listener, bits_per_second: int) -> None:
    """Let a peer say what its connection can carry, and wait until that is known."""
    before = world.leg(peer.id).downlink.estimate
    peer.send_rtcp(rtcp.bandwidth(peer.video.ssrc, bits_per_second, [1]))
    async with asyncio.timeout(SECONDS):
        while world.leg(peer.id).downlink.estimate == before:
            await asyncio.sleep(0)


async def _limit(peer: Listener) -> tuple[int, list[int]]:
    """Wait until a peer is told how fast to send; take it."""
    limit: tuple[int, list[int]] = (await peer.until(lambda: _limits(peer)))[0]
    peer.reports.clear()
    return limit


async def test_who_congests_a_connection_is_slowed_down_until_it_does_no_more(
    world: World, paced: Callable[[], None]
) -> None:
    alice, bob, carol, dave = await world.join("alice", "bob", "carol", "dave")

    async def film() -> None:
        paced()
        alice.film(36)
        carol.film(24)
        for each in (bob, dave):
            await each.gets(60)

    await film()
    # Of what is sent, dave's connection carries four fifths.
    rates = {alice: 8 * 36 * VIDEO_SIZE, carol: 8 * 24 * VIDEO_SIZE}
    await _estimates(world, dave, 10 * sum(rates.values()))
    await _estimates(world, dave, sum(rates.values()) * 4 // 5)
    await film()
    for peer, rate in rates.items():
        allowed, sources = await _limit(peer)
        assert allowed == pytest.approx(feedback.AUDIO_RATE + 0.8 * rate, rel=0.02)
        assert sources == [peer.video.ssrc]
    # It grows with what his connection carries.
    await _estimates(world, dave, sum(rates.values()) * 3 // 2)
    await film()
    for peer, rate in rates.items():
        assert (await _limit(peer))[0] == pytest.approx(feedback.AUDIO_RATE + 1.5 * rate, rel=0.02)
    await _estimates(world, dave, 3 * pacing.PLENTY + 1_000_000)
    await film()
    for peer in rates:
        assert await _limit(peer) == (feedback.NO_LIMIT, [peer.video.ssrc])
    await film()
    assert [_limits(each) for each in (alice, carol)] == [[], []]


@pytest.fixture
def tenths(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what lets the conference look at its connections, as if a tenth of a second later."""
    monkeypatch.setattr(conference, "REPORT_SECONDS", float("inf"))
    return lambda: world.node.conferences["room"].pace(0.1)


async def test_a_sender_that_ignores_its_limit_costs_a_narrow_line_no_sound(
    world: World, tenths: Callable[[], None]
) -> None:
    alice, bob, mallory = await world.join("alice", "bob", "mallory")

    async def report(packets: int) -> int:
        """Let mallory send video until the next report; return how much of it alice gets, beside bob's sound."""
        alice.packets.clear()
        mallory.film(packets)
        await bob.gets(packets)
        bob.send([bob.audio.packet()])
        await alice.gets(1, AUDIO)
        tenths()
        return len(alice.of(VIDEO))

    for estimate in (1_000_000, 100_000):
        await _estimates(world, alice, estimate)
    reports = 0
    while not world.leg("alice").downlink.withheld:
        reports += 1
        assert await report(10) == 10
    assert pacing.MOST_DEFIANCES < reports <= 2 * pacing.MOST_DEFIANCES
    assert [await report(10) for _ in range(3)] == [0, 0, 0]
    # It comes back once its sender has slowed down.
    assert await report(0) == 0
    await mallory.until(lambda: any(isinstance(each, RtcpPsfbPacket) and each.fmt == 1 for each in mallory.reports))
    assert await report(1) == 1


async def test_withheld_video_comes_back_when_nothing_is_congested(world: World, tenths: Callable[[], None]) -> None:
    _, bob = await world.join("alice", "bob")
    track, of_alice = world.track("bob", "video"), world.leg("alice")
    of_alice.downlink.withheld[track], of_alice.downlink.estimate = 0.95, 1
    for number in range(1, 11):
        assert of_alice.downlink.withheld
        bob.film()
        await true(lambda number=number: track.packets == number)  # type: ignore[misc]
        tenths()
    assert not of_alice.downlink.withheld


async def test_withheld_video_that_is_over_does_not_come_back(world: World, tenths: Callable[[], None]) -> None:
    _, bob = await world.join("alice", "bob")
    over, of_alice = world.track("bob", "video"), world.leg("alice")
    of_alice.downlink.withheld[over] = 1.0
    await world.room.leave(bob)
    await world.room.settle()
    await world.join("bob")
    tenths()
    assert over.ssrc not in of_alice.sinks
    assert world.track("bob", "video").ssrc in of_alice.sinks
    assert not of_alice.downlink.withheld


async def test_a_limit_that_is_obeyed_withholds_nothing(world: World, tenths: Callable[[], None]) -> None:
    alice, bob = await world.join("alice", "bob")
    for estimate in (3_000_000, 200_000):
        await _estimates(world, alice, estimate)
    packets = 40
    for _ in range(2 * pacing.MOST_DEFIANCES):
        bob.film(packets)
        await alice.gets(packets)
        tenths()
        allowed, _ = await _limit(bob)
        packets = max(1, (allowed - feedback.AUDIO_RATE) // (10 * 8 * VIDEO_SIZE))
    assert packets < 10
    assert not world.leg("alice").downlink.withheld


async def test_who_begins_on_a_congested_connection_gets_a_part_of_it(world: World, paced: Callable[[], None]) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    for bits_per_second in (1_000_000, 600_000):
        await _estimates(world, carol, bits_per_second)
    paced()
    for each in (alice, bob):
        assert (await _limit(each))[0] == pytest.approx(feedback.AUDIO_RATE + 300_000, rel=0.01)


async def test_nobody_is_slowed_down_below_what_makes_a_picture(world: World, paced: Callable[[], None]) -> None:
    alice, bob = await world.join("alice", "bob")
    paced()
    await _estimates(world, bob, 10_000_000)
    await _estimates(world, bob, 1)
    alice.film(10)
    await bob.gets(10)
    paced()
    assert (await _limit(alice))[0] == feedback.LEAST_RATE + feedback.AUDIO_RATE


async def test_an_estimate_that_is_not_repeated_slows_nobody_down_for_ever(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    await _estimates(world, bob, 10_000_000)
    await _estimates(world, bob, 1)
    alice.film(10)
    await bob.gets(10)
    await world.pass_time(1, alice, bob)
    assert (await _limit(alice))[0] == feedback.LEAST_RATE + feedback.AUDIO_RATE
    await world.pass_time(downlink.ESTIMATE_COUNTS_SECONDS, alice, bob)
    await alice.until(lambda: _limits(alice)[-1:] == [(feedback.NO_LIMIT, [alice.video.ssrc])])
    assert world.leg("bob").downlink.estimate == 0


@pytest.mark.parametrize("estimates", [(90_000_000, 80_000_000), (1, 2)])
async def test_a_connection_without_a_queue_limits_nobody(
    world: World, paced: Callable[[], None], estimates: tuple[int, ...]
) -> None:
    alice, bob = await world.join("alice", "bob")
    paced()
    for bits_per_second in estimates:
        await _estimates(world, bob, bits_per_second)
    alice.film(50)
    await bob.gets(50)
    paced()
    alice.film()
    await bob.gets(1)
    assert _limits(alice) == []


# --- No number twice (RFC 7714 section 8.1) -------------------------------------------------------------------------


_BROKEN = b"\xbe\xde\0\1\x1f\0\0\0"  # an element that is longer than its extension


@pytest.mark.parametrize("extension", [b"\xbe\xde\0\2\x01\xaa\xbb\x10\x05\0\0\0", b"\xbe\xde\0\1\x71\xaa\xbb\0"])
async def test_what_is_sent_again_without_rtx_is_the_very_same(world: World, extension: bytes) -> None:
    alice, bob = Listener("alice"), Listener("bob")
    bob.lines[1].attributes = [each for each in bob.lines[1].attributes if f":{RTX} " not in each]
    bob.lines[1].formats = f"{VIDEO}"
    for peer in (alice, bob):
        world.peers.append(peer)
        await world.room.join(peer)
    alice.film()
    ((sequence, _, ssrc),) = await bob.gets(1)
    wire = bob.tap()
    _, second, number, timestamp, own = rtp.HEADER.unpack_from(alice.video.packet())
    alice.send([rtp.HEADER.pack(0x90, second, number, timestamp, own) + extension + bytes(100)])
    await bob.until(lambda: wire)
    lost = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence + 1 & 0xFFFF])
    bob.send_rtcp(lost)
    await bob.until(lambda: len([each for each in wire if each[:1] == b"\x90"]) == 2)
    assert numbers_used_twice(wire) == []


async def test_packets_whose_extensions_lie_do_not_bring_numbers_back(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    wire, source = bob.tap(), alice.audio

    def packet(number: int, extension: bytes = b"\xbe\xde\0\0") -> bytes:
        header = rtp.HEADER.pack(0x90, AUDIO, number & 0xFFFF, number, source.ssrc)
        return header + extension + secrets.token_bytes(60)

    sound = [1000, 1001, 1002]
    alice.send([packet(number) for number in sound])
    await bob.until(lambda: len(wire) == 3)
    alice.send([packet(1002 + jump, _BROKEN) for jump in (0x4000, 0x8000, 0xC000)])
    alice.send([packet(0x10000 + number) for number in (1002, 1001, 1000, 1003, 1004)])
    await bob.until(lambda: len(wire) > 3)
    alice.film()
    await bob.until(lambda: [each for each in wire if each[1] & 0x7F == VIDEO])
    assert numbers_used_twice(wire) == []
