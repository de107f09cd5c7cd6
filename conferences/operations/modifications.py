"""Offers and their settlement: modify, hold, resume; accept, reject, cancel (protocol section 4)."""

import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import transaction

from conferences import wire
from conferences.event_types import (
    ModAccepted,
    ModCancelled,
    ModReceived,
    ModRejected,
    ParticipantAway,
    ParticipantOnHold,
    ParticipantResumed,
)
from conferences.exceptions import (
    ModificationPendingError,
    ModificationSettledError,
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
    effect_of,
)
from conferences.models import Modification, Participant, Role, pair_of
from conferences.operations import quotas
from conferences.operations.locked_conference import LockedConference
from conferences.operations.locking import lock_for
from conferences.operations.reading import OfferReading
from conferences.sdp import (
    DirectionRule,
    ValidatedSdp,
    directions_of,
    is_another_connection,
    media_of,
    require_direction,
    require_fit,
    require_progress,
    require_resume,
)
from conferences.shapes import ParticipantShape
from events.exceptions import NotFoundError
from events.messages import ABSENT, Absent
from events.models import Session
from media.messages import AnswerTask, OfferTask, Refusal, WithdrawTask
from media.reports import LOST_SECONDS
from media.sdp.description import Description

logger = logging.getLogger(__name__)

# The kinds of the first offer that a participant makes from a device.
_FIRST_OFFERS = {ModificationKind.CALL, ModificationKind.MOVE}
# The milliseconds after which a client may retry an offer to the focus. They only give the pending offer time to be
# settled: the focus itself avoids glare.
_FOCUS_RETRY_MS = 100


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
    # `require_resume` checks the directions: they must be those from before the hold.
    Initiation.RESUME: DirectionRule.ANY,
    Initiation.CALL_HOLD: DirectionRule.HOLD,
}


@dataclass(frozen=True)
class Outcome:
    """The result for the headers of the HTTP response: the new state, and the ID of a modification that was made."""

    state: str
    modification_id: str | None = None


