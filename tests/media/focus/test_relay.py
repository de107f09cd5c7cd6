"""Messages of data channels: how a flood affects others and its sender, and that no message is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiortc import RTCDataChannelParameters

from media.aiortc_adapter import RTCDataChannel, Sctp
from media.allowance import Allowance
from media.focus import relay
from media.focus.chat import Chat
from media.focus.relay import Budget, Relay
from media.focus.tiles import TILES, Tiles
from media.transport.sctp import DataChannels
from tests.support.media.dtls_pair import SECONDS, End, close, connected, watched_loop

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
async def nothing_reaches_the_loop() -> AsyncIterator[None]:
    async with watched_loop():
        yield


class Browser(Sctp):
    """The browser's end of an association.

    Unlike aiortc's own class, it respects the window that the focus advertises.
    """

    def __init__(self, transport: Any) -> None:
        super().__init__("client", transport.send_data)
        self.window = self.WINDOW
        self.packets = 0

    async def _receive_sack_chunk(self, chunk: Any) -> None:
        self.window = chunk.advertised_rwnd
        self._cwnd = max(1200, min(self._cwnd, self.window))
        await super()._receive_sack_chunk(chunk)

    async def _transmit(self) -> None:
        if self.window > 0:
            await super()._transmit()

    async def receive(self, packet: bytes) -> None:
        self.packets += 1
        await super().receive(packet)


class Member:
    """A member of a conference with a channel named "chat"."""

    def __init__(self, relay: Relay, server: End, client: End) -> None:
        self.relay, self.ends = relay, (server, client)
        self.data = DataChannels(server.transport, 5000, 65536, relay.take)
        self.browser = Browser(client.transport)
        client.transport.on_data = self.browser.receive
        self.channel = RTCDataChannel(self.browser, RTCDataChannelParameters(label="chat"))
        self.got: list[str] = []
        self.channel.on("message", self.got.append)

    async def has(self, count: int) -> None:
        """Wait until this many messages have arrived."""
        await until(lambda: len(self.got) >= count)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


Conference = Callable[[int], Awaitable[list[Member]]]


@pytest.fixture
async def conference() -> AsyncIterator[Conference]:
    members: list[Member] = []
    budget = Budget()

    async def make(size: int) -> list[Member]:
        made: list[Member] = []
        conference = Relay(lambda: [member.data for member in made], budget)
        for _ in range(size):
            made.append(Member(conference, *await connected()))
            members.append(made[-1])
            await made[-1].browser.connect(5000, 65536)
        await until(lambda: all(member.data.labels for member in made))
        return made

    yield make
    for member in members:
        await member.data.close()
        await member.browser.finish()
        await close(*member.ends)


def allow(relay: Relay, *, burst: int, rate: int) -> None:
    """Set the budget of a conference."""
    relay.allowance = Allowance(rate, burst)


async def fill_window(sender: Member, messages: list[str]) -> None:
    """Send more messages than the budget allows, and wait until they fill the sender's window."""
    for message in messages:
        sender.channel.send(message)
    await until(lambda: sender.browser.window == 0)


async def test_message_reaches_the_others_at_once(conference: Conference) -> None:
    alice, bob, carol = await conference(3)
    alice.channel.send("hello")
    await bob.has(1)
    await carol.has(1)
    assert (bob.got, carol.got, alice.got) == (["hello"], ["hello"], [])


