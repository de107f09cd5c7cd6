"""A new node rebuilds the legs of a lost node."""

import asyncio

import pytest

from tests.support.media.by_json import by_json
from tests.support.media.node_harness import Listener, World, in_order

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_legs_of_a_node_that_is_gone_are_built_anew_from_their_last_offers(world: World) -> None:
    before = [Listener("alice"), Listener("bob")]
    alice, bob = Listener("alice"), Listener("bob")
    world.peers += [*before, alice, bob]
    await world.conference.take_over({"alice": alice, "bob": bob}, {peer.id: peer.offer() for peer in before})
    assert sorted(id_ for id_, _, _ in world.conference.offered) == ["alice", "bob"]
    for id_, _, offer in [*world.conference.offered]:
        peer = world.conference.participants[id_].peer
        connecting = asyncio.create_task(peer.connect(offer))
        await world.conference.answer_one()
        await connecting
    await world.conference.settle()
    alice.film(3)
    assert in_order(await bob.gets(3))
    bob.film(3)
    assert in_order(await alice.gets(3))


async def test_a_leg_that_cannot_be_built_anew_is_reported(world: World) -> None:
    alice, bob = Listener("alice"), Listener("bob")
    world.peers += [alice, bob]
    result = await world.conference.take_over({"alice": alice, "bob": bob}, {"alice": alice.offer(), "bob": "v=0\r\n"})
    assert [offer["participant"] for offer in result["offers"]] == ["alice"]
    assert result["withoutLeg"] == ["bob"]


async def test_a_participant_that_cancels_the_offer_of_a_fresh_leg_is_reported_without_one(world: World) -> None:
    await world.join("alice", "bob")
    reloaded = Listener("bob")
    world.peers.append(reloaded)
    view = world.conference.view()
    offer = {"participant": "bob", "modId": "reload", "sdp": reloaded.offer(), "fresh": True, "view": view, "ready": []}
    assert "withoutLeg" not in await by_json(world.node)("room", "offer", offer)
    withdrawal = {"participant": "bob", "modId": "reload", "rejected": False, "view": view, "ready": []}
    assert await by_json(world.node)("room", "withdraw", withdrawal) == {"withoutLeg": ["bob"]}
