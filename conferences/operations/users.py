"""Let nobody who rings a user's devices and no device of that user that registers miss each other.

A call, or a move, rings the devices that it finds; a device that registers rings for whatever it finds ringing. Where
transactions run side by side, neither sees what the other has not committed, and both could look too early. So whoever
calls takes an exclusive lock on each identity of the caller and the called, a move takes a shared one on the mover's,
and a device that registers takes an exclusive one. `quotas` counts under the exclusive locks.

SQLite runs one writing transaction after the other: there is nothing to lock.
"""

import hashlib
from collections.abc import Iterable

from django.db import connection

from conferences.models import Participant
from events.models import Session


def lock_call(caller: Session, guests: Iterable[Participant]) -> None:
    """Let no device of the caller or the guests register, and nobody else call with or to them, in this transaction.

    It excludes other calls so that quotas can count. Call it before any other lock is taken.
    """
    _lock("pg_advisory_xact_lock", [caller, *guests])


def lock_move(session: Session, conference_id: str) -> None:
    """Let no device register for the user of a session that is about to move from its participant in the conference."""
    if _is_needed():
        _lock("pg_advisory_xact_lock_shared", Participant.objects.armed(session).filter(conference=conference_id))


def lock_registration(session: Session) -> None:
    """Let nobody begin to ring the session's user until the end of the transaction. Call it before any other lock."""
    _lock("pg_advisory_xact_lock", [session])


def _lock(function: str, rows: Iterable[Participant | Session]) -> None:
    """Take an advisory lock on every identity of these rows, always in the same order."""
    if not _is_needed():
        return
    names = {name for row in rows for name in (f"user:{row.username}", f"tel:{row.vtn}", f"tel:{row.icmn}")}
    keys = sorted(_key(name) for name in names - {"user:", "tel:"})
    if keys:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(key) FROM unnest(%s::bigint[]) AS key", [keys])  # noqa: S608


def _is_needed() -> bool:
    """Tell whether the database runs writing transactions side by side."""
    return connection.vendor == "postgresql"


def _key(name: str) -> int:
    """Return the number that stands for a name among the database's advisory locks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
