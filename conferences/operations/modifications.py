"""Offers and their settlement: modify, hold, resume; accept, reject, cancel (protocol section 4)."""

import logging
import random
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import transaction

from conferences import wire
from conferences.exceptions import (
    ModificationPendingError,
    ModificationSettledError,
    NotFoundError,
    NotYoursToSettleError,
    ParticipantMovingError,
)
from conferences.machine import (
    EFFECTS,
    Action,
    ModificationKind,
    ModificationState,
    ParticipantState,
    decide,
)
from conferences.models import Modification, Participant, Role, Session, pair_of
from conferences.operations.room import Room, lock_for
from conferences.sdp import DirectionRule, JudgedSdp, require_direction, require_fit, require_progress
from events.log import EventType
from media import sdp

logger = logging.getLogger(__name__)


class Initiation(StrEnum):
    """The actions that make an offer."""

    MOD = "initiate-conference-mod"
    HOLD = "initiate-conference-hold"
    RESUME = "initiate-conference-resume"
    CALL_HOLD = "initiate-call-hold"


KINDS = {
    Initiation.MOD: ModificationKind.MOD,
    Initiation.HOLD: ModificationKind.HOLD,
    Initiation.RESUME: ModificationKind.RESUME,
    Initiation.CALL_HOLD: ModificationKind.HOLD,
}

RULES = {
    Initiation.MOD: DirectionRule.ANY,
    Initiation.HOLD: DirectionRule.HOLD,
    Initiation.RESUME: DirectionRule.RESUME,
    Initiation.CALL_HOLD: DirectionRule.HOLD,
}


@dataclass(frozen=True)
class Outcome:
    """What the answer's headers say: the resulting state, and the modification where one was made."""

    state: str
    modification_id: str | None = None


