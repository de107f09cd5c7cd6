"""A session that stays away ends, unless it has joined a conference."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.operations.deadlines import next_deadline, settle_due
from conferences.operations.sessions import end_away_sessions
from events.models import Session
from tests.support.actions import CALL_HOLD
from tests.support.deadlines import INSTANT, assert_all_is_settled
from tests.support.devices import Call, Device, hold
from tests.support.queries import Queries

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_engine]


def leave_for(device: Device, until: datetime) -> None:
    """Record that the session of a device is away."""
    Session.objects.filter(pk=device.id).update(away_until=until)


def test_it_ends_in_time(alice: Device) -> None:
    now = timezone.now()
    leave_for(alice, now)
    assert next_deadline() == now
    assert settle_due(now=now - INSTANT) == 0
    assert settle_due(now=now) == 1
    assert (alice.row.state, alice.row.away_until) == ("expired", None)
    assert settle_due(now=now) == 0


def test_it_stays_while_it_is_in_a_conference(call: Call, settings: Settings) -> None:
    now = timezone.now()
    leave_for(call.bob, now)
    assert settle_due(now=now) == 1
    assert call.bob.row.state == "active"
    # It is checked again later, so the timekeeper can sleep.
    later = now + settings.AWAY_LIFETIME
    assert call.bob.row.away_until == later
    assert settle_due(now=later - INSTANT) == 0
    call.bob.delete(call.id)
    settle_due(now=later)
    assert call.bob.row.state == "expired"


def test_a_session_that_came_back_after_it_was_found_due_does_not_end(alice: Device) -> None:
    now = timezone.now()
    end_away_sessions(session_ids=[alice.id], now=now)
    leave_for(alice, now + timedelta(seconds=1))
    end_away_sessions(session_ids=[alice.id], now=now)
    assert alice.row.state == "active"


def test_a_session_that_has_ended_stays_ended(alice: Device) -> None:
    alice.request("DELETE", f"/sessions/{alice.id}")
    ended = alice.row
    end_away_sessions(session_ids=[alice.id], now=timezone.now())
    assert alice.row.ended_at == ended.ended_at


@pytest.mark.parametrize("number", [2, 40])
def test_many_sessions_end_with_a_few_queries(number: int) -> None:
    """Otherwise the deadlines of others would wait when a network with thousands of users fails."""
    now = timezone.now()
    for each in range(number):
        Device.register(f"user {each}")
    Session.objects.update(away_until=now)
    with Queries() as queries:
        settle_due(now=now)
    assert set(Session.objects.values_list("state", "ended_at", "away_until")) == {("expired", now, None)}
    assert queries.count < 20


def test_an_ended_session_is_no_longer_away(alice: Device) -> None:
    """During an upgrade, a process of the former version may end a session that is away."""
    now = timezone.now()
    alice.request("DELETE", f"/sessions/{alice.id}")
    leave_for(alice, now)
    settle_due(now=now)
    assert alice.row.away_until is None
    assert next_deadline() is None
    assert_all_is_settled(now)


def test_its_participant_moves_on_although_it_ends(call: Call) -> None:
    now = timezone.now()
    phone = Device.register("alice", "phone")
    hold(call, CALL_HOLD)
    call.alice.delete(call.id)
    leave_for(call.alice, now)
    settle_due(now=now)
    assert call.alice.row.state == "expired"
    assert phone.join(call.id)["x-state"] == "accepted"
