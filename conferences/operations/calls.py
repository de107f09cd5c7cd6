"""Starting, answering, leaving and ending a conference, and moving between devices (protocol sections 4 and 6)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import transaction

from conferences import wire
from conferences.event_types import (
    CancelReason,
    InvitationCancelled,
    InvitationReason,
    InvitationReceived,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantMoved,
    ParticipantMoving,
    SessionOpen,
    SessionTerminated,
)
from conferences.exceptions import (
    AlreadyAnsweredError,
    ConferenceFullError,
    MediaUnavailableError,
    NotRingingError,
    ParticipantMovingError,
    SdpInvalidError,
)
from conferences.machine import Action, ConferenceState, ModificationKind, MoveState, ParticipantState, decide
from conferences.models import Access, Conference, LeftReason, Modification, Participant, Role, Topology
from conferences.operations import knocks, quotas
from conferences.operations.locked_conference import LockedConference, save_together
from conferences.operations.locking import (
    lock,
    lock_for,
    lock_together,
    require_live,
    require_still_live,
    require_visible,
)
from conferences.operations.modifications import Outcome, cancelled, record_answer, retry_after_ms, send_offer
from conferences.operations.nodes import NoNodeError, place
from conferences.operations.reading import OfferReading
from conferences.operations.succession import pass_on
from conferences.operations.users import lock_call, lock_guests, lock_move
from conferences.sdp import ValidatedSdp
from events.exceptions import MalformedError
from events.messages import ABSENT
from events.models import Session
from events.offers import StoredOffer

logger = logging.getLogger(__name__)


class EndOutcome(StrEnum):
    """The effect of a DELETE (protocol section 6)."""

    DECLINED = "declined"
    LEFT = "left"
    TERMINATED = "terminated"
    MOVING = "moving"


class MoveRefusal(StrEnum):
    """Why a DELETE after `initiate-call-hold` ended the participation instead of beginning a move."""

    NO_OTHER_DEVICE = "no-other-device"
    WINDOW_OVER = "window-over"


# Maps the reason why a participant left to the reason in `invitation-cancelled`. For any other reason, that event says
# `caller-cancelled`.
_CANCEL_REASONS = {
    LeftReason.DECLINED: CancelReason.DECLINED_ELSEWHERE,
    LeftReason.NO_ANSWER: CancelReason.NO_ANSWER,
}


@dataclass(frozen=True)
class Ending:
    """The result of a DELETE: the conference afterwards, and the outcome."""

    locked: LockedConference
    outcome: EndOutcome
    move_refused: MoveRefusal | None = None
    rings_until: datetime | None = None


# --- Starting ---------------------------------------------------------------------------------------------


# Called by the host. Events go to every device of the invited users.
@transaction.atomic(savepoint=False)
def start_conference(
    *,
    session: Session,
    to: list[str],
    topology: Topology,
    access: Access,
    name: str,
    offer: ValidatedSdp,
    now: datetime,
) -> tuple[LockedConference, Outcome]:
    """Start a conference and ring the invited users' devices, including devices that register during the ringing.

    In `focus`, the devices ring as soon as the focus has accepted the caller's offer.

    :raises MalformedError: when `to` does not fit the topology, or names the caller.
    :raises ConferenceFullError: when `to` names more users than the conference has space for.
    :raises TooManyConferencesError, TooManyInvitationsError, TooManyOffersError, CalleeBusyError: when a quota is
        used up.
    :raises MediaUnavailableError: for `focus`, when no media node is alive.
    """
    if topology is Topology.PEER and (len(to) != 1 or access is Access.OPEN):
        raise MalformedError("In topology 'peer', 'to' must have one address and 'access' must be 'invited'.")
    guests = list({address: addressee(address) for address in to}.values())
    if any(session.owns(guest) for guest in guests):
        raise MalformedError("You cannot call yourself: use 'initiate-call-hold' to move to another device.")
    lock_call(session, guests, now=now)
    quotas.require_conference(session)
    devices = list(Session.objects.live(now).devices_of(guests)) if guests else []
    quotas.require_invitations(session, guests, devices, now=now)
    conference = Conference(topology=topology, access=access, name=name, created_at=now)
    locked = LockedConference(conference=conference, participants=[], pending=[], now=now)
    host = locked.add_participant(Participant(role=Role.HOST, state=ParticipantState.ACCEPTED))
    _join(host, session, now)
    require_space(locked, len(guests))
    for guest in guests:
        guest.invited_by = session.username
        locked.add_participant(guest)
    # In `focus`, this adds time for the focus to accept the caller's offer, because nothing rings before that.
    locked.renew_invitations()
    if locked.has_focus:
        _place(conference, now)
    conference.save(force_insert=True)
    call = send_offer(locked, host, ModificationKind.CALL, offer)
    locked.count_reachable(guests, devices)
    ring(locked, guests, devices)
    locked.save()
    require_still_live(session, now=now)
    logger.info("conference %s: %s sent by %s", conference.pk, conference.state, host.pk)
    return locked, Outcome(conference.state, call.pk)


def addressee(address: str) -> Participant:
    """Return an unsaved invited participant for an address: a username, or a number as `tel:+…`."""
    number = address.removeprefix("tel:") if address.startswith("tel:") else ""
    # The number may be a VTN or an ICMN. When a session answers, `_join` copies the user's whole identity from it.
    identity = {"vtn": number, "icmn": number} if number else {"username": address}
    return Participant(role=Role.GUEST, state=ParticipantState.INVITED, **identity)


def _join(participant: Participant, session: Session, now: datetime) -> None:
    """Record that a participant joins with a session now, and copy the user's identity from the session."""
    participant.session, participant.joined_at = session, now
    participant.username, participant.vtn, participant.icmn = session.username, session.vtn, session.icmn


