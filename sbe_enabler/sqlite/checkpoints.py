"""Checkpoints copy committed pages from SQLite's write-ahead log into the database file, in a thread of their own.

By default, SQLite makes a checkpoint during a commit once the log has 1,000 pages. On a disk this takes 20 ms or more,
and all threads that wait for the write lock wait too. Here a separate thread makes a checkpoint every _COMMITS commits,
while other threads read and write. If this thread does not keep up, a commit still makes a checkpoint once the log has
`LOG_PAGES` pages.
"""

import contextlib
import logging
import sqlite3
import threading
from pathlib import Path

logger = logging.getLogger(__name__)

# Commits between two checkpoints. A commit writes about 15 pages of 4 KiB.
_COMMITS = 50
LOG_PAGES = 8000


class Checkpoints:
    """Counts commits, and starts a checkpoint every _COMMITS, but never two at a time. This class is thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._commits = 0
        self._running = False

    def count(self, database: Path | str) -> None:
        """Count a commit to this database file."""
        with self._mutex:
            self._commits += 1
            if self._running or self._commits < _COMMITS:
                return
            self._commits, self._running = 0, True
        threading.Thread(target=self._run, args=[database], name="checkpoint", daemon=True).start()

    def _run(self, database: Path | str) -> None:
        try:
            _make_checkpoint(database)
        except sqlite3.Error:
            logger.debug("A checkpoint of %s failed; a later one covers the same pages", database, exc_info=True)
        finally:
            self._running = False


def _make_checkpoint(database: Path | str) -> None:
    """Copy pages of the log into the database file, up to the first page that is newer than what a reader still reads.

    A PASSIVE checkpoint neither waits nor blocks other connections.
    """
    # With mode=rw, SQLite does not create a missing file.
    uri = f"{Path(database).absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
