"""ICE-TCP: a participant whose network blocks UDP."""

from collections.abc import AsyncIterator

import pytest

from media.focus.node import Settings
from tests.support.media.node_harness import World, around, in_order
from tests.support.media.synthetic import AUDIO, VIDEO
from tests.support.media.tcp import TcpListener

# No test in this module uses the database.
pytestmark = pytest.mark.once


@pytest.fixture(params=[True, False], ids=["fast path", "Python"])
async def tcp_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A node that also listens on a TCP port."""
    async with around(Settings(tcp_port=0, fast=request.param)) as world:
        yield world


async def join_by_tcp(world: World, name: str) -> TcpListener:
    """Have a participant join who reaches the node over TCP only."""
    joined = TcpListener(name)
    world.peers.append(joined)
    await world.conference.join(joined)
    return joined


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
