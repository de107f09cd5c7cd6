"""The node carries out its tasks: it answers offers, makes offers, and refuses offers that it cannot agree to."""

import pytest

from tests.support.media.by_json import by_json
from tests.support.media.node_harness import Listener, World
from tests.support.media.synthetic import PeerSection, RefusedError

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_repeated_task_gives_the_same_answer(world: World) -> None:
    (alice,) = await world.join("alice")
    offer = {"participant": "alice", "modId": "m", "sdp": alice.offer(), "fresh": False, "ready": []}
    offer["view"] = {"seats": [{"participant": "alice", "state": "accepted", "muted": []}], "cause": None}
    first = await by_json(world.node)("room", "offer", offer)
    assert await by_json(world.node)("room", "offer", offer) == first


async def test_data_channels_go_with_the_offer_that_brought_them(world: World) -> None:
    (alice,) = await world.join("alice")
    task = {"participant": "alice", "modId": "chat", "fresh": False, "rejected": False, "ready": []}
    task["view"] = {"seats": [{"participant": "alice", "state": "accepted", "muted": []}], "cause": None}
    alice.sections.append(PeerSection("application", "d", "webrtc-datachannel", ["a=sctp-port:5000"]))
    await by_json(world.node)("room", "offer", {**task, "sdp": alice.offer()})
    assert world.leg("alice").channels is not None
    await by_json(world.node)("room", "withdraw", task)
    assert world.leg("alice").channels is None


async def test_offer_that_cannot_be_agreed_to_is_refused_in_words_and_changes_nothing(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    carol = Listener("carol")
    world.peers.append(carol)
    for section in carol.sections:
        section.attributes = [each.replace("VP8", "H265").replace("opus", "G722") for each in section.attributes]
    with pytest.raises(RefusedError, match="sdp-invalid"):
        await world.conference.join(carol)
    del world.conference.participants["carol"]
    alice.film()
    await bob.gets(1)


async def test_a_rejected_offer_is_not_repeated_until_something_changes(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.share_screen()
    await world.conference.renegotiate(alice)
    assert [id_ for id_, _, _ in world.conference.offered] == ["bob"]
    await world.conference.withdraw_one(rejected=True)
    assert world.conference.offered == []
    await world.conference.update()
    assert world.conference.offered == []
    alice.film()
    await bob.gets(1)
    await world.join("carol")
    alice.send([alice.sources[2].packet()])
    await bob.gets(1)


async def test_ten_joins_during_an_unanswered_offer_cause_one_further_offer(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    for name in ("carol", "dave", "erin"):
        peer = Listener(name)
        world.peers.append(peer)
        await world.conference.join(peer, settle=False)
        await world.conference.update()
    assert [id_ for id_, _, _ in world.conference.offered].count("alice") == 1
    answered = 0
    while world.conference.offered:
        answered += world.conference.offered[0][0] == "alice"
        await world.conference.answer_one()
    assert answered == 2
    world.peers[-1].film()
    await alice.gets(1)
