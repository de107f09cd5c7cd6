"""Locks on users. They ensure that a device rings even if it registers while its user is being called.

A call or a move rings the devices that it finds. A device that registers rings for the invitations that it finds. If
the transactions are concurrent, neither sees what the other has not committed, and both could find nothing. Therefore:

- A call takes an exclusive lock on each identity of the caller and of the called users.
- A move takes a shared lock on each identity of its user.
- A registration takes an exclusive lock on each identity of its user.

`quotas` counts under the exclusive locks. SQLite runs one writing transaction at a time and needs no such locks.
"""

import hashlib
from collections.abc import Iterable

from django.db import connection

from conferences.models import Participant
from events.models import Session


def lock_call(caller: Session, guests: Iterable[Participant]) -> None:
    """Lock the caller and the guests exclusively until the end of the transaction.

    None of their devices can register meanwhile. No other call can involve them, so that quotas can count. Call this
    before any other lock is taken.
    """
    _lock("pg_advisory_xact_lock", [caller, *guests])


def lock_move(session: Session, conference_id: str) -> None:
    """If the session's participant in the conference has an armed move, keep devices of its user from registering."""
    if _is_needed():
        _lock(
            "pg_advisory_xact_lock_shared",
            Participant.objects.with_armed_move(session).filter(conference=conference_id),
        )


def lock_registration(session: Session) -> None:
    """Keep others from ringing the session's user until the transaction ends. Call it before any other lock."""
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
    """Tell whether the database runs writing transactions concurrently."""
    return connection.vendor == "postgresql"


def _key(name: str) -> int:
    """Return the key of a name's advisory lock."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
