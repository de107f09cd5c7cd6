"""Media goes only to addresses that have answered a check. No check takes over the address of another participant."""

import asyncio
import contextlib
import socket
from functools import partial

import pytest
from aioice import stun

from media.focus import addresses
from media.forward.datagrams import address_of
from media.reports import LOST_SECONDS
from media.transport import consent
from tests.support.media.attacks import unknown_socket
from tests.support.media.node_harness import SECONDS, Listener, World, in_order, true

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_flood_of_checks_moves_the_media_a_few_times_and_hurts_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    caplog.clear()
    started = asyncio.get_running_loop().time()
    # A second socket of alice's, which answers checks like the first.
    with contextlib.closing(unknown_socket()) as other:
        other.setblocking(False)
        for number in range(200):
            sender = other if number % 2 else alice.socket
            sender.sendto(alice.check(), alice.host)
            with contextlib.suppress(BlockingIOError):
                while datagram := other.recv(2048):
                    if datagram[:2] == b"\0\1":
                        other.sendto(alice.reply(stun.parse_message(datagram)), alice.host)
            if number % 10 == 0:
                carol.film()
                await bob.gets(1)
    moved = [record for record in caplog.records if "media goes to" in record.message]
    assert 1 <= len(moved) <= consent.MOST_MOVES + asyncio.get_running_loop().time() - started
    leg_of_alice, here = world.leg("alice"), alice.socket.getsockname()
    async with asyncio.timeout(SECONDS):
        while leg_of_alice.addresses.destination is None or address_of(leg_of_alice.addresses.destination.name) != here:
            alice.send_datagram(alice.check())
            await asyncio.sleep(0.05)
    carol.film()
    await alice.gets(1)


async def test_media_does_not_go_to_a_forged_address(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    with contextlib.closing(unknown_socket()) as victim:
        victim.setblocking(False)
        # Alice nominates the victim's address with one check from there. Her later checks come from her own address,
        # and nominate nothing.
        alice.stop_checking()
        victim.sendto(alice.check(), alice.host)
        for _ in range(12):
            await world.pass_time(LOST_SECONDS / 10, alice, bob)
            alice.send_datagram(alice.check(nominate=False))
            bob.film(10)
            await alice.gets(10)
        got = _all_of(victim)
    # The victim got the answer to alice's check, and a few of the node's own checks.
    assert {datagram[:2] for datagram in got} == {b"\1\1", b"\0\1"}
    assert len(got) <= 1 + len(consent.RETRY_SECONDS)
    assert world.lost == []


async def test_forged_address_gets_no_handshake(world: World) -> None:
    (alice,) = await world.join("alice")
    bob = Listener("bob")
    world.peers.append(bob)
    with contextlib.closing(unknown_socket()) as victim, pytest.MonkeyPatch.context() as patched:
        victim.setblocking(False)
        connect = bob.connect

        async def forge_first(remote: str) -> None:
            lines = remote.splitlines()
            bob.remote = tuple(  # type: ignore[assignment]
                next(line.partition(":")[2] for line in lines if line.startswith(f"a={name}:"))
                for name in ("ice-ufrag", "ice-pwd")
            )
            for _ in range(3):
                victim.sendto(bob.check(), ("127.0.0.1", world.node.candidates[0][1]))
            await connect(remote)

        patched.setattr(bob, "connect", forge_first)
        patched.setattr(bob, "keep_checking", partial(_keep_checking_modestly, bob))
        await world.conference.join(bob)
        alice.film(3)
        await bob.gets(3)
        assert {datagram[:2] for datagram in _all_of(victim)} <= {b"\1\1", b"\0\1"}


async def _keep_checking_modestly(peer: Listener) -> None:
    """Check connectivity and nominate nothing."""
    while True:
        peer.send_datagram(peer.check(nominate=False))
        await asyncio.sleep(0.05)


async def test_media_from_a_new_address_moves_the_leg_before_its_next_check(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.stop_checking()
    alice.rebind()
    here, leg = alice.socket.getsockname(), world.leg("alice")
    # This packet is lost.
    alice.film()
    await true(lambda: leg.addresses.destination and address_of(leg.addresses.destination.name) == here)
    alice.film(5)
    assert in_order(await bob.gets(5))
    bob.film(5)
    assert in_order(await alice.gets(5))


async def test_media_that_anybody_could_send_moves_nothing(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packet = alice.outward.protect(alice.video.packet())
    forged = alice.outward.protect(alice.video.packet())[:-1] + b"\0"
    alice.send_datagram(packet)
    await bob.gets(1)
    with contextlib.closing(unknown_socket()) as attacker:
        attacker.setblocking(False)
        for datagram in (packet, forged, alice.video.packet(), b"\x80" + bytes(30)):
            attacker.sendto(datagram, alice.host)
        await true(lambda: world.node.counts().strangers == 4)
        bob.film(5)
        await alice.gets(5)
        assert _all_of(attacker) == []


async def test_consent_belongs_to_the_address_that_media_goes_to(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    alice.fall_silent()
    with contextlib.closing(unknown_socket()) as elsewhere:
        for _ in range(11):
            # Alice's checks are valid. But at the address in use, she does not answer the node's checks.
            elsewhere.sendto(alice.check(), alice.host)
            alice.send_datagram(alice.check())
            await world.pass_time(LOST_SECONDS / 10, bob)
    assert [participant for _, participant, _ in world.lost] == ["alice"]


def _all_of(receiver: socket.socket) -> list[bytes]:
    """Return all datagrams that have arrived at a socket."""
    got: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            got.append(receiver.recv(2048))
    return got


async def test_check_from_anothers_address_does_not_take_it_over(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    for _ in range(3):
        carol.socket.sendto(alice.check(), alice.host)
        carol.film(5)
        assert in_order(await bob.gets(5))
    bob.film()
    for each in (alice, carol):
        await each.gets(1)
    assert world.leg("alice").quota.unauthentic == 0


async def test_address_that_went_over_to_another_leg_is_not_taken_from_it_again(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    carol = Listener("carol")
    # A check of alice's came from carol's address too, but alice's media does not go there.
    carol.socket.sendto(alice.check(), alice.host)
    alice.send_datagram(alice.check())
    world.peers.append(carol)
    await world.conference.join(carol)
    with contextlib.ExitStack() as stack:
        for _ in range(addresses.MOST_ADDRESSES + 1):
            stack.enter_context(contextlib.closing(unknown_socket())).sendto(alice.check(), alice.host)
        carol.film(3)
        assert in_order(await bob.gets(3))
