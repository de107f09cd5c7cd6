"""RTCP reports: translated sender reports, source descriptions, and reception reports."""

import pytest
from aiortc.rtp import RtcpByePacket, RtcpRrPacket, RtcpSdesPacket, RtcpSenderInfo, RtcpSrPacket

from media.forward import rtp
from tests.support.media.node_harness import World
from tests.support.media.synthetic import AUDIO, PCMU

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_sender_report_is_translated(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packet = alice.video.packet()
    alice.send([packet])
    ((_, timestamp, ssrc),) = await bob.gets(1)
    sent_timestamp = rtp.HEADER.unpack_from(packet)[3]
    info = RtcpSenderInfo(ntp_timestamp=77 << 32, rtp_timestamp=sent_timestamp, packet_count=1, octet_count=1000)
    alice.send_rtcp(RtcpSrPacket(ssrc=alice.video.ssrc, sender_info=info))
    (report,) = await bob.until(lambda: [each for each in bob.reports if isinstance(each, RtcpSrPacket)])
    assert (report.ssrc, report.sender_info.ntp_timestamp) == (ssrc, 77 << 32)
    assert report.sender_info.rtp_timestamp == timestamp
    assert report.sender_info.packet_count == 1


async def test_receivers_learn_whose_a_stream_is_and_when_it_ends(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((_, _, ssrc),) = await bob.gets(1)
    info = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=1, packet_count=1, octet_count=1)
    alice.send_rtcp(RtcpSrPacket(ssrc=alice.video.ssrc, sender_info=info))
    (description,) = await bob.until(
        lambda: [
            chunk
            for each in bob.reports
            if isinstance(each, RtcpSdesPacket)
            for chunk in each.chunks
            if chunk.ssrc == ssrc
        ]
    )
    assert description.items == [(1, b"alice")]
    await world.conference.leave(alice)
    await bob.until(lambda: [each for each in bob.reports if isinstance(each, RtcpByePacket) and ssrc in each.sources])


async def test_sender_gets_reports_of_how_its_media_arrives(world: World) -> None:
    alice, _ = await world.join("alice", "bob")
    alice.film(3)
    reports = await alice.until(
        lambda: [
            block
            for each in alice.reports
            if isinstance(each, RtcpRrPacket)
            for block in each.reports
            if block.ssrc == alice.video.ssrc
        ]
    )
    assert reports[-1].highest_sequence & 0xFFFF == alice.video.sequence


async def test_jitter_of_pcmu_is_counted_in_its_own_clock(world: World) -> None:
    (alice,) = await world.join("alice", audio=(AUDIO, PCMU))
    alice.send([alice.audio.packet()])
    await world.join("carol", audio=(PCMU,))
    (stream,) = [stream for stream, track in world.leg("alice").sources.streams.values() if track.kind == "audio"]
    assert stream.memory.clock_rate == stream.clock_rate == 8000
