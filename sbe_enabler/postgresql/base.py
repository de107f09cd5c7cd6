"""Django's PostgreSQL backend, with a bound on every wait.

PostgreSQL itself ends statements that take too long (`statement_timeout`). A server that hangs ends nothing, so the
client also stops waiting, and closes the connection. After such a failure no thread connects for a moment: requests
that have queued up meanwhile are refused at once, not one after the other.
"""

import time
from types import SimpleNamespace
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql import base
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

R = TypeVar("R")

# How much longer the client waits than the server's own limit.
_GRACE_SECONDS = 1.0
_REST_SECONDS = 1.0


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up on a server that does not answer."""

    # How long the server itself lets a statement run, in seconds; None waits for ever.
    limit: float | None = None

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server's answer.

        :raises psycopg.OperationalError: when none comes in time; the connection is then closed.
        """
        if timeout is None and self.limit is not None:
            timeout = self.limit + _GRACE_SECONDS
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            # A statement that is still active was not answered; after an answer the state is another one.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                _quiet.begin()
                self.pgconn.finish()
            raise


class _Quiet:
    """The moment after a failure, in which no thread of this process connects."""

    _until = 0.0

    def begin(self) -> None:
        """Note that the server failed just now."""
        self._until = time.monotonic() + _REST_SECONDS

    def require_end(self) -> None:
        """Require that no failure is recent.

        :raises psycopg.OperationalError: when one is.
        """
        if time.monotonic() < self._until:
            raise psycopg.OperationalError("the database failed a moment ago")


_quiet = _Quiet()


def connect(**parameters: Any) -> BoundedConnection:
    """Connect to PostgreSQL.

    :raises psycopg.OperationalError: when the server does not let us in, or failed a moment ago.
    """
    _quiet.require_end()
    limit = parameters.pop("limit", None)
    try:
        connection = BoundedConnection.connect(**parameters)
    except psycopg.OperationalError:
        _quiet.begin()
        raise
    connection.limit = limit
    return connection


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend, with bounded connections. The option `limit` is that of the connection."""

    Database = SimpleNamespace(**{**vars(psycopg), "connect": connect})  # type: ignore[assignment]

    def lift_limits(self) -> None:
        """Let the statements of the present connection take as long as they need."""
        self.ensure_connection()
        self.connection.limit = None
        with self.cursor() as cursor:
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                cursor.execute(f"SET {name} = 0")
