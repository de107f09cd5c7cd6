import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from struct import pack
from typing import Any

import pytest
from aiortc import rtcsctptransport

from media.aiortc_adapter import Sctp
from media.allowance import Allowance
from media.transport import sctp as module
from media.transport.sctp import MAX_CHANNELS, MAX_LABEL, MAX_MESSAGE_SIZE, MAX_OUTSTANDING, DataChannels
from tests.support.depth import DEEP
from tests.support.media.data_channels import (
    DCEP,
    FIRST,
    STRING,
    UNORDERED,
    WHOLE,
    Browser,
    Leg,
    chunk,
    sealed,
    until,
)
from tests.support.media.dtls_pair import SECONDS, End, close, connected, mutate, watched_loop
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once

INIT = 1


@pytest.fixture(autouse=True)
async def nothing_reaches_the_loop() -> AsyncIterator[None]:
    async with watched_loop():
        yield


Legs = Callable[..., Awaitable[Leg]]


@pytest.fixture
async def leg_of() -> AsyncIterator[Legs]:
    legs: list[Leg] = []

    async def make(max_message_size: int = 65536, browser_takes: int = 0) -> Leg:
        leg = Leg(*await connected(), max_message_size)
        legs.append(leg)
        await leg.connect(browser_takes)
        return leg

    yield make
    for leg in legs:
        await leg.close()


@pytest.fixture
async def leg(leg_of: Legs) -> Leg:
    return await leg_of()


@pytest.mark.parametrize("message", ["hello", "", "grüße", b"\0\1", b"", "x" * MAX_MESSAGE_SIZE])
async def test_a_message_of_one_leg_reaches_the_same_label_of_the_others(leg_of: Legs, message: str | bytes) -> None:
    legs = [await leg_of() for _ in range(3)]
    channels = [await each.channel() for each in legs]
    heard: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in legs]
    for channel, queue in zip(channels, heard, strict=True):
        channel.on("message", queue.put_nowait)
    channels[0].send(message)
    label, got = await legs[0].message()
    assert [other.data.send(label, got) for other in legs[1:]] == [True, True]
    for queue in heard[1:]:
        assert await asyncio.wait_for(queue.get(), SECONDS) == message
    assert heard[0].empty()


async def test_an_unordered_channel_that_gives_up_is_served(leg: Leg) -> None:
    channel = await leg.channel(ordered=False, maxRetransmits=0)
    channel.send("quick")
    assert await leg.message() == ("chat", "quick")
    assert leg.data.send("chat", "answer")


async def test_a_leg_without_a_channel_of_that_label_gets_nothing(leg: Leg) -> None:
    assert not leg.data.send("chat", "x")
    await leg.channel("files")
    assert not leg.data.send("chat", "x")
    assert leg.data.labels == ("files",)


async def test_the_newest_of_several_channels_of_a_label_is_used(leg: Leg) -> None:
    first, second = await leg.channel(), await leg.channel()
    heard: asyncio.Queue[str] = asyncio.Queue()
    first.on("message", lambda message: heard.put_nowait("first"))
    second.on("message", lambda message: heard.put_nowait("second"))
    assert leg.data.send("chat", "x")
    assert await asyncio.wait_for(heard.get(), SECONDS) == "second"
    second.close()
    await until(lambda: leg.data.labels == ("chat",))
    assert leg.data.send("chat", "x")
    assert await asyncio.wait_for(heard.get(), SECONDS) == "first"


async def test_a_message_that_is_too_large_is_not_relayed(leg: Leg) -> None:
    channel = await leg.channel()
    channel.send("x" * (MAX_MESSAGE_SIZE + 1))
    channel.send("small")
    assert await leg.message() == ("chat", "small")
    assert leg.data.dropped == 1


async def test_a_message_that_the_other_side_does_not_take_is_not_sent(leg_of: Legs) -> None:
    leg = await leg_of(max_message_size=1000)
    await leg.channel()
    assert not leg.data.send("chat", "x" * 1001)
    assert leg.data.send("chat", "x" * 1000)


