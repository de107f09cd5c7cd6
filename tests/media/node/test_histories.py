"""The packets that are kept of a participant's video take bounded memory, however many tracks there are."""

import pytest

from media.focus.signalling import MAX_TRACKS
from media.forward.memory import ARENA_SIZE
from media.forward.tracks import Track
from tests.support.media.node_harness import Listener, World, true

# No test in this module uses the database.
pytestmark = pytest.mark.once

# The bytes that a participant's histories may hold: a camera's and a screen's.
MOST_BYTES = 2 * ARENA_SIZE
# One second of video at 4 Mbit/s.
A_SECOND = 500_000


async def _sends_video(world: World, tracks: int) -> tuple[Listener, list[Track]]:
    """Have alice publish this many video tracks to bob. Return her and the tracks."""
    alice = Listener("alice", sends=False)
    world.peers.append(alice)
    for _ in range(tracks):
        alice.share_screen()
    await world.conference.join(alice)
    await world.join("bob")
    return alice, [track for (owner, _), track in world.node.conferences["room"].tracks.items() if owner == "alice"]


async def _has_sent(track: Track, packets: int) -> None:
    """Wait until this many packets of a track have been forwarded."""
    await true(lambda: track.packets == packets)


async def _film(alice: Listener, tracks: list[Track], count: int) -> list[list[bytes]]:
    """Send this many packets on each track, one after the other in turn. Return the packets of each track."""
    sent: list[list[bytes]] = [[] for _ in tracks]
    for number in range(count):
        burst = [source.packet() for source in alice.sources]
        alice.send(burst)
        for track, packet, each in zip(tracks, burst, sent, strict=True):
            await _has_sent(track, number + 1)
            each.append(packet)
    return sent


def _kept(track: Track, count: int) -> list[bytes]:
    """Return those of a track's last packets that are still kept, the oldest first."""
    kept = (track.kept(track.last_sequence - back & 0xFFFF) for back in reversed(range(count)))
    return [each.packet for each in kept if each is not None]


async def test_video_tracks_of_one_participant_keep_no_more_than_a_camera_and_a_screen(
    unlimited: None, world: World
) -> None:
    alice, tracks = await _sends_video(world, MAX_TRACKS)
    assert len(tracks) == MAX_TRACKS
    count = 2 * MOST_BYTES // MAX_TRACKS // alice.sources[0].size
    sent = await _film(alice, tracks, count)
    kept = [_kept(track, count) for track in tracks]
    assert 0.98 * MOST_BYTES < sum(len(packet) for each in kept for packet in each) <= MOST_BYTES
    # Each track keeps its own newest packets, and as many as the others.
    assert kept == [each[-len(packets) :] for each, packets in zip(sent, kept, strict=True)]
    assert max(map(len, kept)) - min(map(len, kept)) <= 1


async def test_camera_and_screen_each_keep_a_second_of_video(unlimited: None, world: World) -> None:
    alice, tracks = await _sends_video(world, 2)
    count = A_SECOND // alice.sources[0].size
    sent = await _film(alice, tracks, count)
    assert [_kept(track, count) for track in tracks] == sent
    # The camera keeps this second while only the screen sends.
    screen = alice.sources[1]
    for number in range(count, 2 * count):
        alice.send([screen.packet()])
        await _has_sent(tracks[1], number + 1)
    assert _kept(tracks[0], count) == sent[0]


async def test_participants_do_not_overwrite_each_others_video(unlimited: None, world: World) -> None:
    alice, (track,) = await _sends_video(world, 1)
    sent = await _film(alice, [track], 5)
    (carol,) = await world.join("carol")
    others = world.track("carol", "video")
    for number in range(2 * ARENA_SIZE // carol.video.size):
        carol.film()
        await _has_sent(others, number + 1)
    assert _kept(track, 5) == sent[0]


async def test_audio_is_not_kept(world: World) -> None:
    await world.join("alice", "bob")
    assert world.track("alice", "audio").history is None