def require_space(locked: LockedConference, number: int) -> None:
    """Require that the conference has space for this many more participants.

    :raises ConferenceFullError: when there is not enough space.
    """
    if not locked.has_space_for(number):
        raise ConferenceFullError


def _place(conference: Conference, now: datetime) -> None:
    """Choose the media node of a new conference.

    :raises MediaUnavailableError: when no node is alive.
    """
    try:
        place(conference, now=now)
    except NoNodeError:
        raise MediaUnavailableError(headers={"Retry-After": "5"}) from None


def begin_ringing(locked: LockedConference) -> None:
    """Ring all invited participants, for the full ringing time from now.

    Until now, these invitations did not count towards the quotas of the invited users. If a user has reached the quota
    with other invitations, the user's participant leaves at once, as if nobody had answered. Call this function with
    the invited users locked (`users.lock_guests`).
    """
    invited = locked.renew_invitations()
    if not invited:
        return
    devices = list(locked.live_sessions(invited))
    busy = quotas.busy_guests(invited, devices, now=locked.now)
    for participant in busy:
        _end_unheard_invitation(locked, participant)
    ring(locked, [each for each in invited if each not in busy], devices)


def _end_unheard_invitation(locked: LockedConference, participant: Participant) -> None:
    """Remove an invited participant that did not ring.

    Its devices and the focus never knew of the participant, so they get no event.
    """
    continues = locked.continues_without(participant)
    locked.record_leave(participant, LeftReason.NO_ANSWER)
    locked.tell_all(ParticipantLeft(participant=wire.participant(participant), reason=LeftReason.NO_ANSWER))
    if not continues:
        terminate(locked, LeftReason.NO_ANSWER)


def ring(locked: LockedConference, participants: list[Participant], live: list[Session] | None = None) -> None:
    """Queue the invitations of ringing participants for their devices, at most one for each device.

    Queue nothing while the conference does not ring yet (`LockedConference.rings`).

    :param live: the live sessions of the participants' users, if they have been read already.
    """
    if not locked.rings:
        return
    for participant in participants:
        participant.rang_at = locked.now
    seen: set[str] = set()
    for participant_id, devices in locked.devices_of(participants, live).items():
        new = [each for each in devices if each.pk not in seen]
        ring_devices(locked, locked.participant(participant_id), new)
        seen.update(each.pk for each in new)


