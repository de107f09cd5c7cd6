"""Settle what is due. Every deadline is a column, so a restart forgets none, and any number of keepers may look."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from django.db import transaction
from django.db.models import Min, Model, QuerySet

from conferences import wire
from conferences.machine import Action, SessionState
from conferences.models import LeftReason, Modification, Participant, Session
from conferences.operations.calls import vacate
from conferences.operations.modifications import come_to_nothing
from conferences.operations.room import lock
from conferences.operations.sessions import abandon_seat, end_session
from events.log import EventType

logger = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Model)

# How much one look settles of each kind, so that a long list does not starve the others.
BATCH = 100


def settle_due(*, now: datetime) -> int:
    """Settle all deadlines that have passed by `now`; return how many were tried."""
    sitting = Participant.objects.sitting()
    return (
        _each(Modification.objects.due(now), _expire_modification, now)
        + _each(Participant.objects.ringing().filter(rings_until__lte=now), _stop_ringing, now)
        + _each(Participant.objects.filter(move_until__lte=now), _close_move_window, now)
        + _each(Participant.objects.filter(connect_until__lte=now), _give_up_unconnected, now)
        + _each(Session.objects.due(now), _expire_session, now)
        + _each(sitting.exclude(session__state=SessionState.ACTIVE), _abandon_seat, now)
    )


def next_deadline() -> datetime | None:
    """Return the earliest deadline that is not settled."""
    earliest = [
        Modification.objects.expiring().aggregate(at=Min("expires_at"))["at"],
        Participant.objects.ringing().aggregate(at=Min("rings_until"))["at"],
        Participant.objects.aggregate(at=Min("move_until"))["at"],
        Participant.objects.aggregate(at=Min("connect_until"))["at"],
        Session.objects.filter(state=SessionState.ACTIVE).aggregate(at=Min("expires_at"))["at"],
    ]
    return min((at for at in earliest if at is not None), default=None)


def _each(rows: QuerySet[Row], settle: Callable[[Row, datetime], None], now: datetime) -> int:
    """Settle each row in a transaction of its own, so that one that fails holds up no other."""
    tried = 0
    for row in rows[:BATCH]:
        tried += 1
        try:
            settle(row, now)
        except Exception:
            logger.exception("A deadline could not be settled: %r", row)
    return tried


@transaction.atomic
def _expire_modification(due: Modification, now: datetime) -> None:
    room = lock(due.conference_id, now=now)
    for modification in room.pending:
        if modification.pk == due.pk and modification.expires_at <= now:
            break
    else:
        return
    room.settle(modification, Action.EXPIRE)
    for party in (modification.offered_by_id, modification.offered_to_id):
        room.tell_settlement(modification, room.party(party))
    come_to_nothing(room, modification)
    room.save()


@transaction.atomic
def _stop_ringing(due: Participant, now: datetime) -> None:
    room = lock(due.conference_id, now=now)
    seat = room.seat(due.pk)
    if seat.is_ringing and seat.rings_until is not None and seat.rings_until <= now:
        vacate(room, seat, LeftReason.NO_ANSWER)
        room.save()


@transaction.atomic
def _close_move_window(due: Participant, now: datetime) -> None:
    room = lock(due.conference_id, now=now)
    seat = room.seat(due.pk)
    if seat.move_until is not None and seat.move_until <= now:
        seat.move_until, seat.move_expired = None, True
        room.tell(seat.session_id, EventType.MOVE_EXPIRED, participant=wire.participant(seat))
        room.save()


@transaction.atomic
def _give_up_unconnected(due: Participant, now: datetime) -> None:
    room = lock(due.conference_id, now=now)
    seat = room.seat(due.pk)
    if seat.connect_until is not None and seat.connect_until <= now:
        vacate(room, seat, LeftReason.MEDIA_LOST)
        room.save()


def _expire_session(due: Session, now: datetime) -> None:
    end_session(session_id=due.pk, now=now, expired=True)


def _abandon_seat(due: Participant, now: datetime) -> None:
    abandon_seat(participant=due, now=now)
