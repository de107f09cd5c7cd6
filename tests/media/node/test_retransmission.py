"""Lost packets are asked for upstream (NACK) and sent again downstream (RTX), within bounds."""

import pytest
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpReceiverInfo, RtcpRrPacket, RtcpRtpfbPacket, RtcpSdesPacket

from media.focus.retransmission import OLDEST_SECONDS
from media.forward import repair, rtcp, rtp
from tests.support.media.node_harness import Listener, World, in_order, true
from tests.support.media.synthetic import RTX, VIDEO

# No test in this module uses the database.
pytestmark = pytest.mark.once


async def test_a_packet_lost_on_the_way_down_is_sent_again_as_rtx(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(4)
    got = await bob.gets(4)
    sequence, _, ssrc = got[1]
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence, sequence + 1 & 0xFFFF]))
    await bob.until(lambda: len(bob.of(RTX)) == 2)
    restored = [rtp.unwrap(packet, payload_type=VIDEO, ssrc=ssrc) or b"" for packet in bob.of(RTX)]
    assert [rtp.HEADER.unpack_from(packet)[2] for packet in restored] == [sequence, sequence + 1 & 0xFFFF]
    assert len({rtp.HEADER.unpack_from(packet)[4] for packet in bob.of(RTX)} | {ssrc}) == 2


async def test_to_a_receiver_that_loses_much_packets_are_sent_again_twice(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(4)
    got = await bob.gets(4)
    ssrc, lost = got[0][2], [sequence for sequence, _, _ in got]
    report = RtcpReceiverInfo(ssrc=ssrc, fraction_lost=20, packets_lost=0, highest_sequence=0, jitter=0, lsr=0, dlsr=0)
    bob.send_rtcp(RtcpRrPacket(ssrc=1, reports=[report]))
    leg = world.leg("bob")
    await true(lambda: leg.downlink.lost(leg.sinks, world.clock.time()) > 0)
    world.stop_ticking()
    leg.tick(world.clock.time())
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=lost))
    await bob.until(lambda: len(bob.of(RTX)) == 8)
    restored = [rtp.unwrap(packet, payload_type=VIDEO, ssrc=ssrc) or b"" for packet in bob.of(RTX)]
    assert [rtp.HEADER.unpack_from(packet)[2] for packet in restored] == lost * 2
    numbers = [rtp.HEADER.unpack_from(packet)[2] for packet in bob.of(RTX)]
    assert numbers == [*range(numbers[0], numbers[0] + 8)]


async def test_a_receiver_gets_no_more_sent_again_than_its_budget(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    world.stop_ticking()
    alice.film(40)
    got = await bob.gets(40)
    lost = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=got[0][2], lost=[each for each, _, _ in got])
    affordable = repair.BURST // (alice.video.size + repair.OVERHEAD)
    assert 0 < affordable < 40
    for _ in range(2):
        bob.send_rtcp(lost)
        bob.film()
        await alice.gets(1)
    alice.film()
    await bob.gets(1)
    assert len(bob.of(RTX)) == affordable


async def test_packets_lost_after_a_pause_are_sent_again_and_earlier_ones_are_not(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    video = bob.sections[1]
    for _ in range(2):
        alice.film(4)
        got = await bob.gets(4)
        sequence, _, ssrc = got[0]
        lost = [sequence + i & 0xFFFF for i in range(4)]
        bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=lost))
        await bob.gets(4, RTX)
        video.receives = False
        await world.conference.renegotiate(bob)
        alice.film(6)
        bob.film()
        await alice.gets(1)
        video.receives = True
        await world.conference.renegotiate(bob)
        await world.conference.settle()
        bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=lost))
    alice.film()
    await bob.gets(1)
    assert bob.packets == []


async def test_packets_that_a_short_pause_left_out_may_be_asked_for(world: World) -> None:
    alice, bob, carol = await world.join("alice", "bob", "carol")
    alice.film()
    ((before, _, ssrc),) = await bob.gets(1)
    video = bob.sections[1]
    video.receives = False
    await world.conference.renegotiate(bob)
    alice.film(4)
    await carol.gets(5)
    video.receives = True
    await world.conference.renegotiate(bob)
    await world.conference.settle()
    alice.film()
    ((after, _, _),) = await bob.gets(1)
    missed = [before + i & 0xFFFF for i in range(1, 5)]
    assert after == before + 5 & 0xFFFF
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=missed))
    assert len(await bob.gets(4, RTX)) == 4


