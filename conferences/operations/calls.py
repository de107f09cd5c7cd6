"""Starting, answering, leaving and ending a conference, and moving between devices (protocol sections 4 and 6)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import transaction

from conferences import wire
from conferences.exceptions import (
    AlreadyAnsweredError,
    ConferenceFullError,
    MalformedError,
    MediaUnavailableError,
    NotRingingError,
    ParticipantMovingError,
    SdpInvalidError,
)
from conferences.machine import Action, ConferenceState, ModificationKind, ParticipantState, decide
from conferences.models import (
    Access,
    Conference,
    LeftReason,
    Modification,
    Participant,
    Role,
    Session,
    Topology,
)
from conferences.operations import quotas
from conferences.operations.modifications import Outcome, record_answer, send_offer
from conferences.operations.nodes import NoNodeError, place
from conferences.operations.reading import OfferReading
from conferences.operations.room import (
    Room,
    lock,
    lock_for,
    lock_together,
    require_live,
    require_still_live,
    require_visible,
    save_together,
)
from conferences.operations.users import lock_call, lock_devices_of_mover
from conferences.sdp import JudgedSdp
from events.log import EventType
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
_CANCEL_REASONS = {LeftReason.DECLINED: "declined-elsewhere", LeftReason.NO_ANSWER: "no-answer"}


@dataclass(frozen=True)
class Ending:
    """The conference as a DELETE leaves it."""

    room: Room
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
) -> tuple[Room, Outcome]:
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
    room = Room(conference=conference, seats=[], pending=[], now=now)
    host = room.add_seat(Participant(role=Role.HOST, state=ParticipantState.ACCEPTED))
    _sit(host, session, now)
    require_space(room, len(guests))
    for guest in guests:
        room.add_seat(guest)
    # A caller without media would ring for nothing: the focus accepts the caller's offer first.
    room.renew_invitations()
    if room.has_focus:
        _place(conference, now)
    conference.save(force_insert=True)
    call = send_offer(room, host, ModificationKind.CALL, offer)
    ring(room, guests, devices)
    room.save()
    require_still_live(session, now=now)
    logger.info("conference %s: %s sent by %s", conference.pk, conference.state, host.pk)
    return room, Outcome(conference.state, call.pk)


def addressee(address: str) -> Participant:
    """Return an unsaved invited participant for an address: a username, or a number as `tel:+…`."""
    number = address.removeprefix("tel:") if address.startswith("tel:") else ""
    # The number may be either kind; whoever answers shows which, and under what name.
    identity = {"vtn": number, "icmn": number} if number else {"username": address}
    return Participant(role=Role.GUEST, state=ParticipantState.INVITED, **identity)


def _sit(seat: Participant, session: Session, now: datetime) -> None:
    """Put a session, and whose it is, on a seat."""
    seat.session, seat.joined_at = session, now
    seat.username, seat.vtn, seat.icmn = session.username, session.vtn, session.icmn


def require_space(room: Room, number: int) -> None:
    """Require that so many more may be in the conference."""
    if not room.has_space_for(number):
        raise ConferenceFullError


def _place(conference: Conference, now: datetime) -> None:
    """Choose the media node that a new conference lives on."""
    try:
        place(conference, now=now)
    except NoNodeError:
        raise MediaUnavailableError(headers={"Retry-After": "5"}) from None


def begin_ringing(room: Room) -> None:
    """Ring everybody who is invited, for the full time from now."""
    ring(room, room.renew_invitations())


def ring(room: Room, seats: list[Participant], live: list[Session] | None = None) -> None:
    """Note the invitations of ringing seats for their devices. One that rings for several is told once.

    Before the conference rings (`Room.rings`), nobody is told. `live` are the seats' live sessions, if they are known.
    """
    if not room.rings:
        return
    told: set[str] = set()
    for seat_id, devices in room.devices_of(seats, live).items():
        ring_devices(room, room.seat(seat_id), [device for device in devices if device.pk not in told])
        told.update(device.pk for device in devices)


def ring_devices(room: Room, seat: Participant, devices: list[Session]) -> None:
    """Note the invitation of a ringing seat for these devices. Between browsers a call brings its offer along."""
    called = seat.state == ParticipantState.INVITED
    call = _call_to(room, seat)
    offer = (
        {"modId": call.pk, "description": {"type": "offer", "sdp": StoredOffer(call.offer, call.pk)}} if call else {}
    )
    room.tell_sessions(
        devices,
        EventType.INVITATION_RECEIVED,
        reason="call" if called else "move",
        **{"from": wire.party(room.host if called else seat)},
        **offer,
        participant=wire.participant(seat),
        conference=room.snapshot(),
        ringsUntil=wire.instant(seat.rings_until or room.now),
    )


def _call_to(room: Room, seat: Participant) -> Modification | None:
    """Return the offer with which an invited seat was called, if the host made it one."""
    calls = (each for each in room.pending if each.kind == ModificationKind.CALL)
    return next((each for each in calls if each.offered_to_id == seat.pk), None)


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
    """Let the first device that answers have the seat. In an open conference whoever comes gets a seat.

    Who has left an open conference before returns to the same seat: see `ParticipantQuerySet.returnable_by`.

    Between browsers the answer to an invitation carries the answer to the host's offer. In every other case it carries
    the device's own offer, which the focus, or in `peer` the other party, has yet to accept.
    `reading` is of the host's offer and was made before (`read_call`).
    A call of the user's own that still rings the caller, and nobody else, ends: of two crossing calls one survives.

    :raises AlreadyAnsweredError: when another device was first.
    :raises NotRingingError: when nothing rings for this session.
    :raises ConferenceFullError: when an open conference takes no one more.
    :raises TooManyConferencesError: when the session already takes part in as many conferences as the bound.
    """
    own_calls = Participant.objects.calling(session).values_list("conference", flat=True)
    rooms = lock_together({conference_id, *own_calls}, now=now)
    room = rooms.pop(conference_id)
    require_visible(room, session, if_match=if_match, to_enter=True)
    seat = _ringing_seat(room, session)
    quotas.require_conference(session)
    losers = [device for device in room.devices(seat) if device != session] if seat else []
    is_called = seat is not None and seat.state == ParticipantState.INVITED
    crossing = [other for other in rooms.values() if is_called and _calls_only(other, room.host)]
    if seat is None:
        seat = _enter(room, session)
    if seat.state == ParticipantState.MOVING:
        outcome = _answer_move(room, seat, session, description)
    else:
        outcome = _answer_call(room, seat, session, description, reading)
    room.tell_sessions(losers, EventType.INVITATION_CANCELLED, reason="answered-elsewhere")
    for other in crossing:
        _give_way(other)
    # First what stops ringing, so that nobody answers it in the new call.
    save_together([*crossing, room])
    require_still_live(session, now=now)
    logger.info("conference %s: %s answered at session %s", conference_id, seat.pk, session.pk)
    return outcome


def _calls_only(room: Room, callee: Participant) -> bool:
    """Tell whether a conference still rings this one user, and has nobody else."""
    guests = room.others(room.host)
    is_unanswered = room.conference.state == ConferenceState.INVITATION_SENT
    return is_unanswered and callee.session is not None and all(map(callee.session.owns, guests))


def _give_way(room: Room) -> None:
    """End a call because its host has answered one from the callee; the device that called learns of it by an event."""
    host = room.host
    terminate(room, LeftReason.HUNG_UP, by=host)
    room.tell(host.session_id, EventType.SESSION_TERMINATED, reason=LeftReason.HUNG_UP, conference=room.snapshot())


def _ringing_seat(room: Room, session: Session) -> Participant | None:
    """Return the seat that rings for the session; None where it needs none to come in."""
    if room.seat_in_use(session):
        raise AlreadyAnsweredError("You take part in this conference with this device already.")
    if seat := next(_ringing_for(room, session), None):
        return seat
    if room.conference.access == Access.OPEN:
        return None
    own = [seat for seat in room.seats if session.owns(seat)]
    raise AlreadyAnsweredError() if any(seat.is_sitting for seat in own) else NotRingingError()


def _enter(room: Room, session: Session) -> Participant:
    """Return the seat that the session has left in an open conference, or a new one."""
    decide(ConferenceState(room.conference.state), Action.ANSWER)
    require_space(room, 1)
    if sum(session.owns(seat) for seat in room.seats if not seat.has_left) >= settings.SEATS_PER_USER:
        raise ConferenceFullError("Too many devices of yours take part in this conference.")
    return room.vacated_seat(session) or room.add_seat(Participant(role=Role.GUEST, state=ParticipantState.INVITED))


def _as_type(description: JudgedSdp, type_: str) -> JudgedSdp:
    """Return the description as an offer or an answer, whichever this answer to an invitation carries.

    A bare SDP does not say which it is.
    """
    if description.type not in {type_, ""}:
        raise SdpInvalidError(f"Send an SDP of type '{type_}' here.")
    return replace(description, type=type_)


def _answer_call(
    room: Room, seat: Participant, session: Session, description: JudgedSdp, reading: OfferReading
) -> Outcome:
    """Seat who was called, or came in by itself; the first one opens the conference."""
    opens, rang = room.conference.state == ConferenceState.INVITATION_SENT, room.rings
    call = _call_to(room, seat)
    description = _as_type(description, "answer" if call else "offer")
    room.advance(Action.ANSWER)
    if seat.has_left:
        room.take_again(seat)
    else:
        room.advance_seat(seat, Action.ANSWER)
    _sit(seat, session, room.now)
    if call:
        record_answer(room, call, description, reading.offer_of(call), by=seat)
        outcome, brought = Outcome(seat.state), {"modId": call.pk, "description": description.as_json()}
    else:
        offer = send_offer(room, seat, ModificationKind.CALL, description)
        outcome, brought = Outcome(seat.state, offer.pk), {}
    if opens:
        fields = {"from": wire.party(seat), **brought, "conference": room.snapshot()}
        room.tell(room.host.session_id, EventType.SESSION_OPEN, **fields)
    if not rang:
        begin_ringing(room)
    but = [seat, room.host] if opens else [seat]
    room.tell_all(EventType.PARTICIPANT_JOINED, but=but, participant=wire.participant(seat))
    return outcome


def _answer_move(room: Room, seat: Participant, session: Session, description: JudgedSdp) -> Outcome:
    """Seat the participant at its new device and offer that device's media."""
    offer = _as_type(description, "offer")
    left_device = seat.session_id
    room.advance(Action.ANSWER)
    room.advance_seat(seat, Action.ANSWER)
    seat.session = session
    seat.sdp_origin = seat.ice_ufrag = seat.directions = ""
    # The device that was left learns where the conference went.
    room.tell(left_device, EventType.PARTICIPANT_MOVED, participant=wire.participant(seat))
    room.tell_all(EventType.PARTICIPANT_MOVED, but=[seat], participant=wire.participant(seat))
    modification = send_offer(room, seat, ModificationKind.MOVE, offer)
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
        ending = _decline(room, session)
    elif seat.is_sitting and (seat.move_until is not None or seat.move_expired):
        ending = _move(room, seat)
    else:
        ending = Ending(room, leave(room, seat, LeftReason.HUNG_UP))
    room.save()
    logger.info("conference %s: %s by %s", conference_id, ending.outcome, seat.pk)
    return ending


