"""The outbox of the event channel: events are appended in the transaction of the change that they describe.

Each session numbers its own events 1, 2, 3 … without gaps. A number is taken under the lock of the session's row and
becomes visible with the commit. So no reader ever sees a later event before an earlier one.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import connection, transaction

from events import statements, wakeups
from events.clock import instant
from events.messages import EphemeralEvent, StoredEvent, compact
from events.models import Event, Session
from events.offers import is_complete, shorten
from events.states import SessionState


@dataclass(frozen=True)
class Message:
    """One event for one session, before it has a number."""

    session_id: str
    conference_id: str
    event: StoredEvent


def append(messages: Sequence[Message], *, now: datetime) -> None:
    """Append the messages to their sessions' logs, in order, and wake the readers on commit.

    Call this last in a transaction that already holds the conferences' locks: it also locks the sessions, in the order
    of their IDs. Messages to sessions that are over are dropped.
    """
    if not messages:
        return
    counts = Counter(message.session_id for message in messages)
    newest = _take_numbers(counts, now)
    next_seq = {session_id: seq - counts[session_id] + 1 for session_id, seq in newest.items()}
    rows = []
    # Render an event once, even if many sessions receive it.
    rendered: dict[int, str] = {}
    for message in messages:
        if message.session_id in next_seq:
            if id(message.event) not in rendered:
                rendered[id(message.event)] = compact({**shorten(message.event.as_wire()), "at": instant(now)})
            rows.append(_row(message, rendered[id(message.event)], next_seq[message.session_id], now))
            next_seq[message.session_id] += 1
    if rows:
        statements.insert(rows)
        transaction.on_commit(partial(_wake_readers, rows))


def _take_numbers(counts: Mapping[str, int], now: datetime) -> dict[str, int]:
    """Reserve this many sequence numbers per live session; return the last number of each. The rows stay locked.

    One statement locks, counts and reads; the ORM would need three. The subquery locks the rows in order. A plain
    UPDATE would lock the rows in any order, so two such statements could deadlock.
    """
    table, cases = Session._meta.db_table, " ".join(["WHEN %s THEN %s"] * len(counts))
    places = ",".join(["%s"] * len(counts))
    lock = "FOR NO KEY UPDATE" if connection.features.has_select_for_update else ""
    statement = (
        f"UPDATE {table} SET last_seq = last_seq + CASE {table}.id {cases} END"  # noqa: S608 - no value is spliced in
        f" FROM (SELECT id FROM {table} WHERE id IN ({places}) AND state = %s AND expires_at > %s ORDER BY id {lock})"
        f" AS live WHERE {table}.id = live.id RETURNING {table}.id, last_seq"
    )
    steps = [value for pair in counts.items() for value in pair]
    expiry = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*steps, *counts, SessionState.ACTIVE, expiry])
        return dict(cursor.fetchall())


def _wake_readers(rows: Sequence[Event]) -> None:
    """Send the committed events to the readers of their sessions."""
    entries: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        entries.setdefault(row.session_id, []).append((row.seq, row.wire))
    # If an event only refers to its offer, the wake-up carries no events: `reader.read` inserts the offer when it reads
    # the log.
    wakeups.wake(
        {session: news if all(is_complete(wire) for _, wire in news) else [] for session, news in entries.items()}
    )


def send_ephemeral(session_ids: Sequence[str], conference_id: str, event: EphemeralEvent) -> None:
    """Send an event that is not stored and has no number. Only WebSockets that are open now receive it."""
    wire = compact({"type": event.type, "confId": conference_id, **event.as_wire()})
    wakeups.send_ephemeral(session_ids, wire)


def close(session_ids: Collection[str]) -> None:
    """On commit, tell the readers of sessions that these are over. They read the rest of the logs and stop."""
    if session_ids:
        transaction.on_commit(partial(wakeups.end, session_ids))


def _row(message: Message, fields: str, seq: int, now: datetime) -> Event:
    """Return the row of a message with this number. `fields` is a JSON object of the event's own fields and `at`."""
    head = compact({"seq": seq, "type": message.event.type, "confId": message.conference_id})
    return Event(
        session_id=message.session_id,
        seq=seq,
        type=message.event.type,
        conference_id=message.conference_id,
        wire=f"{head[:-1]},{fields[1:]}",
        at=now,
    )
