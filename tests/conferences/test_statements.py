"""A statement that was compiled once and gets other values equals the ORM's own statement for these values."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from conferences.models import Conference, Participant
from conferences.operations.calls import terminate_conference
from conferences.operations.deadlines import next_deadline, settle_conference
from events.authentication import session_by_token
from events.exceptions import UnauthenticatedError
from events.models import Session
from events.statements import Prepared, insert, update
from tests.support.devices import Device, open_call

pytestmark = pytest.mark.django_db(transaction=True)

PARTICIPANTS = Prepared(
    lambda conference: Participant.objects.listed().filter(conference=conference).select_related("session"),
    conference=str,
)
LIVE = Prepared(lambda now, username: Session.objects.live(now).filter(username=username), now=datetime, username=str)


@pytest.fixture
def compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Call a function, and require that the ORM compiles no SELECT during the call."""

    def run(action: Callable[[], object]) -> None:
        compiled: list[str] = []
        as_sql = SQLCompiler.as_sql

        def note(self: Any, *args: Any, **how: Any) -> Any:
            text = as_sql(self, *args, **how)
            compiled.append(str(text[0]))
            return text

        with monkeypatch.context() as patch:
            patch.setattr(SQLCompiler, "as_sql", note)
            action()
        assert not compiled, "\n\n".join(compiled)

    return run


def columns(row: Model | None) -> dict[str, object] | None:
    """Return the loaded fields of an instance, with their values; None if there is no instance."""
    return {name: value for name, value in vars(row).items() if name != "_state"} if row else None


def test_loaded_instances_equal_those_of_the_orm(alice: Device, bob: Device, carol: Device) -> None:
    ringing = alice.call("bob").json()["id"]
    for conference in (open_call(carol, alice).id, ringing):
        expected = list(Participant.objects.filter(conference=conference).select_related("session"))
        found = PARTICIPANTS.objects(conference=conference)
        assert found == expected
        assert [columns(each) for each in found] == [columns(each) for each in expected]
        assert [columns(each.session) for each in found] == [columns(each.session) for each in expected]
        assert not any(each._state.adding for each in found)
    assert found[1].session is None


def test_instants_are_compared(alice: Device) -> None:
    (session,) = LIVE.objects(now=timezone.now(), username="alice")
    assert session.pk == alice.id
    assert not LIVE.objects(now=session.expires_at, username="alice")
    assert not LIVE.objects(now=timezone.now(), username="bob")


def test_rows_are_inserted_in_batches_and_updated_at_once() -> None:
    now = timezone.now()
    names = [f"{number:04}" for number in range(1001)]
    insert([Session(id=name, token_hash=name, created_at=now, expires_at=now) for name in names])
    rows = list(Session.objects.order_by("pk"))
    assert [row.pk for row in rows] == names
    for row in rows[:3]:
        row.username, row.ended_at, row.last_seq = f"u{row.pk}", now + timedelta(seconds=1), 7
    update(rows[:2], {"username", "ended_at", "last_seq"})
    again = list(Session.objects.order_by("pk")[:3])
    assert [columns(row) for row in again[:2]] == [columns(row) for row in rows[:2]]
    assert again[2].username == ""
    insert([])
    update([], {"username"})


def test_settling_a_ring_compiles_nothing(
    alice: Device, bob: Device, compiles_nothing: Callable[[Callable[[], object]], None]
) -> None:
    late = timezone.now() + timedelta(hours=1)
    for again in (False, True):
        conference = alice.call("bob").json()["id"]

        def settle(conference: str = conference) -> None:
            settle_conference(conference_id=conference, now=late)
            next_deadline()

        compiles_nothing(settle) if again else settle()
        assert Conference.objects.get(pk=conference).ended_reason == "no-answer"


def test_ending_a_call_compiles_nothing(
    alice: Device, bob: Device, compiles_nothing: Callable[[Callable[[], object]], None]
) -> None:
    for again in (False, True):
        conference = open_call(alice, bob).id

        def end(conference: str = conference) -> None:
            assert terminate_conference(conference_id=conference, now=timezone.now())

        compiles_nothing(end) if again else end()


def test_authenticating_compiles_nothing(
    alice: Device, bob: Device, compiles_nothing: Callable[[Callable[[], object]], None]
) -> None:
    now = timezone.now()
    assert session_by_token(alice.token, now=now).pk == alice.id

    def authenticate() -> None:
        assert columns(session_by_token(bob.token, now=now)) == columns(bob_row)

    bob_row = bob.row
    compiles_nothing(authenticate)
    for token, at in (("unknown", now), (bob.token, bob_row.expires_at)):
        with pytest.raises(UnauthenticatedError):
            session_by_token(token, now=at)


def test_rows_may_have_a_single_column(alice: Device, bob: Device) -> None:
    names = Prepared(lambda: Session.objects.order_by("username").values_list("username"))
    assert names.rows() == [["alice"], ["bob"]]