class Stub:
    """Takes the place of a leg's data channels, and records the messages to send."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def send(self, label: str, content: str) -> bool:
        self.got.append(content)
        return True

    def hold(self, size: int) -> None: ...

    def release(self, size: int) -> None: ...


async def test_short_messages_do_not_wait_for_all_long_ones_of_another() -> None:
    mallory, alice, bob = Stub(), Stub(), Stub()
    made = Relay(lambda: cast(Any, [bob]), Budget())
    allow(made, burst=0, rate=0)
    for number in range(5):
        made.take(cast(Any, mallory), "file", f"long {number}" + "x" * 60_000)
    for number in range(5):
        made.take(cast(Any, alice), "chat", f"short {number}")
    allow(made, burst=10_000, rate=1_000_000)
    await until(lambda: len(bob.got) == 10)
    assert [each for each in bob.got[:6] if each[0] == "s"] == [f"short {number}" for number in range(5)]
    assert [each[:6] for each in bob.got if each[0] == "l"] == [f"long {number}" for number in range(5)]


async def test_flood_fills_its_senders_window_and_loses_nothing(conference: Conference) -> None:
    alice, bob = await conference(2)
    allow(alice.relay, burst=20, rate=0)
    alice.data.allowance.left = 10_000.0
    sent = [f"{number}" + "x" * 1000 for number in range(500)]
    await fill_window(alice, sent)
    # Only the messages that the budget allows have arrived. Of the others, those that fit the window wait in the focus,
    # and the rest wait in the sender.
    assert len(bob.got) <= 20
    assert alice.channel.bufferedAmount > 100_000
    allow(alice.relay, burst=10_000, rate=100_000)
    await bob.has(len(sent))
    assert bob.got == sent
    assert alice.channel.bufferedAmount == 0


async def test_flood_leaves_the_other_conference_its_budget(conference: Conference) -> None:
    alice, _ = await conference(2)
    other, friend = await conference(2)
    for each in (alice, other):
        allow(each.relay, burst=20, rate=0)
    await fill_window(alice, ["x" * 1000] * 300)
    other.channel.send("hello")
    await friend.has(1)
    assert friend.got == ["hello"]


def flooded(budget: Budget) -> Stub:
    """Flood a conference of two from one participant. Return the other participant's channels."""
    sender, receiver = Stub(), Stub()
    made = Relay(lambda: cast(Any, [receiver]), budget)
    for number in range(400):
        made.take(cast(Any, sender), "chat", str(number))
    return receiver


async def test_conferences_of_a_node_share_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "NODE_BURST", 200)
    monkeypatch.setattr(relay, "NODE_RATE", 0)
    budget = Budget()
    receivers = [flooded(budget) for _ in range(4)]
    await until(lambda: sum(len(each.got) for each in receivers) >= 80)
    for _ in range(10):
        await asyncio.sleep(relay.PAUSE_SECONDS)
    counts = [len(each.got) for each in receivers]
    # The budget counts a message once when it is received, and once for each receiver.
    assert sum(counts) <= 200 / 2 + relay.BATCH_MESSAGES
    assert max(counts) - min(counts) <= 2 * relay.BATCH_MESSAGES + relay.MOST_AT_ONCE


async def test_a_quiet_conference_does_not_wait_for_thirty_that_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "NODE_BURST", 16)
    monkeypatch.setattr(relay, "NODE_RATE", 1000)
    budget = Budget()
    receivers = [flooded(budget) for _ in range(30)]
    quiet, friend = Stub(), Stub()
    await until(lambda: all(each.got for each in receivers))
    before = sum(len(each.got) for each in receivers)
    Relay(lambda: cast(Any, [friend]), budget).take(cast(Any, quiet), "chat", "hello")
    await until(lambda: friend.got == ["hello"])
    passed = sum(len(each.got) for each in receivers) - before
    assert passed <= 2 * len(receivers) * relay.BATCH_MESSAGES


async def test_all_conferences_together_make_few_deliveries_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget()
    receivers = [flooded(budget) for _ in range(30)]
    counts = []
    take_turn = Budget.take_turn

    def counted(self: Budget) -> None:
        before = sum(len(each.got) for each in receivers)
        take_turn(self)
        counts.append(sum(len(each.got) for each in receivers) - before)

    monkeypatch.setattr(Budget, "take_turn", counted)
    await until(lambda: len(counts) > 40)
    assert 0 < max(counts) <= relay.MOST_AT_ONCE + relay.BATCH_MESSAGES


async def test_senders_take_turns(conference: Conference) -> None:
    alice, bob, carol = await conference(3)
    allow(alice.relay, burst=20, rate=0)
    alice.data.allowance.left = 10_000.0
    await fill_window(alice, ["x" * 1000] * 300)
    bob.channel.send("me too")
    allow(alice.relay, burst=20, rate=1000)
    await until(lambda: "me too" in carol.got)
    # Bob's message does not wait for Alice's messages in the window.
    assert len(carol.got) < 100


