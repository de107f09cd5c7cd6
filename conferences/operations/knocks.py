"""Knocks under the lock of their conference: who may enter a locked conference, and who learns of a knock."""

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings

from conferences import wire
from conferences.event_types import KnockAnswered, KnockEnd, KnockReceived, KnockRefusal, KnockWithdrawn
from conferences.exceptions import ConferenceLockedError
from conferences.machine import Action, KnockState, decide
from conferences.models import Access, Knock, LeftReason, Participant
from conferences.operations.locked_conference import LockedConference
from events import statements
from events.models import Session


def waiting(locked: LockedConference) -> list[Knock]:
    """Return the knocks that wait for the host, oldest first."""
    return list(Knock.objects.waiting(locked.now).filter(conference=locked.conference).select_related("session"))


def pending_of(locked: LockedConference, session: Session) -> Knock | None:
    """Return the knock of a session that waits or was admitted, even if it is due to expire."""
    return Knock.objects.pending().filter(conference=locked.conference, session=session).first()


# --- Entering ---------------------------------------------------------------------------------------------


def may_enter(locked: LockedConference, session: Session) -> bool:
    """Tell whether a session without an invitation may join this open conference now.

    It may if the conference is not locked, if it returns as the same participant, or if it was admitted. After the host
    has removed a user, that user cannot return without knocking.
    """
    return not locked.conference.locked or _is_admitted(locked, session) or _returns(locked, session)


def require_entry(locked: LockedConference, session: Session) -> None:
    """Require that a session without an invitation may join this open conference now.

    :raises ConferenceLockedError: when it must knock first.
    """
    if not may_enter(locked, session):
        raise ConferenceLockedError


def _is_admitted(locked: LockedConference, session: Session) -> bool:
    knock = pending_of(locked, session)
    return knock is not None and knock.state == KnockState.ADMITTED and knock.expires_at > locked.now


def _returns(locked: LockedConference, session: Session) -> bool:
    removed = Participant.objects.concerning(session, conference=locked.conference, left_reason=LeftReason.REMOVED)
    return locked.returnable_participant(session) is not None and not removed.exists()


def enter(locked: LockedConference, session: Session) -> None:
    """Settle the knock of a session that has joined a locked conference.

    If the session was invited meanwhile, its knock may still have waited. If the host has unlocked the conference
    meanwhile, no knock waits. An admission that is left over then expires.
    """
    if locked.conference.locked and (knock := pending_of(locked, session)):
        withdraw(locked, knock, Action.ANSWER, KnockEnd.ENTERED)


# --- Settling ---------------------------------------------------------------------------------------------


def advance(knocks: Iterable[Knock], action: Action, *, now: datetime) -> None:
    """Take knocks through the same transition, and write them. An admitted session may join for `KNOCK_DURATION`.

    :raises KnockSettledError: when the action is illegal in the state of one of them.
    """
    changed = list(knocks)
    for knock in changed:
        knock.state = decide(KnockState(knock.state), action)
        if knock.state == KnockState.ADMITTED:
            knock.expires_at = now + settings.KNOCK_DURATION
        else:
            knock.settled_at = now
    statements.update(changed, {"state", "expires_at", "settled_at"})


def admit(locked: LockedConference, knocks: Iterable[Knock]) -> None:
    """Admit the sessions that knock, and tell them."""
    admitted = list(knocks)
    advance(admitted, Action.ADMIT, now=locked.now)
    for knock in admitted:
        event = KnockAnswered(knock_id=knock.pk, admitted=True, expires_at=knock.expires_at)
        locked.tell(knock.session, event)


def refuse(locked: LockedConference, knocks: Iterable[Knock], action: Action, reason: KnockRefusal) -> None:
    """Deny or expire knocks. Tell those sessions that were still waiting."""
    refused = list(knocks)
    told = [knock for knock in refused if knock.state == KnockState.WAITING]
    advance(refused, action, now=locked.now)
    for knock in told:
        locked.tell(knock.session, KnockAnswered(knock_id=knock.pk, admitted=False, reason=reason))


def withdraw(locked: LockedConference, knock: Knock, action: Action, reason: KnockEnd) -> None:
    """End a knock on behalf of its session. Tell the host if the knock was still waiting."""
    was_waiting = knock.state == KnockState.WAITING
    advance([knock], action, now=locked.now)
    if was_waiting:
        locked.tell(locked.host, KnockWithdrawn(knock_id=knock.pk, reason=reason))


def expire(locked: LockedConference) -> None:
    """Expire the knocks that are due. Tell the host and the sessions of those that were still waiting."""
    due = list(Knock.objects.due(locked.now).filter(conference=locked.conference).select_related("session"))
    for knock in due:
        if knock.state == KnockState.WAITING:
            locked.tell(locked.host, KnockWithdrawn(knock_id=knock.pk, reason=KnockEnd.EXPIRED))
    refuse(locked, due, Action.EXPIRE, KnockRefusal.EXPIRED)


def end_all(locked: LockedConference) -> None:
    """Expire all pending knocks of a conference that ends."""
    if locked.conference.access == Access.OPEN:
        pending = Knock.objects.pending().filter(conference=locked.conference).select_related("session")
        refuse(locked, pending, Action.EXPIRE, KnockRefusal.CONFERENCE_ENDED)


# --- Telling the host -------------------------------------------------------------------------------------


def tell_host(locked: LockedConference, knock: Knock) -> None:
    """Tell the host that a session knocks."""
    locked.tell(locked.host, KnockReceived(knock=wire.knock(knock), expires_at=knock.expires_at))


def tell_new_host(locked: LockedConference) -> None:
    """Tell a participant or a device that has just become the host of all knocks that wait."""
    if locked.conference.locked:
        for knock in waiting(locked):
            tell_host(locked, knock)
