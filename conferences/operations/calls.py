"""Starting, answering, leaving and ending a conference, and moving between devices (protocol sections 4 and 6)."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import transaction

from conferences import wire
from conferences.exceptions import (
    AlreadyAnsweredError,
    ConferenceFullError,
    FocusOnlyError,
    ForbiddenError,
    MalformedError,
    MediaUnavailableError,
    NotRingingError,
    ParticipantMovingError,
    SdpInvalidError,
)
from conferences.machine import Action, ConferenceState, ModificationKind, ParticipantState
from conferences.models import (
    Access,
    Conference,
    LeftReason,
    Modification,
    Participant,
    Role,
    Session,
    Topology,
    pair_of,
)
from conferences.operations.modifications import Outcome, record_answer, send_offer
from conferences.operations.room import Room, lock, lock_for
from conferences.operations.users import lock_devices_of, lock_devices_of_mover
from conferences.sdp import JudgedSdp
from events.log import EventType

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
_CANCEL_REASONS = {LeftReason.DECLINED: "declined-elsewhere", LeftReason.NO_ANSWER: "no-answer"}


@dataclass(frozen=True)
class Ending:
    """The conference as a DELETE leaves it."""

    room: Room
    outcome: EndOutcome
    move_refused: MoveRefusal | None = None
    rings_until: datetime | None = None


# --- Starting ---------------------------------------------------------------------------------------------


# Called by the host; tells every device of the one who is called.
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
) -> tuple[Room, Outcome]:
    """Start a conference and ring the devices of whom it invites, also those that register while it rings.

    :raises MediaUnavailableError: for `focus`, until a media node serves it.
    :raises MalformedError: when `to` does not fit the topology, or names the caller.
    """
    if topology is Topology.FOCUS:
        raise MediaUnavailableError(headers={"Retry-After": "60"})
    if len(to) != 1 or access is Access.OPEN:
        raise MalformedError("A conference of topology 'peer' is for two: 'to' names exactly one, by invitation.")
    invited = _addressee(to[0])
    if session.owns(invited):
        raise MalformedError("You cannot call yourself: use 'initiate-call-hold' to move to another device.")
    lock_devices_of(invited)
    conference = Conference.objects.create(topology=topology, access=access, name=name, created_at=now)
    host = Participant(
        conference=conference,
        role=Role.HOST,
        state=ParticipantState.ACCEPTED,
        username=session.username,
        vtn=session.vtn,
        icmn=session.icmn,
        session=session,
        position=1,
    )
    invited.conference, invited.position = conference, 2
    invited.rings_until = now + settings.RING_DURATION
    Participant.objects.bulk_create([host, invited])
    call = Modification.objects.create(
        conference=conference,
        kind=ModificationKind.CALL,
        pair=pair_of(host, invited),
        offered_by=host,
        offered_to=invited,
        restart=True,
        offer=offer.text,
        created_at=now,
        expires_at=invited.rings_until,
    )
    room = Room(conference=conference, seats=[host, invited], pending=[call], now=now)
    ring(room, invited, room.devices(invited))
    room.save()
    logger.info("conference %s: %s sent by %s", conference.pk, conference.state, host.pk)
    return room, Outcome(conference.state, call.pk)


def _addressee(address: str) -> Participant:
    """Return an unsaved invited participant for an address: a username, or a number as `tel:+…`."""
    number = address.removeprefix("tel:") if address.startswith("tel:") else ""
    # The number may be either kind; whoever answers shows which, and under what name.
    identity = {"vtn": number, "icmn": number} if number else {"username": address}
    return Participant(role=Role.GUEST, state=ParticipantState.INVITED, **identity)


def ring(room: Room, seat: Participant, devices: list[Session]) -> None:
    """Note the invitation for these devices of a ringing seat."""
    fields: dict[str, object] = {"reason": "move", "from": wire.party(seat)}
    if seat.state == ParticipantState.INVITED:
        call = _call_to(room, seat)
        fields = {
            "reason": "call",
            "from": wire.party(room.seat(call.offered_by_id)),
            "modId": call.pk,
            "description": {"type": "offer", "sdp": call.offer},
        }
    room.tell_sessions(
        devices,
        EventType.INVITATION_RECEIVED,
        **fields,
        conference=room.snapshot(),
        ringsUntil=wire.instant(seat.rings_until or room.now),
    )


def _call_to(room: Room, seat: Participant) -> Modification:
    """Return the offer with which an invited seat was called."""
    (call,) = (each for each in room.pending if each.kind == "call" and each.offered_to_id == seat.pk)
    return call


# --- Answering --------------------------------------------------------------------------------------------


# Called by any device of an invited user, or of one who moves; tells everybody.
@transaction.atomic(savepoint=False)
def answer_conference(
    *,
    session: Session,
    conference_id: str,
    description: JudgedSdp,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Let the first device that answers have the seat.

    In `peer` the answer to an invitation carries the answer to the host's offer, the answer to a move the new
    device's own offer, which the other party has yet to accept.

    :raises AlreadyAnsweredError: when another device was first.
    :raises NotRingingError: when nothing rings for this session.
    """
    room = lock_for(session, conference_id, now=now, if_match=if_match)
    seat = _ringing_seat(room, session)
    losers = [device for device in room.devices(seat) if device != session]
    if seat.state == ParticipantState.MOVING:
        outcome = _answer_move(room, seat, session, description)
    else:
        outcome = _answer_call(room, seat, session, description)
    room.tell_sessions(losers, EventType.INVITATION_CANCELLED, reason="answered-elsewhere")
    room.save()
    logger.info("conference %s: %s answered at session %s", conference_id, seat.pk, session.pk)
    return outcome


