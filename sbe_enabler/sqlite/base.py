"""Django's SQLite backend, in which the transactions of one process take turns.

SQLite has no queue for its write lock. A thread that finds it taken sleeps and tries again, less and less often: one of
four busy threads could lose for a second. Here each transaction waits in line for the one before it, and runs as soon
as that has ended. Only other processes, and statements outside of transactions, still compete for SQLite's own lock.
"""

import sqlite3
import threading
from collections import deque

from django.db.backends.sqlite3 import base

from sbe_enabler.sqlite.checkpoints import Checkpoints


class Turns:
    """A lock that is passed on in the order of asking."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, seconds: float) -> bool:
        """Wait for the turn, and tell whether it came in time."""
        with self._mutex:
            if not self._is_taken:
                self._is_taken = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        return turn.acquire(timeout=seconds) or not self._leave(turn)

    def _leave(self, turn: threading.Lock) -> bool:
        """Leave the line; return False when the turn came at the last moment."""
        with self._mutex:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def pass_on(self) -> None:
        """End a turn."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False


# There is one database file.
_turns = Turns()
checkpoints = Checkpoints()


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend, whose transactions take turns."""

    _has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        """Begin a transaction when it is this connection's turn.

        :raises django.db.OperationalError: when the others take longer than the option `timeout`.
        """
        with self.wrap_database_errors:
            if not _turns.take(self.settings_dict["OPTIONS"]["timeout"]):
                raise sqlite3.OperationalError("database is locked")
        self._has_turn = True
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> None:
        """Commit. After a failure the transaction goes on until it is rolled back."""
        super()._commit()  # type: ignore[misc]
        self._end_turn()
        checkpoints.count(self.settings_dict["NAME"])

    def _rollback(self) -> None:
        """Roll back. After a failure Django closes the connection."""
        super()._rollback()  # type: ignore[misc]
        self._end_turn()

    def _close(self) -> None:
        """Close the connection, and with it a transaction."""
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _turns.pass_on()
