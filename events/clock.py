"""The clock that decides: the database's. Every process on every host judges deadlines by it.

A process reads it once in five seconds and counts on with its own monotonic clock. So neither the difference between
two hosts' clocks nor a step of one of them matters. What is left is at most half the round trip to the database.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from django.db import connection
from django.utils import timezone

# An instant as clients see it: RFC 3339 in UTC, to the millisecond.
Instant = Annotated[str, "instant"]

REFRESH_SECONDS = 5.0
# A slower reading says little. It replaces the last one only once that is old.
_SLOW_SECONDS = 0.5
_OLD_SECONDS = 60.0


@dataclass(frozen=True)
class _Reading:
    """What the database's clock showed at an instant of the monotonic clock."""

    at: datetime
    taken_at: float

    def now(self) -> datetime:
        """Return what it shows at present."""
        return self.at + timedelta(seconds=self.age)

    @property
    def age(self) -> float:
        """How many seconds ago it was taken."""
        return time.monotonic() - self.taken_at


@dataclass
class State:
    """The last good reading of this process, and when the next is due."""

    reading: _Reading | None = None
    due_at: float = 0.0


state = State()


def now() -> datetime:
    """Return the present by the database's clock. Call it where queries may be made, not on an event loop.

    SQLite is a file on this machine, so its clock is this machine's.

    :raises django.db.Error: when a reading is due and the database does not answer.
    """
    if connection.vendor == "sqlite":
        return timezone.now()
    reading = state.reading
    if reading is None or time.monotonic() >= state.due_at:
        reading = _refresh(reading)
    return reading.now()


def _refresh(last: _Reading | None) -> _Reading:
    """Read the database's clock, and return the better one of that and the last reading."""
    reading, trip_seconds = _read()
    if last is not None and trip_seconds > _SLOW_SECONDS and last.age < _OLD_SECONDS:
        reading = last
    state.reading, state.due_at = reading, time.monotonic() + REFRESH_SECONDS
    return reading


def _read() -> tuple[_Reading, float]:
    """Read the database's clock; return that and how many seconds it took. It was read half-way."""
    asked_at = time.monotonic()
    at = ask()
    trip_seconds = time.monotonic() - asked_at
    return _Reading(at, asked_at + trip_seconds / 2), trip_seconds


def ask() -> datetime:
    """Ask the database for the time, not for that of its transaction's beginning."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CLOCK_TIMESTAMP()")
        at: datetime = cursor.fetchone()[0]
    return at


def instant(at: datetime) -> Instant:
    """Return an instant as RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
