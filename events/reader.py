"""Follow a session's log. WebSocket, SSE and long poll all use this reader.

A reader starts and recovers in the same way: it subscribes, reads the log from its cursor to the end, and waits.
A waiting reader makes no queries. The process's watcher finds lost wake-ups and ended sessions for all readers.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db.models import RowRange, Sum, Window
from django.db.models.functions import Coalesce, Length

from events import clock, presence
from events.inbox import inbox
from events.messages import Gap, compact
from events.models import Event, Session
from events.offers import complete
from events.presence import PRESENCE
from events.readers import READERS, News, Rank, ReplacedError
from events.threads import in_database_thread
from events.watcher import WATCHER

# The limits of one read: events, and their characters in total. One event is always read, even if it is longer.
BATCH = 50
BATCH_CHARACTERS = 256 * 1024
# How many unread wake-ups a reader keeps.
_UNREAD_WAKE_UPS = 16
# Without Redis there is only one process. It does not compare ranks, so all readers have this one.
_NO_RANK: Rank = (0.0, "")


@dataclass(frozen=True)
class Entry:
    """One event as sent (`wire`), and the client's cursor after it.

    `is_gap` marks the notice that events are no longer kept; this notice has no number of its own. `is_ephemeral` marks
    an event that is not stored and is sent only once.
    """

    wire: str
    cursor: int
    is_gap: bool = False
    is_ephemeral: bool = False


@dataclass(frozen=True)
class Batch:
    """The next events of a log: at least one."""

    entries: list[Entry]


@dataclass(frozen=True)
class Heartbeat:
    """The heartbeat interval is over, so something should be sent to the client."""


class SessionOverError(Exception):
    """The session has ended or expired, and its log has no further events."""


async def read(session_id: str, after: int) -> list[Entry]:
    """Return the next events after the cursor, or a gap notice if the next event is no longer kept."""
    return await in_database_thread(_read)(session_id, after)


class Reader:
    """Follows the log of one session from a cursor. It has no task of its own.

    The reader calls `on_news` when there may be something to read. The owner of the reader then calls `next` until
    `has_news` is false. With `ephemeral`, `next` also returns ephemeral events. The reader calls `on_replaced` as soon
    as newer readers replace it, even while its events are being sent.

    `READERS` limits the session's readers in this process. The inbox limits the session's readers in all processes.
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
        """Register as a reader of the session: in this process, in the group for wake-ups, and in other processes."""
        if settings.REDIS_URL:
            # Several processes compare ranks, and sockets may be opened within milliseconds.
            self.rank = (await in_database_thread(clock.exact)()).timestamp(), secrets.token_urlsafe(9)
        READERS.add(self)
        WATCHER.start()
        await inbox().update_group(self.session_id)
        if settings.REDIS_URL:
            await inbox().count_readers(self.session_id, self.rank)

    async def stop(self) -> None:
        """Unregister. Further calls have no effect."""
        READERS.remove(self)
        if not READERS.of(self.session_id):
            PRESENCE.lose(self.session_id)
        WATCHER.stop_when_idle()
        await inbox().update_group(self.session_id)

    def take(self, news: News) -> None:
        """Handle a wake-up: keep the events that it carries.

        If it carries no events, or too many wake-ups are unread, the reader reads the log instead.
        """
        if news and len(self._news) < _UNREAD_WAKE_UPS:
            self._news += (news,)
        else:
            self._news, self._is_behind = () if news else self._news, True
        self._on_news()

    def give_way(self) -> None:
        """Make `next` raise ReplacedError. Call `on_replaced` if there is one, otherwise `on_news`."""
        self._is_replaced = True
        (self._on_replaced or self._on_news)()

    @property
    def has_news(self) -> bool:
        """Whether there may be something to read."""
        return self._is_behind or self._is_replaced or bool(self._news)

    async def next(self) -> list[Entry]:
        """Return the next events after the cursor, and advance the cursor. Call it again until `has_news` is false.

        :raises SessionOverError: once the session is over and everything has been returned.
        :raises ReplacedError: once newer readers have replaced this one.
        """
        if self._is_replaced:
            raise ReplacedError
        return await self._read_on() if self._is_behind else self._use_wake_up()

    async def _read_on(self) -> list[Entry]:
        """Return the next events of the log; an empty list at its end."""
        self._is_behind = False
        if entries := await read(self.session_id, self.cursor):
            self._is_behind, self.cursor = True, entries[-1].cursor
            return entries
        if self._is_over:
            raise SessionOverError
        if not await in_database_thread(presence.follow)(self.session_id):
            # From now on, nothing is appended to the log. Read it once more: an event may have been appended after the
            # read above.
            self._is_over = self._is_behind = True
        return []

    def _use_wake_up(self) -> list[Entry]:
        """Return the events of the oldest wake-up. If an event before them is missing, read the log next."""
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
    """Yield the events after the cursor as they arrive, and a `Heartbeat` every `heartbeat` seconds.

    `on_waiting` is called each time the whole log has been read.

    :raises SessionOverError: once the session is over and all events have been yielded.
    :raises ReplacedError: once newer readers have replaced this one.
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


def _read(session_id: str, after: int) -> list[Entry]:
    if rows := _batch(session_id, after):
        return _entries(rows, after)
    newest = Session.objects.filter(pk=session_id).values_list("last_seq", flat=True).first()
    if newest is None or newest == after:
        return []
    oldest = Event.objects.of(session_id).after(after).values_list("seq", flat=True).first()
    if oldest == after + 1:
        # The event `after + 1` was committed after the first query.
        return _entries(_batch(session_id, after), after)
    return [_gap(oldest or newest + 1)]


def _batch(session_id: str, after: int) -> list[tuple[int, str]]:
    """Return the number and the JSON of each of the next events that fit in a batch.

    The SQL window sums the sizes of the preceding events only, so the first event always fits.
    """
    before = Window(Sum(Length("wire")), order_by="seq", frame=RowRange(None, -1))
    rows = Event.objects.of(session_id).after(after).filter(seq__lte=after + BATCH)
    rows = rows.annotate(before=Coalesce(before, 0)).filter(before__lt=BATCH_CHARACTERS)
    return list(_complete(rows.values_list("seq", "wire")))


def _complete(rows: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Replace references to long offers by the offers. Yield the events that still fit in a batch.

    The first event is always yielded.
    """
    before = 0
    for seq, wire in rows:
        if before >= BATCH_CHARACTERS:
            return
        whole = complete(wire)
        before += len(whole)
        yield seq, whole


def _entries(rows: list[tuple[int, str]], after: int) -> list[Entry]:
    """Return the events up to the first missing number, or a gap notice if the first event is missing."""
    if rows and rows[0][0] != after + 1:
        return [_gap(rows[0][0])]
    return [Entry(wire, seq) for number, (seq, wire) in enumerate(rows, after + 1) if number == seq]


def _gap(oldest: int) -> Entry:
    """Return the gap notice. `oldest` is the number of the next event that is still kept."""
    return Entry(compact({"type": Gap.type, **Gap(oldest=oldest).as_wire()}), oldest - 1, is_gap=True)
