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
from conferences.operations import quotas
from conferences.operations.locked_conference import (
    LockedConference,
    lock,
    lock_for,
    lock_together,
    require_live,
    require_still_live,
    require_visible,
    save_together,
)
from conferences.operations.modifications import Outcome, cancelled, record_answer, retry_after_ms, send_offer
from conferences.operations.nodes import NoNodeError, place
from conferences.operations.reading import OfferReading
from conferences.operations.users import lock_call, lock_move
from conferences.sdp import JudgedSdp
from events.exceptions import MalformedError
from events.messages import ABSENT
from events.models import Session
from events.offers import StoredOffer

logger = logging.getLogger(__name__)


class EndOutcome(StrEnum):
    """What a DELETE came to."""

    DECLINED = "declined"
    LEFT = "left"
    TERMINATED = "terminated"
    MOVING = "moving"


class MoveRefusal(StrEnum):
    """Why a DELETE after `initiate-call-hold` was an ordinary end."""

    NO_OTHER_DEVICE = "no-other-device"
    WINDOW_OVER = "window-over"


# What devices that ring are told, where it is not that the caller gave up.
_CANCEL_REASONS = {
    LeftReason.DECLINED: CancelReason.DECLINED_ELSEWHERE,
    LeftReason.NO_ANSWER: CancelReason.NO_ANSWER,
}


@dataclass(frozen=True)
class Ending:
    """The conference as a DELETE leaves it."""

    locked: LockedConference
    outcome: EndOutcome
    move_refused: MoveRefusal | None = None
    rings_until: datetime | None = None


# --- Starting ---------------------------------------------------------------------------------------------


# Called by the host; tells every device of those who are called.
@transaction.atomic(savepoint=False)
def start_conference(
    *,
    session: Session,
    to: list[str],
    topology: Topology,
    access: Access,
    name: str,
    offer: JudgedSdp,
    now: datetime,
) -> tuple[LockedConference, Outcome]:
    """Start a conference and ring the devices of whom it invites, also those that register while it rings.

    In `focus` they ring as soon as the focus has accepted the caller's offer.

    :raises MalformedError: when `to` does not fit the topology, or names the caller.
    :raises ConferenceFullError: when `to` names too many.
    :raises TooManyConferencesError, TooManyInvitationsError, CalleeBusyError: when a quota is used up.
    :raises MediaUnavailableError: for `focus`, when no media node is alive.
    """
    if topology is Topology.PEER and (len(to) != 1 or access is Access.OPEN):
        raise MalformedError("A conference of topology 'peer' is for two: 'to' names exactly one, by invitation.")
    guests = list({address: addressee(address) for address in to}.values())
    if any(session.owns(guest) for guest in guests):
        raise MalformedError("You cannot call yourself: use 'initiate-call-hold' to move to another device.")
    lock_call(session, guests)
    quotas.require_conference(session)
    devices = list(Session.objects.live(now).devices_of(guests)) if guests else []
    quotas.require_invitations(session, guests, devices, now=now)
    conference = Conference(topology=topology, access=access, name=name, created_at=now)
    locked = LockedConference(conference=conference, participants=[], pending=[], now=now)
    host = locked.add_participant(Participant(role=Role.HOST, state=ParticipantState.ACCEPTED))
    _join(host, session, now)
    require_space(locked, len(guests))
    for guest in guests:
        locked.add_participant(guest)
    # A caller without media would ring for nothing: the focus accepts the caller's offer first.
    locked.renew_invitations()
    if locked.has_focus:
        _place(conference, now)
    conference.save(force_insert=True)
    call = send_offer(locked, host, ModificationKind.CALL, offer)
    ring(locked, guests, devices)
    locked.save()
    require_still_live(session, now=now)
    logger.info("conference %s: %s sent by %s", conference.pk, conference.state, host.pk)
    return locked, Outcome(conference.state, call.pk)


def addressee(address: str) -> Participant:
    """Return an unsaved invited participant for an address: a username, or a number as `tel:+…`."""
    number = address.removeprefix("tel:") if address.startswith("tel:") else ""
    # The number may be either kind; whoever answers shows which, and under what name.
    identity = {"vtn": number, "icmn": number} if number else {"username": address}
    return Participant(role=Role.GUEST, state=ParticipantState.INVITED, **identity)


def _join(participant: Participant, session: Session, now: datetime) -> None:
    """Put a session, and whose it is, on a participant."""
    participant.session, participant.joined_at = session, now
    participant.username, participant.vtn, participant.icmn = session.username, session.vtn, session.icmn