# Called by the session that makes the offer. Events go to the other side.
@transaction.atomic(savepoint=False)
def offer_modification(
    *,
    session: Session,
    conference_id: str,
    initiation: Initiation,
    offer: ValidatedSdp,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Send an offer to the other side. It is pending until it is settled.

    `initiate-call-hold` also arms a move: a DELETE within the move window begins the move (protocol section 6), even if
    the other side has not accepted the offer. If the focus has refused the host's first offer,
    the host repeats the call with `initiate-conference-mod`.

    `views.actions` has already checked the offer's directions (`RULES`).
    """
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    if initiation is Initiation.RESUME:
        # This checks the body, so it comes before the checks of the state (protocol section 8).
        require_resume(offer, locked.directions_of(session), listens=not locked.has_focus)
    calls_again = initiation is Initiation.MOD and any(map(locked.may_call_again, locked.participants_of(session)))
    locked.advance(Action.CALL_AGAIN if calls_again else Action.NEGOTIATE)
    participant = locked.participant_of(session)
    kind = ModificationKind.CALL if calls_again else KINDS[initiation]
    state = ParticipantState(participant.state)
    next_state = decide(state, effect_of(kind, state) if initiation is Initiation.CALL_HOLD else EFFECTS[kind])
    if next_state == ParticipantState.ON_HOLD:
        # This check also applies to a participant that is on hold and modifies its media.
        require_direction(offer, DirectionRule.HOLD)
    receiver = locked.other_side(participant)
    require_free_pair(locked, participant, receiver)
    require_progress(offer, participant.sdp_origin)
    modification = send_offer(locked, participant, kind, offer)
    if calls_again:
        locked.renew_invitations()
    if initiation is Initiation.CALL_HOLD:
        locked.advance_move(participant, Action.ARM, until=now + settings.MOVE_WINDOW)
    locked.save()
    return Outcome(modification.state, modification.pk)


def require_free_pair(locked: LockedConference, participant: Participant, receiver: Participant | None) -> None:
    """Require that no offer is pending between the two sides, and that the receiver is not moving.

    :raises ParticipantMovingError: when the receiver is moving between two devices.
    :raises ModificationPendingError: when an offer is pending, in either direction.
    """
    if receiver is not None and receiver.state == ParticipantState.MOVING:
        raise ParticipantMovingError(retryAfterMs=retry_after_ms(participant))
    pair = pair_of(participant, receiver)
    if pending := next((each for each in locked.pending if each.pair == pair), None):
        wait = retry_after_ms(participant) if receiver else _FOCUS_RETRY_MS
        raise ModificationPendingError(modId=pending.pk, retryAfterMs=wait)


def retry_after_ms(participant: Participant) -> int:
    """Return the milliseconds after which to retry an offer.

    The two sides wait for different times, to avoid a new collision. RFC 3261 section 14.1: 2.1 to 4 s for
    the side that called, up to 2 s for the other side, in steps of 10 ms.
    """
    low, high = (210, 400) if participant.role == Role.HOST else (0, 200)
    return 10 * random.randint(low, high)  # noqa: S311 - spreads retries, keeps no secret


def send_offer(
    locked: LockedConference, participant: Participant, kind: ModificationKind, offer: ValidatedSdp
) -> Modification:
    """Make a participant's offer pending, and send it to the other side: as an event, or as a task for the focus.

    If the receiver's devices still ring, the offer ends with the ringing, and the invitation carries the offer.

    :raises TooManyOffersError: when the participant's user has made too many offers in the last minute.
    """
    quotas.require_offer(participant)
    receiver = locked.other_side(participant)
    restart = kind is ModificationKind.MOVE or is_another_connection(
        offer, participant.sdp_origin, participant.ice_ufrag
    )
    rings_until = receiver.rings_until if receiver else None
    modification = Modification(
        conference=locked.conference,
        kind=kind,
        pair=pair_of(participant, receiver),
        offered_by=participant,
        offered_to=receiver,
        restart=restart,
        offer=offer.text,
        created_at=locked.now,
        expires_at=rings_until or locked.now + settings.MODIFICATION_LIFETIME,
    )
    locked.add_modification(modification)
    if participant.away:
        participant.away = False
        locked.tell_all(ParticipantAway(participant=wire.participant(participant)), but=[participant])
    if kind in _FIRST_OFFERS:
        participant.sends = media_of(offer.content)
    if receiver is None:
        if kind in _FIRST_OFFERS or participant.connect_until is not None:
            expect_leg(locked, participant)
        locked.ask_focus(OfferTask(participant.pk, modification.pk, offer.text, fresh=restart))
        locked.set_cause(modification, announced_kind(kind))
    else:
        tell_offer(locked, modification, receiver)
    logger.info("conference %s: %s %s sent by %s", locked.conference.pk, kind, modification.pk, participant.pk)
    return modification


def announced_kind(kind: ModificationKind) -> ModificationKind:
    """Return the kind of the offers by which the focus announces a modification of this kind to other participants."""
    return ModificationKind.SYNC if kind in {ModificationKind.CALL, ModificationKind.MOD} else kind


def tell_offer(
    locked: LockedConference,
    modification: Modification,
    receiver: Participant,
    *,
    caused_by: str | Absent | None = ABSENT,
) -> None:
    """Queue the event that brings a pending offer to its receiver."""
    event = ModReceived(
        mod_id=modification.pk,
        kind=ModificationKind(modification.kind),
        from_=wire.origin(modification.offered_by),
        description={"type": "offer", "sdp": modification.offer},
        restart=modification.restart,
        expires_at=modification.expires_at,
        caused_by=caused_by,
    )
    locked.tell(receiver, event)


# Called by the session that received the offer. Events go to the initiator.
@transaction.atomic(savepoint=False)
def accept_modification(
    *,
    session: Session,
    conference_id: str,
    modification_id: str,
    answer: ValidatedSdp,
    reading: OfferReading,
    now: datetime,
    if_match: str | None = None,
) -> Outcome:
    """Accept an offer with an answer, so that it takes effect.

    :param reading: the offer, parsed before the lock was taken (`read_offer`).
    """
    locked, participant, modification = _lock_to_settle(session, conference_id, modification_id, now, if_match)
    if participant.pk != modification.offered_to_id:
        raise NotYoursToSettleError("Only the receiver of this modification can accept it.")
    if _is_repeated(modification, ModificationState.ACCEPTED, participant) and reading.is_answer_of(
        modification, answer
    ):
        return Outcome(modification.state)
    decide(ModificationState(modification.state), Action.ACCEPT)
    record_answer(locked, modification, answer, reading.offer_of(modification), by=participant)
    if locked.has_focus:
        if modification.restart:
            record_leg(participant)
        locked.ask_focus(AnswerTask(participant.pk, modification.pk, answer.text))
    else:
        take_effect(locked, modification, by=participant)
    locked.save()
    return Outcome(modification.state)


def _lock_to_settle(
    session: Session, conference_id: str, modification_id: str, now: datetime, if_match: str | None
) -> tuple[LockedConference, Participant, Modification]:
    """Lock an open conference; return it with the session's participant and the modification to settle."""
    locked = lock_for(session, conference_id, now=now, if_match=if_match)
    locked.advance(Action.NEGOTIATE)
    modification = _modification(locked, modification_id)
    return locked, locked.participant_of(session), modification


def record_answer(
    locked: LockedConference, modification: Modification, answer: ValidatedSdp, offer: Description, *, by: Participant
) -> None:
    """Check an answer against its offer, and settle the modification with it.

    Both descriptions are recorded as the last descriptions of their legs.

    :raises SdpInvalidError: when the answer does not fit the offer, or has a lower version than the last description.
    :raises SdpDirectionError: when the directions of the answer do not fit the offer, or a hold.
    """
    require_fit(answer, offer)
    if by.state == ParticipantState.ON_HOLD:
        require_direction(answer, DirectionRule.HOLD)
    require_progress(answer, by.sdp_origin)
    modification.answer = answer.text
    locked.settle(modification, Action.ACCEPT, by)
    record_offer(locked, modification, offer)
    _record_description(by, answer.content)
    # Do not record the directions of an answer to the focus or to a hold. The other side chose them, so a resume need
    # not restore them.
    if not locked.has_focus and by.state != ParticipantState.ON_HOLD and modification.kind != ModificationKind.HOLD:
        _record_media(by, answer.content)


def record_offer(locked: LockedConference, modification: Modification, offer: Description) -> None:
    """Record an accepted offer as the last description of its initiator's leg. Do nothing if the focus made the offer.

    An offer to hold, or an offer made on hold, does not change the recorded media: a resume restores it.
    """
    initiator = locked.side(modification.offered_by_id)
    if initiator is None:
        return
    kind = modification.kind
    _record_description(initiator, offer)
    is_off_hold = initiator.state != ParticipantState.ON_HOLD and kind != ModificationKind.HOLD
    if is_off_hold or kind == ModificationKind.RESUME:
        _record_media(initiator, offer)


def _record_media(participant: Participant, description: Description) -> None:
    participant.directions, participant.sends = directions_of(description), media_of(description)


def _record_description(participant: Participant, description: Description) -> None:
    participant.sdp_origin = f"{description.session_id} {description.version}"
    participant.ice_ufrag = description.ice_ufrag


def expect_leg(locked: LockedConference, participant: Participant) -> None:
    """Make the participant leave if it has no leg after `LOST_SECONDS`. A node does not notice a missing leg."""
    participant.connect_until = locked.now + timedelta(seconds=LOST_SECONDS)


def record_leg(participant: Participant) -> None:
    """Record that the focus has a leg for the participant. From now on, the media node reports if the leg is lost."""
    participant.connect_until = None


def take_effect(locked: LockedConference, modification: Modification, *, by: Participant | None) -> None:
    """Apply a participant's offer that `by` has accepted, and queue the events. `by` is None for the focus."""
    initiator, kind = locked.participant(modification.offered_by_id), ModificationKind(modification.kind)
    action = effect_of(kind, ParticipantState(initiator.state))
    locked.advance_participant(initiator, action)
    event = ModAccepted(
        mod_id=modification.pk,
        kind=kind,
        from_=wire.origin(by),
        description={"type": "answer", "sdp": modification.answer},
    )
    locked.tell(initiator, event)
    locked.set_cause(modification, announced_kind(kind))
    _tell_effect(locked, action, initiator)


def _tell_effect(locked: LockedConference, action: Action, initiator: Participant) -> None:
    """Tell everybody about a hold or resume that has taken effect."""
    events = {Action.HOLD: ParticipantOnHold, Action.RESUME: ParticipantResumed}
    if event := events.get(action):
        locked.tell_all(event(participant=wire.participant(initiator)))


# Called by the receiver, which rejects, or the initiator, which cancels. Events go to the other side.
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
    locked, participant, modification = _lock_to_settle(session, conference_id, modification_id, now, if_match)
    if participant.pk not in {modification.offered_by_id, modification.offered_to_id}:
        raise NotYoursToSettleError("Only the two sides of this modification can settle it.")
    action = Action.CANCEL if participant.pk == modification.offered_by_id else Action.REJECT
    final = decide(ModificationState.SENT, action)
    if _is_repeated(modification, final, participant):
        return Outcome(final)
    locked.settle(modification, action, participant)
    if action is Action.CANCEL:
        disarm_move(locked, participant, modification)
    (other_id,) = {modification.offered_by_id, modification.offered_to_id} - {participant.pk}
    event = (
        cancelled(modification, by=participant) if action is Action.CANCEL else rejected(modification, by=participant)
    )
    locked.tell(locked.side(other_id), event)
    report_failed_offer(locked, modification)
    locked.save()
    return Outcome(modification.state)


def report_failed_offer(locked: LockedConference, modification: Modification) -> None:
    """Tell the focus that an offer was rejected, was cancelled or has expired. In `peer`, do nothing.

    If a participant has rejected an offer of the focus, also tell the participant that caused this offer.
    """
    if not locked.has_focus:
        return
    participant = locked.participant(modification.offered_by_id or modification.offered_to_id)
    was_rejected = modification.state == ModificationState.REJECTED
    locked.ask_focus(WithdrawTask(participant.pk, modification.pk, rejected=was_rejected))
    if was_rejected:
        tell_cause(locked, modification, participant)


def tell_cause(
    locked: LockedConference, modification: Modification, participant: Participant, refusal: Refusal | None = None
) -> None:
    """Tell the participant whose modification caused an offer of the focus that `participant` did not accept it."""
    cause = Modification.objects.filter(pk=modification.caused_by_id).defer("offer", "answer").first()
    initiator = locked.side(cause.offered_by_id) if cause else None
    if (
        cause
        and initiator
        and initiator is not participant
        and not initiator.has_left
        and cause.is_since_join(initiator)
    ):
        locked.tell(
            initiator, rejected(cause, by=participant, refusal=refusal, participant=wire.participant(participant))
        )


def rejected(
    modification: Modification,
    *,
    by: Participant | None,
    refusal: Refusal | None = None,
    participant: ParticipantShape | Absent = ABSENT,
) -> ModRejected:
    """Return the event about a rejection by a participant or, if `by` is None, by the focus.

    `refusal` is the reason that the focus gives.
    """
    return ModRejected(
        mod_id=modification.pk,
        kind=ModificationKind(modification.kind),
        from_=wire.origin(by),
        participant=participant,
        reason=refusal.code if refusal else ABSENT,
        detail=refusal.detail if refusal else ABSENT,
    )


def cancelled(modification: Modification, *, by: Participant | None) -> ModCancelled:
    """Return the event about a cancelled offer. The participant `by` cancelled it, left or moved; None is the focus."""
    return ModCancelled(mod_id=modification.pk, kind=ModificationKind(modification.kind), from_=wire.origin(by))


def disarm_move(locked: LockedConference, participant: Participant, modification: Modification) -> None:
    """Disarm a participant's move if the modification that it has cancelled is a hold."""
    if modification.kind == ModificationKind.HOLD:
        locked.advance_move(participant, Action.DISARM)


def _modification(locked: LockedConference, modification_id: str) -> Modification:
    """Return a modification of this conference.

    :raises NotFoundError: when the conference has no modification with this ID.
    """
    for pending in locked.pending:
        if pending.pk == modification_id:
            return pending
    settled = locked.conference.modifications.filter(pk=modification_id).first()
    if settled is None:
        raise NotFoundError("There is no such modification in this conference.")
    return settled


def _is_repeated(modification: Modification, state: ModificationState, participant: Participant) -> bool:
    """Tell whether this participant has already settled the modification in this way: a repeated request.

    :raises ModificationSettledError: when the modification was settled in any other way.
    """
    if modification.state == ModificationState.SENT:
        return False
    if modification.state == state and modification.settled_by_id == participant.pk:
        return True
    raise ModificationSettledError(state=modification.state)
