"""The watcher: once per heartbeat, find the readers of this process that missed a wake-up or the end of their session.

It also finds sessions with readers that are marked as away.

Readers depend on wake-ups. If a reader missed a wake-up, its cursor differs from the number of the session's newest
event. One query returns this number for many sessions. A session that is missing from the result is no longer live.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from django.conf import settings

from events import clock, presence
from events.models import Session
from events.problems import OUTAGE, log_outage
from events.readers import READERS
from events.threads import in_database_thread

logger = logging.getLogger(__name__)

# How many sessions one query covers.
BATCH = 500


class Watcher:
    """The task that checks the readers while there are any."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task on the running event loop, unless it runs there already."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(_watch(), name="watcher")

    def stop_when_idle(self) -> None:
        """Stop the task if there are no readers."""
        if self._task is not None and READERS.is_empty:
            self._task.cancel()
            self._task = None


WATCHER = Watcher()


async def _watch() -> None:
    """Check all sessions once per heartbeat. A failed check does not stop the next one."""
    while True:
        await asyncio.sleep(settings.HEARTBEAT_SECONDS)
        try:
            await _check()
        except OUTAGE as error:
            log_outage(error)
        except Exception:
            logger.exception("The check for readers that missed a wake-up failed")


async def _check() -> None:
    """Check all sessions, in batches."""
    sessions = READERS.sessions()
    for start in range(0, len(sessions), BATCH):
        await _check_batch(sessions[start : start + BATCH])


async def _check_batch(sessions: Sequence[str]) -> None:
    """Make each reader read the log if its cursor differs from the number of the session's newest event."""
    newest = await in_database_thread(newest_numbers)(sessions)
    for session_id in sessions:
        for reader in READERS.of(session_id):
            if reader.cursor != newest.get(session_id):
                reader.take([])


def newest_numbers(sessions: Sequence[str]) -> Mapping[str, int]:
    """Return the number of the last event for each of these sessions that is still live.

    These sessions have readers, so those that another process has marked as away are marked as present.
    """
    live = Session.objects.live(clock.now()).filter(pk__in=sessions)
    rows = list(live.values_list("pk", "last_seq", "away_until"))
    for session_id, _, away_until in rows:
        if away_until is not None:
            presence.follow(session_id)
    return {session_id: last_seq for session_id, last_seq, _ in rows}
