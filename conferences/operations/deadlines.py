"""Settle deadlines that have passed. Each deadline is a column, so a restart loses none.

Several timekeepers may run at the same time. Each pass finds due rows by indexes, and makes a job for each conference
and each session. The job of a conference is one transaction; the job of a session is a few transactions. Absent
sessions share jobs. If the database supports it, a job skips a conference that another transaction has locked. The next
pass finds that conference again.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet, Subquery

from conferences import wire
from conferences.event_types import ModExpired, MoveExpired
from conferences.machine import Action, ModificationKind
from conferences.models import Knock, LeftReason, Modification, Participant
from conferences.operations.calls import remove
from conferences.operations.lobby import expire_knocks
from conferences.operations.locked_conference import LockedConference
from conferences.operations.locking import ReadAhead, Reading, lock
from conferences.operations.modifications import report_failed_offer
from conferences.operations.sessions import end_away_sessions, end_session, leave_all
from events.exceptions import NotFoundError
from events.models import Session
from events.statements import Prepared

logger = logging.getLogger(__name__)

Job = Callable[[], None]
Step = Callable[[LockedConference], None]

# The most deadlines of each kind that one pass finds. With a larger number, deadlines that become due during the pass
# would wait longer. With a smaller number, two timekeepers would often work on the same conferences.
BATCH = 400
# How many conferences are read together, and how many absent sessions end together. With a larger number, the first of
# them would be settled later.
_READ_TOGETHER = 50


def settle_due(*, now: datetime) -> int:
    """Settle the deadlines that have passed by `now`. Return how many jobs were tried."""
    jobs = deque(due(now=now))
    number = len(jobs)
    settle(jobs)
    return number


def due(*, now: datetime) -> list[Job]:
    """Return jobs for the deadlines that have passed by `now`: for the `BATCH` oldest of each kind."""
    found = (
        *_oldest(Modification.objects.due(now), "expires_at", "conference"),
        *_oldest(Participant.objects.ringing().filter(rings_until__lte=now), "rings_until", "conference"),
        *_oldest(Participant.objects.filter(move_until__lte=now), "move_until", "conference"),
        *_oldest(Participant.objects.filter(connect_until__lte=now), "connect_until", "conference"),
    )
    knocked = dict.fromkeys(_oldest(Knock.objects.due(now), "expires_at", "conference"))
    expired = _oldest(Session.objects.due(now), "expires_at", "pk")
    away = _oldest(Session.objects.away().filter(away_until__lte=now), "away_until", "pk")
    leaving = _oldest(Session.objects.leaving(), "leaving_since", "pk")
    conferences = list(dict.fromkeys(found))
    batches = _batches(conferences)
    # Several timekeepers find the same conferences. In random order, they begin with different batches.
    random.shuffle(batches)
    jobs: list[Job] = []
    for together in batches:
        ahead = ReadAhead(together, now=now)
        jobs += [partial(_settle_conference, each, ahead, now=now) for each in together]
    return [
        *jobs,
        *(partial(expire_knocks, conference_id=each, now=now) for each in knocked),
        *(partial(end_session, session_id=each, now=now, expired=True) for each in expired),
        *(partial(end_away_sessions, session_ids=each, now=now) for each in _batches(away)),
        *(partial(leave_all, session_id=each, now=now) for each in leaving),
    ]


def _batches(ids: Iterable[str]) -> list[list[str]]:
    """Return IDs in batches of `_READ_TOGETHER`."""
    found = list(ids)
    return [found[at : at + _READ_TOGETHER] for at in range(0, len(found), _READ_TOGETHER)]


def _oldest(
    rows: QuerySet[Modification] | QuerySet[Participant] | QuerySet[Knock] | QuerySet[Session], at: str, key: str
) -> Iterable[str]:
    """Return `key` of the `BATCH` rows with the oldest deadlines in column `at`."""
    keys: Iterable[str] = rows.order_by(at).values_list(key, flat=True)[:BATCH]
    return keys


def settle(jobs: deque[Job]) -> None:
    """Run jobs until none is left. Several threads may share the queue. A job that fails does not stop the others."""
    while jobs:
        try:
            job = jobs.popleft()
        except IndexError:
            return
        try:
            job()
        except Exception:
            logger.exception("A deadline could not be settled: %r", job)


def next_deadline() -> datetime | None:
    """Return the earliest deadline that is not settled, in one query.

    Return None if there is no such deadline, or if the database has no session.
    """
    return min((at for row in _NEXT_DEADLINES.rows() for at in row if at is not None), default=None)


def _next_deadlines() -> QuerySet[Session, Any]:
    """Return the earliest deadline of each kind, in one row."""
    earliest = {
        "offer": _earliest(Modification.objects.expiring(), "expires_at"),
        "ring": _earliest(Participant.objects.ringing(), "rings_until"),
        "move": _earliest(Participant.objects.all(), "move_until"),
        "connection": _earliest(Participant.objects.all(), "connect_until"),
        "knock": _earliest(Knock.objects.pending(), "expires_at"),
        "session": _earliest(Session.objects.not_over(), "expires_at"),
        "away": _earliest(Session.objects.away(), "away_until"),
        "leaving": _earliest(Session.objects.leaving(), "leaving_since"),
    }
    return Session.objects.order_by("pk").annotate(**earliest).values_list(*earliest)[:1]


def _earliest(rows: QuerySet[Any], at: str) -> Subquery:
    """Return a column's earliest value. SQLite uses a partial index only if the query repeats the index's condition."""
    return Subquery(rows.filter(**{f"{at}__isnull": False}).order_by(at).values(at)[:1])


_NEXT_DEADLINES = Prepared(_next_deadlines)


def _settle_conference(conference_id: str, ahead: ReadAhead, *, now: datetime) -> None:
    """Settle what is due in a conference that was read ahead, unless another timekeeper has already done so."""
    reading = ahead.take(conference_id)
    if reading is not None and any(_due_steps(reading.participants, reading.pending, now)):
        settle_conference(conference_id=conference_id, now=now, reading=reading)


@transaction.atomic
def settle_conference(*, conference_id: str, now: datetime, reading: Reading | None = None) -> None:
    """Settle what is due in a conference. Skip it if another transaction has locked it, or if it is gone."""
    try:
        locked = lock(conference_id, now=now, skip_locked=True, reading=reading)
    except NotFoundError:
        return
    while step := _next_step(locked):
        step(locked)
        locked.save()
        if _next_step(locked) is None:
            return
        # A `LockedConference` can be saved only once, so each further step loads the conference anew.
        locked = lock(conference_id, now=now)


def _next_step(locked: LockedConference) -> Step | None:
    """Return the step that settles one due deadline of a conference; None if none is due."""
    return next(_due_steps(locked.participants, locked.pending, locked.now), None)


def _due_steps(participants: Iterable[Participant], pending: Iterable[Modification], now: datetime) -> Iterator[Step]:
    """Yield a step for each due deadline of a conference."""
    for modification in pending:
        if modification.expires_at <= now and not modification.ends_with_ringing:
            yield partial(_expire_modification, modification=modification)
    for participant in participants:
        if participant.is_ringing and participant.rings_until is not None and participant.rings_until <= now:
            yield partial(remove, participant=participant, reason=LeftReason.NO_ANSWER)
        if participant.move_until is not None and participant.move_until <= now:
            yield partial(_close_move_window, participant=participant)
        if participant.connect_until is not None and participant.connect_until <= now:
            yield partial(remove, participant=participant, reason=LeftReason.MEDIA_LOST)


def _expire_modification(locked: LockedConference, modification: Modification) -> None:
    locked.settle(modification, Action.EXPIRE)
    event = ModExpired(mod_id=modification.pk, kind=ModificationKind(modification.kind))
    for side in (modification.offered_by_id, modification.offered_to_id):
        locked.tell(locked.side(side), event)
    report_failed_offer(locked, modification)


def _close_move_window(locked: LockedConference, participant: Participant) -> None:
    locked.advance_move(participant, Action.EXPIRE)
    locked.tell(participant, MoveExpired(participant=wire.participant(participant)))
