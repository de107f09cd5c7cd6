"""Apply what the focus reports: results of tasks, its offers, lost legs, speakers and the quality of connections."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from conferences.event_types import ActiveSpeaker, Quality
from conferences.machine import Action, ModificationKind, ModificationState
from conferences.models import LeftReason, Modification, Participant, pair_of
from conferences.operations.calls import begin_ringing, vacate
from conferences.operations.locked_conference import LockedConference, lock
from conferences.operations.modifications import (
    expect_leg,
    has_leg,
    record_origin,
    rejected,
    take_effect,
    tell_cause,
    tell_offer,
)
from events import log
from events.exceptions import NotFoundError
from events.messages import EphemeralEvent
from media import tasks
from media.messages import AnswerTask, FocusOffer, OfferTask, Refusal, RefusalCode, Result, TaskKind, read_request
from media.models import MediaTask
from media.reports import Assignment, Connection
from media.sdp.description import Description, parse

logger = logging.getLogger(__name__)

# The refusal of an offer whose result has neither an answer nor a refusal.
_NOTHING = Refusal(RefusalCode.MEDIA_UNAVAILABLE, "The focus could not serve this.")


# Called by the media node, through the wiring, with what came of a task; tells everybody concerned.
def settle_task(*, task_id: int, result: Result, now: datetime) -> None:
    """Apply the result of a task and delete it; applying it again changes nothing.

    An answer settles the participant's offer, a refusal rejects it, and each offer of the focus waits for its
    participant from now on, unless something is pending between them again.
    """
    task = tasks.find(task_id)
    if task is not None:
        is_answered = task.kind == TaskKind.OFFER and result.answer is not None
        # Before the lock, because parsing takes time in proportion to the SDP.
        offer = parse(task.payload["sdp"]) if is_answered else None
        _settle(task, offer, result, now=now)


@transaction.atomic(savepoint=False)
def _settle(row: MediaTask, offer: Description | None, result: Result, *, now: datetime) -> None:
    """Apply the result of a task. `offer` is the offer that the focus has answered, if it has answered one."""
    try:
        locked = lock(row.conference, now=now)
    except NotFoundError:
        tasks.finish(row.pk)
        return
    # Somebody else may have applied it until the conference was locked, or another node may serve the conference now.
    if not tasks.finish(row.pk) or row.node != locked.conference.media_node:
        return
    asked = read_request(row.kind, row.payload)
    if isinstance(asked, OfferTask):
        _settle_offer(locked, asked, offer, result)
    elif isinstance(asked, AnswerTask) and result.refusal:
        _tell_refused_answer(locked, asked, result.refusal)
    _send_offers(locked, result.offers)
    if _expect_legs(locked, result.without_leg) or locked.has_changed:
        locked.save()


def _settle_offer(locked: LockedConference, asked: OfferTask, offer: Description | None, result: Result) -> None:
    """Settle a participant's offer to the focus, unless it was cancelled or has expired in the meantime.

    The node may have built a fresh leg for it (RFC 8842 section 3.1), whose loss must then count.
    A refused hold leaves an armed move armed: a move needs nobody's consent.
    """
    modification = next((each for each in locked.pending if each.pk == asked.mod_id), None)
    if modification is None:
        return
    if offer is not None:
        modification.answer, rang = result.answer or "", locked.rings
        modification.restart = modification.restart or result.restart
        locked.settle(modification, Action.ACCEPT)
        record_origin(locked, modification, offer)
        has_leg(locked.participant(modification.offered_by_id))
        take_effect(locked, modification, by=None)
        if not rang:
            begin_ringing(locked)
    else:
        locked.settle(modification, Action.REJECT)
        participant, refusal = locked.participant(modification.offered_by_id), result.refusal or _NOTHING
        locked.tell(participant, rejected(modification, by=None, refusal=refusal))
    logger.info("conference %s: %s %s by the focus", locked.conference.pk, modification.pk, modification.state)


def _tell_refused_answer(locked: LockedConference, asked: AnswerTask, refusal: Refusal) -> None:
    """Tell that an answer to the focus could not be used: the participant stays on its previous media.

    The modification was settled by the request that brought the answer, and stays so.
    """
    participant = locked.participant(asked.participant)
    modification = locked.conference.modifications.defer("offer", "answer").get(pk=asked.mod_id)
    if participant.is_joined and modification.is_of_stay(participant):
        locked.tell(participant, rejected(modification, by=None, refusal=refusal))
        tell_cause(locked, modification, participant, refusal)


def _expect_legs(locked: LockedConference, participants: Collection[str]) -> bool:
    """Give participants without a leg as long to come back as those whose media is lost; tell whether that is new.

    The node watches legs only. A participant is left without one by an offer that was answered with a fresh leg and
    cancelled meanwhile, or when its leg cannot be built anew.
    """
    expected = [
        participant
        for participant in locked.participants
        if participant.pk in participants and participant.is_joined and participant.connect_until is None
    ]
    for participant in expected:
        expect_leg(locked, participant)
    return bool(expected)


def _send_offers(locked: LockedConference, offers: Sequence[FocusOffer]) -> None:
    """Let the offers of the focus wait for their participants.

    One whose participant has left, moves or negotiates again is dropped: the task that follows makes good for it. So is
    one that came with the result of another task already.
    """
    ready = set(locked.ready())
    offers = [offer for offer in offers if offer.participant in ready]
    named = {offer.mod_id for offer in offers} | {offer.caused_by for offer in offers} - {None}
    known = set(locked.conference.modifications.filter(pk__in=named).values_list("pk", flat=True)) if named else set()
    for offer in offers:
        if offer.mod_id in known:
            continue
        known.add(offer.mod_id)
        participant = locked.participant(offer.participant)
        modification = Modification(
            id=offer.mod_id,
            conference=locked.conference,
            kind=ModificationKind(offer.kind),
            pair=pair_of(participant, None),
            offered_to=participant,
            caused_by_id=offer.caused_by if offer.caused_by in known else None,
            restart=offer.restart,
            offer=offer.sdp,
            created_at=locked.now,
            expires_at=locked.now + settings.MODIFICATION_LIFETIME,
        )
        locked.offer(modification)
        tell_offer(locked, modification, participant, caused_by=modification.caused_by_id)


# Called by the media node, through the wiring; tells everybody.
@transaction.atomic(savepoint=False)
def leg_lost(*, conference_id: str, participant_id: str, leg: str, by: Assignment, now: datetime) -> None:
    """Let a participant leave whose media did not come back. `leg` is the modification whose offer made the leg.

    A report about a leg that the participant does not use any more changes nothing. Neither does one by a node that
    has lost the conference to another.
    """
    try:
        locked = lock(conference_id, now=now)
        participant = locked.participant(participant_id)
    except NotFoundError:
        return
    served = by == Assignment(locked.conference.media_node, locked.conference.generation)
    if served and participant.is_joined and leg == _newest_leg(locked, participant):
        vacate(locked, participant, LeftReason.MEDIA_LOST)
        locked.save()


def _newest_leg(locked: LockedConference, participant: Participant) -> str | None:
    """Return the offer, its own or the focus's, that made a participant's leg, or is about to make a new one.

    Where the focus has offered a fresh connection, there is no other, whether anybody answers or not.
    """
    alive = [ModificationState.SENT, ModificationState.ACCEPTED]
    own = Q(offered_by=participant, state__in=alive)
    focus = Q(offered_to=participant, state__in=[*alive, ModificationState.EXPIRED])
    offers = locked.conference.modifications.of_stay(participant).filter(own | focus, restart=True)
    return offers.order_by("-created_at").values_list("pk", flat=True).first()


# Called by the media node, through the wiring; every open WebSocket of the conference gets it.
def speaker_changed(*, conference_id: str, participant_id: str, by: Assignment) -> None:
    """Tell a conference who speaks."""
    _tell_ephemeral(conference_id, by, ActiveSpeaker(participant=participant_id))


# Called by the media node, through the wiring; every open WebSocket of the conference gets it.
def connection_changed(*, conference_id: str, participant_id: str, connection: Connection, by: Assignment) -> None:
    """Tell a conference how the connection between a participant and the focus is."""
    _tell_ephemeral(conference_id, by, Quality(participant=participant_id, connection=connection))


def _tell_ephemeral(conference_id: str, by: Assignment, event: EphemeralEvent) -> None:
    """Tell everybody who sits in a conference, if this node still serves it."""
    served = Q(conference__media_node=by.node, conference__generation=by.generation)
    sitting = Participant.objects.joined().filter(served, conference=conference_id)
    sessions = [str(pk) for pk in sitting.values_list("session", flat=True)]
    if sessions:
        log.send_ephemeral(sessions, conference_id, event)
