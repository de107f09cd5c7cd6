"""Wake the readers of a session's log through the channel layer.

A wake-up carries the new events along, so that a reader who is up to date need not ask the database. One that is
lost, late or out of order costs latency, never an event: the log is what counts, and its numbers show a reader what
is missing.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings

from conferences import clock
from events.readers import READERS
from events.threads import in_database_thread, run_in_server_loop
from events.watcher import WATCHER

logger = logging.getLogger(__name__)

# What is larger than this in all is left for the reader to fetch.
CARRIED_CHARACTERS = 64 * 1024
# The number of what has none, because it is in no log.
PASSING = 0
_WAITING_WAKE_UPS = 16
# How long anything waits for the channel layer, and how long the layer is left alone once it has failed.
_PATIENCE_SECONDS = 3.0
_REST_SECONDS = 3.0

News = list[tuple[int, str]]


def _group(session_id: str) -> str:
    """Return the channel layer's group of a session's readers."""
    return f"session.{session_id}"


def wake(news: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Hand each session's new events (their numbers and wires) to its readers, from a thread that runs sync code."""
    messages: dict[str, dict[str, object]] = {
        session_id: {"type": "wake", "news": entries if _is_light(entries) else []}
        for session_id, entries in news.items()
    }
    _send_from_thread(messages)


def tell_passing(session_ids: Iterable[str], wire: str) -> None:
    """Tell these sessions' WebSockets something that passes: it is in no log, and whoever misses it misses nothing."""
    _send_from_thread({session_id: {"type": "wake", "news": [(PASSING, wire)]} for session_id in session_ids})


def end(session_id: str) -> None:
    """Tell the readers of a session that it is over, from a thread that runs sync code."""
    _send_from_thread({session_id: {"type": "wake", "news": []}})


def _send_from_thread(messages: Mapping[str, dict[str, object]]) -> None:
    """Send wake-ups on the server's loop: its requests do not wait for that. Commands and tests have no server."""
    if not run_in_server_loop(_send_or_owe, messages):
        async_to_sync(_send)(messages)


def _is_light(entries: Sequence[tuple[int, str]]) -> bool:
    """Tell whether these events may travel through the channel layer."""
    return sum(len(wire) for _, wire in entries) <= CARRIED_CHARACTERS


async def _send(messages: Mapping[str, dict[str, object]]) -> bool:
    """Send wake-ups to groups; return whether the layer took them.

    The rows are committed: whom a wake-up misses finds them at the next heartbeat.
    """

    async def send(layer: Any) -> None:
        for session_id, message in messages.items():
            await layer.group_send(_group(session_id), message)

    return await _layer.use(send)


async def _send_or_owe(messages: Mapping[str, dict[str, object]]) -> None:
    """Send wake-ups; whom they miss is sent to the log as soon as the layer takes something again."""
    if not await _send(messages):
        _layer.owe(messages)


class _Layer:
    """The channel layer, whose faults go no further: they cost neither a request nor a reader more than a moment."""

    def __init__(self) -> None:
        self._rests_until = 0.0
        self._owed: set[str] = set()
        self._payer: asyncio.Task[None] | None = None

    def owe(self, session_ids: Iterable[str]) -> None:
        """Note whom wake-ups have missed."""
        self._owed.update(session_ids)
        if self._payer is None or self._payer.done():
            self._payer = asyncio.create_task(self._pay())

    async def _pay(self) -> None:
        """Make good for what was missed."""
        while self._owed:
            await asyncio.sleep(_REST_SECONDS)
            owed = frozenset(self._owed)
            if await _send({session_id: {"type": "wake", "news": []} for session_id in owed}):
                self._owed -= owed

    async def use(self, use: Callable[[Any], Awaitable[None]], *, insist: bool = False) -> bool:
        """Do something with the layer, unless it failed a moment ago; return whether that was done."""
        if time.monotonic() < self._rests_until and not insist:
            return False
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await use(get_channel_layer())
        except Exception as error:
            self._rests_until = time.monotonic() + _REST_SECONDS
            logger.warning("The channel layer fails, events wait for heartbeats: %r", error)
            return False
        return True


_layer = _Layer()


class ReplacedError(Exception):
    """The session has as many newer readers as it may have."""


Rank = tuple[float, str]


