"""Follow a session's log: the one reader behind WebSocket, SSE and long poll.

Starting and recovering are the same: subscribe, read on from the cursor, wait. A reader that waits makes no query: the
process's watcher finds lost wake-ups and ended sessions, for all its readers together.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db.models import RowRange, Sum, Window
from django.db.models.functions import Coalesce, Length

from events import clock
from events.inbox import inbox
from events.messages import Gap, compact
from events.models import Event, Session
from events.offers import complete
from events.readers import READERS, News, Rank, ReplacedError
from events.threads import in_database_thread
from events.watcher import WATCHER

# The most that is read, and held, at a time: events, and characters of events (but always at least one event).
BATCH = 50
BATCH_CHARACTERS = 256 * 1024
# The wake-ups that a slow reader keeps.
_WAITING_WAKE_UPS = 16
# A service of one process compares no ranks.
_NO_RANK: Rank = (0.0, "")


@dataclass(frozen=True)
class Entry:
    """One line of a log as it is sent, and the cursor that follows it.

    `is_gap` marks the line that stands for events no longer kept, and that has no number of its own; `is_ephemeral` one
    that is in no log and is not told again.
    """

    wire: str
    cursor: int
    is_gap: bool = False
    is_ephemeral: bool = False


@dataclass(frozen=True)
class Batch:
    """The next events of a log, at least one."""

    entries: list[Entry]


@dataclass(frozen=True)
class Heartbeat:
    """Nothing has happened for a heartbeat's time."""


class SessionOverError(Exception):
    """The session has ended or expired: nothing more will be told."""


async def read(session_id: str, after: int) -> list[Entry]:
    """Return the next events after the cursor, or a gap where the log cannot go on from there."""
    return await in_database_thread(_read)(session_id, after)


class Reader:
    """Follows the log of one session from a cursor. It costs a task only while there is something to read.

    `on_news` is called when there may be something to read: the log, wake-ups, or the end. Then call `next`. With
    `ephemeral`, it also returns what is only told to whoever listens right now. `on_replaced` is called as soon as the
    session has enough newer readers, also while events are being sent.

    It is one of the session's readers. `READERS` bounds those of this process, and a roll call those of all processes.
    """

    __slots__ = (
        "_ephemeral",
        "_is_behind",
        "_is_over",
        "_is_replaced",
        "_news",
        "_on_news",
        "_on_replaced",
        "cursor",
        "rank",
        "session_id",
    )

    def __init__(
        self,
        session_id: str,
        after: int,
        on_news: Callable[[], None],
        *,
        ephemeral: bool = False,
        on_replaced: Callable[[], None] | None = None,
    ) -> None:
        self.session_id, self.cursor = session_id, after
        self.rank: Rank = _NO_RANK
        self._on_news, self._on_replaced = on_news, on_replaced
        self._ephemeral = ephemeral
        self._is_behind, self._is_over, self._is_replaced = True, False, False
        self._news: tuple[News, ...] = ()

    async def start(self) -> None:
        """Become one of the session's readers."""
        if settings.REDIS_URL:
            # By the database's clock, because the processes compare their ranks.
            self.rank = (await in_database_thread(clock.now)()).timestamp(), secrets.token_urlsafe(9)
        READERS.add(self)
        WATCHER.start()
        await inbox().settle(self.session_id)
        if settings.REDIS_URL:
            await inbox().call_roll(self.session_id, self.rank)

    async def stop(self) -> None:
        """Be none any more."""
        READERS.remove(self)
        WATCHER.stop_when_idle()
        await inbox().settle(self.session_id)

    def take(self, news: News) -> None:
        """Keep new events. A slow reader keeps a bounded number of them, and is then sent to the log."""
        if news and len(self._news) < _WAITING_WAKE_UPS:
            self._news += (news,)
        else:
            self._news, self._is_behind = () if news else self._news, True
        self._on_news()

    def give_way(self) -> None:
        """Let `next` raise ReplacedError, and call `on_replaced`."""
        self._is_replaced = True
        (self._on_replaced or self._on_news)()

    @property
    def has_news(self) -> bool:
        """Whether there may be something to read."""
        return self._is_behind or self._is_replaced or bool(self._news)

    async def next(self) -> list[Entry]:
        """Return the next events after the cursor, and move the cursor. Go on until `has_news` is false.

        :raises SessionOverError: once the session is over and everything has been returned.
        :raises ReplacedError: once the session has enough newer readers.
        """
        if self._is_replaced:
            raise ReplacedError
        return await self._read_on() if self._is_behind else self._use_wake_up()

    async def _read_on(self) -> list[Entry]:
        """Return the next events of the log."""
        self._is_behind = False
        if entries := await read(self.session_id, self.cursor):
            self._is_behind, self.cursor = True, entries[-1].cursor
            return entries
        if self._is_over:
            raise SessionOverError
        if not await _is_live(self.session_id):
            # Nothing is added to the log any more, but something may have been before that was seen.
            self._is_over = self._is_behind = True
        return []

    def _use_wake_up(self) -> list[Entry]:
        """Return what a wake-up carries. If something is missing before it, go back to the log."""
        news, self._news = self._news[0], self._news[1:]
        ephemeral = [
            Entry(wire, self.cursor, is_ephemeral=True) for seq, wire in news if seq is None and self._ephemeral
        ]
        entries = [Entry(wire, seq) for seq, wire in news if seq is not None and seq > self.cursor]
        if entries and entries[0].cursor != self.cursor + 1:
            self._is_behind = True
            return ephemeral
        self.cursor = entries[-1].cursor if entries else self.cursor
        return ephemeral + entries


