"""The media of one participant reaches each other participant, as one stream per track."""

import errno

import pytest

from media.focus.node import Settings
from media.forward import datagrams, rtp
from tests.support.media.node_harness import World, around, in_order
from tests.support.media.synthetic import AUDIO, VIDEO
from tests.support.media.tunnels import Tunnel

# No test in this module uses the database.
pytestmark = pytest.mark.once


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


async def test_receiver_knows_the_ssrc_that_it_gets(world: World) -> None:
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


async def test_only_a_receiver_behind_a_tunnel_gets_bursts_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with around(Settings(fast=False)) as world:
        alice, bob, carol = await world.join("alice", "bob", "carol")
        tunnelled = world.leg("bob").addresses.destination
        assert tunnelled is not None
        tunnel = Tunnel(errno.EIO, {tunnelled.address})
        monkeypatch.setattr(datagrams, "libc", tunnel)
        for _ in range(5):
            alice.film(20)
            for other in (bob, carol):
                assert in_order(await other.gets(20))
        assert tunnel.refusals == 1
        assert [world.leg(peer.id).addresses.gso for peer in (bob, carol)] == [False, True]


async def test_screen_beside_the_camera(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.share_screen()
    await world.conference.renegotiate(alice)
    await world.conference.settle()
    alice.film()
    alice.send([alice.sources[2].packet()])
    got = await bob.gets(2)
    assert len({ssrc for _, _, ssrc in got}) == 2


async def test_audio_keeps_its_own_numbers(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.send([packet for _ in range(3) for packet in (alice.audio.packet(), alice.video.packet())])
    assert in_order(await bob.gets(3, AUDIO))
    assert in_order(await bob.gets(3, VIDEO))
