"""What a process needs before it starts."""

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


def require_database() -> None:
    """Require a database that answers and has all that this version's migrations make.

    :raises CommandError: when it does not, in words for who runs the command.
    """
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(f"The database cannot be used: {error}") from None
    finally:
        # A connection does not survive the change of threads that follows.
        connection.close()
    if missing:
        raise CommandError("The database is not that of this version: run `manage.py migrate` first.")
