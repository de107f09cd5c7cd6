"""`manage.py migrate`: Django's command without the time limits for statements on PostgreSQL."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connection


class Command(migrate.Command):
    """Applies migrations without time limits."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove the time limits, migrate, and close the connection, so that new connections have the limits again."""
        if connection.vendor == "postgresql":
            connection.lift_limits()  # type: ignore[attr-defined]
        try:
            super().handle(*args, **options)
        finally:
            connection.close()
