"""Which source (SSRC) feeds which track, and how other sources are treated."""

import itertools
import secrets

import pytest
from aiortc.rtp import RtcpRrPacket, RtcpSenderInfo, RtcpSrPacket

from media.focus import sources
from media.focus.node import Settings
from media.focus.sources import Sources
from media.forward import rtp, streams, tracks
from tests.support.media import synthetic
from tests.support.media.node_harness import Listener, World, around, in_order
from tests.support.media.synthetic import AUDIO, RTX, VIDEO, VIDEO_SIZE, Source

# No test in this module uses the database.
pytestmark = pytest.mark.once


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
    # Earlier sources are still known: the sender report of alice's camera and the camera's video get through.
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=1, packet_count=1, octet_count=1)
    alice.send_rtcp(RtcpSrPacket(ssrc=alice.video.ssrc, sender_info=info))
    alice.film()
    await bob.gets(1)
    await bob.until(lambda: [each for each in bob.reports if isinstance(each, RtcpSrPacket)])
    assert len(leg_of_alice.sources.met) == sources.MOST_SSRCS
    assert leg_of_alice.quota.excess == 51


async def test_the_ssrc_of_another_participant_feeds_none_of_its_tracks(world: World) -> None:
    alice, bob, mallory = await world.join("alice", "bob", "mallory")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    mallory.film()
    await bob.gets(1)
    # Alice's own SSRC, and the SSRC that her receivers know.
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
    monkeypatch.setattr(Sources, "is_active", lambda self, stream: False)
    alice.send([other.packet(), other.packet()])
    assert in_order(await bob.gets(2))


async def test_new_source_is_known_by_the_first_name_that_its_packet_states(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    mid = alice.video_section.mid.encode()
    names = b"\x41" + mid + b"\x41xx\0\0"
    source = Source(secrets.randbits(32), VIDEO, 90000, VIDEO_SIZE)
    plain = source.packet()
    extension = b"\xbe\xde" + (len(names) // 4).to_bytes(2, "big") + names
    alice.send([bytes([plain[0] | 0x10]) + plain[1:12] + extension + b"media"])
    assert len(await bob.gets(1)) == 1
    assert source.ssrc in world.leg("alice").sources.streams


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
        alice.sections[1].attributes = [*alice.sections[1].attributes, *named]
    for peer in (alice, bob):
        world.peers.append(peer)
        await world.conference.join(peer)
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
        await world.conference.renegotiate(alice)
        await world.conference.settle()
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
        # The video goes on.
        alice.film(5)
        assert in_order((await bob.gets(5))[1:])
