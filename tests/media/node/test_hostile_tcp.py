"""The TCP port under attack: a connection without a valid check gets nothing, and no connection hurts a call."""

import asyncio
import contextlib
import gc
import itertools
import socket
import weakref
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from functools import partial

import pytest
from aioice import stun

from media.focus import tcp
from media.focus.addresses import Addresses
from media.focus.node import Settings
from media.forward.datagrams import LARGEST, Destination
from media.transport.framing import Deframer, framed
from tests.support.media.node_harness import SECONDS, World, around, in_order, true
from tests.support.media.synthetic import AUDIO
from tests.support.media.tcp import join_by_tcp

# No test in this module uses the database.
pytestmark = pytest.mark.once

# A check for a ufrag that no leg has.
_UNKNOWN = bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": "nobody:here"}))
_NO_CHECKS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: media\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "a null frame": b"\0\0",
    "the longest frame": b"\xff\xff" + bytes(3000),
    "a frame that is too long by one byte": (LARGEST + 1).to_bytes(2, "big"),
    "one byte in a frame": b"\0\1\0",
    "zeros": bytes(3000),
    "an unknown ufrag": framed(_UNKNOWN),
    "DTLS": framed(b"\x16\xfe\xfd" + bytes(60)),
    "RTP": framed(b"\x80\x60" + bytes(60)),
}


@contextlib.asynccontextmanager
async def connections(
    world: World, count: int, sources: Iterable[str] = itertools.repeat("127.0.0.1")
) -> AsyncIterator[list[socket.socket]]:
    """Open connections from these addresses to the node's TCP port, and close them at the end."""
    loop, host = asyncio.get_running_loop(), world.node.tcp_candidates[0]
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for connection, source in zip(made, sources, strict=False):
            connection.setblocking(False)
            connection.bind((source, 0))
            await loop.sock_connect(connection, host)
        yield made


def is_closed(connection: socket.socket) -> bool:
    """Tell whether the other side has closed a connection. Ignore what it has sent."""
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("first", list(_NO_CHECKS))
async def test_connection_that_begins_without_a_check_is_closed_at_once(tcp_world: World, first: str) -> None:
    async with connections(tcp_world, 1) as (stranger,):
        stranger.send(_NO_CHECKS[first])
        await true(lambda: is_closed(stranger))
    assert tcp_world.node.counts().faults == 0


async def test_check_with_a_wrong_password_closes_the_connection(tcp_world: World) -> None:
    (alice,) = await tcp_world.join("alice")
    alice.remote = (alice.remote[0], "a password that nobody has")
    async with connections(tcp_world, 1) as (stranger,):
        stranger.send(framed(alice.check()))
        await true(lambda: is_closed(stranger))


async def test_silent_connection_is_closed_after_a_short_time(tcp_world: World) -> None:
    async with connections(tcp_world, 2) as (silent, slow):
        # Half of a frame is not a check either.
        slow.send(framed(_UNKNOWN)[:10])
        await true(lambda: tcp_world.node.counts().tcp_connections == 2)
        tcp_world.clock.added += tcp.STRANGER_SECONDS + 1
        for connection in (silent, slow):
            await true(partial(is_closed, connection))


async def test_bytes_that_arrive_one_by_one_are_put_together(tcp_world: World) -> None:
    (alice,) = await tcp_world.join("alice")
    carol = await join_by_tcp(tcp_world, "carol")
    for packet in (carol.audio.packet() for _ in range(3)):
        for byte in framed(carol.outward.protect(packet)):
            await asyncio.get_running_loop().sock_sendall(carol.socket, bytes([byte]))
            await asyncio.sleep(0)
    assert in_order(await alice.gets(3, AUDIO))


@pytest.mark.parametrize("garbage", [b"\xff\xff", b"GET / HTTP/1.1\r\n\r\n"], ids=["too long", "HTTP"])
async def test_garbage_after_a_valid_check_closes_only_that_connection(tcp_world: World, garbage: bytes) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    carol = await join_by_tcp(tcp_world, "carol")
    # Random frames belong to no protocol, or are not authentic.
    for number in range(256):
        carol.send_datagram(bytes([number]) * (number % 40 + 1))
    carol.send_datagram(b"")
    alice.film(3)
    await carol.gets(3)
    carol.send_bytes(garbage)
    await carol.until(lambda: carol.is_cut)
    alice.film(3)
    assert in_order(await bob.gets(6))
    assert tcp_world.node.counts().faults == 0


