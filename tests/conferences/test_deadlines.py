"""What happens when time passes: rings, modifications, the move window, sessions, retention."""

import threading
from collections import deque
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from conferences.machine import ConferenceState
from conferences.models import Conference, KeptAnswer, Modification, Participant
from conferences.operations import deadlines, retention
from conferences.operations.calls import terminate_conference
from conferences.operations.deadlines import due, next_deadline, settle, settle_due
from conferences.operations.locked_conference import ReadAhead, lock
from conferences.operations.retention import prune
from conferences.operations.sessions import abandon_seat, end_session
from events.models import Event, Session
from events.states import SessionState
from media.models import MediaTask
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device, hold
from tests.support.focus import scripted_node
from tests.support.queries import Queries
from tests.support.refusals import all_rows, refused

pytestmark = pytest.mark.django_db(transaction=True)

MOD, HOLD, CALL_HOLD = "initiate-conference-mod", "initiate-conference-hold", "initiate-call-hold"
INSTANT = timedelta(microseconds=1)


def assert_all_is_settled(now: datetime) -> None:
    """Require that looking again finds nothing to do and changes nothing."""
    before = all_rows()
    assert settle_due(now=now) == 0
    assert all_rows() == before


def let_pass(call: Call, duration: timedelta) -> None:
    """Let an armed move look as if it had been armed that much earlier."""
    Participant.objects.filter(conference=call.id).update(move_until=F("move_until") - duration)


class TestRinging:
    def until(self, conference: str) -> datetime:
        (until,) = Participant.objects.ringing().filter(conference=conference).values_list("rings_until", flat=True)
        assert until is not None
        return until

    def test_it_rings_until_its_time_is_over(self, ringing: Call, settings: Settings) -> None:
        until = self.until(ringing.id)
        assert until - Conference.objects.get().created_at == settings.RING_DURATION
        assert_all_is_settled(until - INSTANT)
        assert settle_due(now=until) == 1
        left, terminated = ringing.alice.news()
        assert (left["type"], left["reason"]) == ("participant-left", "no-answer")
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "no-answer")
        (cancelled,) = ringing.bob.news()
        assert (cancelled["type"], cancelled["reason"]) == ("invitation-cancelled", "no-answer")
        body = ringing.bob.get(ringing.id)
        assert (body["state"], body["pendingModifications"]) == ("session-terminated", [])
        assert [seat["leftReason"] for seat in body["participants"]] == ["conference-ended", "no-answer"]
        assert_all_is_settled(until)

    def test_an_answer_in_time_stops_it(self, ringing: Call) -> None:
        until = self.until(ringing.id)
        ringing.bob.answer(ringing.id)
        assert_all_is_settled(until + timedelta(seconds=1))

    def test_a_call_that_nobody_could_hear_ends_too(self, alice: Device) -> None:
        conference = alice.call("nobody").json()["id"]
        assert settle_due(now=self.until(conference)) == 1
        assert alice.get(conference)["state"] == "session-terminated"

    def test_a_move_that_nobody_answers_ends_the_participation(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        phone.news(), call.bob.news()
        until = self.until(call.id)
        assert_all_is_settled(until - INSTANT)
        assert settle_due(now=until) == 1
        assert phone.news()[0]["reason"] == "no-answer"
        left, terminated = call.bob.news()
        assert (left["type"], left["reason"], left["participant"]["username"]) == (
            "participant-left",
            "no-answer",
            "alice",
        )
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "no-answer")
        assert [event["type"] for event in call.alice.news()] == ["participant-left"]
        refused(409, "not-ringing", phone.answer, call.id, offer(session=5))
        assert_all_is_settled(until)


