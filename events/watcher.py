"""Watch the sessions of all readers of a process, with one query for many of them, once per heartbeat.

A reader lives on wake-ups. One that missed a wake-up, or the end of its session, is found here: its cursor differs
from the session's last number, or the session is no longer live.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from django.conf import settings

from events import clock
from events.models import Session
from events.problems import OUTAGE, note_outage
from events.readers import READERS
from events.threads import in_database_thread

logger = logging.getLogger(__name__)

# How many sessions one query asks for.
BATCH = 500


class Watcher:
    """Watches while there are readers."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch on the running event loop, unless that is done already."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(_watch(), name="watcher")

    def stop_when_idle(self) -> None:
        """Stop when there are no readers."""
        if self._task is not None and READERS.is_empty:
            self._task.cancel()
            self._task = None


WATCHER = Watcher()


async def _watch() -> None:
    """Look at all sessions once per heartbeat, whether or not the last look succeeded."""
    while True:
        await asyncio.sleep(settings.HEARTBEAT_SECONDS)
        try:
            await _look()
        except OUTAGE as error:
            note_outage(error)
        except Exception:
            logger.exception("Looking for readers that missed a wake-up failed")


async def _look() -> None:
    """Look at all sessions."""
    sessions = READERS.sessions()
    for start in range(0, len(sessions), BATCH):
        await _look_at(sessions[start : start + BATCH])


async def _look_at(sessions: Sequence[str]) -> None:
    """Send those readers to the log whose cursor differs from what the database says."""
    newest = await in_database_thread(newest_numbers)(sessions)
    for session_id in sessions:
        for reader in READERS.of(session_id):
            if reader.cursor != newest.get(session_id):
                reader.take([])


def newest_numbers(sessions: Sequence[str]) -> Mapping[str, int]:
    """Return the last number in the log of each of these sessions that is live."""
    return dict(Session.objects.live(clock.now()).filter(pk__in=sessions).values_list("pk", "last_seq"))
