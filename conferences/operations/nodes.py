"""Let another media node serve the conferences of one that is gone: every leg is built anew."""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Min, Q, QuerySet

from conferences.machine import Action, ModificationState
from conferences.models import Conference, Modification, Participant, new_id
from conferences.operations.room import Room, lock
from conferences.wire import party
from media import tasks
from media.tasks import TaskKind

logger = logging.getLogger(__name__)

_GONE = {"reason": "media-unavailable", "detail": "The media node that was asked is gone. Offer it again."}


# How many conferences one look moves. Each move makes all participants negotiate anew.
ADOPTIONS_PER_LOOK = 10


def adopt_orphans(*, now: datetime, watched: timedelta) -> int:
    """Place a few of the conferences whose node is gone on live ones; return how many were tried.

    A node is gone when it has retired, or when it was silent for `MEDIA_NODE_PATIENCE` and the caller has watched for
    as long. Any number of callers may do this at the same time: each takes other conferences.

    :param watched: for how long the caller has watched the nodes with the database reachable.
    """
    if not tasks.live_nodes(now=now):
        return 0
    tried: list[str] = []
    while len(tried) < ADOPTIONS_PER_LOOK:
        orphan = _orphans(now, watched).exclude(pk__in=tried).values_list("pk", flat=True).first()
        if orphan is None:
            break
        tried.append(orphan)
        try:
            adopt_conference(conference_id=orphan, now=now, watched=watched)
        except Exception:
            logger.exception("conference %s could not be adopted", orphan)
    return len(tried)


def _orphans(now: datetime, watched: timedelta) -> QuerySet[Conference]:
    """Return the live conferences whose media node is gone."""
    gone = _nodes_in_use().difference(tasks.present_nodes(now=now, watched=watched))
    return Conference.objects.live().filter(media_node__in=sorted(gone)).order_by()


def _nodes_in_use() -> set[str]:
    """Return the IDs of the nodes that live conferences name, with one jump in the index for each node."""
    nodes: set[str] = set()
    node = ""
    while node is not None:
        nodes.add(node)
        node = Conference.objects.live().filter(media_node__gt=node).aggregate(at=Min("media_node"))["at"]
    return nodes - {""}


# Called by the nodekeeper; tells everybody in the conference.
@transaction.atomic(savepoint=False)
def adopt_conference(*, conference_id: str, now: datetime, watched: timedelta) -> None:
    """Place a conference on another node and let that offer fresh connections, made from what legs said last.

    A call, a rejoin or a move that waits for its answer is asked of the new node again. Another offer of a participant
    is rejected, and it may make it again; an offer of the node that is gone is cancelled. Nothing happens where
    another process holds or has adopted the conference, or its node has been heard of again.
    """
    free = _orphans(now, watched).select_for_update(skip_locked=True, no_key=True)
    if not free.filter(pk=conference_id).values_list("pk", flat=True).first():
        return
    room = lock(conference_id, now=now)
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
