"""What only the host may do to others: invite, remove, mute, and hand over the role (protocol section 3)."""

import logging
from datetime import datetime

from django.db import transaction

from conferences import wire
from conferences.event_types import ParticipantInvited, ParticipantMuted
from conferences.exceptions import FocusOnlyError, ParticipantAwayError
from conferences.machine import Action, ParticipantState, decide
from conferences.models import LeftReason, Participant, Role
from conferences.operations import quotas
from conferences.operations.calls import addressee, leave, remove, require_space, ring
from conferences.operations.locked_conference import LockedConference
from conferences.operations.locking import lock_for
from conferences.operations.succession import hand_over
from conferences.operations.users import lock_invitation
from events.exceptions import ForbiddenError, MalformedError, NotFoundError
from events.models import Session

logger = logging.getLogger(__name__)


# Called by the host. Events go to the devices of the invited user, and to everybody else in the conference.
@transaction.atomic(savepoint=False)
def invite_participant(
    *, session: Session, conference_id: str, to: str, now: datetime
) -> tuple[LockedConference, Participant]:
    """Invite one more user and return the new participant, or the existing one if the user takes part or rings already.

    :raises MalformedError: when the host invites itself.
    :raises ForbiddenError: when the session's participant is not the host.
    :raises ConferenceFullError: when the conference has no space, which is always the case in `peer`.
    :raises RateLimitedError, TooManyInvitationsError, CalleeBusyError: when a quota is used up.
    """
    guest = addressee(to)
    if session.owns(guest):
        raise MalformedError("You cannot invite yourself: use 'initiate-call-hold' to move to another device.")
    lock_invitation(session, guest, conference_id, now=now)
    locked = lock_for(session, conference_id, now=now, if_match=None)
    host = locked.participant_of(session)
    if host.role != Role.HOST:
        raise ForbiddenError("Only the host can invite.")
    locked.advance(Action.MANAGE)
    if known := next((each for each in locked.others(host) if _has_address_of(each, guest)), None):
        return locked, known
    require_space(locked, 1)
    quotas.require_change(host)
    devices = list(Session.objects.live(now).devices_of([guest]))
    quotas.require_invitations(session, [guest], devices, now=now)
    guest.rings_until, guest.invited_by = locked.rings_until(), session.username
    locked.add_participant(guest)
    locked.count_reachable([guest], devices)
    ring(locked, [guest], devices)
    locked.tell_all(ParticipantInvited(participant=wire.participant(guest)), but=[host])
    locked.save()
    logger.info("conference %s: %s invited", conference_id, guest.pk)
    return locked, guest


def _has_address_of(participant: Participant, guest: Participant) -> bool:
    """Tell whether a participant has the address by which a guest is invited."""
    if guest.username:
        return participant.username == guest.username
    return guest.vtn in {participant.vtn, participant.icmn}


# Called by the host, or by the participant itself. Events go to everybody else.
@transaction.atomic(savepoint=False)
def remove_participant(
    *, session: Session, conference_id: str, participant_id: str, now: datetime, if_match: str | None = None
) -> None:
    """Remove another participant from the conference, or leave. If the participant has left already, do nothing."""
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    target, own = locked.participant(participant_id), locked.participant_of(session)
    if target is not own and own.role != Role.HOST:
        raise ForbiddenError("Only the host can remove others.")
    if target.has_left:
        return
    if target is own:
        leave(locked, own, LeftReason.HUNG_UP)
    else:
        quotas.require_change(own)
        remove(locked, target, LeftReason.REMOVED)
    locked.save()


# Called by the host, or by the participant itself. Events go to everybody else.
@transaction.atomic(savepoint=False)
def mute_participant(
    *,
    session: Session,
    conference_id: str,
    participant_id: str,
    audio: bool | None,
    video: bool | None,
    now: datetime,
    if_match: str | None = None,
) -> None:
    """Mute or unmute a participant's media in the focus. None leaves a medium unchanged.

    The host may mute everybody. Participants may also mute themselves. Only the muted participant can unmute itself.

    :raises ForbiddenError: when the session may not do this.
    :raises FocusOnlyError: in `peer`, where only the sender can mute its media.
    :raises NotFoundError: when the participant has left.
    """
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    target, own = locked.manage(participant_id, session, refusal="Only the host can mute others.")
    before = (target.muted_audio, target.muted_video)
    wanted = (before[0] if audio is None else audio, before[1] if video is None else video)
    unmutes = any(was and not is_ for was, is_ in zip(before, wanted, strict=True))
    if unmutes and target is not own:
        raise ForbiddenError("Only the participant can unmute themselves.")
    if wanted == before:
        return
    quotas.require_change(own)
    target.muted_audio, target.muted_video = wanted
    locked.tell_all(ParticipantMuted(participant=wire.participant(target)), but=[own])
    locked.save()


# Called by the host. Events go to everybody else.
@transaction.atomic(savepoint=False)
def make_host(
    *, session: Session, conference_id: str, participant_id: str, now: datetime, if_match: str | None = None
) -> None:
    """Make another participant the host. If it is the host already, do nothing.

    Neither participant may be moving. Invitations that ring continue to count for the user who made them.

    :raises ForbiddenError: when the session's participant is not the host.
    :raises FocusOnlyError: in `peer`.
    :raises NotFoundError: when the other participant has not joined, or has left.
    :raises ParticipantMovingError: when one of the two is moving.
    :raises ParticipantAwayError: when the page of the other participant has closed or reloads.
    :raises RateLimitedError: when a quota is used up.
    """
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    successor, own = locked.participant(participant_id), locked.participant_of(session)
    if own.role != Role.HOST:
        raise ForbiddenError("Only the host can make another participant the host.")
    if not locked.has_focus:
        raise FocusOnlyError
    locked.advance(Action.HAND_OVER)
    if successor is own:
        return
    if successor not in locked.joined_or_moving:
        raise NotFoundError("This participant has not joined, or has left.")
    for participant in (own, successor):
        decide(ParticipantState(participant.state), Action.HAND_OVER)
    if successor.away:
        raise ParticipantAwayError
    quotas.require_change(own)
    hand_over(locked, successor, by=own)
    locked.save()
