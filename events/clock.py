"""The database's clock, by which every process on every host judges deadlines.

A process reads this clock every five seconds and advances the reading with its own monotonic clock. Differences between
the hosts' clocks, and steps of a host's clock, therefore have no effect. The result differs from the database's
clock by at most half a round trip to the database.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from django.db import connection
from django.utils import timezone

# An instant in the wire format: RFC 3339 in UTC, with milliseconds.
Instant = Annotated[str, "instant"]

REFRESH_SECONDS = 5.0
# A reading whose round trip takes longer than _SLOW_SECONDS is inaccurate. It is used only if the previous reading is
# at least _OLD_SECONDS old.
_SLOW_SECONDS = 0.5
_OLD_SECONDS = 60.0


@dataclass(frozen=True)
class _Reading:
    """A value of the database's clock, and the value of the monotonic clock at that moment."""

    at: datetime
    taken_at: float

    def now(self) -> datetime:
        """Return the database's time now: the reading plus its age."""
        return self.at + timedelta(seconds=self.age)

    @property
    def age(self) -> float:
        """The age of the reading in seconds."""
        return time.monotonic() - self.taken_at


@dataclass
class State:
    """The last good reading of this process, and the monotonic time at which the next one is due."""

    reading: _Reading | None = None
    due_at: float = 0.0


state = State()


def now() -> datetime:
    """Return the current time of the database's clock. Do not call it on an event loop: it may query the database.

    With SQLite, it returns the local clock's time, because the database is a local file.

    :raises django.db.Error: when a reading is due and the database does not answer.
    """
    if connection.vendor == "sqlite":
        return timezone.now()
    reading = state.reading
    if reading is None or time.monotonic() >= state.due_at:
        reading = _refresh(reading)
    return reading.now()


def exact() -> datetime:
    """Return the database's time by a query, to compare instants of several processes that are close together."""
    return timezone.now() if connection.vendor == "sqlite" else ask()


def _refresh(last: _Reading | None) -> _Reading:
    """Read the database's clock and return the reading, or `last` if the new one was slow and `last` is not old."""
    reading, trip_seconds = _read()
    if last is not None and trip_seconds > _SLOW_SECONDS and last.age < _OLD_SECONDS:
        reading = last
    state.reading, state.due_at = reading, time.monotonic() + REFRESH_SECONDS
    return reading


def _read() -> tuple[_Reading, float]:
    """Return a reading of the database's clock, dated at the middle of the round trip, and the seconds that it took."""
    asked_at = time.monotonic()
    at = ask()
    trip_seconds = time.monotonic() - asked_at
    return _Reading(at, asked_at + trip_seconds / 2), trip_seconds


def ask() -> datetime:
    """Query the database's current time. `NOW()` would return the time at which the transaction began."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CLOCK_TIMESTAMP()")
        at: datetime = cursor.fetchone()[0]
    return at


def instant(at: datetime) -> Instant:
    """Format an instant as RFC 3339 in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
