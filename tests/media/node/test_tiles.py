"""A participant gets no larger picture than it shows, and no picture that it does not show."""

import json
from dataclasses import dataclass

import pytest

from tests.support.media.layers import Layer, layered
from tests.support.media.node_harness import Listener, World
from tests.support.media.synthetic import AUDIO, VIDEO

pytestmark = pytest.mark.once


@dataclass
class Show:
    """Alice sends two layers to bob, who tells how large he shows them, and to carol, who tells nothing."""

    world: World
    alice: Listener
    layers: list[Layer]
    bob: Listener
    carol: Listener

    def tell(self, width: int | None) -> None:
        """Tell the width of alice's tile at bob's; None for nothing."""
        leg = self.world.leg("bob")
        widths = {} if width is None else {leg.layout.carried["alice", "video"].mid: width}
        leg.tiles.take(json.dumps({"widths": widths}))

    async def go_on(self, seconds: int) -> tuple[int, int]:
        """Send both layers. Return how many packets of the last picture bob and carol have got: one or three."""
        for _ in range(2 * seconds):
            self.bob.packets, self.carol.packets = [], []
            for layer, packets in zip(self.layers, (1, 3), strict=True):
                self.alice.send(layer.frame(key=True, packets=packets))
            await self.carol.until(lambda: self.carol.of(VIDEO))
            await self.world.pass_time(0.5, self.alice, self.bob, self.carol)
        return len(self.bob.of(VIDEO)), len(self.carol.of(VIDEO))


async def _begin(world: World) -> Show:
    alice, layers = layered("alice", "low", "high")
    layers[0].width, layers[1].width = 320, 640
    world.peers.append(alice)
    await world.conference.join(alice)
    bob, carol = await world.join("bob", "carol")
    world.stop_ticking()
    return Show(world, alice, layers, bob, carol)


async def test_a_receiver_gets_the_smallest_layer_that_is_wide_enough(world: World) -> None:
    show = await _begin(world)
    assert await show.go_on(6) == (3, 3)
    show.tell(330)
    assert await show.go_on(3) == (1, 3)
    show.tell(500)
    assert await show.go_on(3) == (3, 3)
    show.tell(None)
    assert await show.go_on(3) == (3, 3)


async def test_a_video_that_cannot_be_seen_is_not_sent_and_comes_back(world: World) -> None:
    show = await _begin(world)
    assert await show.go_on(6) == (3, 3)
    show.tell(0)
    assert await show.go_on(3) == (0, 3)
    # That is no pause, and bob's own picture does not change.
    assert not [notice for name, notice in world.noticed if name == "bob"]
    show.tell(640)
    assert await show.go_on(4) == (3, 3)


async def test_a_video_in_one_layer_that_cannot_be_seen_is_not_sent(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    world.stop_ticking()
    mid = world.leg("bob").layout.carried["alice", "video"].mid
    got = []
    for widths in ({mid: 0}, {}, {mid: 0, "nowhere": 0}, {mid: 9}):
        world.leg("bob").tiles.take(json.dumps({"widths": widths}))
        await world.pass_time(0.5, alice, bob, carol)
        bob.packets, carol.packets = [], []
        alice.film()
        await carol.gets(1)
        # Sound after the picture shows that no picture is on its way.
        alice.send([alice.audio.packet()])
        await bob.gets(1, AUDIO)
        got.append(len(bob.of(VIDEO)))
    assert got == [0, 1, 0, 1]
