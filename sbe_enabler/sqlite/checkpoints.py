"""Checkpoints: what was committed moves from the write-ahead log into the database file.

SQLite lets whoever commits do that when the log has 1,000 pages, which takes 20 ms and more on a disk. Everybody who
waits for the write lock waits as long. Here a thread does it after every few commits, while others write and read. What
it does not reach, a commit moves as before, but only when the log has `LOG_PAGES`.
"""

import contextlib
import logging
import sqlite3
import threading
from pathlib import Path

logger = logging.getLogger(__name__)

# A commit writes 15 pages or so, of 4 KiB each.
_COMMITS = 50
LOG_PAGES = 8000


class Checkpoints:
    """Counts commits, and makes a checkpoint when there are enough. Threads may share it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._commits = 0
        self._running = False

    def count(self, database: Path | str) -> None:
        """Note a commit to the database with this file."""
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
            logger.debug("A checkpoint of %s failed; commits make it later", database, exc_info=True)
        finally:
            self._running = False


def _make_checkpoint(database: Path | str) -> None:
    """Move what no reader needs any more. This waits for nobody, and nobody waits for it."""
    # Where the file is gone, none is made.
    uri = f"{Path(database).absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
