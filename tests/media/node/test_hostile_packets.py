"""Packets that are garbage, forged, replayed or false harm no other participant."""

import asyncio
import contextlib
import random

import pytest
from aiortc import rtcdtlstransport
from aiortc.rtp import RtcpRrPacket

from media.focus import quota
from media.focus.leg import Leg
from media.forward import rtp
from media.forward.datagrams import SLOT
from media.forward.memory import NEAR
from tests.support.depth import examples
from tests.support.media.attacks import LYING_REMB, unknown_socket
from tests.support.media.dtls_pair import mutate
from tests.support.media.node_harness import World, in_order, true
from tests.support.media.synthetic import RTX, VIDEO, Source

# No test in this module uses the database.
pytestmark = pytest.mark.once


@pytest.mark.parametrize("kind", ["noise", "known SSRC", "captured and broken", "RTCP"])
async def test_garbage_from_a_participants_address_does_not_affect_its_media(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(quota, "FAILURES_A_TICK", 20)
    alice, bob = await world.join("alice", "bob")
    chance, got = random.Random(1), 0
    for _ in range(15):
        genuine = [alice.outward.protect(alice.video.packet()) for _ in range(10)]
        for datagram in genuine:
            for _ in range(40):
                alice.send_datagram(_garbage(kind, datagram, chance))
            alice.send_datagram(datagram)
            await asyncio.sleep(0)
        got += len(await bob.gets(10))
    assert got == 150
    assert world.leg("alice").quota.excess == 0
    assert world.leg("alice").quota.unauthentic == 6000


async def test_once_many_were_refused_only_the_next_packets_of_a_stream_are_decrypted(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    await bob.gets(1)
    world.stop_ticking()
    target, allowed = world.leg("alice"), 20
    target.quota.failures_left = allowed
    for _ in range(allowed):
        alice.send_datagram(
            _garbage("captured and broken", alice.outward.protect(alice.video.packet()), random.Random(1))
        )
    alice.film()
    await bob.gets(1)
    before = target.quota.packets_left, target.quota.unauthentic
    # Both packets are authentic. But the sequence number of the first jumps too far ahead, and the second has an
    # unknown SSRC.
    alice.video.sequence = alice.video.sequence + 2 * NEAR & 0xFFFF
    alice.film()
    alice.send_rtcp(RtcpRrPacket(ssrc=1))
    await true(lambda: target.quota.unauthentic == before[1] + 2)
    assert (target.quota.packets_left, target.quota.rtcp_left) == (before[0], quota.RTCP_A_TICK)
    target.quota.failures_left = allowed
    alice.film()
    await true(lambda: target.quota.packets_left == before[0] - 1)


def _garbage(kind: str, genuine: bytes, chance: random.Random) -> bytes:
    """Return a datagram that is not authentic. The kinds differ in how much genuine traffic the sender has seen."""
    noise = chance.randbytes(1200)
    return {
        "noise": b"\x80" + bytes([VIDEO]) + noise,
        "known SSRC": genuine[:2] + noise[:2] + genuine[4:12] + noise,
        "captured and broken": genuine[:-1] + bytes([genuine[-1] ^ 1]),
        "RTCP": b"\x80" + bytes([201]) + noise[:60],
    }[kind]


@pytest.mark.parametrize("seed", range(examples(1, deep=3)))
async def test_malicious_media_harms_nobody(unlimited: None, world: World, seed: int) -> None:
    """Send 2,000 RTP packets per seed, with the right keys but false extensions, padding and retransmissions."""
    alice, bob, carol = await world.join("alice", "bob", "carol")
    chance = random.Random(seed)
    for number in range(2_000):
        source = chance.choice(alice.sources)
        sound = source.packet()
        broken = mutate(sound[12:120], chance)
        if chance.random() < 0.3:
            sound = rtp.wrap(sound, payload_type=RTX, sequence=number, ssrc=alice.video.rtx_ssrc or 0)
            broken = mutate(sound[12:120], chance)
        # The first byte stays valid, because libsrtp encrypts no packet whose first byte is invalid.
        first = 0x80 | chance.choice([0x00, 0x10, 0x20, 0x30])
        alice.send([bytes([first]) + sound[1:12] + broken])
        if number % 40 == 0:
            carol.film()
            await bob.until(lambda: any(packet[-1000:] == carol.video.rest[-1000:] for packet in bob.packets))
            bob.packets.clear()
    assert world.node.counts().faults == 0
    assert world.leg("alice").quota.unauthentic == world.leg("alice").quota.excess == 0


async def test_packet_too_large_to_be_encrypted_again_goes_nowhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Alice's SRTP profile has the shorter trailer. The profile of bob and carol adds more bytes to her packets.
    with monkeypatch.context() as patched:
        weak = [each for each in rtcdtlstransport.SRTP_PROFILES if "SHA1_80" in each.openssl_profile.decode()]
        patched.setattr(rtcdtlstransport, "SRTP_PROFILES", weak)
        (alice,) = await world.join("alice")
    bob, carol = await world.join("bob", "carol")
    assert [each.dtls.srtp is not None and each.dtls.srtp.profile for each in (alice, bob)] == [
        "SRTP_AES128_CM_SHA1_80",
        "SRTP_AEAD_AES_256_GCM",
    ]
    large = Source(alice.video.ssrc, VIDEO, 90000, SLOT - 10, sequence=alice.video.sequence)
    # `send` calls libsrtp directly, because pylibsrtp's own session accepts at most 1,500 bytes.
    alice.send([large.packet()])
    alice.video.sequence = large.sequence
    alice.film()
    for each in (bob, carol):
        await each.gets(1)
        assert each.packets == []
    assert world.node.counts().sent == 2


async def test_a_datagram_that_fails_never_affects_the_others_of_its_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    monkeypatch.setattr(Leg, "take_rtcp", lambda *_: 1 / 0)
    for _ in range(3):
        alice.send_rtcp(LYING_REMB)
        carol.film(8)
        assert in_order(await bob.gets(8))
    assert world.node.counts().faults == 3
    assert [record.message.rpartition(", ")[2] for record in caplog.records if record.levelname == "ERROR"] == [
        "1 so far",
        "2 so far",
    ]


async def test_replayed_and_forged_packets_go_nowhere(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    datagram = alice.outward.protect(alice.video.packet())
    for _ in range(5):
        alice.send_datagram(datagram)
    forged = bytearray(alice.outward.protect(alice.video.packet()))
    forged[-1] ^= 1
    alice.send_datagram(bytes(forged))
    with contextlib.closing(unknown_socket()) as stranger:
        stranger.sendto(alice.outward.protect(alice.video.packet()), alice.host)
        alice.film()
        got = await bob.gets(2)
    assert len(got) == 2
    assert world.node.counts().strangers == 1


@pytest.mark.parametrize("seed", range(examples(1, deep=4)))
async def test_noise_at_the_port_harms_nobody(world: World, seed: int) -> None:
    """Send 25,000 datagrams per seed: noise with first bytes of STUN, DTLS, RTP and RTCP, or mutated real ones."""
    alice, bob = await world.join("alice", "bob")
    chance = random.Random(seed)
    genuine = [
        alice.check(),
        alice.outward.protect(alice.video.packet()),
        alice.outward.protect_rtcp(bytes(RtcpRrPacket(ssrc=1))),
        bytes([22, 254, 253]) + chance.randbytes(60),
    ]
    with contextlib.closing(unknown_socket()) as stranger:
        for number in range(25_000):
            sender = stranger if number % 2 else alice.socket
            sender.sendto(_noise(chance, genuine), alice.host)
            if number % 50 == 0:
                await asyncio.sleep(0)
    bob.packets.clear()
    alice.film(3)
    assert in_order(await bob.gets(3))
    assert world.lost == []
    assert world.node.counts().received > 24_000


def _noise(chance: random.Random, genuine: list[bytes]) -> bytes:
    """Return noise or a mutated genuine datagram."""
    if chance.random() < 0.5:
        first = chance.choice([0, 1, 20, 22, 23, 63, 64, 127, 128, 144, 160, 191, 192, 255])
        return bytes([first, chance.choice([0, 1, 96, 111, 200, 201, 205, 206])]) + chance.randbytes(
            chance.randint(0, 1400)
        )
    mutated = bytearray(chance.choice(genuine))
    for _ in range(chance.randint(1, 8)):
        mutated[chance.randrange(len(mutated))] = chance.randrange(256)
    return bytes(mutated[: chance.randint(1, len(mutated))])


async def test_packets_whose_headers_lie_go_nowhere(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    sound = alice.video.packet()
    head = rtp.HEADER.unpack_from(sound)

    def lying(first: int, rest: bytes) -> bytes:
        alice.video.sequence = alice.video.sequence + 1 & 0xFFFF
        return rtp.HEADER.pack(first, head[1], alice.video.sequence, head[3], head[4]) + rest

    alice.send([sound])
    alice.send(
        [
            lying(0x90, b"\xbe\xde\x00\x02\x3f" + bytes(7)),
            lying(0x90, b"\x10\x00\x00\x01\x01\xff\x00\x00"),
            lying(0xA0, b"media\xff"),
            lying(0xA0, b"media\x00"),
        ]
    )
    alice.film()
    await bob.gets(2)
    assert bob.packets == []