class TestModifications:
    @pytest.mark.parametrize("action", [MOD, HOLD])
    def test_one_that_nobody_settles_expires_for_both_sides(self, call: Call, action: str, settings: Settings) -> None:
        before = call.alice.get(call.id)
        mod = call.alice.put(call.id, action, offer("recvonly", version=3))["x-mod-id"]
        call.bob.news()
        row = Modification.objects.get(pk=mod)
        assert row.expires_at - row.created_at == settings.MODIFICATION_LIFETIME
        assert_all_is_settled(row.expires_at - INSTANT)
        assert settle_due(now=row.expires_at) == 1
        for device in (call.alice, call.bob):
            (expired,) = device.news()
            assert (expired["type"], expired["modId"]) == ("mod-expired", mod)
        assert call.alice.get(call.id) == before
        for refuse in (call.alice.withdraw, call.bob.withdraw):
            assert refused(409, "modification-settled", refuse, call.id, mod).json()["state"] == "mod-expired"
        refused(409, "modification-settled", call.bob.accept, call.id, mod, answer(version=3))
        assert_all_is_settled(row.expires_at)
        assert call.bob.put(call.id, MOD, offer(session=777, version=3)).status_code == 204

    def test_the_offer_of_a_call_ends_with_its_ringing(self, ringing: Call) -> None:
        Modification.objects.update(expires_at=timezone.now())
        assert_all_is_settled(timezone.now())

    def test_one_that_has_been_settled_does_not_expire(self, call: Call) -> None:
        hold(call)
        assert_all_is_settled(timezone.now() + timedelta(seconds=60))


class TestMoveWindow:
    @pytest.fixture
    def phone(self, call: Call) -> Device:
        return Device.register("alice", "phone")

    @pytest.mark.parametrize("accepted", [True, False])
    def test_before_it_closes_a_delete_moves(
        self, call: Call, phone: Device, accepted: bool, settings: Settings
    ) -> None:
        if accepted:
            hold(call, CALL_HOLD)
        else:
            call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))
        seat = Participant.objects.get(conference=call.id, role="host")
        assert seat.move_until is not None
        assert timedelta() < seat.move_until - timezone.now() <= settings.MOVE_WINDOW
        assert_all_is_settled(seat.move_until - INSTANT)
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("moving", False)
        assert phone.news_types() == ["invitation-received"]

    def close(self, call: Call) -> datetime:
        """Let the timekeeper find the window closed."""
        let_pass(call, timedelta(seconds=10))
        now = timezone.now()
        assert settle_due(now=now) == 1
        return now

    @pytest.mark.parametrize("looked", [True, False])
    def test_after_it_has_closed_a_delete_is_an_ordinary_end(self, call: Call, phone: Device, looked: bool) -> None:
        hold(call, CALL_HOLD)
        if looked:
            now = self.close(call)
            (expired,) = call.alice.news()
            assert (expired["type"], expired["participant"]["state"]) == ("move-expired", "on-hold")
            assert call.bob.news() == phone.news() == []
            assert_all_is_settled(now)
        else:
            let_pass(call, timedelta(seconds=10))
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], body["moveRefused"], body["state"]) == (
            "terminated",
            "window-over",
            "session-terminated",
        )
        assert phone.news() == []
        assert call.bob.news()[-1]["reason"] == "hung-up"

    def test_after_it_has_closed_the_leg_is_simply_on_hold(self, call: Call, phone: Device) -> None:
        hold(call, CALL_HOLD)
        self.close(call)
        mod = call.alice.put(call.id, "initiate-conference-resume", offer(version=4))["x-mod-id"]
        assert call.bob.accept(call.id, mod, answer(version=4)).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("terminated", False)

    def test_arming_again_opens_it_again(self, call: Call, phone: Device) -> None:
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))["x-mod-id"]
        self.close(call)
        call.bob.withdraw(call.id, mod)
        call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))
        assert call.alice.delete(call.id).json()["outcome"] == "moving"

    @pytest.mark.parametrize("settled", ["rejected", "expired"])
    @pytest.mark.parametrize("closed", [True, False])
    def test_the_other_side_cannot_prevent_a_move(self, call: Call, phone: Device, settled: str, closed: bool) -> None:
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))["x-mod-id"]
        if closed:
            self.close(call)
        if settled == "expired":
            Modification.objects.filter(pk=mod).update(expires_at=timezone.now())
            assert settle_due(now=timezone.now()) == 1
        else:
            assert call.bob.withdraw(call.id, mod).status_code == 204
        body = call.alice.delete(call.id).json()
        assert body["outcome"] == ("terminated" if closed else "moving")
        assert body.get("moveRefused") == ("window-over" if closed else None)
        assert phone.news_types() == ([] if closed else ["invitation-received"])

    def test_one_that_was_on_hold_already_is_told_that_the_window_is_over(self, call: Call, phone: Device) -> None:
        hold(call)
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=4))["x-mod-id"]
        self.close(call)
        assert call.bob.accept(call.id, mod, answer("sendonly", version=4)).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], body.get("moveRefused")) == ("terminated", "window-over")
        assert phone.news() == []

    @pytest.mark.parametrize("closed", [True, False])
    def test_a_hold_that_its_initiator_cancels_moves_nothing(self, call: Call, phone: Device, closed: bool) -> None:
        mod = call.alice.put(call.id, CALL_HOLD, offer("recvonly", version=3))["x-mod-id"]
        if closed:
            self.close(call)
        assert call.alice.withdraw(call.id, mod).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("terminated", False)
        assert phone.news() == []

    def test_a_resume_takes_the_move_back(self, call: Call, phone: Device) -> None:
        hold(call, CALL_HOLD)
        mod = call.alice.put(call.id, "initiate-conference-resume", offer(version=4))["x-mod-id"]
        assert call.bob.accept(call.id, mod, answer(version=4)).status_code == 204
        body = call.alice.delete(call.id).json()
        assert (body["outcome"], "moveRefused" in body) == ("terminated", False)

    def test_one_that_ended_first_is_told_nothing(self, call: Call) -> None:
        hold(call, CALL_HOLD)
        call.bob.delete(call.id)
        call.alice.news()
        assert_all_is_settled(timezone.now() + timedelta(seconds=10))


