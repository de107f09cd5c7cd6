"""How the database executes statements."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from conferences.models import Conference, Modification, Participant
from events.models import Event, Session
from tests.support.database import analyze


def prepare_to_plan() -> None:
    """Update the planner's statistics.

    PostgreSQL's indexes still contain rows that earlier tests have deleted, and the planner assumes that a large index
    is slow. So the indexes are rebuilt first.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model in (Session, Conference, Participant, Modification, Event):
                cursor.execute(f"REINDEX TABLE {model._meta.db_table}")
    analyze()


def forget_statistics() -> None:
    """Delete SQLite's statistics. The service makes no statistics, but an earlier test may have made some."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE name = 'sqlite_stat1'")
            if cursor.fetchone():
                cursor.execute("DELETE FROM sqlite_stat1")
                # This makes SQLite read the statistics again.
                cursor.execute("ANALYZE sqlite_master")


def plans(look: Callable[[], object]) -> list[str]:
    """Return how the database executes each statement, with the parameters as the service sends them."""
    statements = _statements(look)
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    found = []
    with connection.cursor() as cursor:
        for sql, params in statements:
            if sql.startswith(("SELECT", "UPDATE", "DELETE")):
                cursor.execute(f"{explain} {sql}", params)
                found.append("\n".join([sql, *(str(row[-1]) for row in cursor.fetchall())]))
    return found


def _statements(look: Callable[[], object]) -> list[tuple[str, Any]]:
    """Return the statements of `look`, with the parameters as the service sends them."""
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        look()
    return statements


def rows_read(look: Callable[[], object]) -> dict[str, int]:
    """Execute each SELECT of `look` again; return, for each SELECT, the largest number of rows that it read.

    On SQLite this is an estimate: the steps of its virtual machine divided by ten, because reading a row takes about
    ten steps.
    """
    selects = [(sql, params) for sql, params in _statements(look) if sql.startswith("SELECT")]
    read: dict[str, int] = {}
    for sql, params in selects:
        count = _rows_of if connection.vendor == "postgresql" else _steps_of
        read[sql] = max(read.get(sql, 0), count(sql, params))
    return read


def _rows_of(sql: str, params: Any) -> int:
    """Return how many rows PostgreSQL reads from tables and indexes for a statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {sql}", params)
        ((found,),) = cursor.fetchall()
    nodes = [found[0]["Plan"]]
    read = 0
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        if "Scan" in node["Node Type"]:
            read += int((node["Actual Rows"] + removed) * node["Actual Loops"])
    return read


def _steps_of(sql: str, params: Any) -> int:
    """Return a tenth of the steps that SQLite's virtual machine makes for a statement."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with connection.cursor() as cursor:
        connection.connection.set_progress_handler(step, 10)
        try:
            cursor.execute(sql, params)
            cursor.fetchall()
        finally:
            connection.connection.set_progress_handler(None, 0)
    return steps