class Alarm:
    """Waits for the wake-ups of one session. Use it as an async context manager, and arm it before each reading.

    Keep `cursor` at the number of the last event read: the process's watcher compares it with the session's.

    It is one of the session's readers. `READERS` bounds those of this process, and a roll call those of all processes:
    a new reader announces itself, the others answer with their ranks, and it tells the oldest to give way when they are
    too many. So only readers that are still there count, and all agree on which is the oldest.
    """

    def __init__(self, session_id: str, cursor: int, on_replaced: Callable[[], None] | None = None) -> None:
        self.session_id, self.cursor = session_id, cursor
        self._on_replaced = on_replaced
        self._is_replaced = False
        self._rank: Rank = (0.0, secrets.token_urlsafe(9))
        self._ranks: set[Rank] = set()
        self._group = _group(session_id)
        self._channel = ""
        self._receiver: asyncio.Task[None] | None = None
        self._news: asyncio.Queue[News] = asyncio.Queue(_WAITING_WAKE_UPS)

    async def __aenter__(self) -> Self:
        if settings.REDIS_URL:
            # By the database's clock, because the processes compare their ranks.
            self._rank = ((await in_database_thread(clock.now)()).timestamp(), self._rank[1])
        READERS.add(self)
        WATCHER.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        READERS.remove(self)
        WATCHER.stop_when_idle()
        if self._receiver is not None:
            await _layer.use(lambda layer: layer.group_discard(self._group, self._channel), insist=True)
            self._receiver.cancel()
            await asyncio.wait([self._receiver], timeout=_PATIENCE_SECONDS)

    def look(self) -> None:
        """Send the reader to the log, unless a wake-up waits for it anyway."""
        if self._news.empty():
            self._take([])

    def give_way(self) -> None:
        """Let `wait` raise ReplacedError, and call `on_replaced`."""
        self._is_replaced = True
        self._take([])
        if self._on_replaced is not None:
            self._on_replaced()

    async def arm(self) -> bool:
        """Subscribe, unless that is done already; return whether it was done now.

        Without the layer the alarm stays silent until the next time.
        """
        if self._receiver is not None and not self._receiver.done():
            return False
        self._receiver = None
        return await _layer.use(self._subscribe)

    async def _subscribe(self, layer: Any) -> None:
        self._channel = await layer.new_channel()
        await layer.group_add(self._group, self._channel)
        # Channels layers take a cancelled `receive` for the end of the channel, so it must not be what times out.
        self._receiver = asyncio.create_task(self._receive(layer))
        if settings.REDIS_URL:
            self._ranks = {self._rank}
            await layer.group_send(self._group, {"type": "wake", "joined": self._channel})

    async def wait(self, seconds: float) -> News:
        """Wait for a wake-up and return the events that it carries; none means that the log is to be read.

        :raises TimeoutError: when `seconds` pass without one.
        :raises ReplacedError: when the session has enough newer readers.
        """
        async with asyncio.timeout(seconds):
            news = await self._news.get()
        if self._is_replaced:
            raise ReplacedError
        return news

    async def _receive(self, layer: Any) -> None:
        """Take in what other readers say, and wake-ups."""
        while True:
            match await layer.receive(self._channel):
                case {"joined": channel}:
                    await self._answer(channel)
                case {"rank": [joined_at, name]}:
                    await self._count((joined_at, name))
                case {"replaced": [_, name]}:
                    if name == self._rank[1]:
                        self.give_way()
                case {"news": news}:
                    self._take([(int(seq), str(wire)) for seq, wire in news])

    async def _answer(self, channel: str) -> None:
        """Tell a new reader that this one is there."""
        await _layer.use(lambda layer: layer.send(channel, {"type": "wake", "rank": self._rank}))

    async def _count(self, rank: Rank) -> None:
        """Count a reader, and tell the oldest one to give way when there are too many."""
        self._ranks.add(rank)
        if len(self._ranks) > settings.READERS_PER_SESSION:
            oldest = min(self._ranks)
            self._ranks.remove(oldest)
            await _layer.use(lambda layer: layer.group_send(self._group, {"type": "wake", "replaced": oldest}))

    def _take(self, news: News) -> None:
        """Keep a wake-up. When a slow reader leaves too many waiting, one that sends it to the log replaces them."""
        if self._news.full():
            while not self._news.empty():
                self._news.get_nowait()
            news = []
        self._news.put_nowait(news)