def _ringing_seat(room: Room, session: Session) -> Participant:
    """Return the seat that rings for the session."""
    own = [seat for seat in room.seats if session.owns(seat) or seat.session_id == session.pk]
    if any(seat.is_sitting and seat.session_id == session.pk for seat in room.seats):
        raise AlreadyAnsweredError("You take part in this conference with this device already.")
    for seat in own:
        if seat.is_ringing and seat.session_id != session.pk:
            return seat
    raise AlreadyAnsweredError() if any(seat.is_sitting for seat in own) else NotRingingError()


def _as_type(description: JudgedSdp, type_: str) -> JudgedSdp:
    """Return the description as an offer or an answer, whichever this answer to an invitation carries.

    A bare SDP does not say which it is.
    """
    if description.type not in {type_, ""}:
        raise SdpInvalidError(f"Send an SDP of type '{type_}' here.")
    return replace(description, type=type_)


def _answer_call(room: Room, seat: Participant, session: Session, description: JudgedSdp) -> Outcome:
    """Settle the host's offer and open the conference."""
    answer = _as_type(description, "answer")
    call = _call_to(room, seat)
    host = room.seat(call.offered_by_id)
    room.advance(Action.ANSWER)
    room.advance_seat(seat, Action.ANSWER)
    seat.session = session
    seat.username, seat.vtn, seat.icmn = session.username, session.vtn, session.icmn
    record_answer(room, call, answer, by=seat)
    room.tell(
        host.session_id,
        EventType.SESSION_OPEN,
        modId=call.pk,
        **{"from": wire.party(seat)},
        description=answer.as_json(),
        conference=room.snapshot(),
    )
    for other in room.others(seat):
        if other is not host:
            room.tell(other.session_id, EventType.PARTICIPANT_JOINED, participant=wire.participant(seat))
    return Outcome(seat.state)


def _answer_move(room: Room, seat: Participant, session: Session, description: JudgedSdp) -> Outcome:
    """Seat the participant at its new device and offer the others that device's media."""
    offer = _as_type(description, "offer")
    left_device = seat.session_id
    room.advance(Action.ANSWER)
    room.advance_seat(seat, Action.ANSWER)
    seat.session = session
    seat.sdp_origin = ""
    # The device that was left learns where the conference went.
    room.tell(left_device, EventType.PARTICIPANT_MOVED, participant=wire.participant(seat))
    room.tell_all(EventType.PARTICIPANT_MOVED, but=seat, participant=wire.participant(seat))
    modification = send_offer(room, seat, room.other_party(seat), ModificationKind.MOVE, offer)
    return Outcome(seat.state, modification.pk)


