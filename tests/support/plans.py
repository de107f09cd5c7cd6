"""How the database executes statements."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from conferences.models import Conference, Modification, Participant
from events.models import Event, Session
from tests.support.database import analyze


def prepare_to_plan() -> None:
    """Update the planner's statistics.

    PostgreSQL keeps what earlier tests have deleted in its indexes, and takes a large index for a slow one.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model in (Session, Conference, Participant, Modification, Event):
                cursor.execute(f"REINDEX TABLE {model._meta.db_table}")
    analyze()


def plans(look: Callable[[], object]) -> list[str]:
    """Return how the database executes each statement, with the parameters as the service sends them."""
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        look()
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    found = []
    with connection.cursor() as cursor:
        for sql, params in statements:
            if sql.startswith(("SELECT", "UPDATE", "DELETE")):
                cursor.execute(f"{explain} {sql}", params)
                found.append("\n".join([sql, *(str(row[-1]) for row in cursor.fetchall())]))
    return found
