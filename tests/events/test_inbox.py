"""The process's channel of the channel layer: its cost, the readers that it wakes, and its recovery from failures."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.utils import timezone

from events import inbox, layer, wakeups
from events.models import Session
from events.reader import Entry, Reader
from events.readers import READERS
from events.threads import in_database_thread
from media.pause import Pause

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_no_idle_connections", "_impatient")]

Follow = Callable[..., Awaitable[Reader]]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pause after a failure of the layer."""
    monkeypatch.setattr(inbox, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(layer.LAYER, "pause", Pause(0.05))


def open_session(session_id: str) -> None:
    """Make a live session with this ID, unless it exists."""
    now = timezone.now()
    session = {"token_hash": session_id, "created_at": now, "expires_at": now + timedelta(hours=1)}
    Session.objects.get_or_create(pk=session_id, defaults={"username": "alice", **session})


@pytest.fixture
async def follow() -> AsyncIterator[Follow]:
    """Make readers that are up to date with an empty log. They stop at the end of the test."""
    readers: list[Reader] = []

    async def make(session_id: str, on_news: Callable[[], None] = lambda: None, **options: Any) -> Reader:
        await in_database_thread(open_session)(session_id)
        reader = Reader(session_id, 0, on_news, **options)
        readers.append(reader)
        await reader.start()
        while reader.has_news:
            assert await reader.next() == []
        return reader

    yield make
    for each in readers:
        await each.stop()


async def wake(session_id: str, *seqs: int) -> None:
    """Send a wake-up with these events, like a process that has committed them."""
    assert await wakeups.send({session_id: layer.message_to(session_id, news=[(seq, f"{seq}") for seq in seqs])})


async def has_news(reader: Reader) -> None:
    """Wait until a reader has something to read."""
    async with asyncio.timeout(10):
        while not reader.has_news:
            await asyncio.sleep(0)


async def test_readers_of_a_process_share_one_channel(follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    layer_: Any = get_channel_layer()
    make, made = layer_.new_channel, []

    async def new_channel(*args: Any) -> str:
        made.append(await make(*args))
        return str(made[-1])

    monkeypatch.setattr(layer_, "new_channel", new_channel, raising=False)
    readers = [await follow(f"session-{number // 2}") for number in range(20)]
    assert len(made) == 1
    await wake("session-3", 1)
    await has_news(readers[7])
    assert [reader.session_id for reader in readers if reader.has_news] == ["session-3"] * 2
    for reader in readers:
        await reader.stop()
    assert not any(task.get_name() == "inbox" for task in asyncio.all_tasks())
    # The next reader opens a new channel.
    again = await follow("session-3")
    assert len(made) == 2
    await wake("session-3", 1)
    await has_news(again)


async def test_an_ephemeral_event_reaches_only_readers_that_want_it_and_leaves_the_cursor(follow: Follow) -> None:
    connected, polling = await follow("alice", ephemeral=True), await follow("alice")
    await in_database_thread(wakeups.send_ephemeral)(["alice"], "somebody speaks")
    await has_news(connected)
    assert [entry.wire for entry in await connected.next()] == ["somebody speaks"]
    await wake("alice", 1)
    for reader in (connected, polling):
        await has_news(reader)
        entries: list[Entry] = []
        while not entries:
            entries = await reader.next()
        assert [(entry.wire, entry.cursor) for entry in entries] == [("1", 1)]


async def test_a_message_that_cannot_be_handled_delays_no_other(
    follow: Follow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inbox, "PAUSE_SECONDS", 3600.0)
    reader = await follow("alice")
    assert await wakeups.send({"alice": layer.message_to("alice", news=["nonsense"])})
    await wake("alice", 1)
    await has_news(reader)
    assert "could not be handled" in caplog.text


async def count_calls(work: Awaitable[None]) -> int:
    """Return how many functions (Python and C) this thread calls while it awaits `work`."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        await work
    finally:
        sys.setprofile(None)
    return calls


async def test_cost_of_an_event_does_not_depend_on_the_number_of_idle_readers(follow: Follow) -> None:
    reader = await follow("busy")

    async def tell(seq: int) -> None:
        await wake("busy", seq)
        await has_news(reader)
        assert [entry.cursor for entry in await reader.next()] == [seq]

    # The first wake-ups also open connections.
    costs = [await count_calls(tell(seq)) for seq in range(1, 6)]
    for number in range(400):
        await follow(f"idle-{number}")
    among_many = min([await count_calls(tell(seq)) for seq in range(6, 11)])
    assert among_many < min(costs) + 200


async def test_reader_that_started_while_the_layer_was_down_is_woken_once_it_is_up(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    await follow("earlier")
    layer_: Any = get_channel_layer()

    async def away(*args: Any) -> None:
        raise ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(layer_, "group_add", away, raising=False)
        reader = await follow("later")
        await wake_unheard("later")
        assert not reader.has_news
    # The reader may have missed events, so it reads the log.
    await has_news(reader)
    assert await reader.next() == []
    await wake("later", 1)
    await has_news(reader)
    assert [entry.cursor for entry in await reader.next()] == [1]


async def wake_unheard(session_id: str) -> None:
    """Send a wake-up in spite of the pause after a failure of the layer."""
    layer_: Any = get_channel_layer()
    await layer_.group_send(layer.group_of(session_id), layer.message_to(session_id, news=[(1, "1")]))


async def test_group_that_could_not_be_discarded_is_discarded_later(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    await follow("stays")
    leaver = await follow("goes")
    layer_: Any = get_channel_layer()
    leave, left = layer_.group_discard, []

    async def discard(group: str, channel: str) -> None:
        left.append(group)
        if len(left) == 1:
            raise ConnectionError("away")
        await leave(group, channel)

    monkeypatch.setattr(layer_, "group_discard", discard, raising=False)
    await leaver.stop()
    assert READERS.sessions() == ["stays"]
    async with asyncio.timeout(10):
        while len(left) < 2:
            await asyncio.sleep(0.01)
    assert left == [layer.group_of("goes")] * 2


async def test_unreadable_message_does_not_end_the_inbox(follow: Follow) -> None:
    reader = await follow("session")
    layer_: Any = get_channel_layer()
    for message in ({"type": "wake"}, {"type": "wake", "session": "session", "news": [("x", 1)]}):
        await layer_.group_send(layer.group_of("session"), message)
    await wake("session", 1)
    await has_news(reader)
