"""The lobby of an open conference: lock it, knock, and answer knocks (protocol section 3).

A stranger who knows the ID of a conference may knock, and each knock is an event for its host. So knocks are bounded:
per session, user and conference, and after each denial. An answer to a stranger never names a participant.
"""

import logging
import math
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max

from conferences.event_types import KnockEnd, KnockRefusal, LockChanged
from conferences.exceptions import (
    AlreadyAnsweredError,
    KnockSettledError,
    LobbyFullError,
    NoSuchConferenceError,
    NotLockedError,
    OpenOnlyError,
)
from conferences.machine import Action, ConferenceState, KnockState, decide
from conferences.models import Access, Conference, Knock, Participant, Role
from conferences.operations import knocks, quotas
from conferences.operations.calls import awaiting
from conferences.operations.locked_conference import LockedConference
from conferences.operations.locking import lock, lock_for, require_still_live, require_visible
from events.counters import key_of, require_room
from events.exceptions import ForbiddenError, NotFoundError, RateLimitedError
from events.models import Session

logger = logging.getLogger(__name__)

# The most knocks of one user that wait at one conference, from all devices. Otherwise few users could fill the lobby.
_WAITING_PER_USER = 2
# How long a user must wait after the first denial. Each further denial multiplies the pause by `_GROWTH`.
_PAUSE = timedelta(seconds=30)
_GROWTH = 4
# The number of denials from which on the pause no longer grows: the pause is then 8.5 hours.
_MOST_DENIALS = 6


# --- The host ---------------------------------------------------------------------------------------------


# Called by the host. Events go to everybody else and, on unlocking, to the sessions that knock.
@transaction.atomic(savepoint=False)
def lock_conference(
    *, session: Session, conference_id: str, locks: bool, now: datetime, if_match: str | None = None
) -> None:
    """Lock or unlock an open conference. Nobody leaves because of this. Unlocking admits everybody who knocks.

    :raises ForbiddenError: when the session's participant is not the host.
    :raises OpenOnlyError: when only invited users can join anyway.
    :raises RateLimitedError: when a quota is used up.
    """
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    own = _require_host(locked, session)
    if locked.conference.access != Access.OPEN:
        raise OpenOnlyError
    locked.advance(Action.MANAGE)
    if locked.conference.locked == locks:
        return
    quotas.require_change(own)
    locked.conference.locked = locks
    locked.tell_all(LockChanged(locked=locks), but=[own])
    if not locks:
        knocks.admit(locked, knocks.waiting(locked))
    locked.save()
    logger.info("conference %s: %s", conference_id, "locked" if locks else "unlocked")


def _require_host(locked: LockedConference, session: Session) -> Participant:
    """Return the participant of the session.

    :raises ForbiddenError: when it is not the host.
    """
    own = locked.participant_of(session)
    if own.role != Role.HOST:
        raise ForbiddenError("Only the host can lock a conference and answer knocks.")
    return own


# Called by the host. One event goes to the session that knocks.
@transaction.atomic(savepoint=False)
def answer_knock(
    *, session: Session, conference_id: str, knock_id: str, admits: bool, now: datetime, if_match: str | None = None
) -> None:
    """Admit or deny a session that knocks. Repeating the same answer changes nothing.

    :raises ForbiddenError: when the session's participant is not the host.
    :raises NotFoundError: when this conference has no such knock.
    :raises KnockSettledError: when the knock no longer waits.
    """
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    _require_host(locked, session)
    locked.advance(Action.MANAGE)
    knock = Knock.objects.filter(pk=knock_id, conference=locked.conference).select_related("session").first()
    if knock is None:
        raise NotFoundError("There is no such knock at this conference.")
    if knock.state in ({KnockState.ADMITTED, KnockState.ENTERED} if admits else {KnockState.DENIED}):
        return
    if knock.state == KnockState.WAITING and knock.expires_at <= now:
        raise KnockSettledError(state=KnockState.EXPIRED.value)
    if admits:
        knocks.admit(locked, [knock])
    else:
        knocks.refuse(locked, [knock], Action.DENY, KnockRefusal.DENIED)
    locked.send_events()
    logger.info("conference %s: knock %s: %s", conference_id, knock_id, knock.state)


# Called by the host.
def list_knocks(*, session: Session, conference_id: str, now: datetime) -> list[Knock]:
    """Return the knocks that wait, oldest first.

    :raises NotFoundError: when the session may not see the conference.
    :raises ForbiddenError: when the session's participant is not the present host.
    """
    if not Conference.objects.concerning(session, conference_id).exists():
        raise NoSuchConferenceError
    own = Participant.objects.present().filter(conference=conference_id, session=session, role=Role.HOST)
    if not own.exists():
        raise ForbiddenError("Only the host sees the knocks.")
    return list(Knock.objects.waiting(now).filter(conference=conference_id).select_related("session"))