async def follow(
    session_id: str, after: int, *, heartbeat: float, on_waiting: Callable[[], None]
) -> AsyncGenerator[Batch | Heartbeat, None]:
    """Yield the events after the cursor as they come, and a `Heartbeat` once in `heartbeat` seconds.

    `on_waiting` is called each time when everything has been read.

    :raises SessionOverError: once the session is over and everything has been yielded.
    :raises ReplacedError: once the session has enough newer readers.
    """
    is_woken = asyncio.Event()
    reader = Reader(session_id, after, is_woken.set)
    try:
        await reader.start()
        beat_at = time.monotonic() + heartbeat
        while True:
            is_woken.clear()
            while reader.has_news:
                if entries := await reader.next():
                    yield Batch(entries)
            on_waiting()
            try:
                async with asyncio.timeout(max(0.0, beat_at - time.monotonic())):
                    await is_woken.wait()
            except TimeoutError:
                beat_at = time.monotonic() + heartbeat
                yield Heartbeat()
    finally:
        await reader.stop()


async def _is_live(session_id: str) -> bool:
    """Tell whether the session is still live."""
    return await in_database_thread(_exists_live)(session_id)


def _exists_live(session_id: str) -> bool:
    return Session.objects.live(clock.now()).filter(pk=session_id).exists()


def _read(session_id: str, after: int) -> list[Entry]:
    if rows := _batch(session_id, after):
        return _entries(rows, after)
    newest = Session.objects.filter(pk=session_id).values_list("last_seq", flat=True).first()
    if newest is None or newest == after:
        return []
    oldest = Event.objects.of(session_id).after(after).values_list("seq", flat=True).first()
    if oldest == after + 1:
        # The event was committed after the first query.
        return _entries(_batch(session_id, after), after)
    return [_gap(oldest or newest + 1)]


def _batch(session_id: str, after: int) -> list[tuple[int, str]]:
    """Return the numbers and wires of the next events, as far as they fit in a batch.

    The window sums up the sizes of the preceding events, so the first event always fits.
    """
    before = Window(Sum(Length("wire")), order_by="seq", frame=RowRange(None, -1))
    rows = Event.objects.of(session_id).after(after).filter(seq__lte=after + BATCH)
    rows = rows.annotate(before=Coalesce(before, 0)).filter(before__lt=BATCH_CHARACTERS)
    return list(_complete(rows.values_list("seq", "wire")))


def _complete(rows: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the events with the texts of long offers, as far as they fit in a batch."""
    before = 0
    for seq, wire in rows:
        if before >= BATCH_CHARACTERS:
            return
        whole = complete(wire)
        before += len(whole)
        yield seq, whole


def _entries(rows: list[tuple[int, str]], after: int) -> list[Entry]:
    """Return the rows that follow the cursor without a hole, or the gap where there is a hole at once."""
    if rows and rows[0][0] != after + 1:
        return [_gap(rows[0][0])]
    return [Entry(wire, seq) for number, (seq, wire) in enumerate(rows, after + 1) if number == seq]


def _gap(oldest: int) -> Entry:
    """Return the line that tells a reader where the log goes on."""
    return Entry(compact({"type": Gap.type, **Gap(oldest=oldest).as_wire()}), oldest - 1, is_gap=True)
