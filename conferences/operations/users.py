"""Locks on users. They ensure that a device rings even if it registers while its user is being called.

A call or a move rings the devices that it finds. A device that registers rings for the invitations that it finds. If
the two transactions are concurrent, neither sees the uncommitted rows of the other, and both could find nothing.
Therefore:

- A call takes an exclusive lock on each identity of the caller and of the called users. A called user's identities are
  the called address and those of the user's registered devices.
- A move takes a shared lock on each identity of its user.
- A registration takes an exclusive lock on each identity of its user.
- A conference that begins to ring takes an exclusive lock on each identity of the invited users. Before that, it locks
  its guest list, so that nobody invites more users. Each invitation to an existing conference locks that list, too.

`quotas` counts while the exclusive locks are held. SQLite runs one writing transaction at a time and needs no such
locks.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from conferences.machine import ParticipantState
from conferences.models import Conference, Participant
from events.models import Session
from events.statements import Prepared

_SILENT = Prepared(lambda pk: Conference.objects.silent().filter(pk=pk).order_by().values_list("pk"), pk=str)


def lock_call(caller: Session, guests: Iterable[Participant], *, now: datetime) -> None:
    """Lock the caller and the guests exclusively until the end of the transaction.

    Until then, none of their devices can register, and no other call can involve them. So no other transaction can
    raise the counts that `quotas` checks. Call this function before any other lock is taken.
    """
    if _is_needed():
        _lock("pg_advisory_xact_lock", [caller, *_with_devices(guests, now=now)])


def lock_invitation(host: Session, guest: Participant, conference_id: str, *, now: datetime) -> None:
    """Lock the guest list of an existing conference, then the users of an invitation to it, as `lock_call` does."""
    _lock_guest_list(conference_id)
    lock_call(host, [guest], now=now)


def lock_guests(conference_id: str, *, now: datetime) -> None:
    """If a conference does not ring yet, lock its guest list and the invited users until the transaction ends.

    Until then, these users can neither register devices nor be called. So no other transaction can raise the counts
    that `quotas` checks. Call this function before any other lock is taken, and before anything that may make a
    conference ring.
    """
    if _is_needed() and _SILENT.rows(pk=conference_id):
        _lock_guest_list(conference_id)
        guests = Participant.objects.filter(conference=conference_id, state=ParticipantState.INVITED)
        _lock("pg_advisory_xact_lock", _with_devices(guests, now=now))


def _with_devices(guests: Iterable[Participant], *, now: datetime) -> list[Participant | Session]:
    """Return the guests and their users' live sessions. Together they have all known names and numbers of each user.

    A session that registers between this query and the locks is missing. If it has a name or number that no other
    device of its user has, that identity is not locked. A simultaneous call to that identity may then exceed a quota.
    """
    return [*guests, *Session.objects.live(now).devices_of(guests)]


def _lock_guest_list(conference_id: str) -> None:
    """Keep other transactions from inviting guests to a conference or making it ring. Lock users only after this."""
    _lock_names("pg_advisory_xact_lock", {f"conference:{conference_id}"})


def lock_move(session: Session, conference_id: str) -> None:
    """If the session's participant in the conference has an armed move, keep its user's devices from registering."""
    if _is_needed():
        _lock(
            "pg_advisory_xact_lock_shared",
            Participant.objects.with_armed_move(session).filter(conference=conference_id),
        )


def lock_registration(session: Session) -> None:
    """Keep other transactions from ringing the session's user until this transaction ends. Take this lock first."""
    _lock("pg_advisory_xact_lock", [session])


def _lock(function: str, rows: Iterable[Participant | Session]) -> None:
    """Take an advisory lock on every identity of these rows."""
    if _is_needed():
        names = {name for row in rows for name in (f"user:{row.username}", f"tel:{row.vtn}", f"tel:{row.icmn}")}
        _lock_names(function, names - {"user:", "tel:"})


def _lock_names(function: str, names: set[str]) -> None:
    """Take an advisory lock on every name, always in the same order."""
    keys = sorted(map(_key, names))
    if keys and _is_needed():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(key) FROM unnest(%s::bigint[]) AS key", [keys])  # noqa: S608


def _is_needed() -> bool:
    """Tell whether the database runs writing transactions concurrently."""
    return connection.vendor == "postgresql"


def _key(name: str) -> int:
    """Return the key of a name's advisory lock."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
