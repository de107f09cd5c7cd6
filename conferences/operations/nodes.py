"""Let another media node serve the conferences of one that is gone: every leg is built anew."""

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from conferences.machine import Action, ConferenceState, ModificationState
from conferences.models import Conference, Modification, Participant, Topology, new_id
from conferences.operations.room import Room, lock
from conferences.wire import party
from media import tasks
from media.tasks import TaskKind

logger = logging.getLogger(__name__)

_GONE = {"reason": "media-unavailable", "detail": "The media node that was asked is gone. Offer it again."}


def orphans(*, now: datetime) -> QuerySet[Conference]:
    """Return the live conferences whose media node is gone; none while there is no other node."""
    live = tasks.live_nodes(now=now)
    if not live:
        return Conference.objects.none()
    return Conference.objects.live().filter(topology=Topology.FOCUS).exclude(media_node__in=live)


# Called by the timekeeper; tells everybody in the conference.
@transaction.atomic(savepoint=False)
def adopt_conference(*, conference_id: str, now: datetime) -> None:
    """Place a conference on another node and let that offer fresh connections, made from what legs said last.

    A call, a rejoin or a move that waits for its answer is asked of the new node again. Another offer of a participant
    is rejected, and it may make it again; an offer of the node that is gone is cancelled.
    """
    room = lock(conference_id, now=now)
    if room.conference.state == ConferenceState.SESSION_TERMINATED or _is_served(room, now):
        return
    tasks.forget(conference_id)
    room.conference.media_node = tasks.place(now=now)
    room.conference.save(update_fields=["media_node"])
    waiting = [each for each in room.pending if each.restart and each.offered_to_id is None]
    for modification in [each for each in room.pending if each not in waiting]:
        _withdraw(room, modification)
    asked = {each.offered_by_id for each in waiting}
    seats = [seat for seat in room.seats if seat.is_sitting and seat.pk not in asked]
    restarts = [
        {"participant": seat.pk, "modId": new_id(), "sdp": text} for seat in seats if (text := _last_word(room, seat))
    ]
    room.errand = (TaskKind.UPDATE, {"restarts": restarts})
    room.save()
    for modification in waiting:
        seat = room.seat(modification.offered_by_id)
        room.ask_focus(TaskKind.OFFER, modification, seat, sdp=modification.offer, fresh=True)
        room.send_errand()
    logger.info("conference %s: adopted by media node %s", conference_id, room.conference.media_node)


def _is_served(room: Room, now: datetime) -> bool:
    """Tell whether the conference's node is alive after all."""
    return room.conference.media_node in tasks.live_nodes(now=now)


def _withdraw(room: Room, modification: Modification) -> None:
    """Settle an offer from or to the node that is gone, and tell the participant."""
    own = modification.offered_to_id is None
    room.settle(modification, Action.REJECT if own else Action.CANCEL)
    participant = room.seat(modification.offered_by_id if own else modification.offered_to_id)
    room.tell_settlement(modification, participant, **{"from": party(None)}, **(_GONE if own else {}))


def _last_word(room: Room, seat: Participant) -> str:
    """Return the last description that a participant's leg was settled with; empty where it never had a leg."""
    settled = room.conference.modifications.filter(state=ModificationState.ACCEPTED)
    last = settled.filter(Q(offered_by=seat) | Q(offered_to=seat)).order_by("-settled_at").first()
    if last is None:
        return ""
    return last.offer if last.offered_by_id == seat.pk else last.answer
