"""Checks before a process starts."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


@contextmanager
def database_errors_in_one_line() -> Iterator[None]:
    """Report a database error in one line instead of a traceback.

    :raises CommandError: when the block raises a database error.
    """
    try:
        yield
    except DatabaseError as error:
        raise CommandError(f"The database cannot be used: {error}") from None


def require_database() -> None:
    """Require a database that answers and to which all migrations of this version are applied.

    :raises CommandError: when the database does not answer, or migrations are missing.
    """
    with database_errors_in_one_line():
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    # From now on, the process uses the database only in other threads, which have their own connections.
    connection.close()
    if missing:
        raise CommandError("The database lacks migrations of this version: run `manage.py migrate` first.")
