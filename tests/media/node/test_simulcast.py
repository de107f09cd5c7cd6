"""A participant sends several layers of its camera. Each receiver gets one of them, and notices no change."""

import itertools
from functools import partial
from typing import Any

import pytest

from media.congestion.allocation import allocate
from media.congestion.patience import FAR_PAUSE_SECONDS
from media.focus import layers
from media.focus.node import Settings
from media.forward import rtcp, rtp
from media.reports import PausedVideos, UsedLayers, Video
from tests.support.media.layers import Layer, layered, seen
from tests.support.media.node_harness import Listener, World, around, true
from tests.support.media.synthetic import RTX, VIDEO

pytestmark = pytest.mark.once


async def _meet(world: World, *others: str, number_id: int = 0) -> tuple[Listener, Layer, Layer, list[Listener]]:
    """Have alice send two layers to others."""
    alice, (low, high) = layered("alice", "low", "high", number_id=number_id)
    world.peers.append(alice)
    await world.conference.join(alice)
    return alice, low, high, await world.join(*others, number_id=number_id)


def _give(world: World, name: str, place: int) -> None:
    """Give a participant another layer of alice's camera, from the next key frame on."""
    routing = world.node.conferences["room"].routing
    track = world.track("alice", "video")
    routing.connect(world.leg(name), track, routing.ladders["alice", "video"].layers[place])


async def _got(peer: Listener, count: int) -> list[tuple[int, int, int, int, bytes]]:
    await peer.until(lambda: len(peer.of(VIDEO)) >= count)
    got = [seen(packet) for packet in peer.of(VIDEO)]
    peer.packets = []
    return got


def _steps(numbers: list[int], bits: int) -> list[int]:
    """Return the differences of successive numbers that wrap after this many bits."""
    return [later - earlier & (1 << bits) - 1 for earlier, later in itertools.pairwise(numbers)]


@pytest.mark.parametrize("number_id", [0, 3])
async def test_a_receiver_begins_with_a_key_frame_of_the_first_layer(world: World, number_id: int) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob", number_id=number_id)
    alice.send([*low.frame(), *high.frame(key=True), *low.frame(key=True), *high.frame(), *low.frame()])
    got = await _got(bob, 2)
    assert [each[4] for each in got] == [b"low"] * 2
    assert got[1][0] - got[0][0] & 0xFFFF == 1
    assert world.node.counts().faults == 0


@pytest.mark.parametrize("number_id", [0, 3])
async def test_a_change_of_layers_is_not_noticed(world: World, number_id: int) -> None:
    alice, low, high, (bob, carol) = await _meet(world, "bob", "carol", number_id=number_id)
    low.picture, high.base = 0x7FFD, 255
    alice.send([*low.frame(key=True), *high.frame(key=True), *low.frame(), *high.frame()])
    before = await _got(bob, 2)
    for place, layer, other in ((1, high, low), (0, low, high), (1, high, low)):
        _give(world, "bob", place)
        # The receiver gets the former layer until the key frame of the new one.
        alice.send([*other.frame(), *layer.frame(), *layer.frame(key=True, packets=3)])
        got = [before[-1], *(await _got(bob, 4))]
        alice.send([*other.frame(), *layer.frame()])
        got += await _got(bob, 1)
        assert [each[4].decode() for each in got[1:]] == [other.rid] + [layer.rid] * 4
        assert _steps([each[0] for each in got], 16) == [1] * 5
        assert _steps([each[2] for each in got], 15) == [1, 1, 0, 0, 1]
        assert _steps([each[3] for each in got], 8) == [1, 1, 0, 0, 1]
        assert all(0 <= step < 90_000 for step in _steps([each[1] for each in got], 32))
        before = got
    assert {each[4] for each in await _got(carol, 8)} == {b"low"}
    assert world.node.counts().faults == 0


async def test_a_former_layer_that_is_cut_sends_nothing_more(world: World) -> None:
    alice, low, high, (bob, carol) = await _meet(world, "bob", "carol")
    alice.send([*low.frame(key=True), *high.frame(key=True), *low.frame()])
    before = await _got(bob, 2)
    await _got(carol, 2)
    world.stop_ticking()
    ladder, leg = world.node.conferences["room"].routing.ladders["alice", "video"], world.leg("bob").id
    now = world.clock.time()
    ladder.cut(leg, now + 5)
    _give(world, "bob", 1)
    assert ladder.asks(leg, now + 4.9) is None
    assert ladder.asks(leg, now + 5) is ladder.layers[1]
    alice.send([*low.frame(), *high.frame(), *high.frame(key=True)])
    (after,) = await _got(bob, 1)
    assert (after[0] - before[-1][0] & 0xFFFF, after[4]) == (1, b"high")
    assert (await _got(carol, 1))[0][4] == b"low"


