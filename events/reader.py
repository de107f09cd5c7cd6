"""Follow a session's log: the one reader behind WebSocket, SSE and long poll.

Starting and recovering are the same: subscribe, read on from the cursor, wait. A reader that waits makes no query: the
process's watcher finds lost wake-ups and ended sessions, for all its readers together.
"""

import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from django.db.models import RowRange, Sum, Window
from django.db.models.functions import Coalesce, Length

from conferences import clock
from conferences.models import Session
from events.models import Event
from events.threads import in_database_thread
from events.wakeups import PASSING, Alarm

# The most that is read, and held, at a time: events, and characters of events (but always at least one event).
BATCH = 50
BATCH_CHARACTERS = 256 * 1024


@dataclass(frozen=True)
class Entry:
    """One line of a log as it is sent, and the cursor that follows it.

    `is_gap` marks the line that stands for events no longer kept, and that has no number of its own; `is_passing` one
    that is in no log and is not told again.
    """

    wire: str
    cursor: int
    is_gap: bool = False
    is_passing: bool = False


class SessionOverError(Exception):
    """The session has ended or expired: nothing more will be told."""


async def read(session_id: str, after: int) -> list[Entry]:
    """Return the next events after the cursor, or a gap where the log cannot go on from there."""
    return await in_database_thread(_read)(session_id, after)


async def follow(
    session_id: str,
    after: int,
    *,
    heartbeat: float,
    passing: bool = False,
    on_replaced: Callable[[], None] | None = None,
) -> AsyncGenerator[list[Entry], None]:
    """Yield the events after the cursor as they come, and an empty list whenever `heartbeat` seconds pass without.

    With `passing`, also what is only told to whoever listens right now. `on_replaced` is called as soon as the session
    has enough newer readers, also while a yielded event is being sent.

    :raises SessionOverError: once the session is over and everything has been yielded.
    :raises ReplacedError: once the session has enough newer readers.
    """
    async with Alarm(session_id, after, on_replaced) as alarm:
        beat_at = time.monotonic() + heartbeat
        while True:
            await alarm.arm()
            while entries := await read(session_id, after):
                yield entries
                after = entries[-1].cursor
            if not await _is_live(session_id):
                # Nothing is added to its log any more, but something may have been before that was seen.
                while entries := await read(session_id, after):
                    yield entries
                    after = entries[-1].cursor
                raise SessionOverError
            # Up to date: from here on the wake-ups carry what follows, until one of them does not.
            while True:
                alarm.cursor = after
                try:
                    news = await alarm.wait(max(0.0, beat_at - time.monotonic()))
                except TimeoutError:
                    beat_at = time.monotonic() + heartbeat
                    yield []
                    if await alarm.arm():
                        break
                    continue
                if passing and (
                    fleeting := [Entry(wire, after, is_passing=True) for seq, wire in news if seq == PASSING]
                ):
                    yield fleeting
                entries = [Entry(wire, seq) for seq, wire in news if seq > after]
                if entries and entries[0].cursor == after + 1:
                    yield entries
                    after = entries[-1].cursor
                elif entries or not news:
                    break


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
    return list(rows.values_list("seq", "wire"))


def _entries(rows: list[tuple[int, str]], after: int) -> list[Entry]:
    """Return the rows that follow the cursor without a hole, or the gap where there is a hole at once."""
    if rows and rows[0][0] != after + 1:
        return [_gap(rows[0][0])]
    return [Entry(wire, seq) for number, (seq, wire) in enumerate(rows, after + 1) if number == seq]


def _gap(oldest: int) -> Entry:
    """Return the line that tells a reader where the log goes on."""
    wire = json.dumps({"type": "gap", "oldest": oldest}, separators=(",", ":"))
    return Entry(wire, oldest - 1, is_gap=True)
