"""Connections come, roam, restart and end."""

import asyncio
import contextlib

import pytest
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket

from media.focus.node import Settings
from media.forward.datagrams import address_of
from media.reports import LOST_SECONDS
from tests.support.media.attacks import unknown_socket
from tests.support.media.node_harness import SECONDS, Listener, World, around, in_order, true
from tests.support.media.synthetic import RTX

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_roaming_moves_the_media(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    before = bob.socket.getsockname()
    bob.pause_reading()
    bob.socket.close()
    replacement = Listener("bob")
    bob.socket, bob.fd = replacement.socket, replacement.fd
    bob.resume_reading()
    assert bob.socket.getsockname() != before
    started = asyncio.get_running_loop().time()
    bob.send_datagram(bob.check())
    port = bob.socket.getsockname()[1]
    await bob.until(lambda: (where := world.leg("bob").addresses.destination) and address_of(where.name)[1] == port)
    alice.film(3)
    await bob.gets(3)
    assert asyncio.get_running_loop().time() - started < 1


async def test_ice_restart_moves_the_media_and_keeps_the_keys(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    before = await bob.gets(3)
    old_check, destination = alice.check(), world.leg("alice").addresses.destination
    alice.restart()
    answer = await world.conference.renegotiate(alice)
    # Nothing changes until the new credentials are used.
    assert world.leg("alice").addresses.destination is destination
    assert f"a=ice-ufrag:{alice.remote[0]}\r\n" not in answer
    alice.restarted(answer)
    await alice.until(lambda: world.leg("alice").addresses.destination is not destination)
    alice.film(3)
    assert in_order(before + await bob.gets(3))
    bob.film(3)
    assert in_order(await alice.gets(3))
    # A check with the old credentials no longer counts.
    with contextlib.closing(unknown_socket()) as stranger:
        stranger.sendto(old_check, alice.host)
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


async def test_leg_that_never_connects_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (alice,) = await world.join("alice")
    bob = Listener("bob")
    world.peers.append(bob)
    monkeypatch.setattr(bob, "connect", nothing)
    await world.conference.join(bob, settle=False)
    world.stop_ticking()
    await world.pass_time(LOST_SECONDS - 1, alice)
    assert world.lost == []
    await world.pass_time(3, alice)
    assert [participant for _, participant, _ in world.lost] == ["bob"]


async def nothing(*_: object) -> None:
    """Do nothing."""


async def test_leg_whose_connection_is_closed_may_come_back_and_is_lost_later(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    await bob.dtls.close()
    back = Listener("bob")
    world.peers.append(back)
    await world.conference.join(back)
    alice.film()
    await back.gets(1)
    assert world.lost == []
    world.stop_ticking()
    leg_of_bob = world.leg("bob")
    await back.dtls.close()
    await true(lambda: not leg_of_bob.is_connected)
    # Bob's checks and answers go on, but they do not count.
    await world.pass_time(LOST_SECONDS - 1, alice)
    assert world.lost == []
    await world.pass_time(3, alice)
    assert [participant for _, participant, _ in world.lost] == ["bob"]
