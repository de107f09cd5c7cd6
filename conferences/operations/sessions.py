"""Registering, refreshing and ending sessions (protocol section 3)."""

import logging
import secrets
from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.db import transaction

from conferences import wire
from conferences.event_types import KnockEnd, ParticipantAway
from conferences.machine import Action
from conferences.models import Knock, LeftReason, Participant
from conferences.operations import knocks, quotas
from conferences.operations.calls import leave, ring_devices
from conferences.operations.locking import lock
from conferences.operations.users import lock_registration
from events import log
from events.exceptions import NotFoundError
from events.models import Session, hash_token
from events.states import SessionState

logger = logging.getLogger(__name__)


# Called by a Dev Server or gateway, with its API key.
@transaction.atomic(savepoint=False)
def register_session(*, username: str, vtn: str, icmn: str, device: str, now: datetime) -> tuple[Session, str]:
    """Register an endpoint and return its session and token. The token itself is not stored.

    Everything that rings for the user now rings on this device, too.

    :raises TooManySessionsError: when the number of the user's live sessions has reached its bound.
    """
    token = secrets.token_urlsafe(32)
    session = Session(
        token_hash=hash_token(token),
        username=username,
        vtn=vtn,
        icmn=icmn,
        device=device,
        created_at=now,
        expires_at=now + settings.SESSION_LIFETIME,
    )
    lock_registration(session)
    quotas.require_session(session, now=now)
    # A conference that does not ring yet will find this device when it begins to ring. There may be any number of such
    # conferences, so they are not locked here.
    ringing = Participant.objects.ringing().audible().concerning(session, left_at__isnull=True)
    conferences = ringing.order_by("conference").values_list("conference", flat=True).distinct()
    all_locked = [lock(conference_id, now=now) for conference_id in conferences]
    session.save(force_insert=True)
    for locked in all_locked:
        own = (each for each in locked.participants if each.is_ringing and session.owns(each))
        if participant := next(own, None):
            ring_devices(locked, participant, [session])
            locked.save()
    logger.info("session %s: %s", session.pk, session.state)
    return session, token


@transaction.atomic(savepoint=False)
def refresh_session(*, session_id: str, now: datetime) -> Session:
    """Set the expiry of a live session to `SESSION_LIFETIME` from now.

    :raises NotFoundError: when the session has ended in the meantime.
    """
    session = Session.objects.live(now).select_for_update(no_key=True).filter(pk=session_id).first()
    if session is None:
        raise NotFoundError("There is no such live session.")
    session.expires_at = now + settings.SESSION_LIFETIME
    session.save(update_fields=["expires_at"])
    return session


def end_session(*, session_id: str, now: datetime, expired: bool = False) -> None:
    """End a session, and remove its participants from their conferences.

    The session ends first, in a transaction of its own. After that it cannot join any conference. If a crash interrupts
    the removal of its participants, `deadlines.settle_due` finishes the removal.
    """
    with transaction.atomic():
        session = _lock_session(session_id)
        if session.state != SessionState.ACTIVE or (expired and session.expires_at > now):
            return
        must_leave = Participant.objects.joined().filter(session=session).exists() or _knocks(session)
        _close(session, SessionState.EXPIRED if expired else SessionState.ENDED, must_leave=must_leave, now=now)
    if must_leave:
        leave_all(session_id=session_id, now=now)


@transaction.atomic
def end_away_sessions(*, session_ids: Collection[str], now: datetime) -> None:
    """End sessions that have been away for `AWAY_LIFETIME`.

    If one has joined a conference, and has not said goodbye (`announce_absence`), check it again later.

    Thousands of sessions may lose their readers at once, so this takes the same few queries for any number of them.
    Sessions that another transaction has locked are skipped: they stay due.
    """
    due = Session.objects.away().filter(pk__in=session_ids, away_until__lte=now).order_by("pk")
    locked = dict(due.select_for_update(skip_locked=True).values_list("pk", "state"))
    # The next two queries see every participant and knock of these sessions: see `locking.require_still_live`.
    participants = set(Participant.objects.joined().filter(session__in=locked).values_list("session", "away"))
    joined = {session_id for session_id, is_away in participants if not is_away}
    gone = {session_id for session_id, is_away in participants if is_away}
    knocking = set(Knock.objects.pending().filter(session__in=locked).values_list("session", flat=True))
    active = {pk for pk, state in locked.items() if state == SessionState.ACTIVE}
    # A process of a former version may have ended the others. The timekeeper must not find them again.
    Session.objects.filter(pk__in=locked.keys() - active).update(away_until=None)
    Session.objects.filter(pk__in=active & joined).update(away_until=now + settings.AWAY_LIFETIME)
    ending = active - joined
    ended = {"state": SessionState.EXPIRED, "ended_at": now, "away_until": None}
    Session.objects.filter(pk__in=ending - knocking - gone).update(**ended, leaving_since=None)
    # `deadlines.settle_due` then withdraws their knocks, and removes their participants.
    Session.objects.filter(pk__in=ending & (knocking | gone)).update(**ended, leaving_since=now)
    log.close(ending)
    for session_id in ending:
        logger.info("session %s: %s", session_id, SessionState.EXPIRED)


