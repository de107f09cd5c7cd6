"""A congested connection limits its senders, and video gives way to sound."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, unpack_remb_fci

from media.focus import conference, downlink, feedback, pacing
from media.forward import rtcp
from media.forward.repair import OVERHEAD
from tests.support.media.node_harness import SECONDS, Listener, World, true
from tests.support.media.synthetic import AUDIO, VIDEO, VIDEO_SIZE

# No test in this module uses the database.
pytestmark = pytest.mark.once


def _limits(peer: Listener) -> list[tuple[int, list[int]]]:
    """Return the limits (REMB) that a peer got: bits per second, and the SSRCs of the streams."""
    packets = (each for each in peer.reports if isinstance(each, RtcpPsfbPacket) and each.fmt == RTCP_PSFB_APP)
    return [unpack_remb_fci(each.fci) for each in packets]


@pytest.fixture
def paced(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Stop the conference's own pacing. Return a function that paces its senders as if a second had passed."""
    monkeypatch.setattr(conference, "REPORT_SECONDS", float("inf"))
    return lambda: world.node.conferences["room"].pace(1.0)


async def _estimates(world: World, peer: Listener, bits_per_second: int) -> None:
    """Send a peer's estimate of its bandwidth, and wait until the node has read it."""
    before = world.leg(peer.id).downlink.estimate
    peer.send_rtcp(rtcp.bandwidth(peer.video.ssrc, bits_per_second, [1]))
    async with asyncio.timeout(SECONDS):
        while world.leg(peer.id).downlink.estimate == before:
            await asyncio.sleep(0)


async def _limit(peer: Listener) -> tuple[int, list[int]]:
    """Wait for the next limit (REMB) that a peer gets, and return it."""
    limit: tuple[int, list[int]] = (await peer.until(lambda: _limits(peer)))[0]
    peer.reports.clear()
    return limit


