"""The outbox of the event channel: events are appended in the transaction of the change that they tell of.

Every session counts its own events, 1, 2, 3 …, without gaps: the number is taken under the lock of the session's
row and becomes visible with the commit, so no reader ever sees a later event before an earlier one.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from django.db import transaction

from conferences.models import Session
from conferences.wire import instant
from events import wakeups
from events.models import Event


class EventType(StrEnum):
    """What a session can be told (protocol section 5)."""

    INVITATION_RECEIVED = "invitation-received"
    INVITATION_CANCELLED = "invitation-cancelled"
    SESSION_OPEN = "session-open"
    MOD_RECEIVED = "mod-received"
    MOD_ACCEPTED = "mod-accepted"
    MOD_REJECTED = "mod-rejected"
    MOD_CANCELLED = "mod-cancelled"
    MOD_EXPIRED = "mod-expired"
    PARTICIPANT_JOINED = "participant-joined"
    PARTICIPANT_ON_HOLD = "participant-on-hold"
    PARTICIPANT_RESUMED = "participant-resumed"
    PARTICIPANT_MOVING = "participant-moving"
    PARTICIPANT_MOVED = "participant-moved"
    PARTICIPANT_LEFT = "participant-left"
    MOVE_EXPIRED = "move-expired"
    SESSION_TERMINATED = "session-terminated"


@dataclass(frozen=True)
class Message:
    """One event for one session, before it has a number. `fields` are in the wire's camelCase."""

    session_id: str
    conference_id: str
    type: EventType
    fields: Mapping[str, object]


def append(messages: Sequence[Message], *, now: datetime) -> None:
    """Append the messages to the logs of their sessions, in order, and wake their readers on commit.

    Call it last in a transaction that already holds the conferences' locks: it locks the sessions in the order of
    their IDs. Sessions that have ended are told nothing.
    """
    if not messages:
        return
    counts = Counter(message.session_id for message in messages)
    sessions = {
        session.pk: session
        for session in Session.objects.live(now)
        .select_for_update(no_key=True)
        .filter(pk__in=counts)
        .order_by("pk")
        .only("pk", "last_seq")
    }
    rows = []
    for message in messages:
        if session := sessions.get(message.session_id):
            session.last_seq += 1
            rows.append(_row(message, session.last_seq, now))
    if rows:
        Event.objects.bulk_create(rows)
        Session.objects.bulk_update(sessions.values(), ["last_seq"])
        newest = {session_id: session.last_seq for session_id, session in sessions.items()}
        transaction.on_commit(partial(wakeups.wake, newest))


def close(session_id: str) -> None:
    """Let the readers of a session's log, which is over, read to its end and go; on commit."""
    transaction.on_commit(partial(wakeups.wake, {session_id: wakeups.OVER}))


def _row(message: Message, seq: int, now: datetime) -> Event:
    """Return the row of a message that has got its number."""
    wire = {
        "seq": seq,
        "type": message.type,
        "confId": message.conference_id,
        **message.fields,
        "at": instant(now),
    }
    return Event(
        session_id=message.session_id,
        seq=seq,
        type=message.type,
        conference_id=message.conference_id,
        wire=json.dumps(wire, ensure_ascii=False, separators=(",", ":")),
        at=now,
    )