def _knocks(session: Session) -> bool:
    """Tell whether a session waits for admission to a conference, or was admitted and has not joined yet."""
    return Knock.objects.pending().filter(session=session).exists()


def _lock_session(session_id: str) -> Session:
    """Lock a session. This waits for operations that join with it: see `locking.require_still_live`."""
    return Session.objects.select_for_update().get(pk=session_id)


def _close(session: Session, state: SessionState, *, must_leave: bool, now: datetime) -> None:
    """End a locked session and its log. If it must leave conferences or withdraw knocks, `leave_all` follows."""
    session.state, session.ended_at, session.away_until = state, now, None
    session.leaving_since = now if must_leave else None
    session.save(update_fields=["state", "ended_at", "leaving_since", "away_until"])
    log.close([session.pk])
    logger.info("session %s: %s", session.pk, session.state)


def announce_absence(*, session_id: str, now: datetime) -> None:
    """Record that the endpoint's page closes or reloads: the session is away, and other participants learn it at once.

    The session is no longer away when it has a reader again. The others learn of the return from the participant's next
    offer (`modifications.send_offer`).
    """
    present = Session.objects.live(now).filter(pk=session_id, away_until__isnull=True)
    present.update(away_until=now + settings.AWAY_LIFETIME)
    joined = Participant.objects.joined().filter(session=session_id)
    for conference_id, participant_id in joined.values_list("conference", "pk"):
        _announce_absence(conference_id=conference_id, participant_id=participant_id, session_id=session_id, now=now)


@transaction.atomic(savepoint=False)
def _announce_absence(*, conference_id: str, participant_id: str, session_id: str, now: datetime) -> None:
    locked = lock(conference_id, now=now)
    participant = locked.participant(participant_id)
    if not participant.is_joined or participant.session_id != session_id or participant.away:
        return
    quotas.require_change(participant)
    participant.away = True
    locked.tell_all(ParticipantAway(participant=wire.participant(participant)), but=[participant])
    locked.save()


def leave_all(*, session_id: str, now: datetime) -> None:
    """Remove a session that has ended from all conferences that it has joined, and withdraw its knocks."""
    for conference_id in Knock.objects.pending().filter(session=session_id).values_list("conference", flat=True):
        withdraw_after_end(conference_id=conference_id, session_id=session_id, now=now)
    joined = Participant.objects.joined().filter(session=session_id)
    for conference_id, participant_id in joined.values_list("conference", "pk"):
        leave_after_end(conference_id=conference_id, participant_id=participant_id, now=now)
    Session.objects.filter(pk=session_id).update(leaving_since=None)


@transaction.atomic(savepoint=False)
def leave_after_end(*, conference_id: str, participant_id: str, now: datetime) -> None:
    """Remove a joined participant whose session has ended. A moving participant stays: it waits for another device."""
    locked = lock(conference_id, now=now)
    participant = locked.participant(participant_id)
    if not participant.is_joined or participant.session is None or participant.session.state == SessionState.ACTIVE:
        return
    expired = participant.session.state == SessionState.EXPIRED
    leave(locked, participant, LeftReason.SESSION_EXPIRED if expired else LeftReason.HUNG_UP)
    locked.save()


@transaction.atomic(savepoint=False)
def withdraw_after_end(*, conference_id: str, session_id: str, now: datetime) -> None:
    """Withdraw the knock of a session that has ended, unless it was settled meanwhile."""
    locked = lock(conference_id, now=now)
    for knock in Knock.objects.pending().filter(conference=conference_id, session=session_id):
        knocks.withdraw(locked, knock, Action.WITHDRAW, KnockEnd.WITHDRAWN)
    locked.send_events()
