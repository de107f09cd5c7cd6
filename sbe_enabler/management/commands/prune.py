"""`manage.py prune`: delete rows that are older than their retention."""

from typing import Any

from django.core.management.base import BaseCommand

from conferences.operations.retention import prune
from events import clock


class Command(BaseCommand):
    """Prunes once. The timekeeper does the same every ten minutes."""

    help = "Delete events, kept answers, conferences, sessions and samples that are older than their retention."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune, and print how many rows of each kind were deleted."""
        gone = prune(now=clock.now())
        self.stdout.write(", ".join(f"{number} {kind}" for kind, number in gone.items()))
