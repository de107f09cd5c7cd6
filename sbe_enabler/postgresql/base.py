"""Django's PostgreSQL backend, with a bound on every wait.

PostgreSQL itself cancels statements that take too long (`statement_timeout`). A server that hangs cannot do that, so
the client also stops waiting and closes the connection. After such a failure, no thread connects for _PAUSE_SECONDS.
Then only one thread at a time tries to connect, until an attempt succeeds. So queued requests fail at once instead of
one timeout after another.
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

# How long the client waits beyond the server's own limit, and how long after a failure no thread tries to connect.
_GRACE_SECONDS = 1.0
_PAUSE_SECONDS = 1.0


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes itself if the server does not answer in time."""

    # The server's own limit for a statement, in seconds. With None, the client waits without limit.
    limit: float | None = None

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server's answer.

        :raises psycopg.OperationalError: when the answer does not arrive in time. The connection is then closed.
        """
        if timeout is None and self.limit is not None:
            timeout = self.limit + _GRACE_SECONDS
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            # ACTIVE means that the statement got no answer; an answer would have changed the status.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                _outage.begin()
                self.pgconn.finish()
            raise


class _Outage:
    """An outage lasts from a failure until a connection succeeds. It allows one attempt to connect at a time."""

    def __init__(self) -> None:
        self._lasts = False
        self._pause = Pause(_PAUSE_SECONDS)
        self._trying = threading.Lock()

    def begin(self) -> None:
        """Record that the server failed just now."""
        self._lasts = True
        self._pause.begin()

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Enclose an attempt to connect; its success ends the outage.

        :raises psycopg.OperationalError: when the server failed a moment ago, or another thread is trying.
        """
        if not self._lasts:
            yield
            return
        if self._pause.lasts or not self._trying.acquire(blocking=False):
            raise psycopg.OperationalError("the database failed less than a second ago")
        try:
            yield
            self._lasts = False
        finally:
            self._trying.release()


_outage = _Outage()


def connect(**parameters: Any) -> BoundedConnection:
    """Connect to PostgreSQL.

    :raises psycopg.OperationalError: when the connection fails, or the server failed a moment ago.
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
    """Django's backend with `BoundedConnection`. The option `limit` sets the connection's `limit`."""

    Database = SimpleNamespace(**{**vars(psycopg), "connect": connect})  # type: ignore[assignment]

    def lift_limits(self) -> None:
        """Remove the time limits of the current connection: on the client and on the server."""
        self.ensure_connection()
        self.connection.limit = None
        with self.cursor() as cursor:
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                cursor.execute(f"SET {name} = 0")
