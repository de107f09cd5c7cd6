"""The outbox of the focus: tasks are rows, written in the same transaction as the changes that need them.

One node serves a conference, and executes the conference's tasks in the order of their IDs. This is the order of the
changes, because tasks are written under the conference's lock. Every task describes the whole conference (`view`), so a
task that is executed again after a crash does no harm. The operation that applies the result deletes the row
(`finish`).

When the transaction commits, a wake-up is sent to the node: directly if the node runs in this process, otherwise
through the channel layer. A lost wake-up costs only latency, because nodes also poll once a second.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from django.db.models import F, Min
from django.db.models.functions import Now

from media.messages import ConferenceView, Task, write_task
from media.models import MediaNode, MediaTask
from media.pause import Pause

logger = logging.getLogger(__name__)

# The time limit for sending a wake-up through the channel layer.
_PATIENCE_SECONDS = 1.0
# After a failure, the channel layer is not used for this long.
PAUSE_SECONDS = 3.0
# A node that was silent for longer than this has missed a heartbeat.
_SUSPICION = timedelta(seconds=2)


# --- Nodes ------------------------------------------------------------------------------------------------


def heartbeat(node_id: str, *, legs: int = 0, counters: Mapping[str, int] | None = None, announce: str = "") -> None:
    """Register a node, or record that it is alive, how many legs it has, and its counters.

    The database's clock gives the time of the heartbeat, so nodes and the processes that watch them need no common
    clock.
    """
    news = {"heartbeat_at": Now(), "legs": legs, "counters": dict(counters or {}), "announce": announce}
    if not MediaNode.objects.filter(pk=node_id).update(**news):
        MediaNode.objects.create(pk=node_id, started_at=Now(), **news)


def retire(node_id: str) -> None:
    """Take a node out of service: it gets no new conference, and its tasks are deleted."""
    MediaNode.objects.filter(pk=node_id).delete()
    MediaTask.objects.filter(node=node_id).delete()


def live_counters(*, now: datetime) -> dict[str, dict[str, int]]:
    """Return the counters of each live node, by its ID."""
    return dict(MediaNode.objects.live(now - settings.MEDIA_NODE_PATIENCE).values_list("pk", "counters"))


def live_nodes(*, now: datetime) -> list[str]:
    """Return the IDs of the live nodes."""
    return list(live_counters(now=now))


def present_nodes(*, now: datetime, watched: timedelta) -> list[str]:
    """Return the IDs of the nodes that keep their conferences.

    :param watched: for how long the caller has watched the nodes without a break. Only silence in this time counts.
    """
    patience = settings.MEDIA_NODE_PATIENCE
    nodes = MediaNode.objects.live(now - patience) if watched >= patience else MediaNode.objects.all()
    return list(nodes.values_list("pk", flat=True))


def try_write(*, now: datetime) -> None:
    """Write to the row of a node that has missed heartbeats, if there is one.

    This write fails or waits if nodes cannot write either. In that case, a silent node may be alive.
    """
    silent = MediaNode.objects.filter(heartbeat_at__lt=now - _SUSPICION).order_by("-heartbeat_at")
    suspect = silent.values_list("pk", flat=True).first()
    if suspect is not None:
        MediaNode.objects.filter(pk=suspect).update(legs=F("legs"))


def next_to_fall_silent(*, now: datetime) -> datetime | None:
    """Return the time of the last heartbeat of the live node that has been silent longest; None without live nodes."""
    at: datetime | None = MediaNode.objects.live(now - settings.MEDIA_NODE_PATIENCE).aggregate(at=Min("heartbeat_at"))[
        "at"
    ]
    return at


# --- Tasks ------------------------------------------------------------------------------------------------


def enqueue(*, node_id: str, conference_id: str, task: Task, view: ConferenceView, now: datetime) -> None:
    """Write a task for a node, in the transaction of the change that asks for it. The node is woken on commit."""
    kind, payload = write_task(task, view)
    MediaTask.objects.create(node=node_id, conference=conference_id, kind=kind, payload=payload, created_at=now)
    transaction.on_commit(partial(_wake_node, node_id))


def waiting(node_id: str, limit: int, *, but: Collection[str] = ()) -> list[MediaTask]:
    """Return the node's next tasks in order, except those of the conferences in `but`.

    A task stays until `finish` deletes it. So a task whose result could not be applied is returned again.
    """
    return list(MediaTask.objects.filter(node=node_id).exclude(conference__in=but).order_by("pk")[:limit])


def forget(conference_id: str) -> None:
    """Delete the tasks of a conference whose node is gone."""
    MediaTask.objects.filter(conference=conference_id).delete()


def find(task_id: int) -> MediaTask | None:
    """Return a task, or None if it is finished or deleted."""
    return MediaTask.objects.filter(pk=task_id).first()


def finish(task_id: int) -> bool:
    """Delete a task, in the transaction that applies its result. Return False if it was already deleted."""
    deleted, _ = MediaTask.objects.filter(pk=task_id).delete()
    return deleted > 0


def prune(*, now: datetime, age: timedelta, limit: int) -> int:
    """Delete the nodes that have been silent for `age`, and at most `limit` tasks that are older than `age`.

    Return how many tasks were deleted.
    """
    MediaNode.objects.filter(heartbeat_at__lte=now - age).delete()
    due = MediaTask.objects.filter(created_at__lte=now - age).order_by("created_at")
    deleted, _ = MediaTask.objects.filter(pk__in=list(due.values_list("pk", flat=True)[:limit])).delete()
    return deleted


# --- Waking -----------------------------------------------------------------------------------------------

_listeners: dict[str, Callable[[], None]] = {}


def listen(node_id: str, wake: Callable[[], None]) -> Callable[[], None]:
    """Register `wake`, which wakes a node of this process and may be called from any thread.

    Return a function that unregisters `wake`.
    """
    _listeners[node_id] = wake

    def end() -> None:
        _listeners.pop(node_id, None)

    return end


async def listen_from_afar(node_id: str, wake: Callable[[], None]) -> None:
    """Call `wake` for every wake-up that comes through the channel layer, until cancelled.

    A node in a process of its own runs this in addition to its polling. While the layer fails, the node only polls.
    """
    while True:
        try:
            await _receive(_layer(), _group(node_id), wake)
        except Exception as error:
            logger.warning("The channel layer fails; media node %s polls for its tasks: %r", node_id, error)
        await asyncio.sleep(PAUSE_SECONDS)


async def _receive(layer: Any, group: str, wake: Callable[[], None]) -> None:
    """Subscribe to a group and call `wake` for each of its messages."""
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    while True:
        await layer.receive(channel)
        wake()


def _layer() -> Any:
    """Return the channel layer."""
    return get_channel_layer()


def _group(node_id: str) -> str:
    """Return the channel layer's group of a node."""
    return f"media.{node_id}"


def _wake_node(node_id: str) -> None:
    """Wake a node in this or another process."""
    if wake := _listeners.get(node_id):
        wake()
    else:
        AFAR.wake(node_id)


class Afar:
    """Wakes nodes through the channel layer. While the layer fails, nodes find their tasks by polling."""

    def __init__(self) -> None:
        self._pause = Pause(PAUSE_SECONDS)

    def wake(self, node_id: str) -> None:
        """Send a wake-up, from a thread that runs sync code."""
        if self._pause.lasts:
            return
        try:
            async_to_sync(self._send)(node_id)
        except Exception as error:
            self._pause.begin()
            logger.warning("The channel layer fails; media nodes poll for their tasks: %r", error)

    async def _send(self, node_id: str) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await _layer().group_send(_group(node_id), {"type": "wake"})


AFAR = Afar()
