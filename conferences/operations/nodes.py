"""Choose media nodes for conferences, and replace media nodes that are gone. The new node rebuilds every leg."""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Min, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from conferences.machine import Action, ModificationState
from conferences.models import Conference, Modification, Participant
from conferences.operations.locked_conference import LockedConference
from conferences.operations.locking import lock
from conferences.operations.modifications import cancelled, rejected
from events.models import new_id
from media import tasks
from media.messages import OfferTask, Refusal, RefusalCode, Restart, UpdateTask
from media.models import MediaNode

logger = logging.getLogger(__name__)

# Building a leg takes time. So a heartbeat may not yet count the legs of a conference that was placed less than this
# long before the heartbeat.
_UNCOUNTED = timedelta(seconds=2)
# The estimated number of legs that a newly placed conference adds to its node: those of its first two participants.
_LEGS_OF_CONFERENCE = 2

_GONE = Refusal(RefusalCode.MEDIA_UNAVAILABLE, "The media node of this conference was replaced. Make the offer again.")


class NoNodeError(Exception):
    """No media node is alive."""


def place(conference: Conference, *, now: datetime) -> None:
    """Choose the live node with the fewest legs for a conference. The caller saves the row in the same transaction.

    The number of legs that a node reports is as old as its heartbeat. The query adds legs for each conference placed
    since then, so a burst of new conferences spreads over all nodes.

    :raises NoNodeError: when no node is alive.
    """
    placed = Conference.objects.live().filter(
        media_node=OuterRef("pk"), placed_at__gt=OuterRef("heartbeat_at") - Value(_UNCOUNTED)
    )
    number = placed.order_by().values("media_node").annotate(number=Count("pk")).values("number")
    live = MediaNode.objects.live(now - settings.MEDIA_NODE_PATIENCE)
    load = F("legs") + Coalesce(Subquery(number), 0) * _LEGS_OF_CONFERENCE
    node_id = live.order_by(load, "pk").values_list("pk", flat=True).first()
    if node_id is None:
        raise NoNodeError
    conference.media_node, conference.placed_at = node_id, now


def assigned(*, node_id: str) -> dict[str, int]:
    """Return the generations of the live conferences that a node must serve, by the conferences' IDs."""
    return dict(Conference.objects.live().filter(media_node=node_id).values_list("pk", "generation"))


# The most conferences that one pass moves. All participants of a moved conference negotiate anew.
ADOPTIONS_PER_PASS = 10


def adopt_orphans(*, now: datetime, watched: timedelta) -> int:
    """Move a few conferences whose node is gone to live nodes. Return how many conferences it tried to move.

    A node is gone when it has retired, or when it was silent for `MEDIA_NODE_PATIENCE`. The caller must have watched
    the node for all of that time. Several callers may do this at the same time: each moves different conferences.

    :param watched: how long the caller has watched the nodes while the database was reachable.
    """
    if not tasks.live_nodes(now=now):
        return 0
    tried: list[str] = []
    while len(tried) < ADOPTIONS_PER_PASS:
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
    """Return the IDs of all nodes to which live conferences are assigned, with one index lookup for each node."""
    nodes: set[str] = set()
    node = ""
    while node is not None:
        nodes.add(node)
        node = Conference.objects.live().filter(media_node__gt=node).aggregate(at=Min("media_node"))["at"]
    return nodes - {""}


# Called by the nodekeeper. Events go to everybody in the conference.
@transaction.atomic(savepoint=False)
def adopt_conference(*, conference_id: str, now: datetime, watched: timedelta) -> None:
    """Move a conference to another node, which offers new connections built from the last settled descriptions.

    The pending offers end as follows:

    - Participants' offers from a new peer connection, for example to join or move, go to the new node.
    - Participants' other offers are rejected. The participants may repeat them.
    - The offers of the node that is gone are cancelled.

    Do nothing if another process has locked or adopted the conference, or if its node is alive again.
    """
    free = _orphans(now, watched).select_for_update(skip_locked=True, no_key=True)
    if not free.filter(pk=conference_id).values_list("pk", flat=True).first():
        return
    locked = lock(conference_id, now=now)
    tasks.forget(conference_id)
    place(locked.conference, now=now)
    locked.conference.generation += 1
    locked.conference.save(update_fields=["media_node", "placed_at", "generation"])
    waiting = [each for each in locked.pending if each.restart and each.offered_to_id is None]
    for modification in [each for each in locked.pending if each not in waiting]:
        _withdraw(locked, modification)
    asked = {each.offered_by_id for each in waiting}
    others = [each for each in locked.joined if each.pk not in asked]
    restarts = [restart for each in others if (restart := _restart(locked, each))]
    locked.ask_focus(UpdateTask(tuple(restarts)))
    locked.save()
    for modification in waiting:
        participant = locked.participant(modification.offered_by_id)
        locked.ask_focus(OfferTask(participant.pk, modification.pk, modification.offer, fresh=True))
        locked.send_focus_task()
    logger.info("conference %s: adopted by media node %s", conference_id, locked.conference.media_node)


def _withdraw(locked: LockedConference, modification: Modification) -> None:
    """Settle a pending offer from or to the node that is gone, and tell the participant."""
    own = modification.offered_to_id is None
    locked.settle(modification, Action.REJECT if own else Action.CANCEL)
    participant = locked.participant(modification.offered_by_id if own else modification.offered_to_id)
    event = rejected(modification, by=None, refusal=_GONE) if own else cancelled(modification, by=None)
    locked.tell(participant, event)


def _restart(locked: LockedConference, participant: Participant) -> Restart | None:
    """Return what the new node needs to rebuild a participant's leg; None if there never was a leg.

    The result comes from the last accepted modification: the participant's offer with its answer, or the participant's
    answer to an offer of the focus.
    """
    settled = locked.conference.modifications.since_join(participant).filter(state=ModificationState.ACCEPTED)
    last = settled.order_by("-settled_at").first()
    if last is None:
        return None
    own = last.offered_by_id == participant.pk
    return Restart(participant.pk, new_id(), last.offer if own else last.answer, answer=last.answer if own else "")