# --- Ending one's part ------------------------------------------------------------------------------------


# Called by whoever rings or takes part; tells everybody else.
@transaction.atomic(savepoint=False)
def end_part(*, session: Session, conference_id: str, now: datetime, if_match: str | None = None) -> Ending:
    """End the session's part in the conference: decline, cancel, leave, terminate, or begin an armed move.

    Ending what has ended changes nothing.
    """
    lock_devices_of_mover(session, conference_id)
    room = lock_for(session, conference_id, now=now, if_match=if_match)
    if room.conference.state == ConferenceState.SESSION_TERMINATED:
        return Ending(room, EndOutcome.TERMINATED)
    seat = _seat_to_end(room, session)
    if seat.has_left:
        return Ending(room, EndOutcome.LEFT)
    if seat.is_ringing and seat.session_id != session.pk:
        ending = _decline(room, seat, session)
    elif seat.is_sitting and (seat.move_until is not None or seat.move_expired):
        ending = _move(room, seat)
    else:
        ending = Ending(room, leave(room, seat, LeftReason.HUNG_UP))
    room.save()
    logger.info("conference %s: %s by %s", conference_id, ending.outcome, seat.pk)
    return ending


def _seat_to_end(room: Room, session: Session) -> Participant:
    """Return the seat that a DELETE of the session is about: the one it sits at, or that rings for it."""
    for seat in room.seats:
        if seat.is_ringing and seat.session_id != session.pk and session.owns(seat):
            return seat
    return room.seat_of(session)


def _decline(room: Room, seat: Participant, session: Session) -> Ending:
    """Decline on all the user's devices."""
    vacate(room, seat, LeftReason.DECLINED, by=session)
    return Ending(room, EndOutcome.DECLINED)


def _move(room: Room, seat: Participant) -> Ending:
    """Begin the move that `initiate-call-hold` armed, where it can be; otherwise end the part."""
    devices = room.devices(seat)
    refusal = None
    if seat.move_until is None or seat.move_until < room.now:
        refusal = MoveRefusal.WINDOW_OVER
    elif not devices:
        refusal = MoveRefusal.NO_OTHER_DEVICE
    if refusal:
        return Ending(room, leave(room, seat, LeftReason.HUNG_UP), refusal)
    if any(other.state == ParticipantState.MOVING for other in room.others(seat)):
        raise ParticipantMovingError
    _cancel_pending(room, seat)
    room.advance_seat(seat, Action.MOVE)
    seat.rings_until = room.now + settings.RING_DURATION
    room.tell_all(EventType.PARTICIPANT_MOVING, but=seat, participant=wire.participant(seat))
    ring(room, seat, devices)
    return Ending(room, EndOutcome.MOVING, rings_until=seat.rings_until)


def leave(room: Room, seat: Participant, reason: LeftReason) -> EndOutcome:
    """Let a participant who sits, or moves, leave; without enough people left the conference ends."""
    if seat.role == Role.HOST or len(room.others(seat)) < 2:
        terminate(room, reason, by=seat)
        return EndOutcome.TERMINATED
    vacate(room, seat, reason)
    return EndOutcome.LEFT


def vacate(room: Room, seat: Participant, reason: LeftReason, *, by: Session | None = None) -> None:
    """Give up one seat, tell the others, and end a conference that has only one left."""
    _cancel_pending(room, seat)
    _silence(room, seat, reason, by=by)
    room.give_up_seat(seat, reason)
    if reason is not LeftReason.HUNG_UP:
        room.tell(seat.session_id, EventType.PARTICIPANT_LEFT, participant=wire.participant(seat), reason=reason)
    room.tell_all(EventType.PARTICIPANT_LEFT, participant=wire.participant(seat), reason=reason)
    if len(room.others(seat)) < 2:
        terminate(room, reason)


