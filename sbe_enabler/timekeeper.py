"""The timekeeper settles each deadline within 250 ms after it is due, with the same operations that clients call.

It runs as a task of the web process or as `manage.py timekeeper`. Several may run at the same time. It sleeps until the
next deadline in the database, or for a shorter time if a deadline that is created while it sleeps could be due earlier.
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
from events.presence import restart_deadlines
from events.problems import OUTAGE, log_outage
from events.threads import in_database_thread

logger = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 1.0
# The pause after each pass that had due deadlines. It prevents a busy loop if a deadline cannot be settled.
SHORTEST_SLEEP_SECONDS = 0.02
PRUNE_SECONDS = 600.0
# How many threads settle deadlines at the same time: half of the database threads, so that the other half can serve
# requests. On SQLite it is one, because SQLite allows only one writer.
_SETTLERS = max(1, settings.DATABASE_THREADS // 2) if connection.features.has_select_for_update_skip_locked else 1


async def keep_time() -> None:
    """Settle due deadlines and prune old rows, until cancelled. An outage of the database only delays both."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep_settling())
        group.create_task(_keep_pruning())


async def _keep_settling() -> None:
    """Settle due deadlines until cancelled. After an outage, first give clients time to return."""
    is_after_outage = False
    while True:
        pause = LONGEST_SLEEP_SECONDS
        try:
            if is_after_outage:
                await in_database_thread(restart_deadlines)()
                is_after_outage = False
            pause = await run_once()
        except OUTAGE as error:
            log_outage(error)
            is_after_outage = True
        except Exception:
            logger.exception("The timekeeper failed and will try again")
        await asyncio.sleep(pause)


async def _keep_pruning() -> None:
    """Every PRUNE_SECONDS, delete rows older than their retention, until cancelled."""
    while True:
        await asyncio.sleep(PRUNE_SECONDS)
        try:
            await _prune()
        except OUTAGE as error:
            log_outage(error)
        except Exception:
            logger.exception("Pruning failed; next attempt in %.0f s", PRUNE_SECONDS)


async def _prune() -> None:
    """Delete old rows in batches. After each batch, sleep for as long as the batch took."""
    gone: Counter[str] = Counter()
    batches = prune_in_batches(now=await in_database_thread(clock.now)())
    while True:
        began_at = time.monotonic()
        batch = await in_database_thread(next)(batches, None)
        if batch is None:
            break
        gone[batch[0]] += batch[1]
        await asyncio.sleep(time.monotonic() - began_at)
    logger.info("Pruned %s", ", ".join(f"{number} {kind}" for kind, number in gone.items()) or "nothing")


async def run_once() -> float:
    """Settle due deadlines; return the seconds to sleep. If nothing is due, this makes one query."""
    if pause := await in_database_thread(_pause)():
        return pause
    jobs = deque(await in_database_thread(_due)())
    number = min(len(jobs), _SETTLERS)
    await asyncio.gather(*(in_database_thread(settle)(jobs) for _ in range(number)))
    return max(await in_database_thread(_pause)(), SHORTEST_SLEEP_SECONDS)


def _due() -> list[Job]:
    """Return the jobs that are due now."""
    return due(now=clock.now())


def _pause() -> float:
    """Return the seconds until a deadline can be due, but at most LONGEST_SLEEP_SECONDS; 0 if one is due now."""
    deadline = next_deadline()
    # A deadline that is created after this query is due no sooner than the shortest of these durations. A new kind of
    # deadline must be added here.
    unseen = min(
        settings.RING_DURATION,
        settings.MODIFICATION_LIFETIME,
        settings.MOVE_WINDOW,
        settings.SESSION_LIFETIME,
        settings.AWAY_LIFETIME,
    )
    pause = min(LONGEST_SLEEP_SECONDS, unseen.total_seconds())
    if deadline is not None:
        pause = min(pause, (deadline - clock.now()).total_seconds())
    return max(pause, 0.0)
