"""What a process needs before it starts."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


@contextmanager
def plain_words() -> Iterator[None]:
    """Tell who runs a command in a line that the database cannot be used, instead of where in the program.

    :raises CommandError: when it cannot.
    """
    try:
        yield
    except DatabaseError as error:
        raise CommandError(f"The database cannot be used: {error}") from None


def require_database() -> None:
    """Require a database that answers and has all that this version's migrations make.

    :raises CommandError: when it does not.
    """
    with plain_words():
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    # What follows uses the database on other threads.
    connection.close()
    if missing:
        raise CommandError("The database is not that of this version: run `manage.py migrate` first.")