async def test_flood_of_frames_closes_the_connection(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    carol = await join_by_tcp(tcp_world, "carol")
    carol.send_bytes(bytes(2 * (tcp.MOST_FRAMES + 1)))
    await carol.until(lambda: carol.is_cut)
    alice.film(3)
    assert in_order(await bob.gets(3))


async def test_connections_of_one_network_keep_nobody_out(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    for _ in range(10):
        async with connections(tcp_world, 200):
            alice.film(5)
            assert in_order(await bob.gets(5))
            await true(lambda: tcp_world.node.counts().tcp_connections == tcp.MOST_STRANGERS_OF_A_NETWORK)
    async with connections(tcp_world, 200):
        carol = await join_by_tcp(tcp_world, "carol")
        alice.film(5)
        await carol.gets(5)


async def test_connections_of_many_networks_are_limited_together(tcp_world: World) -> None:
    networks = (f"127.0.{number % 20 + 1}.1" for number in itertools.count())
    async with connections(tcp_world, 400, networks):
        await true(lambda: tcp_world.node.counts().tcp_connections == tcp.MOST_STRANGERS)
        await join_by_tcp(tcp_world, "carol")


async def test_flood_of_connections_is_accepted_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MOST_ACCEPTED", 40)
    networks = (f"127.0.{number % 20 + 1}.1" for number in itertools.count())
    async with around(Settings(tcp_port=0)) as world:
        alice, bob = await world.join("alice", "bob")
        world.clock.fixed = world.clock.time()
        async with connections(world, 100, networks):
            await true(lambda: world.node.counts().tcp_connections == 40)
            # The node reads these packets after it could have accepted more.
            for _ in range(5):
                alice.film(5)
                assert in_order(await bob.gets(5))
            assert world.node.counts().tcp_connections == 40
            world.clock.fixed += 1
            await true(lambda: world.node.counts().tcp_connections == 80)


def _is_elsewhere(addresses: Addresses, before: Destination) -> bool:
    """Tell whether media goes to another destination than before."""
    return addresses.destination is not before


async def test_leg_that_connects_again_and_again_keeps_no_more_memory(tcp_world: World) -> None:
    await tcp_world.join("alice")
    carol = await join_by_tcp(tcp_world, "carol")
    addresses, queues = tcp_world.leg("carol").addresses, list[weakref.ref[object]]()
    for _ in range(12):
        before = addresses.destination
        assert before is not None
        queues.append(weakref.ref(before.memory))
        tcp_world.clock.added += 1
        carol.dial()
        carol.send_datagram(carol.check())
        await true(partial(_is_elsewhere, addresses, before))
    gc.collect()
    assert sum(queue() is not None for queue in queues) <= 2


async def test_connection_stays_with_its_first_leg(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    # Alice knows bob's credentials, perhaps because both are hers.
    checks = [alice.check(nominate=False), bob.check(nominate=False), alice.check(nominate=False)]
    async with connections(tcp_world, 1) as (connection,):
        for check in checks:
            connection.send(framed(check))
        frames, answered = Deframer(LARGEST), set[bytes]()
        async with asyncio.timeout(SECONDS):
            while checks[2][8:20] not in answered:
                got = await asyncio.get_running_loop().sock_recv(connection, 4096)
                answered |= {each[8:20] for each in frames.feed(got) if each[:2] == b"\1\1"}
    assert answered == {checks[0][8:20], checks[2][8:20]}


async def test_repeated_check_of_another_address_proves_nothing(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    captured = bob.check()
    bob.send_datagram(captured)
    async with connections(tcp_world, 1) as (attacker,):
        attacker.send(framed(captured))
        await true(lambda: is_closed(attacker))
    alice.film(3)
    assert in_order(await bob.gets(3))


async def test_intercepted_check_gets_no_media(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    async with connections(tcp_world, 1) as (attacker,):
        # This check never arrived from bob's own address. The attacker cannot answer the node's check.
        attacker.send(framed(bob.check()))
        await true(lambda: tcp_world.node.counts().tcp_connections == 1)
        for _ in range(5):
            alice.film(20)
            assert in_order(await bob.gets(20))
        attacker.setblocking(True)
        attacker.settimeout(SECONDS)
        got = attacker.recv(65536)
    # An answer, and the node's own checks.
    assert len(got) < 1000