def _seat_to_end(room: Room, session: Session) -> Participant:
    """Return the seat that a DELETE of the session is about: the one it sits at, or that rings for it."""
    return room.seat_in_use(session) or next(_ringing_for(room, session), None) or room.seat_of(session)


def _ringing_for(room: Room, session: Session) -> Iterator[Participant]:
    """Yield the seats that ring for the session. In an open conference the invited may come before it rings."""
    may_answer = room.rings or room.conference.access == Access.OPEN
    for seat in room.seats if may_answer else ():
        if seat.is_ringing and seat.session_id != session.pk and session.owns(seat):
            yield seat


def _decline(room: Room, session: Session) -> Ending:
    """Decline on all the user's devices, for each of the user's invitations."""
    for seat in _ringing_for(room, session):
        vacate(room, seat, LeftReason.DECLINED, by=session)
    return Ending(room, EndOutcome.DECLINED)


def _move(room: Room, seat: Participant) -> Ending:
    """Begin the move that `initiate-call-hold` armed, where it can be; otherwise end the part.

    :raises UnauthenticatedError: when the session has ended since its request was authenticated: it leaves its seats.
    """
    require_live(seat.session, now=room.now)
    devices = room.devices(seat)
    refusal = None
    if seat.move_until is None or seat.move_until < room.now:
        refusal = MoveRefusal.WINDOW_OVER
    elif not devices:
        refusal = MoveRefusal.NO_OTHER_DEVICE
    if refusal:
        return Ending(room, leave(room, seat, LeftReason.HUNG_UP), refusal)
    other = room.other_party(seat)
    if other is not None and other.state == ParticipantState.MOVING:
        raise ParticipantMovingError
    _cancel_pending(room, seat)
    room.advance_seat(seat, Action.MOVE)
    seat.rings_until = room.now + settings.RING_DURATION
    room.tell_all(EventType.PARTICIPANT_MOVING, but=[seat], participant=wire.participant(seat))
    ring_devices(room, seat, devices)
    return Ending(room, EndOutcome.MOVING, rings_until=seat.rings_until)


