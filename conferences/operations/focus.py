"""Apply what the focus reports: results of tasks, its offers, lost legs, active speakers, connection quality."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from conferences.event_types import ActiveSpeaker, ConnectionChanged, Layers, PausedVideos, PauseReason, Quality
from conferences.machine import Action, ModificationKind, ModificationState
from conferences.models import LeftReason, Modification, Participant, pair_of
from conferences.operations.calls import begin_ringing, remove
from conferences.operations.locked_conference import LockedConference
from conferences.operations.locking import lock
from conferences.operations.modifications import (
    expect_leg,
    record_leg,
    record_offer,
    rejected,
    take_effect,
    tell_cause,
    tell_offer,
)
from conferences.operations.users import lock_guests
from conferences.shapes import VideoShape
from events import log
from events.exceptions import NotFoundError
from events.messages import EphemeralEvent
from media import tasks
from media.messages import AnswerTask, FocusOffer, OfferTask, Refusal, RefusalCode, Result, TaskKind, read_request
from media.models import MediaTask
from media.reports import Assignment, Connection, Notice, UsedLayers, Verdict
from media.sdp.description import Description, parse

logger = logging.getLogger(__name__)

# Refuse a participant's offer with this if the media node neither answers nor refuses it.
_NO_RESULT = Refusal(RefusalCode.MEDIA_UNAVAILABLE, "The focus could not serve this.")


# Called by the media node, through the wiring. Events go to the participants concerned.
def settle_task(*, task_id: int, result: Result, now: datetime) -> None:
    """Apply the result of a task and delete the task. Applying the result again changes nothing.

    An answer accepts the participant's offer, and a refusal rejects it. Each offer of the focus in the result becomes
    pending, except those that are out of date (`_send_offers`).
    """
    task = tasks.find(task_id)
    if task is not None:
        is_answered = task.kind == TaskKind.OFFER and result.answer is not None
        # Parse the offer before the lock is taken: parsing takes time in proportion to the SDP.
        offer = parse(task.payload["sdp"]) if is_answered else None
        _settle(task, offer, result, now=now)


@transaction.atomic(savepoint=False)
def _settle(row: MediaTask, offer: Description | None, result: Result, *, now: datetime) -> None:
    """Apply the result of a task. `offer` is the participant's offer if the focus has answered it."""
    if offer is not None:
        lock_guests(row.conference, now=now)
    try:
        locked = lock(row.conference, now=now)
    except NotFoundError:
        tasks.finish(row.pk)
        return
    # Before the lock was taken, another process may have applied the result, or moved the conference to another node.
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

    The node may have built a new leg for the offer (RFC 8842 section 3.1). In this case `restart` is set, so that
    `leg_lost` accepts a report about that leg. If the focus refuses a hold that armed a move, the
    move stays armed: it does not need an accepted hold.
    """
    modification = next((each for each in locked.pending if each.pk == asked.mod_id), None)
    if modification is None:
        return
    if offer is not None:
        modification.answer, rang = result.answer or "", locked.rings
        modification.restart = modification.restart or result.restart
        locked.settle(modification, Action.ACCEPT)
        record_offer(locked, modification, offer)
        record_leg(locked.participant(modification.offered_by_id))
        take_effect(locked, modification, by=None)
        if not rang:
            begin_ringing(locked)
    else:
        locked.settle(modification, Action.REJECT)
        participant, refusal = locked.participant(modification.offered_by_id), result.refusal or _NO_RESULT
        locked.tell(participant, rejected(modification, by=None, refusal=refusal))
    logger.info("conference %s: %s %s by the focus", locked.conference.pk, modification.pk, modification.state)


def _tell_refused_answer(locked: LockedConference, asked: AnswerTask, refusal: Refusal) -> None:
    """Tell a participant that the focus could not use its answer. The participant keeps its previous media.

    The participant that caused the focus's offer also gets an event. The modification does not change: the request
    that brought the answer has already settled it.
    """
    participant = locked.participant(asked.participant)
    modification = locked.conference.modifications.defer("offer", "answer").get(pk=asked.mod_id)
    if participant.is_joined and modification.is_since_join(participant):
        locked.tell(participant, rejected(modification, by=None, refusal=refusal))
        tell_cause(locked, modification, participant, refusal)


def _expect_legs(locked: LockedConference, participants: Collection[str]) -> bool:
    """Set the deadline of `expect_leg` for these participants, unless they have one. Return whether any was set.

    The deadline is needed because a node reports only the loss of existing legs. A participant has no leg if the node
    could not rebuild it. The participant also has none if its offer was cancelled while the focus answered the offer
    with a new leg.
    """
    expected = [each for each in locked.joined if each.pk in participants and each.connect_until is None]
    for participant in expected:
        expect_leg(locked, participant)
    return bool(expected)


def _send_offers(locked: LockedConference, offers: Sequence[FocusOffer]) -> None:
    """Make the offers of the focus pending, and send them to their participants.

    An offer is dropped if its participant has left, is moving or is negotiating again: a later task brings a new offer.
    An offer that the result of another task has already brought is also dropped.
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
        locked.add_modification(modification)
        tell_offer(locked, modification, participant, caused_by=modification.caused_by_id)


