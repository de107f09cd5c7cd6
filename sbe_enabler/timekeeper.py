"""The timekeeper: settles what is due within 250 ms, by the same operations as a client would.

Run it as a task of the web process or as `manage.py timekeeper`, any number of times over. It sleeps until the next
deadline that stands in the database, and looks again before one that it has not seen could be due.
"""

import asyncio
import logging
import time
from collections import Counter, deque

from django.conf import settings
from django.db import connection

from conferences.operations.deadlines import Job, due, next_deadline, settle
from conferences.operations.retention import prune_in_batches
from events import clock
from events.threads import in_database_thread

logger = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 1.0
# A deadline that cannot be settled must not keep the timekeeper from sleeping at all.
SHORTEST_SLEEP_SECONDS = 0.02
PRUNE_SECONDS = 600.0
# How many threads settle deadlines at the same time; the others are left to requests. SQLite has one writer.
_SETTLERS = max(1, settings.DATABASE_THREADS // 2) if connection.features.has_select_for_update_skip_locked else 1


async def keep_time() -> None:
    """Settle what is due, and prune, until cancelled. A database that is away costs latency, nothing else."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep_settling())
        group.create_task(_keep_pruning())


async def _keep_settling() -> None:
    """Settle what is due until cancelled."""
    while True:
        pause = LONGEST_SLEEP_SECONDS
        try:
            pause = await look()
        except Exception:
            logger.exception("The timekeeper could not look; it looks again")
        await asyncio.sleep(pause)


async def _keep_pruning() -> None:
    """Delete what is older than its retention until cancelled."""
    while True:
        await asyncio.sleep(PRUNE_SECONDS)
        try:
            await _prune()
        except Exception:
            logger.exception("Pruning failed; it is tried again in %.0f s", PRUNE_SECONDS)


async def _prune() -> None:
    """Delete batch after batch, and leave the database to others for half of the time."""
    gone: Counter[str] = Counter()
    batches = prune_in_batches(now=await in_database_thread(clock.now)())
    while True:
        began_at = time.monotonic()
        batch = await in_database_thread(next)(batches, None)
        if batch is None:
            break
        gone[batch[0]] += batch[1]
        await asyncio.sleep(time.monotonic() - began_at)
    logger.info("pruned: %s", dict(gone))


async def look() -> float:
    """Settle what is due now; return how many seconds to sleep. A look that finds nothing due makes one query."""
    if pause := await in_database_thread(_pause)():
        return pause
    jobs = deque(await in_database_thread(_due)())
    number = min(len(jobs), _SETTLERS)
    await asyncio.gather(*(in_database_thread(settle)(jobs) for _ in range(number)))
    return max(await in_database_thread(_pause)(), SHORTEST_SLEEP_SECONDS)


def _due() -> list[Job]:
    """Return what must be done now."""
    return due(now=clock.now())


def _pause() -> float:
    """Return for how many seconds nothing is due, or can become due."""
    deadline = next_deadline()
    # What is created from now on is due after the shortest of these at the earliest.
    unseen = min(
        settings.RING_DURATION, settings.MODIFICATION_LIFETIME, settings.MOVE_WINDOW, settings.SESSION_LIFETIME
    )
    pause = min(LONGEST_SLEEP_SECONDS, unseen.total_seconds())
    if deadline is not None:
        pause = min(pause, (deadline - clock.now()).total_seconds())
    return max(pause, 0.0)
