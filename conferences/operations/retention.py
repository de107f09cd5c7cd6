"""Delete rows that are older than their retention, and the credentials of legs that are gone.

The batches have a bounded size, so that deadlines and requests need not wait long. Every batch is a transaction of its
own and finds its rows by an index. Readers see a whole log, or a log without its beginning, but never a log with a
hole.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, takewhile
from operator import attrgetter
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from conferences.models import Conference, KeptAnswer, Knock, Modification, Participant, Stay
from conferences.scrubbing import scrub, scrub_event
from events.models import Event, Session
from media import samples, tasks

KEPT_ANSWERS_LIFETIME = timedelta(hours=24)
# Media tasks older than this are deleted, because no node executes them any more. Media nodes silent for this long are
# deleted, because they do not come back.
MEDIA_TASKS_LIFETIME = timedelta(hours=24)
# The most rows of one kind that a transaction deletes. A query may have a condition for each of these rows, and SQLite
# nests at most 1,000 conditions.
BATCH = 500
# The most rows that one step scrubs. Each description may be hundreds of kilobytes long.
SCRUB_BATCH = 50
# When a participant leaves again, scrubbing skips modifications that were settled more than this time before the
# participant was last scrubbed. No operation waits this long for its lock, so no modification is missed.
_SCRUB_OVERLAP = timedelta(minutes=5)

# A function that writes a scrubbed row, and returns whether that changed anything.
Write = Callable[[], bool]

KINDS = ("events", "answers", "conferences", "sessions", "media tasks", "samples of quality")


def prune(*, now: datetime) -> dict[str, int]:
    """Delete everything that is older than its retention. Return how many rows of each kind were deleted."""
    gone = Counter(dict.fromkeys(KINDS, 0))
    for kind, number in prune_in_batches(now=now):
        gone[kind] += number
    return {kind: gone[kind] for kind in KINDS}


def prune_in_batches(*, now: datetime) -> Iterator[tuple[str, int]]:
    """Delete or scrub one batch at each step. Yield the kind of the batch and the number of its rows.

    - Events are deleted by age only. A reader whose cursor is too old gets a `gap`.
    - Conferences are deleted `RECORD_RETENTION` after they ended, but not before their events.
    - Sessions are deleted `RECORD_RETENTION` after they ended, but not before the conferences that they took part in.
    """
    ended_before = now - settings.RECORD_RETENTION
    yield from _delete_events(now - settings.EVENT_RETENTION)
    yield from _repeat("answers", partial(_delete_answers, now - KEPT_ANSWERS_LIFETIME))
    yield from _delete_conferences(ended_before)
    yield from _repeat("sessions", partial(_delete_sessions, ended_before))
    yield from _repeat("media tasks", partial(tasks.prune, now=now, age=MEDIA_TASKS_LIFETIME, limit=BATCH))
    until = now - settings.QUALITY_RETENTION
    yield from _repeat("samples of quality", partial(samples.prune, until=until, limit=BATCH))
    yield from _scrub_descriptions(now)
    yield from _scrub_old_legs()


def _repeat(kind: str, delete_batch: Callable[[], int]) -> Iterator[tuple[str, int]]:
    """Delete batches of one kind until nothing is due."""
    while number := delete_batch():
        yield kind, number


# --- Events -----------------------------------------------------------------------------------------------


def _delete_events(until: datetime) -> Iterator[tuple[str, int]]:
    """Delete the beginning of each log: the events before the log's first event that is younger than `until`.

    If clocks differ, the times in a log may be out of order. An old event that follows a younger event must wait: both
    are deleted when the younger event is due.
    """
    due = Event.objects.filter(at__lte=until).order_by("at", "pk")
    seen: tuple[datetime, int] | None = None
    while oldest := list(_after(due, seen)[:BATCH]):
        if number := _delete_beginnings(oldest, until):
            yield "events", number
        else:
            # All of these events must wait.
            seen = oldest[-1].at, oldest[-1].pk


def _after(due: QuerySet[Event], seen: tuple[datetime, int] | None) -> QuerySet[Event]:
    """Return the due events after `seen`. All remaining events up to `seen` must wait."""
    due = due.only("at", "session_id", "seq")
    return due.filter(at__gte=seen[0]).exclude(at=seen[0], pk__lte=seen[1]) if seen else due


def _delete_beginnings(oldest: Iterable[Event], until: datetime) -> int:
    """Delete each log up to the last of these events, at most `BATCH` rows.

    Stop in each log before the first event after `until`.
    """
    last: dict[str, int] = {}
    for event in oldest:
        last[event.session_id] = max(event.seq, last.get(event.session_id, 0))
    chosen = Q(pk__in=[])
    for session, first, end in _spans(last):
        chosen |= Q(session=session, seq__gte=first, seq__lte=end)
    rows = Event.objects.filter(chosen).order_by("session", "seq")
    ids = [pk for _, log in groupby(rows.only("session_id", "at"), attrgetter("session_id")) for pk in _old(log, until)]
    return _delete(Event.objects.filter(pk__in=ids))


def _spans(last: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """Yield the session, first `seq` and last `seq` of the events to delete in each log.

    These are at most `BATCH` events in all logs together.
    """
    log = Event.objects.filter(session=OuterRef("pk")).order_by("seq").values("seq")
    logs = Session.objects.filter(pk__in=last).order_by("pk").annotate(first=Subquery(log[:1]))
    left = BATCH
    for session, first in logs.values_list("pk", "first"):
        if first is not None and left > 0:
            end = min(last[session], first + left - 1)
            left -= end - first + 1
            yield session, first, end


def _old(log: Iterable[Event], until: datetime) -> Iterator[int]:
    """Yield the primary keys of the events of one log that precede its first event after `until`."""
    return (event.pk for event in takewhile(lambda event: event.at <= until, log))


# --- Records ----------------------------------------------------------------------------------------------


def _delete_answers(until: datetime) -> int:
    """Delete one batch of kept answers that were made by `until`."""
    due = KeptAnswer.objects.filter(created_at__lte=until).order_by("created_at")
    return _delete(KeptAnswer.objects.filter(pk__in=_ids(due)))


def _delete_conferences(until: datetime) -> Iterator[tuple[str, int]]:
    """Delete conferences that ended by `until` and have no events any more, with all rows that belong to them."""
    due = Conference.objects.filter(ended_at__lte=until).order_by("ended_at")
    without_events = due.exclude(Exists(Event.objects.filter(conference_id=OuterRef("pk"))))
    while chosen := _ids(without_events):
        modifications = Modification.objects.filter(conference__in=chosen).order_by()
        while ids := _ids(modifications):
            yield "modifications", _delete_modifications(ids)
        stays = Stay.objects.filter(conference__in=chosen).order_by()
        while ids := _ids(stays):
            yield "stays", _delete(Stay.objects.filter(pk__in=ids))
        knocks = Knock.objects.filter(conference__in=chosen).order_by()
        while ids := _ids(knocks):
            yield "knocks", _delete(Knock.objects.filter(pk__in=ids))
        unlisted = Participant.objects.unlisted().filter(conference__in=chosen).order_by()
        while ids := _ids(unlisted):
            yield "participants", _delete(Participant.objects.filter(pk__in=ids))
        while chosen:
            number = _number_in_batch(chosen)
            yield "conferences", _delete_with_participants(chosen[:number])
            del chosen[:number]


@transaction.atomic
def _delete_modifications(ids: list[str]) -> int:
    """Delete modifications, and clear `caused_by` in other modifications that refer to them."""
    Modification.objects.filter(caused_by__in=ids).update(caused_by=None)
    return _delete(Modification.objects.filter(pk__in=ids))


def _number_in_batch(conferences: list[str]) -> int:
    """Return how many of the first conferences have at most `BATCH` participants in total, but at least 1."""
    rows = Participant.objects.filter(conference__in=conferences).order_by()
    participants = dict(rows.values_list("conference").annotate(number=Count("pk")))
    total = number = 0
    for number, conference in enumerate(conferences, 1):
        total += participants.get(conference, 0)
        if total > BATCH:
            return max(1, number - 1)
    return number


@transaction.atomic
def _delete_with_participants(conferences: list[str]) -> int:
    """Delete conferences and their participants. Return the number of conferences."""
    _delete(Participant.objects.filter(conference__in=conferences))
    return _delete(Conference.objects.filter(pk__in=conferences))


def _delete_sessions(until: datetime) -> int:
    """Delete one batch of sessions that ended by `until` and to which no other row refers any more."""
    due = Session.objects.filter(ended_at__lte=until).order_by("ended_at")
    for rows in (Participant.objects, Stay.objects, Knock.objects, Event.objects):
        due = due.exclude(Exists(rows.filter(session=OuterRef("pk"))))
    return _delete(Session.objects.filter(pk__in=_ids(due)))


# --- Credentials ------------------------------------------------------------------------------------------


def _scrub_descriptions(now: datetime) -> Iterator[tuple[str, int]]:
    """Delete the credentials and addresses in the descriptions of participants that have left.

    The events of a conference that has not ended stay as they are, because a client may still need them.
    """
    due = Participant.objects.unscrubbed(now).order_by("left_at")
    while participants := list(due.select_related("conference")[:SCRUB_BATCH]):
        ended = {each.conference_id for each in participants if each.conference.ended_at}
        for side in ("offered_by", "offered_to"):
            yield from _scrub_in_batches(_settled_with(participants, side), scrub_modification)
        yield from _scrub_in_batches(Event.objects.filter(conference_id__in=ended), _scrub_event)
        # A participant that has returned since the query keeps the ICE user fragment of its new leg.
        left = Participant.objects.filter(pk__in=[each.pk for each in participants], left_at__isnull=False)
        yield "scrubbed participants", left.update(scrubbed_at=now, ice_ufrag="")


def _scrub_old_legs() -> Iterator[tuple[str, int]]:
    """Delete the credentials of offers that were not accepted, and of descriptions that newer ones have replaced.

    This scans an index once: each query continues at the pair of sides where the previous query stopped.
    """
    due, pair = Modification.objects.scrubbable().order_by("pair", "settled_at"), ""
    while found := list(due.filter(pair__gte=pair).values_list("pk", "pair")[:SCRUB_BATCH]):
        yield from _scrub_in_batches(Modification.objects.filter(pk__in=[pk for pk, _ in found]), scrub_modification)
        pair = found[-1][1]


def _settled_with(participants: Iterable[Participant], side: str) -> QuerySet[Modification]:
    """Return the settled modifications of participants that have left, except those scrubbed after an earlier stay.

    :param side: `offered_by` or `offered_to`. One query for both sides would read the whole table.
    """
    chosen = Q(pk__in=[])
    for participant in participants:
        own = Q(**{side: participant})
        if participant.scrubbed_at is not None:
            own &= Q(settled_at__gte=participant.scrubbed_at - _SCRUB_OVERLAP)
        chosen |= own
    return Modification.objects.filter(chosen, settled_at__isnull=False, **{f"{side}__left_at__isnull": False})


def _scrub_in_batches(rows: QuerySet[Any], scrub_row: Callable[[Any], Write]) -> Iterator[tuple[str, int]]:
    """Scrub and write a batch at each step. Scrubbing long texts takes time, so it happens outside the transaction."""
    ids = list(rows.order_by().values_list("pk", flat=True))
    for start in range(0, len(ids), SCRUB_BATCH):
        writes = [scrub_row(row) for row in rows.model._default_manager.filter(pk__in=ids[start : start + SCRUB_BATCH])]
        with transaction.atomic():
            number = sum(write() for write in writes)
        yield "descriptions", number


def scrub_modification(row: Modification) -> Write:
    """Scrub the offer and the answer of a modification. Return the function that writes them."""
    offer, answer = scrub(row.offer), scrub(row.answer)
    changes = (offer, answer) != (row.offer, row.answer)
    rows = Modification.objects.filter(pk=row.pk)
    return lambda: rows.update(offer=offer, answer=answer, scrubbed=True) > 0 and changes


def _scrub_event(row: Event) -> Write:
    """Scrub the descriptions in an event. Return the function that writes it."""
    wire = scrub_event(row.wire)
    changes, rows = wire != row.wire, Event.objects.filter(pk=row.pk)
    return lambda: changes and rows.update(wire=wire) > 0


def _ids(rows: QuerySet[Any]) -> list[Any]:
    """Return the primary keys of the first `BATCH` rows."""
    return list(rows.values_list("pk", flat=True)[:BATCH])


def _delete(rows: QuerySet[Any]) -> int:
    """Delete rows in one statement. Unlike `QuerySet.delete`, this does not load or delete rows that refer to them."""
    return rows._raw_delete(rows.db)
