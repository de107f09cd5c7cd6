"""The timekeeper: settles what is due within 250 ms, by the same operations as a client would.

Run it as a task of the web process or as `manage.py timekeeper`, any number of times over. It sleeps until the next
deadline that stands in the database, and looks again before one that it has not seen could be due.
"""

import asyncio
import logging
import time

from django.conf import settings
from django.utils import timezone

from conferences.operations.deadlines import next_deadline, prune, settle_due
from events.threads import in_database_thread

logger = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 1.0
# A deadline that cannot be settled must not keep the timekeeper from sleeping at all.
SHORTEST_SLEEP_SECONDS = 0.02
PRUNE_SECONDS = 600.0


async def keep_time() -> None:
    """Settle what is due until cancelled. A database that is away for a while costs latency, nothing else."""
    prune_at = time.monotonic() + PRUNE_SECONDS
    while True:
        pause = LONGEST_SLEEP_SECONDS
        try:
            pause = await in_database_thread(_settle)()
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + PRUNE_SECONDS
                await in_database_thread(_prune)()
        except Exception:
            logger.exception("The timekeeper could not look; it looks again")
        await asyncio.sleep(pause)


def _settle() -> float:
    """Settle what is due now; return how many seconds to sleep."""
    settle_due(now=timezone.now())
    deadline = next_deadline()
    # What is created from now on is due after the shortest of these at the earliest.
    unseen = min(
        settings.RING_DURATION, settings.MODIFICATION_LIFETIME, settings.MOVE_WINDOW, settings.SESSION_LIFETIME
    )
    pause = min(LONGEST_SLEEP_SECONDS, unseen.total_seconds())
    if deadline is not None:
        pause = min(pause, (deadline - timezone.now()).total_seconds())
    return max(pause, SHORTEST_SLEEP_SECONDS)


def _prune() -> None:
    """Delete what is older than its retention."""
    logger.info("pruned: %s", prune(now=timezone.now()))
