"""`manage.py timekeeper`: run a timekeeper and a nodekeeper in their own process."""

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand

from sbe_enabler.nodekeeper import keep_nodes
from sbe_enabler.readiness import require_database
from sbe_enabler.timekeeper import keep_time


class Command(BaseCommand):
    """Runs the timekeeper and the nodekeeper until SIGINT or SIGTERM."""

    help = (
        "Settle due deadlines (invitations, modifications, moves, sessions) and replace media nodes that are gone. "
        "Several may run at once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check the database, then run the timekeeper and the nodekeeper."""
        require_database()
        asyncio.run(_run())


async def _run() -> None:
    keepers = asyncio.gather(keep_time(), keep_nodes())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, keepers.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await keepers