async def test_turn_of_the_loop_makes_few_deliveries(conference: Conference, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, *others = await conference(6)
    deliveries: Counter[int] = Counter()
    turn = 0
    take_turn, send = Budget.take_turn, DataChannels.send

    def counted(self: Budget) -> None:
        nonlocal turn
        turn += 1
        take_turn(self)

    def noted(self: DataChannels, label: str, message: str | bytes) -> bool:
        deliveries[turn] += 1
        return send(self, label, message)

    monkeypatch.setattr(Budget, "take_turn", counted)
    monkeypatch.setattr(DataChannels, "send", noted)
    for number in range(100):
        alice.channel.send(str(number))
    for other in others:
        await other.has(100)
    assert max(deliveries.values()) <= relay.MOST_AT_ONCE + relay.BATCH_MESSAGES


async def test_short_messages_to_one_receiver_share_packets(conference: Conference) -> None:
    alice, bob = await conference(2)
    before = bob.browser.packets
    for number in range(80):
        alice.channel.send(str(number))
    await bob.has(80)
    assert bob.got == [str(number) for number in range(80)]
    assert bob.browser.packets - before < 40


async def test_a_receiver_gets_short_messages_together_and_then_the_next_receiver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alice, *others = (Stub() for _ in range(3))
    made = Relay(lambda: cast(Any, [alice, *others]), Budget())
    allow(made, burst=0, rate=0)
    deliveries: list[Stub] = []

    def send(self: Stub, label: str, content: str) -> bool:
        deliveries.append(self)
        return True

    monkeypatch.setattr(Stub, "send", send)
    for number in range(relay.BATCH_MESSAGES):
        made.take(cast(Any, alice), "chat", str(number))
    allow(made, burst=10_000, rate=1_000_000)
    await until(lambda: len(deliveries) == 2 * relay.BATCH_MESSAGES)
    assert relay.BATCH_MESSAGES > 1
    assert deliveries == [receiver for receiver in others for _ in range(relay.BATCH_MESSAGES)]


async def test_small_messages_count_for_the_memory_they_take(conference: Conference) -> None:
    alice, bob = await conference(2)
    allow(alice.relay, burst=0, rate=0)
    alice.data.allowance.left = 10_000.0
    await fill_window(alice, ["x"] * 1000)
    assert alice.data.holdings().waiting <= Sctp.WINDOW + 64 * 1024
    assert bob.got == []


async def test_a_short_message_does_not_wait_until_everybody_has_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    mallory, alice, *others = (Stub() for _ in range(40))
    made = Relay(lambda: cast(Any, [mallory, alice, *others]), Budget())
    allow(made, burst=0, rate=0)
    delivered: list[str] = []

    def send(self: Stub, label: str, content: str) -> bool:
        delivered.append(content[:5])
        return True

    monkeypatch.setattr(Stub, "send", send)
    made.take(cast(Any, mallory), "file", "long" + "x" * 20_000)
    made.take(cast(Any, mallory), "chat", "after")
    made.take(cast(Any, alice), "chat", "short")
    allow(made, burst=10_000, rate=1_000_000)
    await until(lambda: len(delivered) == 3 * 39)
    # Alice's message to all receivers uses as much of the budget as mallory's long message to three receivers.
    assert delivered[:45].count("short") == 39
    assert delivered[78:] == ["after"] * 39


async def test_the_sizes_of_tiles_go_to_the_node_and_to_nobody_else() -> None:
    ends = [await connected() for _ in range(2)]
    section = SimpleNamespace(sctp_port=5000, rejected=False, max_message_size=65536)
    legs: list[Any] = [
        SimpleNamespace(
            layout=SimpleNamespace(sections=[section]),
            channels=None,
            is_connected=True,
            transport=server.transport,
            tiles=Tiles(),
        )
        for server, _ in ends
    ]
    chat = Chat(cast(Any, {str(at): SimpleNamespace(leg=leg) for at, leg in enumerate(legs)}), Budget(), lambda _: None)
    browsers, got = [Browser(client.transport) for _, client in ends], list[str]()
    for leg, browser, (_, client) in zip(legs, browsers, ends, strict=True):
        chat.update(leg)
        client.transport.on_data = browser.receive
    channels = [
        [RTCDataChannel(each, RTCDataChannelParameters(label=label)) for label in (TILES, "chat")] for each in browsers
    ]
    for channel in channels[1]:
        channel.on("message", got.append)
    for browser in browsers:
        await browser.connect(5000, 65536)
    await until(lambda: all(channel.readyState == "open" for each in channels for channel in each))
    for channel, message in zip(channels[0], ('{"widths": {"1": 9}}', "hello"), strict=True):
        channel.send(message)
    await until(lambda: bool(got))
    assert got == ["hello"]
    assert [leg.tiles.widths for leg in legs] == [{"1": 9}, {}]
    for leg, browser, both in zip(legs, browsers, ends, strict=True):
        await leg.channels.close()
        await browser.finish()
        await close(*both)
