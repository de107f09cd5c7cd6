"""Django's SQLite backend, with a FIFO queue for the transactions of a process.

SQLite has no queue for its write lock. A thread that finds the lock taken sleeps and retries, at growing intervals. So
one of four busy threads could starve for a second. Here each transaction waits for the previous transaction and begins
when that one has ended. Only other processes and statements outside transactions still compete for SQLite's own lock.
"""

import sqlite3
import threading
from collections import deque

from django.db.backends.sqlite3 import base

from sbe_enabler.sqlite.checkpoints import Checkpoints


class FairLock:
    """A fair lock: threads get it in the order in which they ask for it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, seconds: float) -> bool:
        """Acquire the lock; return False if that takes longer than `seconds`."""
        with self._mutex:
            if not self._is_taken:
                self._is_taken = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        return turn.acquire(timeout=seconds) or not self._leave(turn)

    def _leave(self, turn: threading.Lock) -> bool:
        """Leave the queue; return False if another thread has just passed the lock to this one."""
        with self._mutex:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def release(self) -> None:
        """Release the lock: pass it to the longest-waiting thread, if any."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False


# One lock is enough: a process has only one database file.
_transaction_lock = FairLock()
checkpoints = Checkpoints()


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend, in which each transaction holds `_transaction_lock`."""

    _has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        """Begin a transaction as soon as it is this connection's turn.

        :raises django.db.OperationalError: when that takes longer than the option `timeout`.
        """
        with self.wrap_database_errors:
            if not _transaction_lock.acquire(self.settings_dict["OPTIONS"]["timeout"]):
                raise sqlite3.OperationalError("database is locked")
        self._has_turn = True
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> None:
        """Commit. If that fails, the transaction keeps its turn until it is rolled back."""
        super()._commit()  # type: ignore[misc]
        self._end_turn()
        checkpoints.count(self.settings_dict["NAME"])

    def _rollback(self) -> None:
        """Roll back. If that fails, Django closes the connection, which ends the turn."""
        super()._rollback()  # type: ignore[misc]
        self._end_turn()

    def _close(self) -> None:
        """Close the connection, which ends its transaction and its turn."""
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _transaction_lock.release()