async def test_sender_reports_keep_the_pictures_in_time(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True)])
    await _got(bob, 1)
    for layer in (low, high):
        alice.send_rtcp(
            rtcp.sender_report(layer.ssrc, ntp_time=1 << 40, timestamp=layer.timestamp, packets=1, octets=1, cname="a")
        )
    streams = world.leg("alice").sources.streams
    await true(lambda: all(streams[layer.ssrc].stream.sender_clock for layer in (low, high)))
    _give(world, "bob", 1)
    alice.send([*low.frame(milliseconds=40), *high.frame(key=True, milliseconds=100)])
    earlier, later = await _got(bob, 2)
    assert later[1] - earlier[1] & 0xFFFFFFFF == 60 * 90


async def test_lost_packets_are_repeated_only_from_the_present_layer(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True), *low.frame()])
    old = await _got(bob, 2)
    _give(world, "bob", 1)
    alice.send([*high.frame(key=True, packets=4)])
    new = await _got(bob, 4)
    ssrc = world.track("alice", "video").ssrc
    bob.send_rtcp(rtcp.nack(bob.video.ssrc, ssrc, [old[-1][0], new[2][0]]))
    await bob.until(lambda: bob.of(RTX))
    (repeated,) = bob.of(RTX)
    original = rtp.unwrap(repeated, payload_type=VIDEO, ssrc=ssrc)
    assert original is not None
    assert seen(original) == new[2]


async def test_a_key_frame_of_the_awaited_layer_is_requested(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True)])
    await _got(bob, 1)
    _give(world, "bob", 1)
    await alice.until(lambda: [each for each in alice.reports if getattr(each, "media_ssrc", 0) == high.ssrc])


async def test_packets_of_unknown_layers_reach_nobody(world: World) -> None:
    alice, low, _, (bob,) = await _meet(world, "bob")
    other = Layer("huge")
    alice.send([*other.frame(key=True), *low.frame(key=True)])
    assert [each[4] for each in await _got(bob, 1)] == [b"low"]
    assert world.leg("alice").sources.unknown >= 1


async def test_a_receiver_that_returns_begins_with_a_key_frame_and_continues(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True), *low.frame()])
    before = await _got(bob, 2)
    leg, track = world.leg("bob"), world.track("alice", "video")
    leg.downlink.withheld[track] = 1.0
    routing = world.node.conferences["room"].routing
    routing.connect(leg, track)
    alice.send(low.frame())
    leg.downlink.withheld.clear()
    routing.connect(leg, track)
    alice.send([*low.frame(), *low.frame(key=True)])
    (after,) = await _got(bob, 1)
    assert after[0] - before[-1][0] & 0xFFFF == 1
    assert after[2] - before[-1][2] & 0x7FFF == 1


async def test_a_video_that_does_not_fit_for_long_is_paused_and_comes_back(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True)])
    await _got(bob, 1)
    track, downlink = world.track("alice", "video"), world.leg("bob").downlink
    world.stop_ticking()

    def is_near(bits: int) -> bool:
        return abs(downlink.estimate - bits) < bits / 50

    async def go_on(seconds: int, bits: int) -> list[bool]:
        """Send both layers, and report this bandwidth. Return whether the video was paused after each half second."""
        paused = []
        for step in range(2 * seconds):
            alice.send([packet for layer in (low, high) for packet in layer.frame(key=True, packets=4)])
            # Only an estimate that falls counts as congestion.
            estimate = bits - step * bits // 40
            bob.send_rtcp(rtcp.bandwidth(bob.video.ssrc, estimate, [track.ssrc]))
            await true(partial(is_near, estimate))
            await world.pass_time(0.5, alice, bob)
            paused.append(track in downlink.paused)
        return paused

    assert True not in await go_on(3, 1_000_000)
    squeezed = await go_on(17, 2_000)
    assert True not in squeezed[: int(2 * FAR_PAUSE_SECONDS)]
    assert squeezed[-1]
    assert not (await go_on(8, 5_000_000))[-1]
    # Bob was told what did not arrive, and told again after ten seconds.
    paused = PausedVideos((Video("alice", "video"),))
    told = [(name, notice) for name, notice in world.noticed if isinstance(notice, PausedVideos)]
    assert told == [("bob", paused), ("bob", paused), ("bob", PausedVideos(()))]
    bob.packets = []
    alice.send(low.frame(key=True))
    await _got(bob, 1)


async def test_a_paused_video_carries_padding_with_continuous_numbers(world: World) -> None:
    alice, low, _, (bob,) = await _meet(world, "bob", number_id=3)
    leg, track = world.leg("bob"), world.track("alice", "video")
    routing = world.node.conferences["room"].routing
    wire: list[bytes] = []
    assert not leg.can_pad
    for _ in range(3):
        for is_paused in (False, True):
            (leg.downlink.paused.add if is_paused else leg.downlink.paused.discard)(track)
            routing.connect(leg, track)
            if not is_paused:
                alice.send(low.frame(key=True))
                await _got(bob, 1)
            assert leg.can_pad
            assert leg.pad(1, world.clock.time())
            await bob.until(lambda: bob.of(RTX))
            wire += bob.packets
            bob.packets = []
    numbers = [rtp.HEADER.unpack_from(packet)[2] for packet in wire]
    assert numbers == [*range(numbers[0], numbers[0] + 6)]


