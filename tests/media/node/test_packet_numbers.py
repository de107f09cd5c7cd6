"""No key encrypts two packets with the same number (RFC 7714 section 8.1)."""

import secrets

import pytest
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket

from media.forward import rtp
from tests.support.media.node_harness import Listener, World, numbers_used_twice
from tests.support.media.synthetic import AUDIO, RTX, VIDEO

# No test in this module uses the database.
pytestmark = pytest.mark.once

_BROKEN = b"\xbe\xde\0\1\x1f\0\0\0"  # an element that is longer than its extension


@pytest.mark.parametrize("extension", [b"\xbe\xde\0\2\x01\xaa\xbb\x10\x05\0\0\0", b"\xbe\xde\0\1\x71\xaa\xbb\0"])
async def test_a_retransmission_without_rtx_is_identical(world: World, extension: bytes) -> None:
    alice, bob = Listener("alice"), Listener("bob")
    bob.sections[1].attributes = [each for each in bob.sections[1].attributes if f":{RTX} " not in each]
    bob.sections[1].formats = f"{VIDEO}"
    for peer in (alice, bob):
        world.peers.append(peer)
        await world.conference.join(peer)
    alice.film()
    ((sequence, _, ssrc),) = await bob.gets(1)
    wire = bob.tap()
    _, second, number, timestamp, own = rtp.HEADER.unpack_from(alice.video.packet())
    alice.send([rtp.HEADER.pack(0x90, second, number, timestamp, own) + extension + bytes(100)])
    await bob.until(lambda: wire)
    lost = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence + 1 & 0xFFFF])
    bob.send_rtcp(lost)
    await bob.until(lambda: len([each for each in wire if each[:1] == b"\x90"]) == 2)
    assert numbers_used_twice(wire) == []


async def test_packets_whose_extensions_lie_do_not_bring_numbers_back(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    wire, source = bob.tap(), alice.audio

    def packet(number: int, extension: bytes = b"\xbe\xde\0\0") -> bytes:
        header = rtp.HEADER.pack(0x90, AUDIO, number & 0xFFFF, number, source.ssrc)
        return header + extension + secrets.token_bytes(60)

    sound = [1000, 1001, 1002]
    alice.send([packet(number) for number in sound])
    await bob.until(lambda: len(wire) == 3)
    alice.send([packet(1002 + jump, _BROKEN) for jump in (0x4000, 0x8000, 0xC000)])
    alice.send([packet(0x10000 + number) for number in (1002, 1001, 1000, 1003, 1004)])
    await bob.until(lambda: len(wire) > 3)
    alice.film()
    await bob.until(lambda: [each for each in wire if each[1] & 0x7F == VIDEO])
    assert numbers_used_twice(wire) == []