def leave(room: Room, seat: Participant, reason: LeftReason) -> EndOutcome:
    """Let a participant who sits, or moves, leave; without the host, or enough people, the conference ends."""
    if room.goes_on_without(seat):
        vacate(room, seat, reason)
        return EndOutcome.LEFT
    terminate(room, reason, by=seat)
    return EndOutcome.TERMINATED


def vacate(room: Room, seat: Participant, reason: LeftReason, *, by: Session | None = None) -> None:
    """Give up one seat, tell the others, and end a conference that does not go on without it."""
    goes_on = room.goes_on_without(seat)
    _cancel_pending(room, seat)
    if room.rings:
        _silence(room, [seat], reason, by=by)
    room.give_up_seat(seat, reason)
    room.has_cause(None)
    if reason is not LeftReason.HUNG_UP:
        room.tell(seat.session_id, EventType.PARTICIPANT_LEFT, participant=wire.participant(seat), reason=reason)
    room.tell_all(EventType.PARTICIPANT_LEFT, participant=wire.participant(seat), reason=reason)
    if not goes_on:
        terminate(room, reason)


def _silence(room: Room, seats: list[Participant], reason: LeftReason, *, by: Session | None = None) -> None:
    """Cancel the invitation at every device that rings for the seats, but for the one that knows."""
    ringing = room.devices_of([seat for seat in seats if seat.is_ringing])
    room.tell_sessions(
        {device.pk: device for devices in ringing.values() for device in devices if device != by}.values(),
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
                room.tell_settlement(modification, room.party(other_id), **{"from": wire.party(seat)})


def terminate(room: Room, reason: LeftReason, *, by: Participant | None = None) -> None:
    """End the conference for everybody; whoever ended it knows already."""
    rings = room.rings
    room.advance(Action.END)
    room.conference.ended_at, room.conference.ended_reason = room.now, reason
    for modification in list(room.pending):
        room.settle(modification, Action.CANCEL, by)
    present = [seat for seat in room.seats if not seat.has_left]
    if rings:
        _silence(room, present, reason)
    for seat in present:
        room.give_up_seat(seat, reason if seat is by else LeftReason.CONFERENCE_ENDED)
    snapshot = room.snapshot()
    for seat in present:
        if seat is not by:
            room.tell(seat.session_id, EventType.SESSION_TERMINATED, reason=reason, conference=snapshot)
    logger.info("conference %s: %s (%s)", room.conference.pk, room.conference.state, reason)


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