async def test_layers_are_known_after_a_hold_though_the_sender_does_not_state_them_again(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True)])
    (before,) = await _got(bob, 1)
    section = alice.video_section
    source, lines = section.source, section.attributes
    section.source = None
    section.attributes = [line for line in lines if not line.startswith(("a=rid", "a=simulcast"))]
    await world.conference.renegotiate(alice)
    section.source, section.attributes = source, lines
    await world.conference.renegotiate(alice)
    for packet in low.frame(key=True):
        _, begin = rtp.extension_bounds(packet)
        alice.send([b"\x80" + packet[1:12] + packet[begin:]])
    (after,) = await _got(bob, 1)
    assert _steps([before[0], after[0]], 16) == [1]


async def test_a_removed_participant_leaves_no_layer_behind(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True)])
    await _got(bob, 1)
    await world.conference.leave(alice)
    routing = world.node.conferences["room"].routing
    assert not routing.ladders
    assert not list(routing.every_track()) or all(track.participant != "alice" for track in routing.every_track())
    assert len(world.leg("bob").sinks) == 0


async def test_python_and_the_fast_path_send_the_same() -> None:
    outcomes = []
    for fast in (True, False):
        async with around(Settings(fast=fast)) as world:
            alice, low, high, (bob,) = await _meet(world, "bob")
            for layer in (low, high):
                layer.sequence = layer.timestamp = layer.picture = layer.base = 100
            world.clock.fixed = 100.0
            alice.send([*low.frame(key=True), *high.frame(key=True)])
            got = await _got(bob, 1)
            _give(world, "bob", 1)
            alice.send([*high.frame(key=True, packets=2)])
            got += await _got(bob, 2)
            for _ in range(10):
                alice.send([*low.frame(), *high.frame(packets=2)])
                got += await _got(bob, 2)
            outcomes.append([(each[1] - got[0][1] & 0xFFFFFFFF, *each[2:]) for each in got])
    assert outcomes[0] == outcomes[1]


async def test_a_layer_that_nobody_gets_is_switched_off_and_on_again_when_it_is_needed(world: World) -> None:
    alice, low, high, (bob,) = await _meet(world, "bob")
    alice.send([*low.frame(key=True), *high.frame(key=True)])
    await _got(bob, 1)
    world.stop_ticking()
    downlink = world.leg("bob").downlink

    def told() -> list[tuple[str, ...]]:
        return [notice.rids for name, notice in world.noticed if isinstance(notice, UsedLayers) and name == "alice"]

    def is_near(bits: int) -> bool:
        return abs(downlink.estimate - bits) < bits / 50

    async def go_on(seconds: int, bits: int) -> set[bytes]:
        """Send what is needed, and report this bandwidth. Return the layers that have arrived."""
        bob.packets = []
        for step in range(2 * seconds):
            rids = told()[-1] if told() else ("low", "high")
            packets = [(layer, count) for layer, count in ((low, 4), (high, 24)) if layer.rid in rids]
            alice.send([packet for layer, count in packets for packet in layer.frame(key=True, packets=count)])
            # Only an estimate that falls counts as congestion.
            estimate = bits - step * bits // 40
            bob.send_rtcp(rtcp.bandwidth(bob.video.ssrc, estimate, [1]))
            await true(partial(is_near, estimate))
            await world.pass_time(0.5, alice, bob)
        return {seen(packet)[4] for packet in bob.of(VIDEO)}

    await go_on(4, 12_000)
    assert await go_on(8, 12_000) == {b"low"}
    assert told() == [("low",)]
    # The larger layer comes when it is needed, and the smaller one until then.
    assert await go_on(8, 5_000_000) == {b"low", b"high"}
    assert told() == [("low",), ("low", "high")]
    section = world.leg("alice").layout.published["video"]
    assert {notice.mid for _, notice in world.noticed if isinstance(notice, UsedLayers)} == {section.mid}


async def test_a_sender_that_stops_a_layer_and_sends_no_key_frame_causes_no_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, low, high, (bob, carol) = await _meet(world, "bob", "carol")
    world.stop_ticking()
    alice.send([*low.frame(key=True), *high.frame(key=True)])
    await _got(bob, 1)
    await world.pass_time(2, alice, bob, carol)
    choices: list[object] = []

    def counted(*arguments: Any) -> Any:
        choices.append(arguments)
        return allocate(*arguments)

    monkeypatch.setattr(layers, "allocate", counted)
    for _ in range(30):
        sent_at = world.clock.time()
        alice.send(high.frame())
        await true(partial(_is_heard, world, sent_at))
        await world.pass_time(0.1)
    # Each receiver's layer is chosen every 0.3 s, and once because the layer has stopped.
    assert len(choices) <= 2 * (10 + 2)
    alice.send(high.frame(key=True))
    await bob.until(lambda: any(seen(packet)[4] == b"high" for packet in bob.of(VIDEO)))


def _is_heard(world: World, since: float) -> bool:
    """Tell whether the node has read a packet of alice's larger layer since then."""
    return world.node.conferences["room"].routing.ladders["alice", "video"].layers[1].heard_at >= since
