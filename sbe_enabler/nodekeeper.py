"""The nodekeeper moves the conferences of media nodes that are gone to live nodes.

It runs beside each timekeeper. Several may run at the same time. A node counts as gone only if this process itself
observed the node's silence while the database accepted writes. So no node loses its conferences because of a database
outage.
"""

import asyncio
import logging

from django.conf import settings

from conferences.operations.nodes import ADOPTIONS_PER_PASS, adopt_orphans
from events import clock
from events.threads import in_database_thread
from media import tasks
from media.focus.watch import Watch

logger = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 1.0
# The pause between two batches of adoptions. Each adoption makes all participants of a conference renegotiate.
SHORTEST_SLEEP_SECONDS = 0.1


async def keep_nodes() -> None:
    """Watch the media nodes and move conferences, until cancelled."""
    watch = Watch()
    while True:
        pause = LONGEST_SLEEP_SECONDS
        try:
            pause = await in_database_thread(replace_lost_nodes)(watch)
        except Exception as error:
            watch.note_failure()
            logger.warning("The nodekeeper failed and will try again: %r", error)
        await asyncio.sleep(pause)


def replace_lost_nodes(watch: Watch) -> float:
    """Move at most one batch of conferences whose node is gone; return the seconds to sleep."""
    now = clock.now()
    tasks.try_write(now=now)
    watched = watch.note_look()
    if adopt_orphans(now=now, watched=watched) == ADOPTIONS_PER_PASS:
        return SHORTEST_SLEEP_SECONDS
    pause = LONGEST_SLEEP_SECONDS
    if last := tasks.next_to_fall_silent(now=now):
        pause = min(pause, (last + settings.MEDIA_NODE_PATIENCE - now).total_seconds())
    return max(pause, SHORTEST_SLEEP_SECONDS)