async def test_channels_are_limited_in_number(leg: Leg) -> None:
    channels = [await leg.channel(f"channel {number}") for number in range(MAX_CHANNELS + 4)]
    await until(lambda: [each.readyState for each in channels].count("closed") == 4)
    assert len(leg.data.labels) == MAX_CHANNELS
    channels[0].close()
    await until(lambda: len(leg.data.labels) == MAX_CHANNELS - 1)
    await leg.channel("one more")
    await until(lambda: "one more" in leg.data.labels)


async def test_labels_are_limited_in_length(leg: Leg) -> None:
    refused = await leg.channel("a" * (MAX_LABEL + 1))
    await until(lambda: refused.readyState == "closed")
    await leg.channel("a" * MAX_LABEL)
    assert leg.data.labels == ("a" * MAX_LABEL,)


async def test_a_leg_that_does_not_read_loses_its_channel_and_not_our_memory(leg: Leg) -> None:
    await leg.channel()
    leg.server.deliver = lambda datagram: None
    sent = 0
    while leg.data.send("chat", b"x" * 10_000):
        sent += 1
        assert leg.data.holdings().outstanding < MAX_OUTSTANDING + 2000
    assert 50 < sent < 110
    assert leg.data.labels == ()
    assert not leg.data.send("chat", b"")


async def test_many_small_messages_count_for_what_they_cost(leg: Leg) -> None:
    await leg.channel()
    leg.server.deliver = lambda datagram: None
    sent = 0
    while leg.data.send("chat", b""):
        sent += 1
    assert sent < 1000


async def test_a_channel_that_the_browser_closes_is_gone(leg: Leg) -> None:
    channel = await leg.channel()
    channel.close()
    await until(lambda: leg.data.labels == ())
    await until(lambda: channel.readyState == "closed")
    assert not leg.data.send("chat", "x")


async def test_channels_that_are_opened_and_closed_without_end_leave_nothing(leg: Leg) -> None:
    leg.data.allowance = Allowance(1e6, 1e9)
    kept = await leg.channel("kept", id=0)
    for number in range(300 if DEEP else 60):
        # Streams are used again (RFC 8831 section 6.7).
        channel = await leg.channel(f"channel {number}", id=2 + 2 * (number % 20))
        await until(lambda: len(leg.data.labels) == 2)
        channel.close()
        await until(lambda: leg.data.labels == ("kept",))
        await until(lambda: leg.browser.open_channels == 1)
    assert leg.data.holdings().channels == 1
    assert len(leg.data.holdings().streams) <= Sctp.MAX_STREAMS
    kept.send("still here")
    assert await leg.message() == ("kept", "still here")


async def test_an_association_that_the_browser_aborts_is_over(leg: Leg) -> None:
    await leg.channel()
    await leg.browser.finish()
    await until(lambda: leg.data.labels == ())
    assert not leg.data.send("chat", "x")


async def test_the_browser_learns_of_the_end(leg: Leg) -> None:
    channel = await leg.channel()
    await leg.data.close()
    await until(lambda: channel.readyState == "closed")
    assert not leg.data.send("chat", "x")
    await leg.data.close()


async def test_a_transport_that_ends_first_does_no_harm(leg: Leg) -> None:
    await leg.channel()
    await leg.server.transport.close()
    leg.data.send("chat", "x")
    await asyncio.sleep(0)
    await leg.data.close()
    assert leg.data.holdings().timers == 0


async def test_an_association_that_never_comes_about_leaves_no_timer() -> None:
    server, client = await connected()
    data = DataChannels(server.transport, 5000, 0, lambda channels, label, message: None)
    await asyncio.sleep(0)
    assert data.holdings().timers == 1
    await data.close()
    assert data.holdings().timers == 0
    await close(server, client)


