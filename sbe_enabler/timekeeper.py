"""The timekeeper: settles what is due within 250 ms, by the same operations as a client would.

Run it as a task of the web process or as `manage.py timekeeper`, any number of times over.
"""

import asyncio
import logging
import time

from django.utils import timezone

from conferences.operations.deadlines import prune, settle_due
from events.threads import in_database_thread

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
PRUNE_SECONDS = 600.0


async def keep_time() -> None:
    """Look for what is due until cancelled. A database that is away for a while costs latency, nothing else."""
    prune_at = time.monotonic() + PRUNE_SECONDS
    while True:
        try:
            await in_database_thread(_look)()
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + PRUNE_SECONDS
                await in_database_thread(_prune)()
        except Exception:
            logger.exception("The timekeeper could not look; it looks again")
            await asyncio.sleep(1)
        await asyncio.sleep(LOOK_SECONDS)


def _look() -> None:
    """Settle what is due now."""
    settle_due(now=timezone.now())


def _prune() -> None:
    """Delete what is older than its retention."""
    logger.info("pruned: %s", prune(now=timezone.now()))