def require_space(locked: LockedConference, number: int) -> None:
    """Require that so many more may be in the conference."""
    if not locked.has_space_for(number):
        raise ConferenceFullError


def _place(conference: Conference, now: datetime) -> None:
    """Choose the media node that a new conference lives on."""
    try:
        place(conference, now=now)
    except NoNodeError:
        raise MediaUnavailableError(headers={"Retry-After": "5"}) from None


def begin_ringing(locked: LockedConference) -> None:
    """Ring everybody who is invited, for the full time from now."""
    ring(locked, locked.renew_invitations())


def ring(locked: LockedConference, participants: list[Participant], live: list[Session] | None = None) -> None:
    """Note the invitations of ringing participants for their devices. One that rings for several is told once.

    Before the conference rings (`LockedConference.rings`), nobody is told. `live` has the participants' live sessions, if they
    are known.
    """
    if not locked.rings:
        return
    told: set[str] = set()
    for participant_id, devices in locked.devices_of(participants, live).items():
        ring_devices(
            locked, locked.participant(participant_id), [device for device in devices if device.pk not in told]
        )
        told.update(device.pk for device in devices)


def ring_devices(locked: LockedConference, participant: Participant, devices: list[Session]) -> None:
    """Note the invitation of a ringing participant for these devices. Between browsers a call brings its offer along."""
    called = participant.state == ParticipantState.INVITED
    call = _call_to(locked, participant)
    event = InvitationReceived(
        reason=InvitationReason.CALL if called else InvitationReason.MOVE,
        from_=wire.origin(locked.host if called else participant),
        mod_id=call.pk if call else ABSENT,
        description={"type": "offer", "sdp": StoredOffer(call.offer, call.pk)} if call else ABSENT,
        participant=wire.participant(participant),
        conference=locked.snapshot(),
        rings_until=participant.rings_until or locked.now,
    )
    locked.tell_sessions(devices, event)


def _call_to(locked: LockedConference, participant: Participant) -> Modification | None:
    """Return the offer with which an invited participant was called, if the host made it one."""
    calls = (each for each in locked.pending if each.kind == ModificationKind.CALL)
    return next((each for each in calls if each.offered_to_id == participant.pk), None)


# --- Answering --------------------------------------------------------------------------------------------


