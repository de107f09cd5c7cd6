"""Checks before a process starts."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
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


@contextmanager
def only_web_process() -> Iterator[None]:
    """Keep other web processes from using the same state directory while the block runs, unless there is Redis.

    Without Redis, a process gets no wake-ups from other processes, and counts requests separately.

    :raises CommandError: when another web process uses the state directory.
    """
    if settings.REDIS_URL:
        yield
        return
    with (settings.STATE_DIR / "serve.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CommandError(
                f"Process {lock.read()} serves from {settings.STATE_DIR} already. Stop it first, or set REDIS_URL."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
