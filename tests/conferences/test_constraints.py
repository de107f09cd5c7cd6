"""The database enforces the invariants: each constraint refuses a row that breaks it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from conferences.models import Conference, KeptAnswer, Knock, Modification, Participant, pair_of
from events.models import Event, Session, new_id
from media.models import MediaNode, MediaTask

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def session(**fields: Any) -> Session:
    row = {"token_hash": new_id(), "username": "ann", "created_at": NOW, "expires_at": NOW + timedelta(hours=1)}
    return Session.objects.create(**{**row, **fields})


def conference(**fields: Any) -> Conference:
    return Conference.objects.create(**{"topology": "peer", "created_at": NOW, **fields})


def participant(in_: Conference, **fields: Any) -> Participant:
    row = {
        "conference": in_,
        "role": "guest",
        "state": "invited",
        "rings_until": NOW,
        "position": in_.participants.count() + 1,
    }
    return Participant.objects.create(**{**row, **fields})


def modification(by: Participant | None, to: Participant | None, **fields: Any) -> Modification:
    one = by or to or participant(conference())
    row = {
        "conference": one.conference,
        "kind": "mod",
        "pair": pair_of(one, to if by else by),
        "offer": "v=0",
        "created_at": NOW,
        "expires_at": NOW,
    }
    return Modification.objects.create(offered_by=by, offered_to=to, **{**row, **fields})


def knock(**fields: Any) -> Knock:
    row = {"username": "ann", "created_at": NOW, "expires_at": NOW}
    return Knock.objects.create(**{**row, **fields})


def event(of: Session, in_: Conference, seq: int) -> Event:
    return Event.objects.create(session=of, conference_id=in_.pk, seq=seq, type="x", wire="{}", at=NOW)


def two_participants() -> tuple[Participant, Participant]:
    one = conference()
    return participant(one), participant(one)


VIOLATIONS: dict[str, list[Callable[[], object]]] = {
    "session_state_is_known": [lambda: session(state="nonsense"), lambda: session(state="")],
    "conference_state_is_known": [lambda: conference(state="nonsense")],
    "conference_topology_is_known": [lambda: conference(topology="mesh")],
    "conference_access_is_known": [lambda: conference(access="closed")],
    "conference_has_ended_iff_terminated": [
        lambda: conference(state="session-terminated"),
        lambda: conference(ended_at=NOW),
        lambda: conference(state="session-open", ended_at=NOW),
    ],
    "participant_state_is_known": [lambda: participant(conference(), state="nonsense")],
    "participant_sits_at_a_session": [
        lambda: participant(conference(), state="accepted"),
        lambda: participant(conference(), state="on-hold"),
    ],
    "participant_rings_for_a_time": [
        lambda: participant(conference(), rings_until=None),
        lambda: participant(conference(), state="moving", session=session(), rings_until=None),
    ],
    "participant_present_is_listed": [
        lambda: participant(conference(), listed=False),
        lambda: participant(conference(), state="accepted", session=session(), listed=False),
    ],
    "participant_has_left_iff_left_at": [
        lambda: participant(conference(), state="left"),
        lambda: participant(conference(), left_at=NOW),
        lambda: participant(conference(), state="accepted", session=session(), left_at=NOW),
    ],
    "participant_one_seat_per_session": [
        lambda: [
            participant(in_, state="accepted", session=of) for in_, of in [(conference(), session())] for _ in "12"
        ],
        lambda: [
            participant(in_, state=state, session=of)
            for in_, of in [(conference(), session())]
            for state in ("accepted", "on-hold")
        ],
    ],
    "participant_one_host": [lambda: [participant(in_, role="host") for in_ in [conference()] for _ in "12"]],
    "participant_one_per_position": [lambda: [participant(in_, position=1) for in_ in [conference()] for _ in "12"]],
    "participant_has_few_stars": [
        lambda: participant(conference(), stars=0),
        lambda: participant(conference(), stars=6),
    ],
    "knock_state_is_known": [
        lambda: knock(conference=conference(), session=session(), state="nonsense", settled_at=NOW)
    ],
    "knock_is_settled_once": [
        lambda: knock(conference=conference(), session=session(), settled_at=NOW),
        lambda: knock(conference=conference(), session=session(), state="knock-denied"),
    ],
    "knock_one_pending_per_session": [
        lambda: [
            knock(conference=at, session=of, state=state)
            for at, of in [(conference(), session())]
            for state in ("knock-waiting", "knock-admitted")
        ]
    ],
    "modification_state_is_known": [lambda: modification(*two_participants(), state="nonsense", settled_at=NOW)],
    "modification_kind_is_known": [lambda: modification(*two_participants(), kind="nonsense")],
    "modification_is_settled_once": [
        lambda: modification(*two_participants(), settled_at=NOW),
        lambda: modification(*two_participants(), state="mod-accepted"),
    ],
    "modification_has_two_parties": [
        lambda: modification(*two_participants()[:1] * 2),
        lambda: modification(None, None),
    ],
    "modification_one_pending_per_pair": [
        lambda: [modification(*participants) for participants in [two_participants()] for _ in "12"],
        lambda: [modification(*order) for one, other in [two_participants()] for order in [(one, other), (other, one)]],
        lambda: [modification(*order) for one, _ in [two_participants()] for order in [(one, None), (None, one)]],
    ],
    "event_one_per_seq": [lambda: [event(of, in_, 1) for of, in_ in [(session(), conference())] for _ in "12"]],
    "event_counts_from_one": [lambda: event(session(), conference(), 0), lambda: event(session(), conference(), -1)],
}


def constraints() -> Iterator[str]:
    """Yield the names of all constraints of the conference resource and the event log."""
    for model in (Session, Conference, Participant, Modification, Knock, KeptAnswer, Event, MediaNode, MediaTask):
        yield from (constraint.name for constraint in model._meta.constraints)


@pytest.mark.parametrize(
    ("name", "violate"), [(name, violate) for name, violations in VIOLATIONS.items() for violate in violations]
)
def test_each_constraint_refuses_rows_that_break_it(name: str, violate: Callable[[], object]) -> None:
    with pytest.raises(IntegrityError) as error, transaction.atomic():
        violate()
    # SQLite does not always name the constraint. For a unique constraint, it names the columns or the index.
    message = str(error.value)
    assert name in message or "UNIQUE constraint failed" in message


def test_every_constraint_is_tested() -> None:
    assert set(constraints()) == set(VIOLATIONS)


def test_rows_that_break_no_constraint_are_accepted() -> None:
    one, other = two_participants()
    modification(one, other)
    modification(one, other, state="mod-rejected", settled_at=NOW)
    modification(*two_participants())
    modification(None, one), modification(other, None)
    conference(state="session-terminated", ended_at=NOW)
    device, meeting = session(), conference()
    participant(meeting, state="accepted", session=device, role="host")
    participant(meeting, state="left", left_at=NOW, session=device)
    participant(conference(), state="accepted", session=device, role="host")
    event(device, meeting, 1), event(device, meeting, 2), event(session(), meeting, 1)


@pytest.mark.parametrize("field", ["token_hash"])
def test_a_token_belongs_to_one_session(field: str) -> None:
    session(token_hash="same")
    with pytest.raises(IntegrityError), transaction.atomic():
        session(token_hash="same")


def test_a_session_of_a_participant_cannot_be_deleted() -> None:
    device = session()
    participant(conference(), state="accepted", session=device)
    with pytest.raises(models.ProtectedError):
        device.delete()