# Called by any device of an invited user, or of one who moves, and in an open conference by anybody; tells everybody.
@transaction.atomic(savepoint=False)
def answer_conference(
    *,
    session: Session,
    conference_id: str,
    description: JudgedSdp,
    reading: OfferReading,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Let the first device that answers have the participant. In an open conference whoever comes gets a participant.

    Who has left an open conference before returns to the same participant: see `ParticipantQuerySet.returnable_by`.

    Between browsers the answer to an invitation carries the answer to the host's offer. In every other case it carries
    the device's own offer, which the focus, or in `peer` the other side, has yet to accept.
    `reading` is of the host's offer and was made before (`read_call`).
    A call of the user's own that still rings the caller, and nobody else, ends: of two crossing calls one survives.

    :raises AlreadyAnsweredError: when another device was first.
    :raises NotRingingError: when nothing rings for this session.
    :raises ConferenceFullError: when an open conference takes no one more.
    :raises TooManyConferencesError: when the session already takes part in as many conferences as the bound.
    """
    own_calls = Participant.objects.calling(session).values_list("conference", flat=True)
    all_locked = lock_together({conference_id, *own_calls}, now=now)
    locked = all_locked.pop(conference_id)
    require_visible(locked, session, if_match=if_match, to_join=True)
    participant = _ringing_participant(locked, session)
    quotas.require_conference(session)
    losers = [device for device in locked.devices(participant) if device != session] if participant else []
    is_called = participant is not None and participant.state == ParticipantState.INVITED
    crossing = [other for other in all_locked.values() if is_called and _rings_only(other, locked.host)]
    if participant is None:
        participant = _returning_or_new(locked, session)
    if participant.state == ParticipantState.MOVING:
        outcome = _answer_move(locked, participant, session, description)
    else:
        outcome = _answer_call(locked, participant, session, description, reading)
    locked.tell_sessions(losers, InvitationCancelled(reason=CancelReason.ANSWERED_ELSEWHERE))
    for other in crossing:
        _end_crossing_call(other)
    # First what stops ringing, so that nobody answers it in the new call.
    save_together([*crossing, locked])
    require_still_live(session, now=now)
    logger.info("conference %s: %s answered at session %s", conference_id, participant.pk, session.pk)
    return outcome


def _rings_only(locked: LockedConference, callee: Participant) -> bool:
    """Tell whether a conference still rings this one user, and has nobody else."""
    guests = locked.others(locked.host)
    is_unanswered = locked.conference.state == ConferenceState.INVITATION_SENT
    return is_unanswered and callee.session is not None and all(map(callee.session.owns, guests))


def _end_crossing_call(locked: LockedConference) -> None:
    """End a call because its host has answered one from the callee; the device that called learns of it by an event."""
    host = locked.host
    terminate(locked, LeftReason.HUNG_UP, by=host)
    locked.tell(host, SessionTerminated(reason=LeftReason.HUNG_UP, conference=locked.snapshot()))


def _ringing_participant(locked: LockedConference, session: Session) -> Participant | None:
    """Return the participant that rings for the session; None where it needs none to come in."""
    if locked.joined_participant(session):
        raise AlreadyAnsweredError("You take part in this conference with this device already.")
    if participant := next(_ringing_for(locked, session), None):
        return participant
    if locked.conference.access == Access.OPEN:
        return None
    own = [participant for participant in locked.participants if session.owns(participant)]
    raise AlreadyAnsweredError() if any(participant.is_joined for participant in own) else NotRingingError()


def _returning_or_new(locked: LockedConference, session: Session) -> Participant:
    """Return the participant that the session has left in an open conference, or a new one."""
    decide(ConferenceState(locked.conference.state), Action.ANSWER)
    require_space(locked, 1)
    if (
        sum(session.owns(participant) for participant in locked.participants if not participant.has_left)
        >= settings.SEATS_PER_USER
    ):
        raise ConferenceFullError("Too many devices of yours take part in this conference.")
    return locked.returnable_participant(session) or locked.add_participant(
        Participant(role=Role.GUEST, state=ParticipantState.INVITED)
    )


def _as_type(description: JudgedSdp, type_: str) -> JudgedSdp:
    """Return the description as an offer or an answer, whichever this answer to an invitation carries.

    A bare SDP does not say which it is.
    """
    if description.type not in {type_, ""}:
        raise SdpInvalidError(f"Send an SDP of type '{type_}' here.")
    return replace(description, type=type_)


def _answer_call(
    locked: LockedConference, participant: Participant, session: Session, description: JudgedSdp, reading: OfferReading
) -> Outcome:
    """Participant who was called, or came in by itself; the first one opens the conference."""
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
    locked: LockedConference, participant: Participant, session: Session, description: JudgedSdp
) -> Outcome:
    """Participant the participant at its new device and offer that device's media."""
    offer = _as_type(description, "offer")
    left_device = participant.session
    locked.advance(Action.ANSWER)
    locked.advance_participant(participant, Action.ANSWER)
    participant.session = session
    participant.sdp_origin = participant.ice_ufrag = participant.directions = ""
    # The device that was left learns where the conference went.
    event = ParticipantMoved(participant=wire.participant(participant))
    locked.tell(left_device, event)
    locked.tell_all(event, but=[participant])
    modification = send_offer(locked, participant, ModificationKind.MOVE, offer)
    return Outcome(participant.state, modification.pk)


# --- Ending one's part ------------------------------------------------------------------------------------


# Called by whoever rings or takes part; tells everybody else.
@transaction.atomic(savepoint=False)
def end_participation(*, session: Session, conference_id: str, now: datetime, if_match: str | None = None) -> Ending:
    """End the session's part in the conference: decline, cancel, leave, terminate, or begin an armed move.

    Ending what has ended changes nothing.
    """
    lock_move(session, conference_id)
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    if locked.conference.state == ConferenceState.SESSION_TERMINATED:
        return Ending(locked, EndOutcome.TERMINATED)
    participant = _own_participant(locked, session)
    if participant.has_left:
        return Ending(locked, EndOutcome.LEFT)
    if participant.is_ringing and participant.session_id != session.pk:
        ending = _decline(locked, session)
    elif participant.is_joined and participant.move_state is not MoveState.IDLE:
        ending = _begin_move(locked, participant)
    else:
        ending = Ending(locked, leave(locked, participant, LeftReason.HUNG_UP))
    locked.save()
    logger.info("conference %s: %s by %s", conference_id, ending.outcome, participant.pk)
    return ending


def _own_participant(locked: LockedConference, session: Session) -> Participant:
    """Return the participant that a DELETE of the session is about: the one it sits at, or that rings for it."""
    return locked.joined_participant(session) or next(_ringing_for(locked, session), None) or locked.participant_of(session)


def _ringing_for(locked: LockedConference, session: Session) -> Iterator[Participant]:
    """Yield the participants that ring for the session. In an open conference the invited may come before it rings."""
    may_answer = locked.rings or locked.conference.access == Access.OPEN
    for participant in locked.participants if may_answer else ():
        if participant.is_ringing and participant.session_id != session.pk and session.owns(participant):
            yield participant


def _decline(locked: LockedConference, session: Session) -> Ending:
    """Decline on all the user's devices, for each of the user's invitations."""
    for participant in _ringing_for(locked, session):
        remove(locked, participant, LeftReason.DECLINED, by=session)
    return Ending(locked, EndOutcome.DECLINED)


def _begin_move(locked: LockedConference, participant: Participant) -> Ending:
    """Begin the move that `initiate-call-hold` armed, where it can be; otherwise end the part.

    :raises UnauthenticatedError: when the session has ended since its request was authenticated: it leaves its participants.
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


def leave(locked: LockedConference, participant: Participant, reason: LeftReason) -> EndOutcome:
    """Let a participant who sits, or moves, leave; without the host, or enough people, the conference ends."""
    if locked.continues_without(participant):
        remove(locked, participant, reason)
        return EndOutcome.LEFT
    terminate(locked, reason, by=participant)
    return EndOutcome.TERMINATED


def remove(
    locked: LockedConference, participant: Participant, reason: LeftReason, *, by: Session | None = None
) -> None:
    """Give up one participant, tell the others, and end a conference that does not go on without it."""
    goes_on = locked.continues_without(participant)
    _cancel_pending(locked, participant)
    if locked.rings:
        _stop_ringing(locked, [participant], reason, by=by)
    locked.record_leave(participant, reason)
    locked.announce(None)
    event = ParticipantLeft(participant=wire.participant(participant), reason=reason)
    if reason is not LeftReason.HUNG_UP:
        locked.tell(participant, event)
    locked.tell_all(event)
    if not goes_on:
        terminate(locked, reason)


def _stop_ringing(
    locked: LockedConference, participants: list[Participant], reason: LeftReason, *, by: Session | None = None
) -> None:
    """Cancel the invitation at every device that rings for the participants, but for the one that involves."""
    ringing = locked.devices_of([participant for participant in participants if participant.is_ringing])
    locked.tell_sessions(
        {device.pk: device for devices in ringing.values() for device in devices if device != by}.values(),
        InvitationCancelled(reason=_CANCEL_REASONS.get(reason, CancelReason.CALLER_CANCELLED)),
    )


def _cancel_pending(locked: LockedConference, participant: Participant) -> None:
    """Cancel what is pending with a participant whose device goes away, and tell the other side.

    The offer of a call is told of by the call's own events.
    """
    for modification in list(locked.pending):
        if participant.pk in {modification.offered_by_id, modification.offered_to_id}:
            locked.settle(modification, Action.CANCEL, participant)
            (other_id,) = {modification.offered_by_id, modification.offered_to_id} - {participant.pk}
            if modification.kind != ModificationKind.CALL:
                locked.tell(locked.side(other_id), cancelled(modification, by=participant))


def terminate(locked: LockedConference, reason: LeftReason, *, by: Participant | None = None) -> None:
    """End the conference for everybody; whoever ended it involves already."""
    rings = locked.rings
    locked.advance(Action.END)
    locked.conference.ended_at, locked.conference.ended_reason = locked.now, reason
    for modification in list(locked.pending):
        locked.settle(modification, Action.CANCEL, by)
    present = [participant for participant in locked.participants if not participant.has_left]
    if rings:
        _stop_ringing(locked, present, reason)
    for participant in present:
        locked.record_leave(participant, reason if participant is by else LeftReason.CONFERENCE_ENDED)
    event = SessionTerminated(reason=reason, conference=locked.snapshot())
    for participant in present:
        if participant is not by:
            locked.tell(participant, event)
    logger.info("conference %s: %s (%s)", locked.conference.pk, locked.conference.state, reason)


# Called by support staff, in the admin.
@transaction.atomic(savepoint=False)
def terminate_conference(*, conference_id: str, now: datetime) -> bool:
    """End a live conference on behalf of the operator. Return whether it was live."""
    locked = lock(conference_id, now=now)
    if locked.conference.state == ConferenceState.SESSION_TERMINATED:
        return False
    terminate(locked, LeftReason.ENDED_BY_SUPPORT)
    locked.save()
    return True
