"""`manage.py timekeeper`: settle deadlines in a process of its own."""

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand

from sbe_enabler.nodekeeper import keep_nodes
from sbe_enabler.readiness import require_database
from sbe_enabler.timekeeper import keep_time


class Command(BaseCommand):
    """Runs until SIGINT or SIGTERM."""

    help = (
        "Settle what is due (rings, modifications, moves, sessions) and replace media nodes that are gone. "
        "Safe to run many times over."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the timekeeper."""
        require_database()
        asyncio.run(_run())


async def _run() -> None:
    keepers = asyncio.gather(keep_time(), keep_nodes())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, keepers.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await keepers
