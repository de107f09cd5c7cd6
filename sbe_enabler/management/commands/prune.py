"""`manage.py prune`: delete what is older than its retention."""

from typing import Any

from django.core.management.base import BaseCommand

from conferences.operations.retention import prune
from events import clock


class Command(BaseCommand):
    """Runs once; the timekeeper does the same every ten minutes."""

    help = "Delete events, kept answers, conferences and sessions that are older than their retention."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune, and say what went."""
        gone = prune(now=clock.now())
        self.stdout.write(", ".join(f"{number} {kind}" for kind, number in gone.items()))