def _silence(room: Room, seat: Participant, reason: LeftReason, *, by: Session | None = None) -> None:
    """Cancel the invitation at every device that rings for the seat, but for the one that knows."""
    if seat.is_ringing:
        room.tell_sessions(
            (device for device in room.devices(seat) if device != by),
            EventType.INVITATION_CANCELLED,
            reason=_CANCEL_REASONS.get(reason, "caller-cancelled"),
        )


def _cancel_pending(room: Room, seat: Participant) -> None:
    """Cancel what is pending with a participant whose device goes away, and tell the other party.

    The offer of a call is told of by the call's own events.
    """
    for modification in list(room.pending):
        if seat.pk in {modification.offered_by_id, modification.offered_to_id}:
            room.settle(modification, Action.CANCEL, seat)
            (other_id,) = {modification.offered_by_id, modification.offered_to_id} - {seat.pk}
            if modification.kind != ModificationKind.CALL:
                room.tell_settlement(modification, room.seat(other_id), seat)


def terminate(room: Room, reason: LeftReason, *, by: Participant | None = None) -> None:
    """End the conference for everybody; whoever ended it knows already."""
    room.advance(Action.END)
    room.conference.ended_at, room.conference.ended_reason = room.now, reason
    for modification in list(room.pending):
        room.settle(modification, Action.CANCEL, by)
    listeners = []
    for seat in [seat for seat in room.seats if not seat.has_left]:
        _silence(room, seat, reason)
        if seat is not by:
            listeners.append(seat.session_id)
        room.give_up_seat(seat, reason if seat is by else LeftReason.CONFERENCE_ENDED)
    snapshot = room.snapshot()
    for session_id in listeners:
        room.tell(session_id, EventType.SESSION_TERMINATED, reason=reason, conference=snapshot)
    logger.info("conference %s: %s (%s)", room.conference.pk, room.conference.state, reason)


# --- What the host and support staff do to others ---------------------------------------------------------


# Called by the host, or by the participant itself; tells everybody else.
@transaction.atomic(savepoint=False)
def remove_participant(
    *, session: Session, conference_id: str, participant_id: str, now: datetime, if_match: str | None = None
) -> None:
    """Remove a participant from the conference, or leave it."""
    room = lock_for(session, conference_id, now=now, if_match=if_match)
    target, own = room.seat(participant_id), room.seat_of(session)
    if target is not own and own.role != Role.HOST:
        raise ForbiddenError("Only the host removes others.")
    if target.has_left:
        return
    if target is own:
        leave(room, own, LeftReason.HUNG_UP)
    else:
        vacate(room, target, LeftReason.REMOVED)
    room.save()


# Called by the host.
@transaction.atomic(savepoint=False)
def invite_participant(*, session: Session, conference_id: str, now: datetime) -> None:
    """Invite one more. A conference of topology `peer` is always full."""
    room = lock_for(session, conference_id, now=now, if_match=None)
    if room.seat_of(session).role != Role.HOST:
        raise ForbiddenError("Only the host invites.")
    if room.conference.state == ConferenceState.SESSION_TERMINATED:
        room.advance(Action.NEGOTIATE)
    raise ConferenceFullError


# Called by the host.
@transaction.atomic(savepoint=False)
def mute_participant(
    *, session: Session, conference_id: str, participant_id: str, now: datetime, if_match: str | None = None
) -> None:
    """Mute someone's media at the focus. Between browsers nobody but the sender can."""
    room = lock_for(session, conference_id, now=now, if_match=if_match)
    if room.seat_of(session).role != Role.HOST:
        raise ForbiddenError("Only the host mutes.")
    room.seat(participant_id)
    raise FocusOnlyError


# Called by support staff, in the admin.
@transaction.atomic(savepoint=False)
def terminate_conference(*, conference_id: str, now: datetime) -> bool:
    """End a live conference on behalf of the operator. Return whether it was live."""
    room = lock(conference_id, now=now)
    if room.conference.state == ConferenceState.SESSION_TERMINATED:
        return False
    terminate(room, LeftReason.ENDED_BY_SUPPORT)
    room.save()
    return True
