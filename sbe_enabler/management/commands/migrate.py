"""`manage.py migrate`: Django's own, without the time limits of a server's statements."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connection


class Command(migrate.Command):
    """Change the database to what this version needs, however long that takes."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate."""
        if connection.vendor == "postgresql":
            connection.lift_limits()  # type: ignore[attr-defined]
        try:
            super().handle(*args, **options)
        finally:
            connection.close()
