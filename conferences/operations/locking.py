"""Lock conferences and load them in a bounded number of queries, or read many ahead without their locks."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from django.db import connection
from django.utils.http import parse_etags

from conferences.exceptions import NoSuchConferenceError, PreconditionFailedError
from conferences.models import (
    Access,
    Conference,
    ConferenceQuerySet,
    Modification,
    ModificationQuerySet,
    Participant,
    Topology,
)
from conferences.operations.locked_conference import LockedConference
from events.exceptions import UnauthenticatedError
from events.identity import identity_of
from events.models import Session
from events.statements import Prepared


@dataclass(frozen=True)
class Reading:
    """A conference's rows, read without its lock.

    The rows are valid only if the conference still has this version once it is locked.
    """

    version: int
    participants: list[Participant]
    pending: list[Modification]
    # The devices of ringing participants, by participant ID. Registering such a device also changes the version.
    devices: dict[str, list[Session]] = field(default_factory=dict)


class ReadAhead:
    """Reads several conferences together, without their locks, as soon as one of them is needed.

    Several threads may share it.
    """

    def __init__(self, conference_ids: Collection[str], *, now: datetime) -> None:
        """Set which conferences to read. Only sessions that are live at `now` count as devices."""
        self._conference_ids, self._now = conference_ids, now
        self._readings: dict[str, Reading] | None = None
        self._lock = threading.Lock()

    def take(self, conference_id: str) -> Reading | None:
        """Return the reading of a conference, but only once: operations change its rows. Later calls return None."""
        with self._lock:
            if self._readings is None:
                self._readings = _read(self._conference_ids, self._now)
            return self._readings.pop(conference_id, None)


def _read(conference_ids: Collection[str], now: datetime) -> dict[str, Reading]:
    """Read the versions of conferences, then their rows.

    If a row changes after its conference's version was read, `lock` finds another version and does not use the reading.
    """
    versions = Conference.objects.filter(pk__in=conference_ids).order_by().values_list("pk", "version")
    readings = {pk: Reading(version, [], []) for pk, version in versions}
    for participant in Participant.objects.listed().filter(conference__in=[*readings]).select_related("session"):
        readings[participant.conference_id].participants.append(participant)
    for modification in Modification.objects.pending().filter(conference__in=[*readings]).defer("offer"):
        readings[modification.conference_id].pending.append(modification)
    _read_devices(readings.values(), now)
    return readings


def _read_devices(readings: Iterable[Reading], now: datetime) -> None:
    """Read the live sessions of the users whose devices ring."""
    ringing = [(reading, each) for reading in readings for each in reading.participants if each.is_ringing]
    by_identity: dict[tuple[str, str], list[Session]] = defaultdict(list)
    for session in Session.objects.live(now).devices_of([participant for _, participant in ringing]):
        for identity in identity_of(session).items():
            by_identity[identity].append(session)
    for reading, participant in ringing:
        own = {each.pk: each for identity in identity_of(participant).items() for each in by_identity[identity]}
        reading.devices[participant.pk] = [*own.values()]


def lock(
    conference_id: str, *, now: datetime, skip_locked: bool = False, reading: Reading | None = None
) -> LockedConference:
    """Lock a conference until the end of the transaction and load it.

    :param skip_locked: whether to skip a conference that another transaction has locked. SQLite always waits.
    :param reading: rows to use if the conference has not changed since they were read.
    :raises NotFoundError: when the conference does not exist, or it was skipped.
    """
    skip = skip_locked and connection.features.has_select_for_update_skip_locked
    found = _LOCKED[skip].objects(pk=conference_id)
    if not found:
        raise NoSuchConferenceError
    (conference,) = found
    if reading is None or reading.version != conference.version:
        participants = _PARTICIPANTS.objects(conference=conference_id)
        pending = _PENDING[Topology(conference.topology)].objects(conference=conference_id)
        reading = Reading(conference.version, participants, pending)
    for participant in reading.participants:
        participant.conference = conference
    for modification in reading.pending:
        modification.conference = conference
    return LockedConference(
        conference=conference,
        participants=reading.participants,
        pending=reading.pending,
        now=now,
        devices_ahead=reading.devices,
    )


def _locked(pk: str, *, skip: bool) -> ConferenceQuerySet:
    return Conference.objects.select_for_update(no_key=True, skip_locked=skip).filter(pk=pk).order_by()


def _pending(conference: str, *without: str) -> ModificationQuerySet:
    return Modification.objects.pending().filter(conference=conference).defer(*without)


# The key tells whether to skip a conference that another transaction has locked.
_LOCKED = {skip: Prepared(partial(_locked, skip=skip), pk=str) for skip in (False, True)}
_PARTICIPANTS = Prepared(
    lambda conference: Participant.objects.listed().filter(conference=conference).select_related("session"),
    conference=str,
)
_PENDING = {
    Topology.PEER: Prepared(_pending, conference=str),
    # The offers are not loaded, because they are long and there may be many.
    Topology.FOCUS: Prepared(lambda conference: _pending(conference, "offer"), conference=str),
}


def lock_together(conference_ids: Collection[str], *, now: datetime) -> dict[str, LockedConference]:
    """Lock several conferences, always in the order of their IDs, and load them.

    :raises NotFoundError: when one of them does not exist.
    """
    return {conference_id: lock(conference_id, now=now) for conference_id in sorted(conference_ids)}


def lock_for(session: Session, conference_id: str, *, now: datetime, if_match: str | None) -> LockedConference:
    """Lock a conference that the session, or its user, takes or took part in.

    :raises NotFoundError: when the conference does not exist, or this session may not see it.
    :raises PreconditionFailedError: when the conference has none of the ETags in the `If-Match` header.
    """
    locked = lock(conference_id, now=now)
    require_visible(locked, session, if_match=if_match)
    return locked


def require_visible(locked: LockedConference, session: Session, *, if_match: str | None, to_join: bool = False) -> None:
    """Require that the session, or its user, takes or took part in a conference, or may join because it is open.

    :raises NotFoundError: when the session may not see the conference.
    :raises PreconditionFailedError: when the conference has none of the ETags in the `If-Match` header.
    """
    is_open = to_join and locked.conference.access == Access.OPEN
    if not is_open and not locked.involves(session):
        raise NoSuchConferenceError
    wanted = {"*"} if if_match is None else {*parse_etags(if_match)}
    if wanted.isdisjoint({"*", etag(locked.conference)}):
        raise PreconditionFailedError(etag=etag(locked.conference))


def etag(conference: Conference) -> str:
    """Return the entity tag of a conference (RFC 9110 section 8.8.3)."""
    return f'"{conference.version}"'


def require_still_live(session: Session, *, now: datetime) -> None:
    """Require that a session has not ended since its request was authenticated.

    An operation that assigns this session to a participant calls this function last. It locks the session's row until
    the transaction ends. Until then the session cannot end, so `end_session` later finds the participant. This lock
    does not conflict with the locks of `log.append`.

    :raises UnauthenticatedError: when the session has ended.
    """
    share = "FOR KEY SHARE" if connection.features.has_select_for_update else ""
    table = Session._meta.db_table
    (row,) = Session.objects.raw(f"SELECT * FROM {table} WHERE id = %s {share}", [session.pk])  # noqa: S608
    require_live(row, now=now)


def require_live(session: Session | None, *, now: datetime) -> None:
    """Require that a loaded session has not ended since its request was authenticated.

    :raises UnauthenticatedError: when the session has ended, or is None because a participant has no session.
    """
    if session is None or not session.is_live(now):
        raise UnauthenticatedError("Your session has ended: register again.")
