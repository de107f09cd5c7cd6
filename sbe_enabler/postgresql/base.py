"""Django's PostgreSQL backend, with a bound on every wait.

PostgreSQL itself ends statements that take too long (`statement_timeout`). A server that hangs ends nothing, so the
client also stops waiting, and closes the connection. After such a failure no thread connects for a moment, and then
one thread at a time until it succeeds. So requests that have queued up are refused at once, not one after the other.
"""

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql import base
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from media.pause import Pause

R = TypeVar("R")

# How much longer the client waits than the server's own limit.
_GRACE_SECONDS = 1.0
_PAUSE_SECONDS = 1.0


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
                _outage.begin()
                self.pgconn.finish()
            raise


class _Outage:
    """The time from a failure until a connection succeeds. One thread of this process tries at a time."""

    def __init__(self) -> None:
        self._lasts = False
        self._pause = Pause(_PAUSE_SECONDS)
        self._trying = threading.Lock()

    def begin(self) -> None:
        """Note that the server failed just now."""
        self._lasts = True
        self._pause.begin()

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Try to connect.

        :raises psycopg.OperationalError: when the server failed a moment ago, or another thread is trying.
        """
        if not self._lasts:
            yield
            return
        if self._pause.lasts or not self._trying.acquire(blocking=False):
            raise psycopg.OperationalError("the database failed a moment ago")
        try:
            yield
            self._lasts = False
        finally:
            self._trying.release()


_outage = _Outage()


def connect(**parameters: Any) -> BoundedConnection:
    """Connect to PostgreSQL.

    :raises psycopg.OperationalError: when the server does not let us in, or failed a moment ago.
    """
    limit = parameters.pop("limit", None)
    with _outage.attempt():
        try:
            connection = BoundedConnection.connect(**parameters)
        except psycopg.OperationalError:
            _outage.begin()
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
