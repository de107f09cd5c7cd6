"""Which sessions are away: those that had a reader, and have had none for `AWAY_AFTER`.

A process marks only sessions that it was the last to follow (`Session.followed_by`). So a client that reconnects to
another process is not marked. If a process crashes, its sessions are not marked, and expire at their usual time. A
session that never had a reader is never away.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from events import clock
from events.models import Session
from events.problems import OUTAGE, log_outage
from events.readers import READERS
from events.threads import in_database_thread

logger = logging.getLogger(__name__)

# The name of this process in `Session.followed_by`.
PROCESS = secrets.token_hex(4)
# How many sessions one statement marks, and the shortest pause between two statements.
BATCH = 500
_PAUSE_SECONDS = 0.25


class Presence:
    """The sessions whose last reader in this process has stopped, and the task that marks them as away."""

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def lose(self, session_id: str) -> None:
        """Mark a session as away after AWAY_AFTER, unless it has a reader in any process by then."""
        loop = asyncio.get_running_loop()
        self._due_at.pop(session_id, None)
        self._due_at[session_id] = loop.time() + settings.AWAY_AFTER.total_seconds()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._mark_all(), name="presence")

    async def attend(self, session_id: str) -> None:
        """Treat a poll that was answered at once as a reader that has stopped."""
        await in_database_thread(follow)(session_id)
        if not READERS.of(session_id):
            self.lose(session_id)

    async def _mark_all(self) -> None:
        """Mark the sessions as they become due, until none is left. After an outage, try again."""
        loop = asyncio.get_running_loop()
        while self._due_at:
            # The dictionary is in the order of the due times.
            first = next(iter(self._due_at.values()))
            await asyncio.sleep(max(first - loop.time(), _PAUSE_SECONDS))
            due = [each for each, at in self._due_at.items() if at <= loop.time()][:BATCH]
            for session_id in due:
                del self._due_at[session_id]
            absent = [each for each in due if not READERS.of(each)]
            try:
                await self._mark(absent)
            except OUTAGE as error:
                log_outage(error)
                await self._outlast_outage(absent)
            except Exception:
                logger.exception("%d sessions could not be marked as away", len(absent))

    async def _outlast_outage(self, absent: list[str]) -> None:
        """Wait until the database can be used, then start the time of all sessions again.

        During the outage, no client could reconnect.
        """
        while not await in_database_thread(_is_database_usable)():
            await asyncio.sleep(_PAUSE_SECONDS)
        for session_id in [*self._due_at, *absent]:
            self.lose(session_id)

    async def _mark(self, absent: list[str]) -> None:
        """Mark sessions as away, except those that have got a reader in the meantime.

        Such a reader may have found its session present before the session was marked.
        """
        await in_database_thread(mark_away)(absent)
        for session_id in absent:
            if READERS.of(session_id):
                await in_database_thread(follow)(session_id)


PRESENCE = Presence()


def mark_away(sessions: list[str]) -> None:
    """Mark sessions as away from now on, if this process was the last to follow them."""
    if sessions:
        present = Session.objects.not_over().filter(away_until__isnull=True)
        with transaction.atomic():
            _start_absence(present.filter(pk__in=sessions, followed_by=PROCESS))


def restart_deadlines() -> None:
    """Give clients time to return after an outage of the database, during which no client could reach the service.

    The absence of all sessions that are away begins again. Sessions that have expired, or soon will, live for
    AWAY_LIFETIME from now, so that their clients can renew them.
    """
    now = clock.now()
    expiring = Session.objects.not_over().filter(expires_at__lt=now + settings.AWAY_LIFETIME)
    _in_batches(Session.objects.away(), _start_absence)
    _in_batches(expiring, lambda some: _lock(some).update(expires_at=now + settings.AWAY_LIFETIME))


def _in_batches(sessions: QuerySet[Session], work: Callable[[QuerySet[Session]], object]) -> None:
    """Do work on sessions in transactions of BATCH sessions, so that other transactions wait only briefly."""
    ids = list(sessions.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), BATCH):
        with transaction.atomic():
            work(sessions.filter(pk__in=ids[start : start + BATCH]))


def _start_absence(sessions: QuerySet[Session]) -> None:
    """Let these sessions end after AWAY_LIFETIME."""
    _lock(sessions).update(away_until=clock.now() + settings.AWAY_LIFETIME)


def _lock(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Lock these sessions, and return them.

    The rows are locked in the order of their IDs, as in `log.append`. In any other order, the two could deadlock.
    """
    locked = sessions.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True)
    return Session.objects.filter(pk__in=list(locked))


def _is_database_usable() -> bool:
    """Return whether the database answers a query."""
    try:
        Session.objects.order_by().values("pk").first()
    except OUTAGE:
        return False
    return True


def follow(session_id: str) -> bool:
    """Record that a session has a reader in this process. Return whether the session is live."""
    live = Session.objects.live(clock.now()).filter(pk=session_id)
    known = live.values_list("followed_by", "away_until").first()
    if known is not None and known != (PROCESS, None):
        live.update(followed_by=PROCESS, away_until=None)
    return known is not None