# Called by the media node, through the wiring. Events go to everybody.
@transaction.atomic(savepoint=False)
def leg_lost(*, conference_id: str, participant_id: str, leg: str, by: Assignment, now: datetime) -> None:
    """Remove a participant whose media did not come back.

    A report about an earlier leg of the participant changes nothing. Nor does a report by a node that no longer serves
    the conference.

    :param leg: the ID of the modification whose offer made the leg.
    """
    found = _served(conference_id, participant_id, by, now)
    if found is not None and leg == _newest_leg(*found):
        locked, participant = found
        remove(locked, participant, LeftReason.MEDIA_LOST)
        locked.save()


def _served(
    conference_id: str, participant_id: str, by: Assignment, now: datetime
) -> tuple[LockedConference, Participant] | None:
    """Lock a conference, and return it with a participant that has joined; None if the node does not serve both."""
    try:
        locked = lock(conference_id, now=now)
        participant = locked.participant(participant_id)
    except NotFoundError:
        return None
    is_served = by == Assignment(locked.conference.media_node, locked.conference.generation)
    return (locked, participant) if is_served and participant.is_joined else None


def _newest_leg(locked: LockedConference, participant: Participant) -> str | None:
    """Return the ID of the newest offer that made, or will make, a leg of a participant.

    The participant or the focus made this offer. Once the focus has offered a new connection, the earlier leg is gone,
    even if the offer expires unanswered.
    """
    alive = [ModificationState.SENT, ModificationState.ACCEPTED]
    own = Q(offered_by=participant, state__in=alive)
    focus = Q(offered_to=participant, state__in=[*alive, ModificationState.EXPIRED])
    offers = locked.conference.modifications.since_join(participant).filter(own | focus, restart=True)
    return offers.order_by("-created_at").values_list("pk", flat=True).first()


# Called by the media node, through the wiring. Every open WebSocket of the conference gets the event.
def speaker_changed(*, conference_id: str, participant_id: str, by: Assignment) -> None:
    """Tell a conference which participant is the active speaker."""
    _tell_ephemeral(conference_id, by, ActiveSpeaker(participant=participant_id))


# Called by the media node, through the wiring. Every open WebSocket of the conference gets the event.
def connection_changed(*, conference_id: str, participant_id: str, connection: Connection, by: Assignment) -> None:
    """Tell a conference the quality of the connection between a participant and the focus."""
    _tell_ephemeral(conference_id, by, Quality(participant=participant_id, connection=connection))


# Called by the media node, through the wiring. Only the participant itself gets the event.
@transaction.atomic(savepoint=False)
def record_connection(
    *, conference_id: str, participant_id: str, verdict: Verdict, since: datetime, by: Assignment, now: datetime
) -> None:
    """Record a change of the quality of a participant's connection in the participant's log.

    :param since: when the connection changed. The node reports it later, because it waits for a lasting change.
    """
    found = _served(conference_id, participant_id, by, now)
    if found is not None:
        locked, participant = found
        locked.tell(participant, ConnectionChanged(participant=participant.pk, connection=verdict, since=since))
        locked.send_events()


# Called by the media node, through the wiring. Only the participant gets the event, on its open WebSockets.
def notify(*, conference_id: str, participant_id: str, notice: Notice, by: Assignment) -> None:
    """Tell a participant what the focus does with its media."""
    event: EphemeralEvent
    if isinstance(notice, UsedLayers):
        event = Layers(mid=notice.mid, rids=list(notice.rids))
    else:
        videos: list[VideoShape] = [{"participant": each.participant, "label": each.label} for each in notice.videos]
        event = PausedVideos(videos=videos, reason=PauseReason.SLOW_CONNECTION)
    _tell_ephemeral(conference_id, by, event, participant_id)


def _tell_ephemeral(conference_id: str, by: Assignment, event: EphemeralEvent, only: str | None = None) -> None:
    """If the reporting node still serves the conference, send an event to its participants that have joined.

    :param only: the ID of the only participant that gets the event.
    """
    served = Q(conference__media_node=by.node, conference__generation=by.generation)
    joined = Participant.objects.joined().filter(served, conference=conference_id)
    if only is not None:
        joined = joined.filter(pk=only)
    sessions = [str(pk) for pk in joined.values_list("session", flat=True)]
    if sessions:
        log.send_ephemeral(sessions, conference_id, event)
