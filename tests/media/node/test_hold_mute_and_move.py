"""The effect of hold, mute, move and leave on the media that a participant sends and gets."""

import gc
import weakref
from typing import Any

import pytest

from media.focus.leg import Leg
from tests.support.media.node_harness import SECONDS, Listener, World, in_order, true

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_hold_reaches_nobody_and_resume_leaves_no_gap(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    before = await bob.gets(3)
    await world.conference.set_state(alice, "on-hold", "hold")
    await world.conference.settle()
    alice.film(3)
    bob.film()
    await alice.gets(1)  # the holder goes on receiving
    await world.conference.set_state(alice, "accepted", "resume")
    await world.conference.settle()
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
        await world.conference.set_state(alice, "on-hold", "hold")
        await world.conference.settle()
        assert track.sinks == {}
        await world.conference.set_state(alice, "accepted", "resume")
        # Alice sends video while the others answer one by one.
        while world.conference.offered:
            await world.conference.answer_one()
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
    world.conference.participants["alice"].muted = ["audio"]
    await world.conference.update()
    await world.conference.settle()
    alice.send([alice.audio.packet()])
    alice.film()
    await bob.gets(1)
    assert bob.packets == []


async def test_move_to_another_device_goes_on_without_renegotiation(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    before = await bob.gets(3)
    await world.conference.set_state(alice, "moving", "move")
    assert world.conference.offered == []
    phone = Listener("alice")
    world.peers.append(phone)
    world.conference.participants["alice"].peer = phone
    world.conference.participants["alice"].state = "accepted"
    await world.conference.renegotiate(phone, fresh=True, kind="move")
    assert [each for each in world.conference.offered if each[0] == "bob"] == []
    phone.film(3)
    after = await bob.gets(3)
    assert in_order(before + after)
    assert (after[0][1] - before[-1][1]) & 0xFFFFFFFF < 90000 * SECONDS


async def test_a_participant_that_leaves_is_heard_no_more_and_its_sections_are_used_again(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    await world.conference.leave(carol)
    await world.conference.settle()
    sections = len(bob.sections)
    await world.join("dave")
    assert len(bob.sections) == sections
    world.peers[-1].film()
    await bob.gets(1)
    await alice.gets(1)


def _memory_of(gone: Leg) -> list[Any]:
    """Return the objects that make up a leg."""
    assert gone.transport is not None
    assert gone.channels is not None
    dtls, sctp = gone.transport.dtls, gone.channels.sctp
    return [gone, gone.transport, dtls, dtls._ssl, dtls._rx_srtp, gone.channels, sctp]


async def test_memory_of_a_leg_that_has_left_is_free_without_garbage_collection(world: World) -> None:
    alice, bob = await world.join("alice", "bob", data=True)
    kept = [weakref.ref(each) for each in _memory_of(world.leg("alice"))]
    history = world.track("alice", "video").history
    assert history is not None
    kept += [weakref.ref(history), weakref.ref(history.arena)]
    del history
    gc.disable()
    try:
        await world.conference.leave(alice)
        await world.conference.settle()
        await true(lambda: not [each() for each in kept if each() is not None])
    finally:
        gc.enable()
    assert world.leg(bob.id).sinks == {}
