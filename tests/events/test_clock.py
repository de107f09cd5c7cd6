"""The database's clock decides, even if the clocks of the processes differ."""

import ast
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from events import clock
from tests.support.endpoints import UNLIMITED, Endpoints
from tests.support.services import ROOT, Backend, Backends, Server, copied
from tests.support.zygote import Copy

# --- One module reads the clock -------------------------------------------------------------------------------

CLOCKS = {("timezone", "now"), ("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}
# `events.clock` provides the time. Certificates are made for this machine, so their module reads this machine's clock.
# The media port compares this machine's clock with the arrival times that this machine's kernel states.
MAY_READ = {"events/clock.py", "media/focus/port.py", "sbe_enabler/lan.py"}


def test_no_other_module_reads_the_clock_of_the_machine() -> None:
    found: list[str] = []
    for package in ("conferences", "events", "media", "sbe_enabler"):
        for path in (ROOT / package).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name not in MAY_READ:
                found += [f"{name}:{line}" for line in _clock_reads(ast.parse(path.read_text()))]
    assert found == []


def _clock_reads(tree: ast.Module) -> Iterator[int]:
    """Return the lines that read a clock, or import a function that reads one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in CLOCKS:
                yield node.lineno
        elif isinstance(node, ast.ImportFrom):
            modules = {
                ("timezone" if node.module == "django.utils.timezone" else node.module, each.name)
                for each in node.names
            }
            if modules & CLOCKS:
                yield node.lineno


# --- Readings -------------------------------------------------------------------------------------------------


class Database:
    """A database whose clock is 10 s ahead, and that answers slowly."""

    def __init__(self) -> None:
        self.monotonic, self.trip, self.asked = 1000.0, 0.0, 0
        self.ahead = timedelta(seconds=10)

    def local(self) -> datetime:
        return datetime.fromtimestamp(self.monotonic, tz=timezone.get_default_timezone())

    def ask(self) -> datetime:
        self.asked += 1
        self.monotonic += self.trip / 2
        at = self.local() + self.ahead
        self.monotonic += self.trip / 2
        return at

    def error(self) -> float:
        """Return the seconds by which `clock.now` differs from the database's clock."""
        return (clock.now() - (self.local() + self.ahead)).total_seconds()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(clock, "connection", type("Connection", (), {"vendor": "postgresql"}))
    monkeypatch.setattr(clock, "state", clock.State())
    monkeypatch.setattr(clock, "ask", database.ask)
    monkeypatch.setattr(time, "monotonic", lambda: database.monotonic)
    return database


def test_the_clock_shows_the_time_of_the_database(database: Database) -> None:
    database.trip = 0.2
    assert database.error() == pytest.approx(0)


def test_the_database_is_asked_once_in_five_seconds(database: Database) -> None:
    for _ in range(10):
        clock.now()
        database.monotonic += 0.4
    assert database.asked == 1
    database.monotonic += 1.1
    database.ahead += timedelta(seconds=3)  # The database's clock is set forward.
    assert database.error() == pytest.approx(0)
    assert database.asked == 2


def test_a_slow_answer_does_not_replace_a_good_one(database: Database) -> None:
    clock.now()
    database.trip = 3.0
    database.ahead += timedelta(seconds=1)
    for _ in range(5):
        database.monotonic += 5.0
        assert database.error() == pytest.approx(-1)
    assert database.asked == 6
    database.monotonic += 60.0
    assert database.error() == pytest.approx(0)


@pytest.mark.django_db
def test_on_sqlite_the_clock_of_the_machine_is_used() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("another database")
    assert abs(clock.now() - timezone.now()) < timedelta(seconds=1)


@pytest.mark.django_db
def test_a_wrong_clock_of_the_machine_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("its clock is the machine's")
    right = timezone.now()
    monkeypatch.setattr(clock, "state", clock.State())
    monkeypatch.setattr(timezone, "now", lambda: right + timedelta(seconds=10))
    assert abs(clock.now() - right) < timedelta(seconds=1)


# --- Processes whose clocks differ ----------------------------------------------------------------------------

RING_SECONDS = 1.0
SKEW_SECONDS = 60.0
# A program that runs manage.py with clocks that are a number of seconds ahead.
SKEWED = """
import sys, time
from datetime import timedelta
from django.core.management import execute_from_command_line
from django.utils import timezone
ahead, right, wall = float(sys.argv[1]), timezone.now, time.time
timezone.now = lambda: right() + timedelta(seconds=ahead)
time.time = lambda: wall() + ahead
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "sbe_enabler.settings"
execute_from_command_line(["manage.py", *sys.argv[2:]])
"""


def skewed(backend: Backend, log: Path, ahead: float, command: str) -> AbstractContextManager[Copy]:
    """Run a management command whose clock is ahead by this many seconds."""
    program = log.with_suffix(".py")
    program.write_text(SKEWED)
    return copied(log, str(program), str(ahead), command, variables=backend.variables)


@pytest.mark.once
async def test_deadlines_are_settled_in_time_by_processes_whose_clocks_differ(
    serve: Callable[..., Server], backends: Backends, endpoints: Endpoints, tmp_path: Path
) -> None:
    backend = backends.grown()
    server = serve(backend, **UNLIMITED, SBE_TIMEKEEPER="0", SBE_MEDIA_NODE="0", SBE_RING_SECONDS=str(RING_SECONDS))
    alice = await endpoints.register(server, "alice")
    for ahead in (SKEW_SECONDS, -SKEW_SECONDS):
        with skewed(backend, tmp_path / f"keeper{ahead}.log", ahead, "timekeeper"):
            # The first call shows that the timekeeper runs. The ringing of the second call is measured: with a wrong
            # clock it would end at once, or a minute late.
            for number in range(2):
                began_at = time.monotonic()
                await alice.call("nobody")
                await alice.wait_for_event("session-terminated", number + 1 + (2 if ahead < 0 else 0))
                took = time.monotonic() - began_at
                assert took >= RING_SECONDS, (ahead, took)
            assert took <= RING_SECONDS + SKEW_SECONDS / 4, (ahead, took)