# --- The session that knocks ------------------------------------------------------------------------------


# Called by any session that knows the ID of an open conference. One event goes to the host.
@transaction.atomic(savepoint=False)
def knock_at(*, session: Session, conference_id: str, now: datetime) -> Knock:
    """Ask the host of a locked conference for admission. A session that knocks already gets the same knock again.

    :raises NotFoundError: when there is no such conference, or only invited users can join it.
    :raises OpenOnlyError: when only invited users can join, and the session's user takes or took part.
    :raises ConferenceNotOpenError: when the conference has ended.
    :raises AlreadyAnsweredError: when the session takes part.
    :raises NotLockedError: when the session may join without knocking.
    :raises LobbyFullError, RateLimitedError: when there are too many knocks.
    """
    locked = lock(conference_id, now=now)
    require_visible(locked, session, if_match=None, to_join=True)
    if locked.conference.access != Access.OPEN:
        raise OpenOnlyError
    decide(ConferenceState(locked.conference.state), Action.ANSWER)
    if locked.joined_participant(session):
        raise AlreadyAnsweredError("This device takes part in this conference already.")
    if any(awaiting(locked, session)) or knocks.may_enter(locked, session):
        raise NotLockedError
    knocks.expire(locked)
    if known := knocks.pending_of(locked, session):
        locked.send_events()
        return known
    _require_room(locked, session)
    knock = Knock(
        conference=locked.conference,
        session=session,
        username=session.username,
        created_at=now,
        expires_at=now + settings.KNOCK_DURATION,
    )
    knock.save(force_insert=True)
    knocks.tell_host(locked, knock)
    locked.send_events()
    require_still_live(session, now=now)
    logger.info("conference %s: knock %s by session %s", conference_id, knock.pk, session.pk)
    return knock


def _require_room(locked: LockedConference, session: Session) -> None:
    """Require that one more knock of the session's user does not burden the host too much.

    :raises LobbyFullError: when too many knocks of all users wait.
    :raises RateLimitedError: when the user has too many waiting knocks, was denied recently, or knocks too often; or
        when too many others do.
    """
    conference = locked.conference
    own = [each for each in knocks.waiting(locked) if each.username == session.username]
    if len(own) >= _WAITING_PER_USER:
        raise _wait_until(own[0].expires_at, locked.now)
    _require_pause(locked, session)
    if Knock.objects.waiting(locked.now).filter(conference=conference).count() >= settings.KNOCKS_PER_CONFERENCE:
        raise LobbyFullError(limit=settings.KNOCKS_PER_CONFERENCE)
    require_room(f"knocker.{key_of(session.username)}", settings.KNOCKS_PER_USER)
    require_room(f"knocks.{conference.pk}", settings.KNOCKS_PER_CONFERENCE)


def _require_pause(locked: LockedConference, session: Session) -> None:
    """Require that the last denial of the session's user at this conference was long enough ago."""
    own = Knock.objects.filter(conference=locked.conference, username=session.username, state=KnockState.DENIED)
    denied = own.order_by().aggregate(number=Count("pk"), last=Max("settled_at"))
    if denied["number"]:
        until = denied["last"] + _PAUSE * _GROWTH ** (min(denied["number"], _MOST_DENIALS) - 1)
        if until > locked.now:
            raise _wait_until(until, locked.now, reason=KnockRefusal.DENIED)


def _wait_until(until: datetime, now: datetime, **fields: str) -> RateLimitedError:
    """Return the refusal of a knock that may be repeated at this instant."""
    return RateLimitedError(headers={"Retry-After": str(math.ceil((until - now).total_seconds()))}, **fields)


# Called by the session that has knocked. An event goes to the host.
@transaction.atomic(savepoint=False)
def withdraw_knock(*, session: Session, conference_id: str, knock_id: str, now: datetime) -> None:
    """Take a knock back. If it was settled already, do nothing.

    :raises NotFoundError: when the session has made no such knock. A conference that does not exist is refused in the
        same way.
    """
    own = Knock.objects.filter(pk=knock_id, conference=conference_id, session=session)
    if not own.exists():
        raise NoSuchConferenceError
    locked = lock(conference_id, now=now)
    if knock := own.filter(settled_at__isnull=True).first():
        knocks.withdraw(locked, knock, Action.WITHDRAW, KnockEnd.WITHDRAWN)
        locked.send_events()


# --- Deadlines --------------------------------------------------------------------------------------------


@transaction.atomic
def expire_knocks(*, conference_id: str, now: datetime) -> None:
    """Expire the knocks that are due at a conference. Skip it if another transaction has locked it, or it is gone."""
    try:
        locked = lock(conference_id, now=now, skip_locked=True)
    except NotFoundError:
        return
    knocks.expire(locked)
    locked.send_events()
