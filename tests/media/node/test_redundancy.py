"""Receivers that lose packets get the redundancy of audio (RED), and others do not."""

import pytest
from aiortc.rtp import RtcpReceiverInfo

from media.focus.redundancy import KEEP_SECONDS, Redundancy
from media.forward import rtcp, rtp
from tests.support.media.node_harness import Listener, World, true
from tests.support.media.synthetic import AUDIO, RED

pytestmark = pytest.mark.once

_BLOCK, _PRIMARY = b"the frame before", b"this frame"
_PAYLOAD = bytes([0x80 | AUDIO]) + (960 << 10 | len(_BLOCK)).to_bytes(3, "big") + bytes([AUDIO]) + _BLOCK + _PRIMARY


def _speak(peer: Listener) -> None:
    packet = peer.audio.packet()
    _, end = rtp.extension_bounds(packet)
    peer.send([packet[:end] + _PAYLOAD])


async def _hears(peer: Listener, kind: int, payloads: list[bytes]) -> None:
    """Wait until a peer has got these payloads in packets of a payload type."""
    await peer.until(lambda: [packet[rtp.extension_bounds(packet)[1] :] for packet in peer.of(kind)] == payloads)


def _report(peer: Listener, ssrc: int, lost: int) -> None:
    """Report that this share of the packets of a stream, in 256ths, was lost on the way to a peer."""
    block = RtcpReceiverInfo(ssrc=ssrc, fraction_lost=lost, packets_lost=0, highest_sequence=0, jitter=0, lsr=0, dlsr=0)
    peer.send_rtcp(rtcp.receiver_reports(peer.audio.ssrc, [block], cname=peer.id))


async def test_only_who_loses_packets_gets_the_redundancy(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol", audio=(RED, AUDIO))
    (dave,) = await world.join("dave", audio=(AUDIO,))
    track = world.track("alice", "audio")
    _speak(alice)
    for peer in (bob, carol, dave):
        await _hears(peer, AUDIO, [_PRIMARY])
    for peer in (bob, dave):
        _report(peer, track.ssrc, 20)
    await true(lambda: all(track in world.leg(peer.id).downlink.redundant for peer in (bob, dave)))
    _speak(alice)
    await _hears(bob, RED, [_PAYLOAD])
    for peer in (carol, dave):
        await _hears(peer, AUDIO, [_PRIMARY] * 2)
    numbers = [rtp.HEADER.unpack_from(each)[2] for each in bob.packets]
    assert numbers[1] - numbers[0] & 0xFFFF == 1


async def test_all_receivers_of_a_sender_that_loses_packets_get_the_redundancy(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol", audio=(RED, AUDIO))
    _speak(alice)
    await bob.until(lambda: bob.of(AUDIO))
    for _ in range(20):
        alice.audio.packet()
    _speak(alice)
    redundant = [world.leg(peer.id).downlink.redundant for peer in (bob, carol)]
    await true(lambda: all(each == {world.track("alice", "audio")} for each in redundant))
    assert not world.leg("alice").downlink.redundant


async def test_some_time_after_the_last_loss_the_redundancy_ends(world: World) -> None:
    _, bob = await world.join("alice", "bob", audio=(RED, AUDIO))
    world.stop_ticking()
    leg, track, redundancy = world.leg("bob"), world.track("alice", "audio"), Redundancy()
    now = world.clock.time()
    _report(bob, track.ssrc, 20)
    await true(lambda: leg.downlink.lost(leg.sinks, now) > 0)
    assert list(redundancy.choose([leg], now)) == [(leg, track)]
    _report(bob, track.ssrc, 0)
    await true(lambda: leg.downlink.lost(leg.sinks, now) == 0)
    assert not list(redundancy.choose([leg], now + KEEP_SECONDS - 0.1))
    assert list(redundancy.choose([leg], now + KEEP_SECONDS)) == [(leg, track)]
    assert not leg.downlink.redundant