async def test_a_late_packet_that_was_asked_for_is_passed_on_once(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packets = [alice.video.packet() for _ in range(3)]
    wrapped = rtp.wrap(packets[1], payload_type=RTX, sequence=1, ssrc=alice.video.rtx_ssrc or 0)
    alice.send([packets[0], packets[2], packets[1], wrapped])
    alice.film()
    got = await bob.gets(4)
    assert in_order(sorted(got))
    assert bob.packets == []


async def test_retransmissions_that_nobody_can_have_asked_for_are_passed_over(world: World) -> None:
    alice, bob = Listener("alice"), Listener("bob")
    alice.sections[1].attributes = [each for each in alice.sections[1].attributes if each != f"a=rtcp-fb:{VIDEO} nack"]
    for peer in (alice, bob):
        world.peers.append(peer)
        await world.conference.join(peer)
    packet = alice.video.packet()
    repeated = [
        rtp.wrap(packet, payload_type=RTX, sequence=number, ssrc=ssrc)
        for number, ssrc in ((1, alice.video.rtx_ssrc or 0), (1, 4711), (2, 4711))
    ]
    alice.send([packet, *repeated])
    alice.film()
    assert in_order(await bob.gets(2))
    assert bob.packets == []


async def test_a_packet_that_was_never_sent_cannot_be_asked_for(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    ((sequence, _, ssrc),) = await bob.gets(1)
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence + 9 & 0xFFFF]))
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=12345, lost=[sequence]))
    alice.film()
    await bob.gets(1)
    assert bob.packets == []


@pytest.mark.parametrize(("age", "answered"), [(OLDEST_SECONDS - 0.4, True), (OLDEST_SECONDS + 0.1, False)])
async def test_a_packet_too_old_for_a_picture_is_not_sent_again(world: World, age: float, answered: bool) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film(3)
    (sequence, _, ssrc), *_ = await bob.gets(3)
    world.stop_ticking()
    world.clock.added += age
    bob.send_rtcp(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=[sequence]))
    # Once alice has bob's packet, the node has handled his request. Any retransmission then reaches bob before alice's
    # next packet.
    bob.film()
    await alice.gets(1)
    alice.film()
    await bob.gets(1)
    assert len(bob.of(RTX)) == answered


async def test_a_packet_lost_on_the_way_up_is_asked_for_and_passed_on_late(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    packets = [alice.video.packet() for _ in range(3)]
    alice.send([packets[0], packets[2]])
    (nack,) = await alice.until(lambda: [each for each in alice.reports if isinstance(each, RtcpRtpfbPacket)])
    assert nack.lost == [rtp.HEADER.unpack_from(packets[1])[2]]
    wrapped = rtp.wrap(packets[1], payload_type=RTX, sequence=1, ssrc=alice.video.rtx_ssrc or 0)
    alice.send([wrapped])
    got = await bob.gets(3)
    assert in_order(sorted(got))
    assert in_order([got[0], got[2], got[1]])


@pytest.mark.parametrize("agreed", [True, False])
async def test_feedback_is_a_compound_packet_unless_reduced_size_was_agreed(
    world: World, monkeypatch: pytest.MonkeyPatch, agreed: bool
) -> None:
    offer = Listener.offer
    if not agreed:
        monkeypatch.setattr(Listener, "offer", lambda self: offer(self).replace("a=rtcp-rsize\r\n", ""))
    alice, _ = await world.join("alice", "bob")
    packets = [alice.video.packet() for _ in range(3)]
    alice.send([packets[0], packets[2]])
    await alice.until(lambda: [each for each in alice.reports if isinstance(each, RtcpRtpfbPacket)])
    place = next(index for index, each in enumerate(alice.reports) if isinstance(each, RtcpRtpfbPacket))
    before = alice.reports[max(0, place - 2) : place]
    # Only the periodic reports, sent every second, contain report blocks.
    is_compound = [type(each) for each in before] == [RtcpRrPacket, RtcpSdesPacket] and not before[0].reports
    assert is_compound is not agreed


async def test_requests_for_more_than_a_tick_serves_are_not_read(world: World) -> None:
    alice, bob = await world.join("alice", "bob")
    alice.film()
    await bob.gets(1)
    world.stop_ticking()
    ssrc = world.track("alice", "video").ssrc
    many = rtcp.nack(1, ssrc, range(0, 290 * 17, 17))
    assert rtcp.requests(many) == 290
    # aiortc reads other transport feedback, such as TWCC (fmt 15), as if it were a NACK.
    assert rtcp.requests(bytes([many[0] & 0xE0 | 15]) + many[1:]) == 290
    for _ in range(5):
        bob.send_rtcp(many)
    await true(lambda: world.leg("bob").quota.excess == 4)
