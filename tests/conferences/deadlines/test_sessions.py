"""A session that expires leaves its conferences."""

import pytest
from django.utils import timezone

from conferences.operations.deadlines import settle_due
from conferences.operations.sessions import end_session
from events.models import Session
from events.states import SessionState
from tests.support.actions import CALL_HOLD
from tests.support.deadlines import INSTANT, assert_all_is_settled
from tests.support.descriptions import offer
from tests.support.devices import Call, Device, hold

pytestmark = pytest.mark.django_db(transaction=True)


class TestSessionDeadline:
    @pytest.mark.parametrize("who", ["alice", "bob"])
    def test_a_session_that_expires_ends_its_conference_of_two(self, call: Call, who: str) -> None:
        gone, other = (call.alice, call.bob) if who == "alice" else (call.bob, call.alice)
        now = timezone.now()
        Session.objects.filter(pk=gone.id).update(expires_at=now)
        assert settle_due(now=now - INSTANT) == 0
        assert settle_due(now=now) == 1
        assert gone.row.state == SessionState.EXPIRED
        (terminated,) = other.news()
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "session-expired")
        assert other.get(call.id)["state"] == "session-terminated"
        assert gone.news() == []
        assert_all_is_settled(now)

    def test_the_ringing_stops_when_the_session_of_the_host_expires(self, ringing: Call) -> None:
        now = timezone.now()
        Session.objects.filter(pk=ringing.alice.id).update(expires_at=now)
        settle_due(now=now)
        (cancelled,) = ringing.bob.news()
        assert (cancelled["type"], cancelled["reason"]) == ("invitation-cancelled", "caller-cancelled")

    def test_a_session_that_was_refreshed_in_time_does_not_end(self, alice: Device) -> None:
        late = alice.row.expires_at
        alice.request("PUT", f"/sessions/{alice.id}")
        assert_all_is_settled(late)

    def test_a_session_refreshed_after_it_was_found_due_does_not_end(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = timezone.now()
        stale = Session.objects.get(pk=call.bob.id)
        end_session(session_id=stale.pk, now=now, expired=True)
        assert call.bob.row.state == "active"
        assert call.alice.news() == []

    @pytest.mark.parametrize(
        ("state", "reason"), [(SessionState.ENDED, "hung-up"), (SessionState.EXPIRED, "session-expired")]
    )
    def test_a_participant_that_a_crash_left_without_a_session_leaves(
        self, call: Call, state: SessionState, reason: str
    ) -> None:
        now = timezone.now()
        Session.objects.filter(pk=call.bob.id).update(state=state, ended_at=now, leaving_since=now)
        assert settle_due(now=now) == 1
        (terminated,) = call.alice.news()
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", reason)
        assert_all_is_settled(now)

    def test_a_moving_participant_stays_when_its_old_session_expires(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        now = timezone.now()
        Session.objects.filter(pk=call.alice.id).update(expires_at=now)
        assert settle_due(now=now) == 1
        assert call.bob.get(call.id)["participants"][0]["state"] == "moving"
        assert phone.answer(call.id, offer(session=5)).status_code == 204
        assert_all_is_settled(timezone.now())