class TestSessions:
    @pytest.mark.parametrize("who", ["alice", "bob"])
    def test_one_that_expires_ends_a_conference_of_two(self, call: Call, who: str) -> None:
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

    def test_a_host_that_expires_while_it_rings_stops_the_ringing(self, ringing: Call) -> None:
        now = timezone.now()
        Session.objects.filter(pk=ringing.alice.id).update(expires_at=now)
        settle_due(now=now)
        (cancelled,) = ringing.bob.news()
        assert (cancelled["type"], cancelled["reason"]) == ("invitation-cancelled", "caller-cancelled")

    def test_one_that_was_refreshed_in_time_does_not(self, alice: Device) -> None:
        late = alice.row.expires_at
        alice.request("PUT", f"/sessions/{alice.id}")
        assert_all_is_settled(late)

    def test_one_refreshed_since_it_was_found_due_does_not(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        now = timezone.now()
        stale = Session.objects.get(pk=call.bob.id)
        end_session(session_id=stale.pk, now=now, expired=True)
        assert call.bob.row.state == "active"
        assert call.alice.news() == []

    @pytest.mark.parametrize(
        ("state", "reason"), [(SessionState.ENDED, "hung-up"), (SessionState.EXPIRED, "session-expired")]
    )
    def test_a_seat_that_a_crash_left_behind_is_given_up(self, call: Call, state: SessionState, reason: str) -> None:
        now = timezone.now()
        Session.objects.filter(pk=call.bob.id).update(state=state, ended_at=now, leaving_since=now)
        assert settle_due(now=now) == 1
        (terminated,) = call.alice.news()
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", reason)
        assert_all_is_settled(now)

    def test_a_seat_that_moves_waits_for_its_new_device(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, CALL_HOLD)
        call.alice.delete(call.id)
        now = timezone.now()
        Session.objects.filter(pk=call.alice.id).update(expires_at=now)
        assert settle_due(now=now) == 1
        assert call.bob.get(call.id)["participants"][0]["state"] == "moving"
        assert phone.answer(call.id, offer(session=5)).status_code == 204
        assert_all_is_settled(timezone.now())


class TestTogether:
    def test_everything_at_once_leaves_nothing(self, call: Call, carol: Device) -> None:
        Device.register("alice", "phone")
        call.alice.call("carol"), carol.call("dave")
        call.bob.put(call.id, MOD, offer(session=777, version=3))
        late = timezone.now() + timedelta(days=40)
        assert settle_due(now=late) > 0
        assert_all_is_settled(late)
        assert not Conference.objects.live().exists()
        assert not Session.objects.filter(state="active").exists()

    def test_two_keepers_who_found_the_same_settle_it_once(self, ringing: Call) -> None:
        late = timezone.now() + timedelta(seconds=31)
        first, second = due(now=late), due(now=late)
        settle(deque(first))
        before = all_rows()
        settle(deque(second))
        assert len(second) == 1
        assert all_rows() == before

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

    def test_a_keeper_who_comes_late_leaves_the_next_modification_alone(self, call: Call, settings: Settings) -> None:
        mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
        jobs = due(now=timezone.now() + settings.MODIFICATION_LIFETIME)
        call.bob.withdraw(call.id, mod)
        # The next one lives longer.
        settings.MODIFICATION_LIFETIME *= 2
        call.alice.put(call.id, MOD, offer(version=3))
        before = all_rows()
        settle(deque(jobs))
        assert len(jobs) == 1
        assert all_rows() == before

    def test_two_keepers_give_up_a_seat_once(self, call: Call) -> None:
        now = timezone.now()
        Session.objects.filter(pk=call.bob.id).update(state=SessionState.ENDED, ended_at=now, leaving_since=now)
        first, second = due(now=now), due(now=now)
        settle(deque(first))
        before = all_rows()
        settle(deque(second))
        assert len(second) == 1
        assert all_rows() == before

    def test_a_seat_that_was_left_meanwhile_is_let_be(self, call: Call) -> None:
        seat = Participant.objects.get(session=call.bob.id)
        call.bob.delete(call.id)
        before = all_rows()
        abandon_seat(participant=seat, now=timezone.now())
        assert all_rows() == before

    def test_another_thread_may_take_the_last_job(self) -> None:
        class Emptied(deque[Any]):
            """It had a job when it was looked at, and has none when that is taken."""

            def __bool__(self) -> bool:
                return True

        settle(Emptied())

    def test_a_conference_that_somebody_holds_is_passed_over(
        self, ringing: Call, caplog: pytest.LogCaptureFixture
    ) -> None:
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
        # Waiting would end with an error, after the database's limit.
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

    def test_one_that_fails_holds_up_no_other(
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

    def test_what_was_read_ahead_is_what_the_lock_would_load(self, call: Call, carol: Device) -> None:
        ringing = carol.call("dave").json()["id"]
        call.alice.put(call.id, HOLD, offer("recvonly", version=3))
        ahead = ReadAhead([call.id, ringing], now=timezone.now())
        for conference in (call.id, ringing):
            reading = ahead.take(conference)
            assert reading
            with transaction.atomic():
                loaded = lock(conference, now=timezone.now())
                room = lock(conference, now=timezone.now(), reading=reading)
            assert room.seats is reading.seats
            assert room.snapshot() == loaded.snapshot()
            assert [each.offer for each in room.pending] == [each.offer for each in loaded.pending]
        assert ahead.take(ringing) is None

    def test_what_was_read_ahead_does_not_count_once_it_has_changed(self, ringing: Call) -> None:
        reading = ReadAhead([ringing.id], now=timezone.now()).take(ringing.id)
        assert ringing.bob.answer(ringing.id).status_code == 204
        before = all_rows()
        late = timezone.now() + timedelta(seconds=31)
        deadlines.settle_conference(conference_id=ringing.id, now=late, reading=reading)
        assert all_rows() == before
        assert ringing.alice.get(ringing.id)["state"] == "session-open"

    def test_devices_are_read_ahead_by_every_identity(self, alice: Device, carol: Device) -> None:
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

    def test_a_device_that_registers_after_the_reading_stops_ringing_too(self, ringing: Call) -> None:
        late = timezone.now() + timedelta(seconds=31)
        reading = ReadAhead([ringing.id], now=late).take(ringing.id)
        phone = Device.register("bob", "phone")
        assert phone.news_types() == ["invitation-received"]
        deadlines.settle_conference(conference_id=ringing.id, now=late, reading=reading)
        assert phone.news_types() == ["invitation-cancelled"]

    def test_what_another_keeper_has_settled_meanwhile_is_not_locked(self, ringing: Call, alice: Device) -> None:
        alice.call("carol")
        late = timezone.now() + timedelta(seconds=31)
        jobs = deque(due(now=late))
        assert settle_due(now=late) == len(jobs) == 2
        with Queries() as queries:
            settle(jobs)
        assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
        assert not any("FOR NO KEY UPDATE" in query["sql"] for query in queries)

    def test_one_more_costs_no_queries_for_reading_it(self, alice: Device) -> None:
        late, counts = timezone.now() + timedelta(seconds=31), []
        for number in (2, 4):
            for callee in range(number):
                alice.call(f"callee {callee}")
            with Queries() as queries:
                assert settle_due(now=late) == number
            counts.append(queries.count)
        # The lock, what has changed of three kinds, the caller's number, and its events.
        assert counts[1] - counts[0] <= 2 * 6
        assert_all_is_settled(late)

    def test_what_is_due_for_one_is_settled_without_the_others(self, call: Call, carol: Device) -> None:
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
    # An offer that comes with an invitation ends with it.
    Modification.objects.all().delete()
    conference = call.alice.call("dave").json()["id"]
    assert next_deadline() == Participant.objects.ringing().get(conference=conference).rings_until
    Session.objects.update(state="ended")
    Event.objects.all().delete()
    Conference.objects.all().delete()
    assert next_deadline() is None


class TestPruning:
    def test_events_go_by_age(self, call: Call, settings: Settings) -> None:
        count = Event.objects.count()
        newest = max(Event.objects.values_list("at", flat=True))
        assert prune(now=newest + settings.EVENT_RETENTION - timedelta(minutes=1))["events"] == 0
        assert prune(now=newest + settings.EVENT_RETENTION)["events"] == count
        assert not Event.objects.exists()
        # The numbers go on where they were.
        call.alice.put(call.id, MOD, offer(version=3))
        assert [event["seq"] for event in call.bob.log()] == [call.bob.seen + 1]

    def test_records_go_long_after_they_ended(self, call: Call, settings: Settings) -> None:
        now = timezone.now()
        call.alice.delete(call.id)
        for device in (call.alice, call.bob):
            device.request("DELETE", f"/sessions/{device.id}")
        late = now + settings.RECORD_RETENTION
        assert prune(now=late - timedelta(minutes=1)) == {
            "events": 3,
            "answers": 0,
            "conferences": 0,
            "sessions": 0,
            "media tasks": 0,
        }
        assert prune(now=late + timedelta(minutes=1)) == {
            "events": 0,
            "answers": 0,
            "conferences": 1,
            "sessions": 2,
            "media tasks": 0,
        }
        for model in (Session, Conference, Participant, Modification, Event, KeptAnswer):
            assert not model._default_manager.exists()

    def test_what_lives_stays(self, call: Call) -> None:
        before = all_rows()
        counts = prune(now=timezone.now() + timedelta(hours=1))
        assert set(counts.values()) == {0}
        assert all_rows() == before
        late = prune(now=timezone.now() + timedelta(days=4000))
        assert (late["conferences"], late["sessions"]) == (0, 0)

    def test_a_log_loses_its_beginning_only_even_when_clocks_differed(self, call: Call, settings: Settings) -> None:
        now = timezone.now()
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        log = Event.objects.of(call.bob.id)
        _, second, *_, last = log.values_list("seq", flat=True)
        log.update(at=now - settings.EVENT_RETENTION)
        log.filter(seq=second).update(at=now)
        prune(now=now)
        assert list(log.values_list("seq", flat=True)) == list(range(second, last + 1))
        prune(now=now + settings.EVENT_RETENTION)
        assert not log.exists()

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_a_log_has_no_hole_between_batches(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        now = timezone.now()
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        log = Event.objects.of(call.bob.id)
        for seq in log.values_list("seq", flat=True):
            # The later an event was written, the earlier its clock.
            log.filter(seq=seq).update(at=now - settings.EVENT_RETENTION - timedelta(seconds=seq))
        last = log.last()
        assert last is not None
        monkeypatch.setattr(retention, "BATCH", size)
        for kind, number in retention.prune_in_batches(now=now):
            assert kind != "events" or number <= size
            left = list(log.values_list("seq", flat=True))
            assert left == list(range(last.seq + 1 - len(left), last.seq + 1))
        assert not log.exists()

    def test_a_log_that_fills_a_batch_leaves_nothing_of_it_to_others(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = timezone.now()
        conference = Conference.objects.create(topology="peer", created_at=now, state=ConferenceState.SESSION_OPEN)
        # The oldest two are of two logs, but the first log begins with two that are younger.
        for name, ages in (("first", [1, 2, 4]), ("second", [3])):
            session = Session.objects.create(id=name, token_hash=name, username=name, created_at=now, expires_at=now)
            for seq, age in enumerate(ages, 1):
                at = now - settings.EVENT_RETENTION - timedelta(seconds=age)
                Event.objects.create(session=session, seq=seq, conference_id=conference.pk, type="x", wire="{}", at=at)
        monkeypatch.setattr(retention, "BATCH", 2)
        batches = retention.prune_in_batches(now=now)
        assert next(batches) == ("events", 2)
        assert list(Event.objects.order_by("session", "seq").values_list("session", "seq")) == [
            ("first", 3),
            ("second", 1),
        ]
        assert next(batches) == ("events", 2)

    def test_a_conference_waits_for_its_events(self, call: Call, settings: Settings) -> None:
        settings.EVENT_RETENTION = 2 * settings.RECORD_RETENTION
        late = timezone.now() + settings.RECORD_RETENTION + timedelta(minutes=1)
        call.alice.delete(call.id)
        assert prune(now=late)["conferences"] == 0
        Event.objects.all().delete()
        assert prune(now=late)["conferences"] == 1

    def test_more_than_the_parameters_of_a_statement_are_deleted(self, settings: Settings) -> None:
        now = timezone.now()
        ended = {"created_at": now, "ended_at": now, "state": ConferenceState.SESSION_TERMINATED}
        number = 2 * retention.BATCH + 1
        Conference.objects.bulk_create(Conference(topology="peer", **ended) for _ in range(number))
        late = now + settings.RECORD_RETENTION
        batches = list(retention.prune_in_batches(now=late))
        assert batches == [("conferences", retention.BATCH), ("conferences", retention.BATCH), ("conferences", 1)]

    def test_rows_of_every_kind_are_deleted_in_batches(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = timezone.now()
        ended = {"created_at": now, "ended_at": now, "state": ConferenceState.SESSION_TERMINATED}
        conference = Conference.objects.create(topology="peer", created_at=now, state=ConferenceState.SESSION_OPEN)
        live = Session.objects.create(token_hash="live", username="eve", created_at=now, expires_at=now)
        for number in range(5):
            Event.objects.create(session=live, seq=number + 1, conference_id=conference.pk, type="x", wire="{}", at=now)
            KeptAnswer.objects.create(key_hash=f"{number}", request_hash="", created_at=now)
            Conference.objects.create(topology="peer", **ended)
            over = {"created_at": now, "expires_at": now, "ended_at": now, "state": SessionState.ENDED}
            Session.objects.create(token_hash=f"{number}", username="eve", **over)
            MediaTask.objects.create(node="n", conference="c", kind="update", payload={}, created_at=now)
        monkeypatch.setattr(retention, "BATCH", 2)
        late = now + max(settings.RECORD_RETENTION, settings.EVENT_RETENTION)
        batches: dict[str, list[int]] = {}
        for kind, number in retention.prune_in_batches(now=late):
            batches.setdefault(kind, []).append(number)
        assert batches == {kind: [2, 2, 1] for kind in retention.KINDS}

    def test_a_log_that_waits_holds_up_no_other(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Bob's whole log waits for its first event, which came from a clock that was ahead."""
        now = timezone.now()
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        old = now - settings.EVENT_RETENTION
        log, other = Event.objects.of(call.bob.id), Event.objects.of(call.alice.id)
        log.update(at=old - timedelta(seconds=9))
        other.update(at=old)
        log.filter(seq=min(log.values_list("seq", flat=True))).update(at=now)
        count, others = log.count(), other.count()
        monkeypatch.setattr(retention, "BATCH", 2)
        assert prune(now=now)["events"] == others
        assert log.count() == count

    def test_seats_and_modifications_are_deleted_in_batches_too(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for version in (3, 4, 5):
            call.bob.withdraw(call.id, call.alice.put(call.id, MOD, offer(version=version))["x-mod-id"])
        call.alice.delete(call.id)
        Event.objects.all().delete()
        ended = {"created_at": timezone.now(), "ended_at": timezone.now(), "state": ConferenceState.SESSION_TERMINATED}
        Conference.objects.bulk_create(Conference(topology="peer", **ended) for _ in range(2))
        modifications = list(Modification.objects.order_by("created_at"))
        modifications[-1].caused_by = modifications[0]
        modifications[-1].save()
        monkeypatch.setattr(retention, "BATCH", 3)
        late = timezone.now() + settings.RECORD_RETENTION
        batches = list(retention.prune_in_batches(now=late))
        assert all(number <= 3 for _, number in batches)
        gone = {kind: sum(number for each, number in batches if each == kind) for kind, _ in batches}
        assert gone == {"modifications": len(modifications), "conferences": 3}
        assert not Participant.objects.exists()

    def test_a_conference_with_more_seats_than_a_batch_goes_by_itself(
        self, call: Call, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call.alice.delete(call.id)
        Event.objects.all().delete()
        ended = {"created_at": timezone.now(), "ended_at": timezone.now(), "state": ConferenceState.SESSION_TERMINATED}
        Conference.objects.bulk_create(Conference(topology="peer", **ended) for _ in range(2))
        monkeypatch.setattr(retention, "BATCH", 1)
        late = timezone.now() + settings.RECORD_RETENTION
        assert prune(now=late)["conferences"] == 3

    def test_a_session_waits_for_its_events(self, call: Call, settings: Settings) -> None:
        settings.EVENT_RETENTION = 2 * settings.RECORD_RETENTION
        call.alice.delete(call.id)
        for device in (call.alice, call.bob):
            device.request("DELETE", f"/sessions/{device.id}")
        Participant.objects.all().delete()
        late = timezone.now() + settings.RECORD_RETENTION + timedelta(minutes=1)
        assert prune(now=late)["sessions"] == 0
        Event.objects.all().delete()
        assert prune(now=late)["sessions"] == 2
