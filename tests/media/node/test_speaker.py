"""The node reports the active speaker."""

import asyncio

import pytest

from media.focus import speakers
from tests.support.media.node_harness import SECONDS, World

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_the_speaker_is_reported_once_and_changes_with_the_loudest(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    for speaker in (alice, bob, alice):
        heard = len(world.spoken)
        async with asyncio.timeout(SECONDS):
            while len(world.spoken) == heard:
                speaker.send([speaker.audio.packet()])
                await asyncio.sleep(0.01)
    assert world.spoken == ["alice", "bob", "alice"]


async def test_the_speaker_changes_no_more_than_once_a_second(world: World) -> None:
    await world.join("alice", "bob")
    world.stop_ticking()
    seconds = 4
    for number in range(10 * seconds):
        for index, name in enumerate(("alice", "bob")):
            world.track(name, "audio").loudness = 10.0 * (number % 2 == index)
        await world.pass_time(0.1)
    assert 2 <= len(world.spoken) <= 1 + seconds / speakers.SPEAKER_SECONDS


async def test_a_participant_that_sends_thousands_of_packets_is_not_louder_than_a_speaker(world: World) -> None:
    await world.join("alice", "bob", "mallory")
    world.stop_ticking()
    for number in range(40):
        world.track("mallory", "audio").loudness += 200.0 * (number < 20)
        world.track("bob", "audio").loudness += 4.0 * (number >= 20)
        await world.pass_time(0.1)
        if number >= 20 and world.spoken == ["mallory", "bob"]:
            break
    assert world.spoken == ["mallory", "bob"]
    assert number < 33


async def test_a_speaker_is_recognised_beside_the_silent_audio_of_a_screen(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    alice.sections.append(alice.own_section("audio", receives=False))
    await world.conference.renegotiate(alice)
    await world.conference.settle()
    assert sum(track.kind == "audio" for track in world.node.conferences["room"].tracks.values()) == 3
    async with asyncio.timeout(SECONDS):
        while not world.spoken:
            alice.send([alice.audio.packet()])
            await asyncio.sleep(0.01)
    assert world.spoken == ["alice"]


async def test_a_speaker_whose_track_closes_is_announced_again_when_it_returns_and_speaks(world: World) -> None:
    await world.join("alice", "bob")
    world.stop_ticking()
    alice, bob = (world.track(name, "audio") for name in ("alice", "bob"))
    spoken: list[str] = []
    listening = speakers.Speakers(spoken.append)
    for second, tracks in enumerate(([alice, bob], [bob], [alice, bob])):
        alice.loudness = 10.0
        listening.listen(tracks, 10.0 * second)
    assert spoken == ["alice", "alice"]
