"""Audio without Opus: who gets it, and when all audio becomes G.711."""

from collections.abc import Mapping
from typing import Any

import pytest

from media.focus.node import Settings
from media.sdp.description import parse
from tests.support.media.by_json import by_json
from tests.support.media.node_harness import Listener, World, around, in_order
from tests.support.media.synthetic import AUDIO, PCMU, PeerSection

# No test in this module uses the database.
pytestmark = pytest.mark.once


@pytest.mark.parametrize("fast", [True, False])
async def test_pcmu_is_forwarded_while_a_member_lacks_opus(fast: bool) -> None:
    async with around(Settings(fast=fast)) as world:
        (alice,) = await world.join("alice", audio=(AUDIO, PCMU))
        (carol,) = await world.join("carol", audio=(PCMU,))
        assert [world.leg(name).layout.published["audio"].codecs[0].name for name in ("alice", "carol")] == ["PCMU"] * 2
        assert world.track("alice", "audio").clock_rate == 8000
        # A participant that joins later sends PCMU as well.
        (bob,) = await world.join("bob", audio=(AUDIO, PCMU))
        # An Opus packet that was still on its way is no longer forwarded.
        alice.send([alice.audio.packet()])
        for peer in (alice, bob):
            peer.speak(PCMU)
        # The fast path handles the packets after the first.
        alice.send([alice.audio.packet() for _ in range(5)])
        got = await bob.gets(5, PCMU)
        assert in_order(got)
        assert in_order(await carol.gets(5, PCMU))
        carol.send([carol.audio.packet() for _ in range(5)])
        for peer in (alice, bob):
            assert in_order(await peer.gets(5, PCMU))
            assert not peer.of(AUDIO)
        await world.conference.leave(carol)
        await world.conference.settle()
        assert world.leg("alice").layout.published["audio"].codecs[0].name == "opus"
        alice.speak(AUDIO)
        alice.send([alice.audio.packet()])
        ((_, _, ssrc),) = await bob.gets(1, AUDIO)
        assert ssrc == got[0][2]


async def test_a_participant_without_opus_takes_it_from_no_two_others_and_goes_without_audio(world: World) -> None:
    alice, bob = await world.join("alice", "bob", audio=(AUDIO, PCMU))
    (carol,) = await world.join("carol", audio=(PCMU,))
    assert world.leg("carol").layout.published.keys() == {"video"}
    assert world.leg("alice").layout.published["audio"].codecs[0].name == "opus"
    alice.send([alice.audio.packet() for _ in range(5)])
    assert in_order(await bob.gets(5, AUDIO))
    alice.film(5)
    assert in_order(await carol.gets(5))


async def test_a_participant_keeps_its_audio_without_opus_whoever_joins(world: World) -> None:
    (alice,) = await world.join("alice", audio=(AUDIO, PCMU))
    (carol,) = await world.join("carol", audio=(PCMU,))
    await world.join("bob", "dave", audio=(AUDIO, PCMU))

    async def all_hear_carol() -> None:
        await world.conference.settle()
        assert {world.leg(id_).layout.published["audio"].codecs[0].name for id_ in world.conference.participants} == {
            "PCMU"
        }
        carol.send([carol.audio.packet() for _ in range(5)])
        assert in_order(await alice.gets(5, PCMU))

    await world.conference.renegotiate(carol)
    await all_hear_carol()
    # After a reload, carol's page has a new peer connection.
    await carol.close()
    carol = Listener("carol", audio=(PCMU,))
    world.peers.append(carol)
    await world.conference.join(carol)
    await all_hear_carol()
    # After a move, the new device also has a new peer connection. During the move carol has no connection.
    await world.conference.set_state(carol, "moving", "move")
    await world.conference.settle()
    await carol.close()
    carol = Listener("carol", audio=(PCMU,))
    world.peers.append(carol)
    await world.conference.join(carol)
    await all_hear_carol()


@pytest.mark.parametrize("answered", ["", "m=audio 9 UDP/TLS/RTP/SAVPF 0", "m=audio 0 UDP/TLS/RTP/SAVPF 0"])
async def test_a_new_node_knows_which_participants_had_audio_without_opus(world: World, answered: str) -> None:
    peers = {name: Listener(name, audio=(AUDIO, PCMU)) for name in ("alice", "bob")}
    peers["carol"] = Listener("carol", audio=(PCMU,))
    world.peers += [*peers.values()]
    offers = {name: peer.offer() for name, peer in peers.items()}
    head = offers["carol"].split("m=")[0]
    answers = {"carol": f"{head}{answered}\r\n"} if answered else {}
    await world.conference.take_over(peers, offers, answers)
    had_audio = not answered.startswith("m=audio 0")
    codecs = {id_: [*world.leg(id_).negotiation.capabilities] for id_ in peers}
    assert codecs["carol"] == (["audio", "video"] if had_audio else ["video"])
    assert [id_ for id_, _, _ in world.conference.offered] == [*peers]


H264 = [
    "a=rtpmap:102 H264/90000",
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "a=rtcp-fb:102 nack pli",
]


async def test_only_the_member_whose_offer_is_withdrawn_loses_a_codec(world: World) -> None:
    names = ("host", "bob", "first", "second")
    peers = {name: Listener(name) for name in names}
    vp8 = [*peers["host"].video_section.attributes]
    for name, peer in peers.items():
        if name != "first":
            peer.video_section.formats, peer.video_section.attributes = "96 102", [*vp8, *H264]
        world.peers.append(peer)
        await world.conference.join(peer, settle=False)

    async def task(kind: str, name: str, **fields: Any) -> Mapping[str, Any]:
        common = {"participant": name, "modId": f"mod-{name}", "view": world.conference.view(), "ready": []}
        return await by_json(world.node)("room", kind, {**common, **fields})

    for name in ("first", "second"):
        peers[name].video_section.formats, peers[name].video_section.attributes = "102", H264
        assert "answer" in await task("offer", name, sdp=peers[name].offer(), fresh=False)
    # `first` is back to VP8 only, and `second` now has only H264. The other members still get video.
    await task("withdraw", "first", rejected=False)
    for name in ("host", "bob"):
        answer = (await task("offer", name, sdp=peers[name].offer(), fresh=False))["answer"]
        assert [media.live for media in parse(answer).media if media.mid == peers[name].video_section.mid] == [True]
    late = Listener("late")
    late.video_section.formats, late.video_section.attributes = "96 102", [*vp8, *H264]
    world.peers.append(late)
    await world.conference.join(late, settle=False)
    assert world.leg("late").layout.published.keys() == {"audio", "video"}


@pytest.mark.parametrize("fast", [True, False])
async def test_a_section_without_the_codec_in_use_silences_nobody_for_others(fast: bool) -> None:
    async with around(Settings(fast=fast)) as world:
        alice, bob = await world.join("alice", "bob", audio=(AUDIO, PCMU))
        picky = Listener("picky", audio=(AUDIO, PCMU))
        # This section receives another participant's audio, in PCMU only.
        picky.sections.append(PeerSection("audio", "second", str(PCMU), []))
        world.peers.append(picky)
        await world.conference.join(picky)
        for speaker in (alice, bob):
            speaker.send([speaker.audio.packet() for _ in range(5)])
        for hearer in (alice, bob):
            assert in_order(await hearer.gets(5, AUDIO))
        assert len(await picky.gets(5, AUDIO)) == 5