@pytest.mark.parametrize("turns", [*range(8), 50])
async def test_packets_that_the_browser_sends_first_are_not_lost(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    """They arrive before the focus opens its association, while it opens it, or afterwards."""
    # A lost packet would be sent again only after the end of this test.
    monkeypatch.setattr(rtcsctptransport, "SCTP_RTO_INITIAL", 10 * SECONDS)
    server, client = await connected()
    browser = Browser("client", client.transport.send_data)

    async def receive(packet: bytes) -> None:
        # The focus's INIT is lost.
        if packet[12] != INIT:
            await browser.receive(packet)

    client.transport.on_data, server.transport.on_data = receive, None
    await browser.connect(5000, 0)
    for _ in range(turns):
        await asyncio.sleep(0)
    data = DataChannels(server.transport, 5000, 65536, lambda channels, label, message: None)
    await until(lambda: browser.state == data.state == "connected")
    await data.close()
    await browser.finish()
    await close(server, client)


async def test_data_channels_need_a_connected_transport() -> None:
    with pytest.raises(ValueError, match="connected"):
        DataChannels(End("server").transport, 5000, 0, lambda channels, label, message: None)


async def test_a_relay_that_fails_is_logged_and_the_channel_lives(leg: Leg, caplog: pytest.LogCaptureFixture) -> None:
    channel = await leg.channel()

    take = leg.take

    def fail(label: str, message: str | bytes) -> None:
        leg.take = take
        raise RuntimeError("broken relay")

    leg.take = fail
    channel.send("one")
    channel.send("two")
    assert await leg.message() == ("chat", "two")
    assert "broken relay" in caplog.text


# Types of chunks, and the number of bytes before their parameters (RFC 9260 section 3.3, RFC 6525 section 3.1).
CHUNKS_WITH_PARAMETERS = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
PARAMETER_OF_NOTHING = pack("!HH", 7, 0) + bytes(40)
HOSTILE = {
    "a parameter without a length": [
        chunk(kind, bytes(size) + PARAMETER_OF_NOTHING) for kind, size in CHUNKS_WITH_PARAMETERS.items()
    ],
    "a chunk without a length": [chunk(0, bytes(20), length=0)],
    "a chunk that is longer than the packet": [chunk(0, bytes(20), length=2000)],
    "an INIT that is cut off": [chunk(1, bytes(8))],
    "an empty INIT": [chunk(1, b"")],
    "an INIT among others": [chunk(1, bytes(16)) + chunk(1, bytes(16))],
    "a SACK of everything": [chunk(3, pack("!LLHH", 0, 0, 250, 0) + pack("!HH", 1, 65535) * 250)],
    "a SACK that lies": [chunk(3, pack("!LLHH", 0, 0, 65535, 65535))],
    "a SACK that runs backwards": [chunk(3, pack("!LLHH", 0, 0, 1, 0) + pack("!HH", 9, 1))],
    "an empty SACK": [chunk(3, b"")],
    "a FORWARD-TSN of all streams": [chunk(192, bytes(4) + b"".join(pack("!HH", n, 0) for n in range(64, 300)))],
    "a FORWARD-TSN that is cut off": [chunk(192, bytes(6))],
    "data on a stream that is not there": [chunk(0, pack("!LHHL", 0, 65535, 0, STRING) + b"x", WHOLE)],
    "data without any": [chunk(0, pack("!LHHL", 0, 0, 0, STRING), WHOLE)],
    "data that is cut off": [chunk(0, bytes(3))],
    "a shutdown that is cut off": [chunk(7, b"\0")],
    "resets that are cut off": [chunk(130, pack("!HH", kind, 5) + b"\0\0\0\0") for kind in (13, 16, 17)],
    "a reset that was never asked for": [chunk(130, pack("!HHLL", 16, 12, 0, 1))],
    "a cookie of one's own": [chunk(10, bytes(24))],
    "unknown chunks": [chunk(200, bytes(300)), chunk(63, b"")],
}


@pytest.mark.parametrize("chunks", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_packets_do_no_harm(leg: Leg, chunks: list[bytes]) -> None:
    channel = await leg.channel()
    started = time.process_time()
    for each in chunks:
        await leg.send(each)
        await leg.receive(sealed(pack("!HHLL", 5000, 5000, 0, 0) + each))
    assert time.process_time() - started < 1 * slowness()
    assert len(leg.data.holdings().streams) <= Sctp.MAX_STREAMS
    channel.send("still here")
    assert await leg.message() == ("chat", "still here")


async def test_a_sack_of_everything_is_not_counted_out(leg: Leg) -> None:
    await leg.channel()
    header = pack("!LLHH", leg.browser.last_received_tsn, 0, 250, 0)
    started = time.process_time()
    await leg.send(chunk(3, header + pack("!HH", 1, 65535) * 250))
    assert time.process_time() - started < 0.5 * slowness()
    assert leg.data.dropped == 1


async def test_many_sacks_in_one_packet_are_not_read(leg: Leg) -> None:
    await leg.channel()
    sack = chunk(3, pack("!LLHH", leg.browser.last_received_tsn, 100_000, 0, 0))
    await leg.send(sack * 70)
    assert leg.data.dropped == 1
    await leg.send(sack)
    assert leg.data.dropped == 1


async def test_sacks_that_list_much_are_slowed_down(leg: Leg) -> None:
    leg.data.allowance = Allowance(0, module.CHUNK_BURST)
    await leg.channel()
    sack = chunk(3, pack("!LLHHHH", leg.browser.last_received_tsn, 100_000, 1, 0, 2, 1000))
    for _ in range(1000):
        await leg.send(sack)
    # Each SACK acknowledges 999 chunks.
    assert leg.data.dropped >= 1000 - module.STEPS_FOR_A_CHUNK * module.CHUNK_BURST // 999 - 1


async def test_sacks_of_a_piece_far_ahead_are_slowed_down(leg: Leg) -> None:
    leg.data.allowance = Allowance(0, module.CHUNK_BURST)
    await leg.channel()
    acknowledged = leg.browser.last_received_tsn
    leg.server.deliver = lambda datagram: None
    for _ in range(600):
        assert leg.data.send("chat", "x")
    await asyncio.sleep(0)
    far = chunk(3, pack("!LLHHHH", acknowledged, 100_000, 1, 0, 600, 600))
    for _ in range(1000):
        await leg.send(far)
    # aiortc visits 600 pieces for each SACK.
    before = leg.data.dropped
    assert before >= 1000 - module.STEPS_FOR_A_CHUNK * module.CHUNK_BURST // 600 - 1
    # A SACK without gaps is always read.
    await leg.send(chunk(3, pack("!LLHH", acknowledged + 1, 100_000, 0, 0)))
    assert leg.data.dropped == before


async def test_sacks_with_many_duplicates_are_slowed_down(leg: Leg) -> None:
    leg.data.allowance = Allowance(0, module.CHUNK_BURST)
    await leg.channel()
    sack = chunk(3, pack("!LLHH", leg.browser.last_received_tsn, 100_000, 0, 256) + bytes(4 * 256))
    for _ in range(1000):
        await leg.send(sack)
    assert leg.data.dropped >= 1000 - 2 * module.CHUNK_BURST


async def test_a_forward_tsn_that_repeats_a_stream_searches_it_once(leg: Leg, monkeypatch: pytest.MonkeyPatch) -> None:
    await leg.channel()
    searched: list[object] = []
    plain = rtcsctptransport.InboundStream.pop_messages

    def pop_messages(stream: rtcsctptransport.InboundStream) -> Any:
        searched.append(stream)
        return plain(stream)

    monkeypatch.setattr(rtcsctptransport.InboundStream, "pop_messages", pop_messages)
    await leg.send(chunk(192, pack("!L", leg.browser.next_tsn) + pack("!HH", 0, 0) * 300))
    assert len(searched) == 1
    assert leg.data.dropped == 0


async def test_pieces_of_incomplete_messages_make_chunks_more_expensive(leg: Leg) -> None:
    leg.data.allowance = Allowance(0, 10_000)
    await leg.channel()
    for number in range(600):
        await leg.send(leg.browser.piece(b"x", FIRST if number == 0 else 0))
    pieces = leg.data.holdings().pieces
    assert pieces == 600
    # This FORWARD-TSN names a piece that has arrived already, so it removes none.
    known = (leg.browser.next_tsn - 1) % 2**32
    for expensive in (leg.browser.piece(b"x", 0), chunk(192, pack("!L", known) + pack("!HH", 0, 0))):
        before = leg.data.allowance.left
        await leg.send(expensive)
        assert before - leg.data.allowance.left == pytest.approx(1 + pieces / module.STEPS_FOR_A_CHUNK, abs=0.01)
    dropped = leg.data.dropped
    await leg.send(*[leg.browser.piece(b"x", 0) for _ in range(module.MOST_CHUNKS)])
    assert leg.data.dropped == dropped + 1


async def test_other_tasks_run_between_packets_of_many_chunks(leg: Leg) -> None:
    await leg.channel()
    ran: list[int] = []
    packets = [leg.browser.packet(*[leg.browser.piece(b"x") for _ in range(module.BATCH)]) for _ in range(5)]

    async def watch() -> None:
        while True:
            ran.append(leg.got.qsize())
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    for packet in packets:
        await leg.receive(packet)
    watching.cancel()
    # Others ran after each packet.
    assert {module.BATCH * number for number in range(1, 6)} <= {*ran}


async def test_packets_of_too_many_chunks_are_not_read(leg: Leg) -> None:
    await leg.channel()
    before = len(leg.server.sent)
    await leg.send(chunk(4, b"") * (module.MOST_CHUNKS + 1))
    assert (len(leg.server.sent) - before, leg.data.dropped) == (0, 1)
    await leg.send(chunk(4, b"") * module.MOST_CHUNKS)
    assert (len(leg.server.sent) - before, leg.data.dropped) == (module.MOST_CHUNKS, 1)


async def test_chunks_of_too_many_parameters_are_not_read(leg: Leg) -> None:
    await leg.channel()
    before = len(leg.server.sent)
    parameter = pack("!HH", 1, 4)
    await leg.send(chunk(4, parameter * (module.MOST_PARAMETERS + 1)))
    assert (len(leg.server.sent) - before, leg.data.dropped) == (0, 1)
    await leg.send(chunk(4, parameter * module.MOST_PARAMETERS))
    assert (len(leg.server.sent) - before, leg.data.dropped) == (1, 1)


async def test_a_packet_full_of_reconfigurations_is_not_answered(leg: Leg) -> None:
    await leg.channel()
    before = len(leg.server.sent)
    requests = b"".join(pack("!HHLHH", 17, 12, number, 0, 0) for number in range(90))
    await leg.send(chunk(130, requests))
    assert len(leg.server.sent) == before
    await leg.send(chunk(130, requests[:12]))
    assert len(leg.server.sent) == before + 1


async def test_streams_are_limited(leg: Leg) -> None:
    await leg.channel()
    beyond = b"".join(pack("!HH", number, 0) for number in range(64, 300))
    await leg.send(chunk(192, pack("!L", leg.browser.next_tsn) + beyond))
    for number in range(60, 200):
        await leg.send(leg.browser.piece(b"x", stream=number, flags=WHOLE | UNORDERED))
    assert max(leg.data.holdings().streams) == Sctp.MAX_STREAMS - 1


def opening(label: bytes, size: int | None = None) -> bytes:
    return pack("!BBHLHH", 3, 0, 0, 0, len(label) if size is None else size, 0) + label


async def test_hostile_openings_do_no_harm(leg: Leg) -> None:
    channel = await leg.channel()
    for stream, body in enumerate(
        [opening(b"again"), opening(b"\xff\xfe"), opening(b"short", 60000), b"\3", b"\2", b"\7", opening(b"")]
    ):
        await leg.send(leg.browser.piece(body, stream=stream, kind=DCEP, flags=WHOLE | UNORDERED))
    await leg.send(leg.browser.piece(b"\xff\xfe", flags=WHOLE | UNORDERED))
    channel.send("still here")
    assert await leg.message() == ("chat", "still here")


async def test_pieces_that_never_make_a_message_end_the_association(leg: Leg) -> None:
    leg.data.allowance = Allowance(1_000_000, module.CHUNK_BURST)
    await leg.channel()
    for number in range(2 * Sctp.MAX_PIECES):
        await leg.send(leg.browser.piece(b"x", FIRST if number == 0 else 0))
        if leg.data.state == "closed":
            break
        assert leg.data.holdings().pieces <= Sctp.MAX_PIECES
    assert leg.data.state == "closed"


async def test_more_than_the_window_ends_the_association(leg: Leg) -> None:
    leg.data.allowance = Allowance(1_000_000, module.CHUNK_BURST)
    await leg.channel()
    sent = 0
    while leg.data.state != "closed":
        await leg.send(leg.browser.piece(bytes(1100), FIRST if sent == 0 else 0))
        sent += 1100
        assert sent < 3 * Sctp.WINDOW


async def test_pieces_behind_a_gap_are_bounded(leg: Leg) -> None:
    leg.data.allowance = Allowance(1_000_000, module.CHUNK_BURST)
    channel = await leg.channel()
    for number in range(1, 2000):
        await leg.send(leg.browser.piece(b"x", ahead=2 * number, flags=WHOLE | UNORDERED))
    assert leg.data.holdings().misordered == Sctp.MAX_MISORDERED
    # A message that fills the gap is still accepted.
    channel.send("still here")
    async with asyncio.timeout(SECONDS):
        while await leg.message() != ("chat", "still here"):
            pass


async def test_a_flood_is_slowed_down(leg: Leg) -> None:
    leg.data.allowance = Allowance(0, module.CHUNK_BURST)
    await leg.channel()
    for _ in range(3000):
        await leg.send(leg.browser.piece(b"x", flags=WHOLE | UNORDERED))
    assert 0 < leg.got.qsize() <= module.CHUNK_BURST
    before = len(leg.server.sent)
    for _ in range(8):
        await leg.send(*[chunk(4, b"")] * 60)
    assert len(leg.server.sent) - before < 480


async def test_a_message_that_was_slowed_down_arrives_whole(leg: Leg) -> None:
    leg.data.allowance = Allowance(module.CHUNK_RATE, 20)
    channel = await leg.channel()
    channel.send("x" * MAX_MESSAGE_SIZE)
    assert await leg.message() == ("chat", "x" * MAX_MESSAGE_SIZE)
    assert leg.data.dropped > 0


async def test_mutated_packets_never_reach_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_RATE", 10_000_000)
    chance = random.Random(8831)
    started = time.process_time()
    for _ in range(20):
        leg = Leg(*await connected(), 65536)
        await leg.connect(0)
        channel = await leg.channel()
        leg.data.send("chat", "there")
        channel.send("back")
        await leg.message()
        channel.close()
        await until(lambda channel=channel: channel.readyState == "closed")  # type: ignore[misc]
        await leg.channel("another")
        seeds = tuple(leg.sent)
        for _ in range(300):
            packet = mutate(chance.choice(seeds)[12:], chance)
            await leg.send(packet)
            await leg.receive(sealed(pack("!HHLL", 5000, 5000, 0, 0) + packet))
        leg.data.send("another", "x")
        await leg.close()
    assert time.process_time() - started < 60 * slowness()
