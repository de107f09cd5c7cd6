"""The nodekeeper: lets live media nodes adopt the conferences of one that is gone.

It runs beside the timekeeper, any number of times over. Media nodes that are silent while the database is away are
left alone: only silence that this process has watched itself, with a database that takes writes, counts.
"""

import asyncio
import logging

from django.conf import settings

from conferences.operations.nodes import ADOPTIONS_PER_LOOK, adopt_orphans
from events import clock
from events.threads import in_database_thread
from media import tasks
from media.focus.watch import Watch

logger = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 1.0
# Between two batches of adoptions: each one lets every participant of a conference negotiate anew.
SHORTEST_SLEEP_SECONDS = 0.1


async def keep_nodes() -> None:
    """Watch the media nodes until cancelled."""
    watch = Watch()
    while True:
        pause = LONGEST_SLEEP_SECONDS
        try:
            pause = await in_database_thread(look)(watch)
        except Exception as error:
            watch.note_failure()
            logger.warning("The nodekeeper could not look; it looks again: %r", error)
        await asyncio.sleep(pause)


def look(watch: Watch) -> float:
    """Let conferences be adopted where that is due; return how many seconds to sleep."""
    now = clock.now()
    tasks.try_write(now=now)
    watched = watch.note_look()
    if adopt_orphans(now=now, watched=watched) == ADOPTIONS_PER_LOOK:
        return SHORTEST_SLEEP_SECONDS
    pause = LONGEST_SLEEP_SECONDS
    if last := tasks.next_to_fall_silent(now=now):
        pause = min(pause, (last + settings.MEDIA_NODE_PATIENCE - now).total_seconds())
    return max(pause, SHORTEST_SLEEP_SECONDS)
