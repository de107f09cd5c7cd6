"""ICE-TCP: a participant whose network blocks UDP."""

from functools import partial

import pytest

from media.focus import tcp
from media.forward.datagrams import is_tcp
from media.forward.memory import QUEUE
from media.reports import LOST_SECONDS
from media.transport.consent import CONSENT_SECONDS
from tests.support.media.node_harness import World, in_order, true
from tests.support.media.synthetic import AUDIO, VIDEO
from tests.support.media.tcp import join_by_tcp

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_participant_on_tcp_gets_and_sends_media_like_any_other(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    carol = await join_by_tcp(tcp_world, "carol")
    await tcp_world.conference.settle()
    for _ in range(5):
        alice.film(20)
        for other in (bob, carol):
            assert in_order(await other.gets(20))
        carol.film(5)
        for other in (alice, bob):
            assert in_order(await other.gets(5))
    carol.send([carol.audio.packet()])
    await alice.gets(1, AUDIO)
    assert carol.of(VIDEO) == []
    assert tcp_world.node.counts().tcp_connections == 1


def uses_tcp(world: World, name: str, expected: bool) -> bool:
    """Tell whether it is as expected whether a participant's media goes to a TCP connection."""
    destination = world.leg(name).addresses.destination
    return destination is not None and is_tcp(destination.name) == expected


async def test_participant_changes_between_tcp_and_udp(tcp_world: World) -> None:
    (alice,) = await tcp_world.join("alice")
    carol = await join_by_tcp(tcp_world, "carol")
    for is_by_tcp in (False, True, False):
        (carol.dial if is_by_tcp else carol.use_udp)()
        carol.send_datagram(carol.check())
        await true(partial(uses_tcp, tcp_world, "carol", is_by_tcp))
        alice.film(5)
        assert in_order(await carol.gets(5))
        carol.film(5)
        assert in_order(await alice.gets(5))


async def test_leg_is_silent_from_the_end_of_its_connection_until_the_next_one(tcp_world: World) -> None:
    (alice,) = await tcp_world.join("alice")
    carol = await join_by_tcp(tcp_world, "carol")
    tcp_world.stop_ticking()
    carol.hang_up()
    await true(lambda: tcp_world.node.counts().tcp_connections == 0)
    await tcp_world.pass_time(LOST_SECONDS / 2, alice)
    alice.film(5)
    carol.dial()
    carol.send_datagram(carol.check())
    await true(lambda: tcp_world.clock.time() - tcp_world.leg("carol").addresses.seen_at < 1)
    alice.film(5)
    await carol.gets(5)
    carol.hang_up()
    await tcp_world.pass_time(LOST_SECONDS + 5, alice)
    assert [participant for _, participant, _ in tcp_world.lost] == ["carol"]


@pytest.mark.usefixtures("unlimited")
async def test_stalled_receiver_loses_the_oldest_packets_and_hurts_nobody(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    carol = await join_by_tcp(tcp_world, "carol")
    carol.stall()
    for _ in range(80):
        alice.film(20)
        assert in_order(await bob.gets(20))
    assert tcp_world.node.counts().tcp_dropped > QUEUE
    carol.resume_reading()
    alice.film(1)
    ((newest, timestamp, _),) = await bob.gets(1)
    await carol.until(lambda: any(packet[2:8] == bob_saw(newest, timestamp) for packet in carol.packets))


def bob_saw(sequence: int, timestamp: int) -> bytes:
    """Return these fields of an RTP header."""
    return sequence.to_bytes(2, "big") + timestamp.to_bytes(4, "big")


@pytest.mark.usefixtures("unlimited")
async def test_checks_of_the_node_overtake_media_that_waits(tcp_world: World) -> None:
    alice, bob = await tcp_world.join("alice", "bob")
    carol = await join_by_tcp(tcp_world, "carol")
    tcp_world.stop_ticking()
    carol.stall()
    for _ in range(80):
        alice.film(20)
        await bob.gets(20)
    await tcp_world.pass_time(CONSENT_SECONDS, alice, bob)
    for _ in range(80):
        alice.film(20)
        await bob.gets(20)
    carol.resume_reading()
    leg = tcp_world.leg("carol")
    await true(lambda: tcp_world.clock.time() - leg.addresses.seen_at < CONSENT_SECONDS)


async def test_connection_that_sends_nothing_for_long_is_closed(
    tcp_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tcp_world.join("alice")
    carol = await join_by_tcp(tcp_world, "carol")
    tcp_world.stop_ticking()
    carol.fall_silent()
    carol.resume_reading()
    tcp_world.clock.added += tcp.IDLE_SECONDS + 1
    await carol.until(lambda: carol.is_cut)
