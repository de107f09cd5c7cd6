"""False feedback harms no other participant."""

import random

import pytest
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from media.focus.quota import LEAST_STATUSES, STATUSES_A_TICK
from media.forward import rtcp
from tests.support.depth import examples
from tests.support.media.attacks import LYING_REMB
from tests.support.media.dtls_pair import mutate
from tests.support.media.node_harness import World, in_order, true

# No test in this module uses the database.
pytestmark = pytest.mark.once


@pytest.mark.parametrize("seed", range(examples(1, deep=3)))
async def test_malicious_feedback_harms_nobody(unlimited: None, world: World, seed: int) -> None:
    """Send 2,000 compound packets per seed, with the right keys but with some wrong bytes."""
    alice, bob, carol = await world.join("alice", "bob", "carol", number_id=3)
    carol.film()
    ((sequence, _, ssrc),) = await alice.gets(1)
    await bob.gets(1)
    chance = random.Random(seed)
    sound = _feedback_about(alice.video.ssrc, ssrc, sequence)
    for number in range(2_000):
        broken = mutate(b"".join(chance.sample(sound, chance.randint(1, 4))), chance)
        # Each packet counts as RTCP and names its real sender. The rest of the packet is mutated.
        head = [0x80 | chance.randrange(64), chance.choice([200, 201, 202, 203, 205, 206])]
        alice.send_rtcp(bytes(head) + broken[2:4].ljust(2, b"\0") + sound[0][4:8] + broken[8:])
        if number % 40 == 0:
            carol.film()
            assert len(await bob.gets(1)) == 1
    assert world.node.counts().faults == 0
    assert world.leg("alice").quota.unauthentic == world.leg("alice").quota.excess == 0
    alice.film()
    await bob.gets(1)


def _feedback_about(own: int, others: int, sequence: int) -> list[bytes]:
    """Return RTCP packets of all kinds that a participant sends, about its own stream and about another's."""
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=1, packet_count=1, octet_count=1)
    heard = RtcpReceiverInfo(
        ssrc=others, fraction_lost=0, packets_lost=0, highest_sequence=sequence, jitter=0, lsr=0, dlsr=0
    )
    refresh = others.to_bytes(4, "big") + bytes(4)
    return [
        bytes(RtcpSrPacket(ssrc=own, sender_info=info, reports=[heard])),
        bytes(RtcpRrPacket(ssrc=own, reports=[heard, heard])),
        bytes(RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=own, items=[(1, b"alice")])])),
        bytes(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=own, media_ssrc=others, lost=[sequence, sequence + 3])),
        bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=own, media_ssrc=others)),
        bytes(RtcpPsfbPacket(fmt=rtcp.FIR, ssrc=own, media_ssrc=0, fci=refresh)),
        rtcp.bandwidth(own, 500_000, [others]),
        rtcp.transport_feedback(own, others, rtcp.Arrived(0, [1000, 1004, -1, 1003, 3000]), 0)[0],
        bytes(RtcpByePacket(sources=[own])),
    ]


async def test_false_feedback_harms_nobody(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    for _ in range(5):
        alice.send_rtcp(LYING_REMB)
        carol.film(8)
        assert in_order(await bob.gets(8))
    assert world.node.counts().faults == 0


async def test_feedback_about_each_single_packet_is_limited(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol", number_id=3)
    world.stop_ticking()
    quota = world.leg("alice").quota
    quota.renew()
    each, _ = rtcp.transport_feedback(alice.video.ssrc, 1, rtcp.Arrived(0, [1000]), 0)
    allowed = STATUSES_A_TICK // LEAST_STATUSES
    for _ in range(4):
        alice.send_rtcp(each * (allowed // 4))
    alice.send_rtcp(each * 10)
    await true(lambda: quota.excess == 10)
    carol.film(8)
    assert in_order(await bob.gets(8))
    assert world.node.counts().faults == 0
