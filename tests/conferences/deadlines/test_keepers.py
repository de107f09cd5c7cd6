"""Several timekeepers, and several deadlines at once."""

import threading
from collections import deque
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Conference, Modification, Participant
from conferences.operations import deadlines
from conferences.operations.calls import terminate_conference
from conferences.operations.deadlines import due, next_deadline, settle, settle_due
from conferences.operations.locking import ReadAhead, lock
from conferences.operations.sessions import leave_after_end
from events.models import Event, Session
from events.states import SessionState
from tests.support.actions import CALL_HOLD, HOLD, MOD
from tests.support.deadlines import assert_all_is_settled
from tests.support.descriptions import offer
from tests.support.devices import Call, Device
from tests.support.focus import scripted_node
from tests.support.queries import Queries
from tests.support.refusals import all_rows

pytestmark = pytest.mark.django_db(transaction=True)


def require_settled_once(*, now: datetime) -> None:
    """Settle the one due deadline with two timekeepers, and require that the second timekeeper changes nothing."""
    first, second = due(now=now), due(now=now)
    settle(deque(first))
    before = all_rows()
    settle(deque(second))
    assert len(second) == 1
    assert all_rows() == before


class TestSimultaneousDeadlines:
    def test_all_kinds_of_deadlines_are_settled_together(self, call: Call, carol: Device) -> None:
        Device.register("alice", "phone")
        call.alice.call("carol"), carol.call("dave")
        call.bob.put(call.id, MOD, offer(session=777, version=3))
        late = timezone.now() + timedelta(days=40)
        assert settle_due(now=late) > 0
        assert_all_is_settled(late)
        assert not Conference.objects.live().exists()
        assert not Session.objects.filter(state="active").exists()

    def test_two_keepers_that_find_the_same_deadline_settle_it_once(self, ringing: Call) -> None:
        late = timezone.now() + timedelta(seconds=31)
        require_settled_once(now=late)

    def test_two_keepers_expire_a_modification_once(self, call: Call) -> None:
        call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))
        late = timezone.now() + timedelta(seconds=31)
        first, second = due(now=late), due(now=late)
        settle(deque(first))
        assert [event["type"] for event in call.bob.news()] == ["mod-received", "mod-expired"]
        assert [event["type"] for event in call.alice.news()] == ["mod-expired", "move-expired"]
        before = all_rows()
        settle(deque(second))
        assert all_rows() == before

    def test_a_late_keeper_does_not_expire_the_next_modification(self, call: Call, settings: Settings) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        jobs = due(now=timezone.now() + settings.MODIFICATION_LIFETIME)
        call.bob.withdraw(call.id, mod)
        # The next modification expires later than the time at which `jobs` were due.
        settings.MODIFICATION_LIFETIME *= 2
        call.alice.put(call.id, MOD, offer(version=3))
        before = all_rows()
        settle(deque(jobs))
        assert len(jobs) == 1
        assert all_rows() == before

    def test_two_keepers_make_a_participant_leave_once(self, call: Call) -> None:
        now = timezone.now()
        Session.objects.filter(pk=call.bob.id).update(state=SessionState.ENDED, ended_at=now, leaving_since=now)
        require_settled_once(now=now)

    def test_a_participant_that_has_left_meanwhile_does_not_change(self, call: Call) -> None:
        left = Participant.objects.get(session=call.bob.id)
        call.bob.delete(call.id)
        before = all_rows()
        leave_after_end(conference_id=call.id, participant_id=left.pk, now=timezone.now())
        assert all_rows() == before

    def test_another_thread_can_take_the_last_job(self) -> None:
        class Emptied(deque[Any]):
            """A queue that seems to contain a job when it is checked, but is empty when the job is taken."""

            def __bool__(self) -> bool:
                return True

        settle(Emptied())

    def test_a_conference_that_is_locked_is_skipped(self, ringing: Call, caplog: pytest.LogCaptureFixture) -> None:
        if not connection.features.has_select_for_update_skip_locked:
            pytest.skip("the database has one writer")
        late = timezone.now() + timedelta(seconds=31)
        held, release = threading.Event(), threading.Event()

        def hold_it() -> None:
            try:
                with transaction.atomic():
                    lock(ringing.id, now=late)
                    held.set()
                    release.wait(10)
            finally:
                connection.close()

        holding = threading.Thread(target=hold_it)
        holding.start()
        assert held.wait(10)
        assert settle_due(now=late) == 1
        # If the timekeeper waited for the lock, it would log an error after the database's lock timeout.
        assert [each for each in caplog.records if each.levelname == "ERROR"] == []
        assert ringing.alice.get(ringing.id)["state"] == "invitation-sent"
        release.set()
        holding.join()
        assert settle_due(now=late) == 1
        assert ringing.alice.get(ringing.id)["state"] == "session-terminated"

    def test_several_deadlines_of_a_conference_are_settled_together(self, alice: Device) -> None:
        Device.register("bob"), Device.register("carol")
        settle_at = timezone.now() + timedelta(seconds=31)
        with scripted_node():
            conference = alice.gather("bob", "carol").json()["id"]
            assert settle_due(now=settle_at) == 1
            assert alice.get(conference)["state"] == "session-terminated"
            assert_all_is_settled(settle_at)

    def test_a_deadline_that_fails_does_not_delay_others(
        self, call: Call, carol: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second = carol.call("dave").json()["id"], call.alice.call("erin").json()["id"]
        mod = call.bob.put(call.id, MOD, offer(session=777, version=3))["x-mod-id"]

        def fail_for_one(conference_id: str, **options: Any) -> Any:
            if conference_id in {first, call.id}:
                raise RuntimeError("the database has a bad day")
            return lock(conference_id, **options)

        late = timezone.now() + timedelta(seconds=31)
        with monkeypatch.context() as patch:
            patch.setattr(deadlines, "lock", fail_for_one)
            assert settle_due(now=late) == 3
        assert [record.levelname for record in caplog.records].count("ERROR") == 2
        states = dict(Conference.objects.values_list("pk", "state"))
        assert (states[first], states[second]) == ("invitation-sent", "session-terminated")
        assert Modification.objects.get(pk=mod).state == "mod-sent"
        assert settle_due(now=late) == 2
        assert_all_is_settled(late)

    def test_rows_read_ahead_equal_those_that_the_lock_would_load(self, call: Call, carol: Device) -> None:
        ringing = carol.call("dave").json()["id"]
        call.alice.put(call.id, HOLD, offer("recvonly", version=3))
        ahead = ReadAhead([call.id, ringing], now=timezone.now())
        for conference in (call.id, ringing):
            reading = ahead.take(conference)
            assert reading
            with transaction.atomic():
                loaded = lock(conference, now=timezone.now())
                room = lock(conference, now=timezone.now(), reading=reading)
            assert room.participants is reading.participants
            assert room.snapshot() == loaded.snapshot()
            assert [each.offer for each in room.pending] == [each.offer for each in loaded.pending]
        assert ahead.take(ringing) is None

    def test_rows_read_ahead_are_not_used_after_a_change(self, ringing: Call) -> None:
        reading = ReadAhead([ringing.id], now=timezone.now()).take(ringing.id)
        assert ringing.bob.answer(ringing.id).status_code == 204
        before = all_rows()
        late = timezone.now() + timedelta(seconds=31)
        deadlines.settle_conference(conference_id=ringing.id, now=late, reading=reading)
        assert all_rows() == before
        assert ringing.alice.get(ringing.id)["state"] == "session-open"

    def test_devices_of_every_identity_are_read_ahead(self, alice: Device, carol: Device) -> None:
        devices = [Device.register("bob"), Device.register("bob", "phone"), Device.register("robert", vtn="+15550101")]
        devices += [Device.register("someone", icmn="+15550101"), Device.register("dave")]
        alice.call("bob"), alice.call("tel:+15550101"), carol.call("dave")
        for device in devices:
            assert device.news_types() == ["invitation-received"]
        with Queries() as queries:
            assert settle_due(now=timezone.now() + timedelta(seconds=31)) == 3
        read = [query["sql"] for query in queries if query["sql"].startswith('SELECT "conferences_session"')]
        assert sum('"conferences_session"."username" IN' in sql for sql in read) == 1
        for device in devices:
            (cancelled,) = device.news()
            assert (cancelled["type"], cancelled["reason"]) == ("invitation-cancelled", "no-answer")

    def test_a_device_that_registers_after_the_rows_are_read_stops_ringing_too(self, ringing: Call) -> None:
        late = timezone.now() + timedelta(seconds=31)
        reading = ReadAhead([ringing.id], now=late).take(ringing.id)
        phone = Device.register("bob", "phone")
        assert phone.news_types() == ["invitation-received"]
        deadlines.settle_conference(conference_id=ringing.id, now=late, reading=reading)
        assert phone.news_types() == ["invitation-cancelled"]

    def test_jobs_that_another_keeper_has_settled_are_not_locked(self, ringing: Call, alice: Device) -> None:
        alice.call("carol")
        late = timezone.now() + timedelta(seconds=31)
        jobs = deque(due(now=late))
        assert settle_due(now=late) == len(jobs) == 2
        with Queries() as queries:
            settle(jobs)
        assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
        assert not any("FOR NO KEY UPDATE" in query["sql"] for query in queries)

    def test_one_more_deadline_adds_no_queries_to_read_it(self, alice: Device) -> None:
        late, counts = timezone.now() + timedelta(seconds=31), []
        for number in (2, 4):
            for callee in range(number):
                alice.call(f"callee {callee}")
            with Queries() as queries:
                assert settle_due(now=late) == number
            counts.append(queries.count)
        # Each of the two further deadlines needs six queries. One takes the lock, three change rows of three kinds, one
        # gets the caller's event number, and one writes the events.
        assert counts[1] - counts[0] <= 2 * 6
        assert_all_is_settled(late)

    def test_due_jobs_of_one_conference_are_settled_independently_of_others(self, call: Call, carol: Device) -> None:
        ringing = carol.call("dave").json()["id"]
        settle_due(now=timezone.now() + timedelta(seconds=31))
        assert carol.get(ringing)["state"] == "session-terminated"
        assert call.alice.get(call.id)["state"] == "session-open"


def test_support_ends_a_conference_once(call: Call) -> None:
    now = timezone.now()
    assert terminate_conference(conference_id=call.id, now=now) is True
    for device in (call.alice, call.bob):
        (terminated,) = device.news()
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "ended-by-support")
    before = all_rows()
    assert terminate_conference(conference_id=call.id, now=now) is False
    assert all_rows() == before


def test_the_next_deadline_is_the_earliest(call: Call, settings: Settings) -> None:
    session = Session.objects.earliest("expires_at")
    assert next_deadline() == session.expires_at
    call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))
    assert next_deadline() == Participant.objects.get(conference=call.id, role="host").move_until
    settle_due(now=timezone.now() + settings.MOVE_WINDOW)
    assert next_deadline() == Modification.objects.pending().get().expires_at
    # The offer in an invitation has no deadline of its own: it ends with the invitation.
    Modification.objects.all().delete()
    conference = call.alice.call("dave").json()["id"]
    assert next_deadline() == Participant.objects.ringing().get(conference=conference).rings_until
    Session.objects.update(state="ended")
    Event.objects.all().delete()
    Conference.objects.all().delete()
    assert next_deadline() is None
