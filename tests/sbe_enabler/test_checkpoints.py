"""A separate thread moves commits from SQLite's write-ahead log into the database file."""

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from sbe_enabler.sqlite import base
from sbe_enabler.sqlite.checkpoints import LOG_PAGES, Checkpoints
from tests.support.services import wait_until

pytestmark = [pytest.mark.once, pytest.mark.skipif("connection.vendor != 'sqlite'")]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database whose commits make no checkpoints."""
    with closing(sqlite3.connect(tmp_path / "some database.sqlite3", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=wal")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("CREATE TABLE words (word)")
        yield writer


def _path(database: sqlite3.Connection) -> Path:
    (row,) = database.execute("PRAGMA database_list")
    return Path(row[2])


def _rows_without_log(path: Path, table: str) -> int:
    """Return how many rows of a table are in the database file itself, not only in its log."""
    alone = path.with_name("alone.sqlite3")
    shutil.copy(path, alone)
    with closing(sqlite3.connect(alone)) as reader:
        if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone():
            return 0
        return int(reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _commit(database: sqlite3.Connection, checkpoints: Checkpoints, number: int) -> None:
    for _ in range(number):
        database.execute("INSERT INTO words VALUES ('hello')")
        checkpoints.count(_path(database))


def test_commits_move_into_the_file_while_others_read_and_write(database: sqlite3.Connection) -> None:
    checkpoints = Checkpoints()
    with closing(sqlite3.connect(_path(database), isolation_level=None)) as other:
        _commit(database, checkpoints, 49)
        assert _rows_without_log(_path(database), "words") == 0
        # The checkpoint and the other connection's transaction do not wait for each other.
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO words VALUES ('uncommitted')")
        checkpoints.count(_path(database))
        wait_until(lambda: _rows_without_log(_path(database), "words") == 49, "the checkpoint")
        other.execute("COMMIT")
    _commit(database, checkpoints, 50)
    wait_until(lambda: _rows_without_log(_path(database), "words") == 100, "the next checkpoint")


def test_a_deleted_database_is_not_created_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints()
    for _ in range(50):
        checkpoints.count(tmp_path / "gone.sqlite3")
    wait_until(lambda: not any(each.name == "checkpoint" for each in threading.enumerate()), "the end of the thread")
    assert not any(tmp_path.iterdir())


class Counter(Checkpoints):
    """Counts commits, but makes no checkpoints: they could be incomplete, as other connections read the database."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[str] = []

    def count(self, database: Path | str) -> None:
        """Count a commit."""
        self.counted.append(str(database))


@pytest.mark.django_db(transaction=True)
def test_transactions_of_the_orm_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    monkeypatch.setattr(base, "checkpoints", counter)
    for number in range(3):
        with transaction.atomic():
            Group.objects.create(name=f"group {number}")
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        Group.objects.create(name=f"group {1 / 0}")
    assert counter.counted == 3 * [str(connection.settings_dict["NAME"])]


@pytest.mark.django_db
def test_a_commit_makes_a_checkpoint_only_if_the_log_is_long() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_autocheckpoint")
        assert cursor.fetchone() == (LOG_PAGES,)