def ring_devices(locked: LockedConference, participant: Participant, devices: list[Session]) -> None:
    """Queue the invitation of a ringing participant for these devices.

    In `peer` the invitation to a call contains the host's offer.
    """
    called = participant.state == ParticipantState.INVITED
    sender = locked.host if called else participant
    call = _call_to(locked, participant)
    event = InvitationReceived(
        reason=InvitationReason.CALL if called else InvitationReason.MOVE,
        from_=wire.origin(sender),
        media=wire.media(sender),
        mod_id=call.pk if call else ABSENT,
        description={"type": "offer", "sdp": StoredOffer(call.offer, call.pk)} if call else ABSENT,
        participant=wire.participant(participant),
        conference=locked.snapshot(),
        rings_until=participant.rings_until or locked.now,
    )
    locked.tell_sessions(devices, event)


def _call_to(locked: LockedConference, participant: Participant) -> Modification | None:
    """Return the pending offer with which the host called a participant; None if there is none, as in `focus`."""
    calls = (each for each in locked.pending if each.kind == ModificationKind.CALL)
    return next((each for each in calls if each.offered_to_id == participant.pk), None)


# --- Answering --------------------------------------------------------------------------------------------


# Called by a device of an invited or moving user or, if the conference is open, by any session. Events go to everybody.
@transaction.atomic(savepoint=False)
def answer_conference(
    *,
    session: Session,
    conference_id: str,
    description: ValidatedSdp,
    reading: OfferReading,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Answer an invitation or a move with this device. The first device that answers joins as the participant.

    An open conference needs no invitation. A user who has left an open conference returns as the same participant
    (`ParticipantQuerySet.returnable_by`); everybody else joins as a new participant.

    In `peer` the answer to an invitation carries the SDP answer to the host's offer. In every other case it carries
    the device's own SDP offer, which the focus or the other participant must still accept.

    Two users may call each other at the same time. The answer to one call ends the other call, unless the other call
    also rings for somebody else.

    :param reading: the host's offer, parsed before the lock was taken (`read_call`).
    :raises AlreadyAnsweredError: when another device was first, or this device takes part already.
    :raises NotRingingError: when nothing rings for this session.
    :raises ConferenceLockedError: when an open conference is locked, and the session must knock first.
    :raises ConferenceFullError: when an open conference has no space, or too many devices of the user take part.
    :raises TooManyConferencesError: when the session already takes part in as many conferences as it may.
    """
    all_locked = lock_together(_conferences_to_lock(session, conference_id, now=now), now=now)
    locked = all_locked.pop(conference_id)
    require_visible(locked, session, if_match=if_match, to_join=True)
    participant = _ringing_participant(locked, session)
    quotas.require_conference(session)
    rung = locked.devices(participant) if participant and locked.rings else []
    losers = [each for each in rung if each != session]
    is_called = participant is not None and participant.state == ParticipantState.INVITED
    crossing = [other for other in all_locked.values() if is_called and _rings_only(other, locked.host)]
    if participant is None:
        participant = _returning_or_new(locked, session)
    if participant.state == ParticipantState.MOVING:
        outcome = _answer_move(locked, participant, session, description)
    else:
        outcome = _answer_call(locked, participant, session, description, reading)
    locked.tell_sessions(losers, InvitationCancelled(reason=CancelReason.ANSWERED_ELSEWHERE))
    knocks.enter(locked, session)
    for other in crossing:
        _end_crossing_call(other)
    # Save crossing calls first: a device must stop ringing for such a call before it gets the event about the answer.
    save_together([*crossing, locked])
    require_still_live(session, now=now)
    logger.info("conference %s: %s answered at session %s", conference_id, participant.pk, session.pk)
    return outcome


def _conferences_to_lock(session: Session, conference_id: str, *, now: datetime) -> set[str]:
    """Return the IDs of the conference to answer, and of the user's own unanswered calls, which the answer may end.

    If the answered conference is open and does not ring yet, lock its guests: the answer makes the conference ring.
    """
    silent = Conference.objects.silent().filter(pk=conference_id, access=Access.OPEN)
    own_calls = Participant.objects.calling(session).order_by().values_list("conference", flat=True)
    found = set(own_calls.union(silent.order_by().values_list("pk", flat=True)))
    if conference_id in found:
        lock_guests(conference_id, now=now)
    return {conference_id, *found}


def _rings_only(locked: LockedConference, callee: Participant) -> bool:
    """Tell whether a conference is an unanswered call to the user of `callee` and to nobody else."""
    guests = locked.others(locked.host)
    is_unanswered = locked.conference.state == ConferenceState.INVITATION_SENT
    return is_unanswered and callee.session is not None and all(map(callee.session.owns, guests))


def _end_crossing_call(locked: LockedConference) -> None:
    """End a call whose host has answered a call from the callee. The host's device also gets an event."""
    host = locked.host
    terminate(locked, LeftReason.HUNG_UP, by=host)
    locked.tell(host, SessionTerminated(reason=LeftReason.HUNG_UP, conference=locked.snapshot()))


def _ringing_participant(locked: LockedConference, session: Session) -> Participant | None:
    """Return the participant for which this device rings, or None if it does not ring and the conference is open.

    :raises AlreadyAnsweredError: when the session, or another device of the user, takes part already.
    :raises NotRingingError: when nothing rings for the session.
    """
    if locked.joined_participant(session):
        raise AlreadyAnsweredError("This device takes part in this conference already.")
    # An open conference may be answered before it rings.
    may_answer = locked.rings or locked.conference.access == Access.OPEN
    if may_answer and (participant := next(awaiting(locked, session), None)):
        return participant
    if locked.conference.access == Access.OPEN:
        return None
    raise AlreadyAnsweredError() if any(map(session.owns, locked.joined)) else NotRingingError()


def _returning_or_new(locked: LockedConference, session: Session) -> Participant:
    """Return the earlier participant of a session that returns to an open conference, or a new participant.

    :raises ConferenceLockedError: when the conference is locked, and the session must knock first.
    :raises ConferenceFullError: when there is no space, or too many devices of the user take part.
    """
    decide(ConferenceState(locked.conference.state), Action.ANSWER)
    knocks.require_entry(locked, session)
    require_space(locked, 1)
    if sum(map(session.owns, locked.present)) >= settings.SEATS_PER_USER:
        raise ConferenceFullError("Too many of your devices take part in this conference.")
    if returning := locked.returnable_participant(session):
        return returning
    return locked.add_participant(Participant(role=Role.GUEST, state=ParticipantState.INVITED))


def _as_type(description: ValidatedSdp, type_: str) -> ValidatedSdp:
    """Return the description with `type_` ("offer" or "answer") as its type. A bare SDP does not state a type.

    :raises SdpInvalidError: when the description has the other type.
    """
    if description.type not in {type_, ""}:
        raise SdpInvalidError(f"Send an SDP of type '{type_}' here.")
    return replace(description, type=type_)


def _answer_call(
    locked: LockedConference,
    participant: Participant,
    session: Session,
    description: ValidatedSdp,
    reading: OfferReading,
) -> Outcome:
    """Join as an invited, new or returning participant.

    The first answer takes the conference from `invitation-sent` to `session-open`.
    """
    opens, rang = locked.conference.state == ConferenceState.INVITATION_SENT, locked.rings
    call = _call_to(locked, participant)
    description = _as_type(description, "answer" if call else "offer")
    locked.advance(Action.ANSWER)
    if participant.has_left:
        locked.return_participant(participant)
    else:
        locked.advance_participant(participant, Action.ANSWER)
    _join(participant, session, locked.now)
    if call:
        record_answer(locked, call, description, reading.offer_of(call), by=participant)
        outcome = Outcome(participant.state)
    else:
        offer = send_offer(locked, participant, ModificationKind.CALL, description)
        outcome = Outcome(participant.state, offer.pk)
    if opens:
        event = SessionOpen(
            from_=wire.origin(participant),
            mod_id=call.pk if call else ABSENT,
            description={"type": "answer", "sdp": description.text} if call else ABSENT,
            conference=locked.snapshot(),
        )
        locked.tell(locked.host, event)
    if not rang:
        begin_ringing(locked)
    but = [participant, locked.host] if opens else [participant]
    locked.tell_all(ParticipantJoined(participant=wire.participant(participant)), but=but)
    return outcome


def _answer_move(
    locked: LockedConference, participant: Participant, session: Session, description: ValidatedSdp
) -> Outcome:
    """Join as a moving participant on its new device, and send that device's offer."""
    offer = _as_type(description, "offer")
    left_device = participant.session
    locked.advance(Action.ANSWER)
    locked.advance_participant(participant, Action.ANSWER)
    participant.session = session
    participant.sdp_origin = participant.ice_ufrag = participant.directions = ""
    # The previous device gets the event as well.
    event = ParticipantMoved(participant=wire.participant(participant))
    locked.tell(left_device, event)
    locked.tell_all(event, but=[participant])
    if participant.role == Role.HOST:
        knocks.tell_new_host(locked)
    modification = send_offer(locked, participant, ModificationKind.MOVE, offer)
    return Outcome(participant.state, modification.pk)


# --- Leaving and ending -----------------------------------------------------------------------------------


# Called by a session that rings or takes part. Events go to everybody else.
@transaction.atomic(savepoint=False)
def end_participation(
    *, session: Session, conference_id: str, now: datetime, for_all: bool = False, if_match: str | None = None
) -> Ending:
    """End the session's part in the conference: decline, cancel, leave, terminate, or begin an armed move.

    If that part has ended already, nothing changes.

    :param for_all: a host ends the conference for everybody, even if it has just got its role (`succession.GRACE`).
    """
    lock_move(session, conference_id)
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    if locked.conference.state == ConferenceState.SESSION_TERMINATED:
        return Ending(locked, EndOutcome.TERMINATED)
    participant = _own_participant(locked, session)
    if participant.has_left:
        is_declined = participant.left_reason == LeftReason.DECLINED and participant.session_id != session.pk
        return Ending(locked, EndOutcome.DECLINED if is_declined else EndOutcome.LEFT)
    if participant.is_ringing and participant.session_id != session.pk:
        ending = _decline(locked, session)
    elif participant.is_joined and participant.move_state is not MoveState.IDLE:
        ending = _begin_move(locked, participant)
    else:
        ending = Ending(locked, leave(locked, participant, LeftReason.HUNG_UP, for_all=for_all))
    locked.save()
    logger.info("conference %s: %s by %s", conference_id, ending.outcome, participant.pk)
    return ending


def _own_participant(locked: LockedConference, session: Session) -> Participant:
    """Return the participant that a DELETE of the session ends.

    It is the first of these that exists:

    1. the participant that has joined with the session;
    2. a participant that rings, or will ring, for the session;
    3. if all participants of the session have left: a missed participant (`missed_participant`) newer than all of them;
    4. the participant of the session (`participant_of`).
    """
    if present := locked.joined_participant(session) or next(awaiting(locked, session), None):
        return present
    own, missed = locked.participants_of(session), locked.missed_participant(session)
    if missed and all(each.has_left and each.position < missed.position for each in own):
        return missed
    return locked.participant_of(session)


def awaiting(locked: LockedConference, session: Session) -> Iterator[Participant]:
    """Yield the participants that ring, or will ring, for the session. The session may decline all of them."""
    for participant in locked.participants:
        if participant.is_ringing and participant.session_id != session.pk and session.owns(participant):
            yield participant


def _decline(locked: LockedConference, session: Session) -> Ending:
    """Decline every call and move that rings, or will ring, for the session, on all devices of its user."""
    for participant in awaiting(locked, session):
        remove(locked, participant, LeftReason.DECLINED, by=session)
    return Ending(locked, EndOutcome.DECLINED)


def _begin_move(locked: LockedConference, participant: Participant) -> Ending:
    """Begin the move that `initiate-call-hold` armed. If the move is not possible, leave.

    :raises UnauthenticatedError: when the session has ended since its request was authenticated. In that case
        `end_session` removes its participants.
    :raises ParticipantMovingError: when the other side is already moving.
    """
    require_live(participant.session, now=locked.now)
    devices = locked.devices(participant)
    refusal = None
    if participant.move_state is MoveState.EXPIRED or (
        participant.move_until is not None and participant.move_until < locked.now
    ):
        refusal = MoveRefusal.WINDOW_OVER
    elif not devices:
        refusal = MoveRefusal.NO_OTHER_DEVICE
    if refusal:
        return Ending(locked, leave(locked, participant, LeftReason.HUNG_UP), refusal)
    other = locked.other_side(participant)
    if other is not None and other.state == ParticipantState.MOVING:
        raise ParticipantMovingError(retryAfterMs=retry_after_ms(participant))
    _cancel_pending(locked, participant)
    locked.advance_move(participant, Action.MOVE)
    locked.advance_participant(participant, Action.MOVE)
    participant.rings_until = locked.now + settings.RING_DURATION
    locked.tell_all(ParticipantMoving(participant=wire.participant(participant)), but=[participant])
    ring_devices(locked, participant, devices)
    return Ending(locked, EndOutcome.MOVING, rings_until=participant.rings_until)


def leave(
    locked: LockedConference, participant: Participant, reason: LeftReason, *, for_all: bool = False
) -> EndOutcome:
    """Remove a participant that has joined or is moving, or end a conference that cannot continue without it.

    :param for_all: a host that has just got its role ends the conference knowingly.
    """
    if not for_all:
        pass_on(locked, participant)
    if locked.continues_without(participant):
        remove(locked, participant, reason)
        return EndOutcome.LEFT
    terminate(locked, reason, by=participant)
    return EndOutcome.TERMINATED


def remove(
    locked: LockedConference, participant: Participant, reason: LeftReason, *, by: Session | None = None
) -> None:
    """Remove one participant, tell the others, and end a conference that cannot continue without it.

    :param by: the session that declines: it gets no `invitation-cancelled`.
    """
    pass_on(locked, participant)
    continues = locked.continues_without(participant)
    _cancel_pending(locked, participant)
    if locked.rings:
        _stop_ringing(locked, [participant], reason, by=by)
    locked.record_leave(participant, reason)
    locked.set_cause(None)
    event = ParticipantLeft(participant=wire.participant(participant), reason=reason)
    if reason is not LeftReason.HUNG_UP:
        locked.tell(participant, event)
    locked.tell_all(event)
    if not continues:
        terminate(locked, reason)


def _stop_ringing(
    locked: LockedConference, participants: list[Participant], reason: LeftReason, *, by: Session | None = None
) -> None:
    """Queue `invitation-cancelled` for every device that rings for the participants, except the session `by`."""
    ringing = locked.devices_of([each for each in participants if each.is_ringing])
    devices = {each.pk: each for own in ringing.values() for each in own if each != by}
    event = InvitationCancelled(reason=_CANCEL_REASONS.get(reason, CancelReason.CALLER_CANCELLED))
    locked.tell_sessions(devices.values(), event)


def _cancel_pending(locked: LockedConference, participant: Participant) -> None:
    """Cancel the pending offers from and to a participant that leaves its device, and tell the other side.

    No `mod-cancelled` is sent for the offer of a call, because the other side gets other events about the call.
    """
    for modification in list(locked.pending):
        if participant.pk in {modification.offered_by_id, modification.offered_to_id}:
            locked.settle(modification, Action.CANCEL, participant)
            (other_id,) = {modification.offered_by_id, modification.offered_to_id} - {participant.pk}
            if modification.kind != ModificationKind.CALL:
                locked.tell(locked.side(other_id), cancelled(modification, by=participant))


def terminate(locked: LockedConference, reason: LeftReason, *, by: Participant | None = None) -> None:
    """End the conference for everybody, and tell everybody except `by`, the participant that ended it."""
    rings = locked.rings
    locked.advance(Action.END)
    knocks.end_all(locked)
    for modification in list(locked.pending):
        locked.settle(modification, Action.CANCEL, by)
    present = locked.present
    if rings:
        _stop_ringing(locked, present, reason)
    for participant in present:
        locked.record_leave(participant, reason if participant is by else LeftReason.CONFERENCE_ENDED)
    locked.record_end(reason)
    event = SessionTerminated(reason=reason, conference=locked.snapshot())
    for participant in present:
        if participant is not by:
            locked.tell(participant, event)
    logger.info("conference %s: %s (%s)", locked.conference.pk, locked.conference.state, reason)


# Called by support staff, in the admin.
@transaction.atomic(savepoint=False)
def terminate_conference(*, conference_id: str, now: datetime) -> bool:
    """End a conference on behalf of the operator. Return False if it had ended already."""
    locked = lock(conference_id, now=now)
    if locked.conference.state == ConferenceState.SESSION_TERMINATED:
        return False
    terminate(locked, LeftReason.ENDED_BY_SUPPORT)
    locked.save()
    return True