async def test_a_sender_that_congests_a_connection_is_slowed_down_until_it_stops(
    world: World, paced: Callable[[], None]
) -> None:
    alice, bob, carol, dave = await world.join("alice", "bob", "carol", "dave")

    async def film() -> None:
        paced()
        alice.film(36)
        carol.film(24)
        for each in (bob, dave):
            await each.gets(60)

    await film()
    # Dave's connection can carry only four fifths of the media that is sent.
    rates = {alice: 8 * 36 * VIDEO_SIZE, carol: 8 * 24 * VIDEO_SIZE}
    await _estimates(world, dave, 10 * sum(rates.values()))
    await _estimates(world, dave, sum(rates.values()) * 4 // 5)
    await film()
    for peer, rate in rates.items():
        allowed, sources = await _limit(peer)
        assert allowed == pytest.approx(feedback.AUDIO_RATE + 0.8 * rate, rel=0.02)
        assert sources == [peer.video.ssrc]
    # The limits grow with the bandwidth of dave's connection.
    await _estimates(world, dave, sum(rates.values()) * 3 // 2)
    await film()
    for peer, rate in rates.items():
        assert (await _limit(peer))[0] == pytest.approx(feedback.AUDIO_RATE + 1.5 * rate, rel=0.02)
    await _estimates(world, dave, 3 * pacing.PLENTY + 1_000_000)
    await film()
    for peer in rates:
        assert await _limit(peer) == (feedback.NO_LIMIT, [peer.video.ssrc])
    await film()
    assert [_limits(each) for each in (alice, carol)] == [[], []]


@pytest.fixture
def tenths(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Stop the conference's own pacing. Return a function that paces its senders as if 0.1 s had passed."""
    monkeypatch.setattr(conference, "REPORT_SECONDS", float("inf"))
    return lambda: world.node.conferences["room"].pace(0.1)


async def test_a_sender_that_ignores_its_limit_costs_a_narrow_line_no_sound(
    world: World, tenths: Callable[[], None]
) -> None:
    alice, bob, mallory = await world.join("alice", "bob", "mallory")

    async def report(packets: int) -> int:
        """Send packets of mallory's video and one of bob's audio, then pace.

        Return the number of video packets that alice got.
        """
        alice.packets.clear()
        mallory.film(packets)
        await bob.gets(packets)
        bob.send([bob.audio.packet()])
        await alice.gets(1, AUDIO)
        tenths()
        return len(alice.of(VIDEO))

    for estimate in (1_000_000, 100_000):
        await _estimates(world, alice, estimate)
    reports = 0
    while not world.leg("alice").downlink.withheld:
        reports += 1
        assert await report(10) == 10
    assert pacing.MOST_DEFIANCES < reports <= 2 * pacing.MOST_DEFIANCES
    assert [await report(10) for _ in range(3)] == [0, 0, 0]
    # The video comes back once its sender has slowed down.
    assert await report(0) == 0
    await mallory.until(lambda: any(isinstance(each, RtcpPsfbPacket) and each.fmt == 1 for each in mallory.reports))
    assert await report(1) == 1


@pytest.mark.parametrize("tracks", [1, 2])
async def test_audio_that_exceeds_its_limit_does_not_fill_a_congested_connection(
    world: World, tenths: Callable[[], None], tracks: int
) -> None:
    alice, bob, mallory = await world.join("alice", "bob", "mallory")
    if tracks == 2:
        mallory.sections.append(mallory.own_section("audio", receives=False))
        await world.conference.renegotiate(mallory)
        await world.conference.settle()
    audio = [replace(source, size=1100) for source in mallory.sources if source.payload_type == AUDIO]
    assert len(audio) == tracks

    async def report(packets: int) -> int:
        """Send packets of mallory's audio and one of bob's video, then pace.

        Return the number of audio packets that alice got.
        """
        alice.packets.clear()
        world.leg("mallory").quota.renew()
        mallory.send([audio[number % tracks].packet() for number in range(packets)])
        if packets:
            await bob.gets(packets, AUDIO)
        bob.packets.clear()
        bob.film(1)
        await alice.gets(1)
        tenths()
        return len(alice.of(AUDIO))

    for estimate in (1_000_000, 100_000):
        await _estimates(world, alice, estimate)
    honest = pacing.MOST_AUDIO // (10 * 8 * (1100 + OVERHEAD))
    for _ in range(2 * pacing.MOST_DEFIANCES):
        assert await report(honest) == honest
    for _ in range(pacing.MOST_DEFIANCES):
        assert await report(2 * honest) == 2 * honest
    assert [await report(2 * honest) for _ in range(3)] == [0, 0, 0]
    # The audio stays away for the whole time, and then until its sender has kept the limit for a while.
    assert [await report(0) for _ in range(2 * pacing.MOST_DEFIANCES)] == [0] * 2 * pacing.MOST_DEFIANCES
    assert await report(tracks) == 0
    withheld = world.leg("alice").downlink.withheld
    assert len(withheld) == tracks
    world.leg("alice").downlink.withheld = dict.fromkeys(withheld, 0.05)
    assert await report(0) == 0
    assert await report(tracks) == tracks


async def test_pauses_do_not_hide_excessive_audio(world: World, tenths: Callable[[], None]) -> None:
    alice, bob, mallory = await world.join("alice", "bob", "mallory")
    for estimate in (1_000_000, 100_000):
        await _estimates(world, alice, estimate)
    loud = replace(mallory.audio, size=1100)
    for number in range(30):
        world.leg("mallory").quota.renew()
        if number % 3:
            mallory.send([loud.packet() for _ in range(30)])
            await bob.gets(30, AUDIO)
        tenths()
    assert world.track("mallory", "audio") in world.leg("alice").downlink.withheld


async def test_many_videos_of_one_sender_share_the_tolerance(world: World, tenths: Callable[[], None]) -> None:
    alice, bob, mallory = await world.join("alice", "bob", "mallory")
    for _ in range(3):
        mallory.sections.append(mallory.own_section("video", receives=False))
    await world.conference.renegotiate(mallory)
    await world.conference.settle()
    videos = [source for source in mallory.sources if source.payload_type == VIDEO]
    for estimate in (1_000_000, 100_000):
        await _estimates(world, alice, estimate)
    for _ in range(4 * pacing.MOST_DEFIANCES):
        world.leg("mallory").quota.renew()
        mallory.send([video.packet() for video in videos for _ in range(5)])
        await bob.gets(5 * len(videos))
        tenths()
    assert {track.label for track in world.leg("alice").downlink.withheld} == {"video", "screen", "screen2", "screen3"}


async def test_withheld_video_comes_back_when_nothing_is_congested(world: World, tenths: Callable[[], None]) -> None:
    _, bob = await world.join("alice", "bob")
    track, of_alice = world.track("bob", "video"), world.leg("alice")
    of_alice.downlink.withheld[track], of_alice.downlink.estimate = 0.95, 1
    for number in range(1, 11):
        assert of_alice.downlink.withheld
        bob.film()
        await true(lambda number=number: track.packets == number)  # type: ignore[misc]
        tenths()
    assert not of_alice.downlink.withheld


async def test_withheld_video_that_is_over_does_not_come_back(world: World, tenths: Callable[[], None]) -> None:
    _, bob = await world.join("alice", "bob")
    over, of_alice = world.track("bob", "video"), world.leg("alice")
    of_alice.downlink.withheld[over] = 1.0
    await world.conference.leave(bob)
    await world.conference.settle()
    await world.join("bob")
    tenths()
    assert over.ssrc not in of_alice.sinks
    assert world.track("bob", "video").ssrc in of_alice.sinks
    assert not of_alice.downlink.withheld


async def test_a_limit_that_is_obeyed_withholds_nothing(world: World, tenths: Callable[[], None]) -> None:
    alice, bob = await world.join("alice", "bob")
    for estimate in (3_000_000, 200_000):
        await _estimates(world, alice, estimate)
    packets = 40
    for _ in range(2 * pacing.MOST_DEFIANCES):
        bob.film(packets)
        await alice.gets(packets)
        tenths()
        allowed, _ = await _limit(bob)
        packets = max(1, (allowed - feedback.AUDIO_RATE) // (10 * 8 * VIDEO_SIZE))
    assert packets < 10
    assert not world.leg("alice").downlink.withheld


async def test_a_new_sender_on_a_congested_connection_gets_a_part_of_it(
    world: World, paced: Callable[[], None]
) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    for bits_per_second in (1_000_000, 600_000):
        await _estimates(world, carol, bits_per_second)
    paced()
    for each in (alice, bob):
        assert (await _limit(each))[0] == pytest.approx(feedback.AUDIO_RATE + 300_000, rel=0.01)


async def test_nobody_is_slowed_down_below_what_makes_a_picture(world: World, paced: Callable[[], None]) -> None:
    alice, bob = await world.join("alice", "bob")
    paced()
    await _estimates(world, bob, 10_000_000)
    await _estimates(world, bob, 1)
    alice.film(10)
    await bob.gets(10)
    paced()
    assert (await _limit(alice))[0] == feedback.LEAST_RATE + feedback.AUDIO_RATE


async def test_an_estimate_that_is_not_repeated_slows_nobody_down_for_ever(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    await _estimates(world, bob, 10_000_000)
    await _estimates(world, bob, 1)
    alice.film(10)
    await bob.gets(10)
    await world.pass_time(1, alice, bob)
    assert (await _limit(alice))[0] == feedback.LEAST_RATE + feedback.AUDIO_RATE
    await world.pass_time(downlink.ESTIMATE_COUNTS_SECONDS, alice, bob)
    await alice.until(lambda: _limits(alice)[-1:] == [(feedback.NO_LIMIT, [alice.video.ssrc])])
    assert world.leg("bob").downlink.estimate == 0


@pytest.mark.parametrize("estimates", [(90_000_000, 80_000_000), (1, 2)])
async def test_a_connection_without_a_queue_limits_nobody(
    world: World, paced: Callable[[], None], estimates: tuple[int, ...]
) -> None:
    alice, bob = await world.join("alice", "bob")
    paced()
    for bits_per_second in estimates:
        await _estimates(world, bob, bits_per_second)
    alice.film(50)
    await bob.gets(50)
    paced()
    alice.film()
    await bob.gets(1)
    assert _limits(alice) == []