# Called by the session that makes the offer; tells the other party.
@transaction.atomic(savepoint=False)
def offer_modification(
    *,
    session: Session,
    conference_id: str,
    initiation: Initiation,
    offer: JudgedSdp,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Send an offer to the other party and let it wait there for its settlement.

    `initiate-call-hold` arms a move as well: a DELETE within the move window begins it (protocol section 6).
    The caller has judged the offer's directions (`RULES`).
    """
    room = lock_for(session, conference_id, now=now, if_match=if_match)
    room.advance(Action.NEGOTIATE)
    seat = room.seat_of(session)
    kind = KINDS[initiation]
    becomes = decide(ParticipantState(seat.state), EFFECTS[kind])
    if becomes == ParticipantState.ON_HOLD:
        # Also what a participant on hold offers for another reason leaves its media on hold.
        require_direction(offer, DirectionRule.HOLD)
    receiver = room.other_party(seat)
    require_free_pair(room, seat, receiver)
    require_progress(offer, seat.sdp_origin)
    modification = send_offer(room, seat, receiver, kind, offer)
    if initiation is Initiation.CALL_HOLD:
        seat.move_until, seat.move_expired = now + settings.MOVE_WINDOW, False
    room.save()
    return Outcome(modification.state, modification.pk)


def require_free_pair(room: Room, seat: Participant, receiver: Participant) -> None:
    """Require that the two parties may negotiate now: no offer is pending, and somebody is there.

    :raises ParticipantMovingError: when the receiver is between two devices.
    :raises ModificationPendingError: when an offer is pending, in either direction.
    """
    if receiver.state == ParticipantState.MOVING:
        raise ParticipantMovingError(retryAfterMs=_retry_after_ms(seat))
    pair = pair_of(seat, receiver)
    if pending := next((each for each in room.pending if each.pair == pair), None):
        raise ModificationPendingError(modId=pending.pk, retryAfterMs=_retry_after_ms(seat))


def _retry_after_ms(seat: Participant) -> int:
    """Return when to try again, in milliseconds: the two sides differ, so that they do not meet again.

    RFC 3261 section 14.1: 2.1 to 4 s for the one who called, up to 2 s for the other, in steps of 10 ms.
    """
    low, high = (210, 400) if seat.role == Role.HOST else (0, 200)
    return 10 * random.randint(low, high)  # noqa: S311 - spreads retries, keeps no secret


def send_offer(
    room: Room, seat: Participant, receiver: Participant, kind: ModificationKind, offer: JudgedSdp
) -> Modification:
    """Store an offer and tell its receiver."""
    restart = kind is ModificationKind.MOVE or seat.sdp_origin.partition(" ")[0] != offer.content.session_id
    modification = Modification.objects.create(
        conference=room.conference,
        kind=kind,
        pair=pair_of(seat, receiver),
        offered_by=seat,
        offered_to=receiver,
        restart=restart,
        offer=offer.text,
        created_at=room.now,
        expires_at=room.now + settings.MODIFICATION_LIFETIME,
    )
    room.pending.append(modification)
    room.tell(
        receiver.session_id,
        EventType.MOD_RECEIVED,
        modId=modification.pk,
        kind=kind,
        **{"from": wire.party(seat)},
        description=offer.as_json(),
        restart=restart,
        expiresAt=wire.instant(modification.expires_at),
    )
    logger.info("conference %s: %s %s sent by %s", room.conference.pk, kind, modification.pk, seat.pk)
    return modification


# Called by the session that received the offer; tells the initiator.
@transaction.atomic(savepoint=False)
def accept_modification(
    *,
    session: Session,
    conference_id: str,
    modification_id: str,
    answer: JudgedSdp,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Accept an offer with an answer: what was offered takes effect."""
    room = lock_for(session, conference_id, now=now, if_match=if_match)
    room.advance(Action.NEGOTIATE)
    modification = _modification(room, modification_id)
    seat = room.seat_of(session)
    if seat.pk != modification.offered_to_id:
        raise NotYoursToSettleError("Only the one who received this modification accepts it.")
    if _was_settled_so(modification, ModificationState.ACCEPTED, seat) and modification.answer == answer.text:
        return Outcome(modification.state)
    initiator = room.seat(modification.offered_by_id)
    decide(ModificationState(modification.state), Action.ACCEPT)
    record_answer(room, modification, answer, by=seat)
    room.advance_seat(initiator, EFFECTS[ModificationKind(modification.kind)])
    room.tell_settlement(modification, initiator, seat, description=answer.as_json())
    _tell_effect(room, ModificationKind(modification.kind), initiator)
    room.save()
    return Outcome(modification.state)


def record_answer(room: Room, modification: Modification, answer: JudgedSdp, *, by: Participant) -> None:
    """Judge an answer against its offer and settle the modification with it.

    From then on both parties' legs are where these descriptions leave them.
    """
    require_fit(answer, modification.offer)
    if by.state == ParticipantState.ON_HOLD:
        require_direction(answer, DirectionRule.HOLD)
    require_progress(answer, by.sdp_origin)
    modification.answer = answer.text
    room.settle(modification, Action.ACCEPT, by)
    initiator = room.seat(modification.offered_by_id)
    offered = sdp.read(modification.offer)
    initiator.sdp_origin = f"{offered.session_id} {offered.version}"
    by.sdp_origin = answer.origin


def _tell_effect(room: Room, kind: ModificationKind, initiator: Participant) -> None:
    """Tell everybody what an accepted hold or resume made of the one who offered it."""
    types = {
        ModificationKind.HOLD: EventType.PARTICIPANT_ON_HOLD,
        ModificationKind.RESUME: EventType.PARTICIPANT_RESUMED,
    }
    if type_ := types.get(kind):
        room.tell_all(type_, participant=wire.participant(initiator))


# Called by the receiver, who rejects, or the initiator, who cancels; tells the other one.
@transaction.atomic(savepoint=False)
def withdraw_modification(
    *,
    session: Session,
    conference_id: str,
    modification_id: str,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Reject or cancel an offer: everything stays as it was (RFC 3264 section 4)."""
    room = lock_for(session, conference_id, now=now, if_match=if_match)
    room.advance(Action.NEGOTIATE)
    modification = _modification(room, modification_id)
    seat = room.seat_of(session)
    if seat.pk not in {modification.offered_by_id, modification.offered_to_id}:
        raise NotYoursToSettleError("Only the two parties of this modification settle it.")
    action = Action.CANCEL if seat.pk == modification.offered_by_id else Action.REJECT
    final = decide(ModificationState.SENT, action)
    if _was_settled_so(modification, final, seat):
        return Outcome(final)
    room.settle(modification, action, seat)
    (other_id,) = {modification.offered_by_id, modification.offered_to_id} - {seat.pk}
    room.tell_settlement(modification, room.seat(other_id), seat)
    disarm_move(room, modification)
    room.save()
    return Outcome(modification.state)


def disarm_move(room: Room, modification: Modification) -> None:
    """Forget a move whose hold came to nothing."""
    initiator = room.seat(modification.offered_by_id)
    if modification.kind == ModificationKind.HOLD:
        initiator.move_until, initiator.move_expired = None, False


def _modification(room: Room, modification_id: str) -> Modification:
    """Return a modification of this conference.

    :raises NotFoundError: when it has none with this ID.
    """
    for pending in room.pending:
        if pending.pk == modification_id:
            return pending
    settled = room.conference.modifications.filter(pk=modification_id).first()
    if settled is None:
        raise NotFoundError("There is no such modification in this conference.")
    return settled


def _was_settled_so(modification: Modification, state: ModificationState, seat: Participant) -> bool:
    """Tell whether this very participant has settled the modification this very way.

    :raises ModificationSettledError: when it is settled in any other way.
    """
    if modification.state == ModificationState.SENT:
        return False
    if modification.state == state and modification.settled_by_id == seat.pk:
        return True
    raise ModificationSettledError(state=modification.state)
