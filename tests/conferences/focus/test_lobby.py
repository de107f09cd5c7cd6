"""The host locks an open conference, and admits or denies those who knock."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Conference, Knock, Participant
from conferences.operations.deadlines import next_deadline, settle_due
from conferences.operations.lobby import expire_knocks
from conferences.operations.retention import prune
from events.models import Event, Session
from tests.support.actions import CALL_HOLD
from tests.support.clock import Clock
from tests.support.devices import Call, Device, open_call
from tests.support.meeting import Meeting, put, started
from tests.support.quotas import at_once
from tests.support.refusals import all_rows, problem, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]

Register = Callable[..., Device]


def lock(meeting: Meeting, by: Device, *, locked: bool = True, **headers: str) -> Any:
    return by.request("PUT", f"/mediaConferences/{meeting.id}/lock", {"locked": locked}, **headers)


def knock(meeting: Meeting, by: Device, **headers: str) -> Any:
    return by.request("POST", f"/mediaConferences/{meeting.id}/knocks", **headers)


def knocked(meeting: Meeting, by: Device) -> str:
    """Knock, which must succeed; return the knock's ID."""
    response = knock(meeting, by)
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def answer(meeting: Meeting, by: Device, of: str, *, admit: bool, **headers: str) -> Any:
    return by.request("PUT", f"/mediaConferences/{meeting.id}/knocks/{of}", {"admit": admit}, **headers)


def withdraw(meeting: Meeting, by: Device, of: str) -> Any:
    return by.request("DELETE", f"/mediaConferences/{meeting.id}/knocks/{of}")


def remove(meeting: Meeting, by: Device, target: Device) -> None:
    path = f"/mediaConferences/{meeting.id}/participants/{meeting.participant(target).pk}"
    assert by.request("DELETE", path).status_code == 204


def waiting(meeting: Meeting, host: Device) -> list[dict[str, Any]]:
    response = host.request("GET", f"/mediaConferences/{meeting.id}/knocks")
    assert response.status_code == 200, response.content
    return list(response.json()["knocks"])


def state_of(knock_id: str) -> str:
    return Knock.objects.get(pk=knock_id).state


@pytest.fixture
def locked(trio: Meeting, alice: Device) -> Meeting:
    """A locked conference of alice, bob and carol. Alice is the host."""
    assert lock(trio, alice).status_code == 204
    trio.catch_up()
    return trio


@pytest.fixture
def dave() -> Device:
    """A device that is not in the conference."""
    return Device.register("dave", "tablet")


@pytest.mark.any_engine
class TestLocking:
    def test_the_others_learn_of_it_and_nobody_leaves(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        assert alice.get(trio.id)["locked"] is False
        assert lock(trio, alice).status_code == 204
        assert alice.news() == []
        for device in (bob, carol):
            (changed,) = device.news()
            assert (changed["type"], changed["locked"]) == ("lock-changed", True)
        body = bob.get(trio.id)
        assert (body["locked"], len(body["participants"])) == (True, 3)

    def test_locking_twice_changes_nothing(self, locked: Meeting, alice: Device) -> None:
        before = all_rows()
        assert lock(locked, alice).status_code == 204
        assert all_rows() == before

    def test_a_stranger_cannot_join(self, locked: Meeting, dave: Device) -> None:
        response = refused(403, "locked", dave.join, locked.id)
        assert set(problem(response)) == {"type", "title", "status", "code", "detail", "xCorrelator"}

    def test_another_device_of_a_participant_cannot_join(self, locked: Meeting) -> None:
        refused(403, "locked", Device.register("bob", "phone").join, locked.id)

    def test_everybody_can_join_after_unlocking(self, locked: Meeting, alice: Device, dave: Device) -> None:
        assert lock(locked, alice, locked=False).status_code == 204
        assert dave.join(locked.id).status_code == 204

    def test_it_can_be_locked_before_anybody_joins(self, alice: Device, dave: Device) -> None:
        meeting = Meeting(started(alice), alice)
        assert lock(meeting, alice).status_code == 204
        refused(403, "locked", dave.join, meeting.id)
        answer(meeting, alice, knocked(meeting, dave), admit=True)
        assert dave.join(meeting.id).status_code == 204

    def test_invited_users_can_join(self, locked: Meeting, alice: Device, dave: Device) -> None:
        alice.request("POST", f"/mediaConferences/{locked.id}/participants", {"to": "dave"})
        assert dave.join(locked.id).status_code == 204

    def test_a_participant_can_leave_and_return(self, locked: Meeting, bob: Device) -> None:
        bob.delete(locked.id)
        assert bob.join(locked.id).status_code == 204

    def test_a_new_session_of_a_user_whose_session_ended_can_return(self, locked: Meeting, carol: Device) -> None:
        carol.request("DELETE", f"/sessions/{carol.id}")
        assert Device.register("carol").join(locked.id).status_code == 204

    def test_a_participant_can_move(self, locked: Meeting, bob: Device) -> None:
        phone = Device.register("bob", "phone", vtn="+15550101")
        put(bob, locked.id, CALL_HOLD, "recvonly")
        bob.delete(locked.id)
        assert phone.join(locked.id).status_code == 204

    def test_a_removed_participant_must_knock(self, locked: Meeting, alice: Device, bob: Device) -> None:
        remove(locked, alice, bob)
        refused(403, "locked", bob.join, locked.id)
        answer(locked, alice, knocked(locked, bob), admit=True)
        assert bob.join(locked.id).status_code == 204

    def test_a_removed_user_cannot_return_with_another_device(self, trio: Meeting, alice: Device, bob: Device) -> None:
        phone = Device.register("bob", "phone", vtn="+15550101")
        phone.join(trio.id)
        phone.delete(trio.id)
        lock(trio, alice)
        remove(trio, alice, bob)
        refused(403, "locked", phone.join, trio.id)

    def test_only_the_host_can_lock(self, trio: Meeting, bob: Device, dave: Device) -> None:
        refused(403, "forbidden", lock, trio, bob)
        refused(404, "not-found", lock, trio, dave)

    def test_a_condition_is_honoured(self, trio: Meeting, alice: Device) -> None:
        refused(412, "precondition-failed", lock, trio, alice, if_match='"0"')


class TestLockRefusals:
    @pytest.mark.parametrize("body", [{}, {"locked": None}, {"locked": 1}, {"locked": "true"}])
    def test_a_lock_is_a_boolean(self, trio: Meeting, alice: Device, body: dict[str, Any]) -> None:
        refused(400, "malformed", alice.request, "PUT", f"/mediaConferences/{trio.id}/lock", body)

    @pytest.mark.parametrize("topology", ["peer", "focus"])
    def test_only_an_open_conference_can_be_locked(self, alice: Device, bob: Device, topology: str) -> None:
        call = open_call(alice, bob, topology)
        meeting = Meeting(call.id, alice, bob)
        refused(409, "open-only", lock, meeting, alice)
        refused(409, "open-only", knock, meeting, bob)

    def test_a_conference_that_has_ended_cannot_be_locked(self, trio: Meeting, alice: Device) -> None:
        alice.delete(trio.id)
        refused(409, "conference-not-open", lock, trio, alice)

    def test_locking_counts_as_a_change(self, trio: Meeting, alice: Device, settings: Settings) -> None:
        settings.CHANGES_PER_MINUTE = 1
        lock(trio, alice)
        refused(429, "rate-limited", lock, trio, alice, locked=False)


@pytest.mark.any_engine
class TestKnocking:
    def test_the_host_admits_a_session_which_then_joins(
        self, locked: Meeting, alice: Device, bob: Device, dave: Device, settings: Settings
    ) -> None:
        etag = alice.request("GET", f"/mediaConferences/{locked.id}")["etag"]
        response = knock(locked, dave)
        assert (response.status_code, response["x-state"]) == (201, "knock-waiting")
        body = response.json()
        assert response["location"] == f"/mediaConferences/{locked.id}/knocks/{body['id']}"
        # The answer names nobody.
        assert set(body) == {"id", "expiresAt"}
        (event,) = alice.news()
        assert (event["type"], event["expiresAt"]) == ("knock", body["expiresAt"])
        assert event["knock"] == {"id": body["id"], "username": "dave", "device": "tablet"}
        assert waiting(locked, alice) == [{"knock": event["knock"], "expiresAt": event["expiresAt"]}]
        assert bob.news() == dave.news() == []
        refused(403, "locked", dave.join, locked.id)
        assert answer(locked, alice, body["id"], admit=True).status_code == 204
        (answered,) = dave.news()
        assert (answered["type"], answered["knockId"], answered["admitted"]) == ("knock-answered", body["id"], True)
        until = datetime.fromisoformat(answered["expiresAt"]) - datetime.fromisoformat(answered["at"])
        assert until == settings.KNOCK_DURATION
        assert waiting(locked, alice) == []
        # A stranger cannot make conditional requests of participants fail.
        assert alice.request("GET", f"/mediaConferences/{locked.id}")["etag"] == etag
        assert dave.join(locked.id).status_code == 204
        assert state_of(body["id"]) == "knock-entered"
        assert alice.news_types()[0] == "participant-joined"

    def test_the_host_denies_a_session(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        assert answer(locked, alice, made, admit=False).status_code == 204
        (answered,) = dave.news()
        assert {name: answered[name] for name in answered.keys() - {"seq", "at", "confId"}} == {
            "type": "knock-answered",
            "knockId": made,
            "admitted": False,
            "reason": "denied",
        }
        refused(403, "locked", dave.join, locked.id)
        assert state_of(made) == "knock-denied"

    def test_an_admission_is_for_one_stay_of_one_session(self, locked: Meeting, alice: Device, dave: Device) -> None:
        answer(locked, alice, knocked(locked, dave), admit=True)
        refused(403, "locked", Device.register("dave", "phone").join, locked.id)
        dave.join(locked.id)
        remove(locked, alice, dave)
        refused(403, "locked", dave.join, locked.id)

    def test_the_same_answer_may_be_repeated_but_not_changed(
        self, locked: Meeting, alice: Device, dave: Device
    ) -> None:
        made = knocked(locked, dave)
        answer(locked, alice, made, admit=True)
        before = all_rows()
        assert answer(locked, alice, made, admit=True).status_code == 204
        assert all_rows() == before
        response = refused(409, "knock-settled", answer, locked, alice, made, admit=False)
        assert problem(response)["state"] == "knock-admitted"
        dave.join(locked.id)
        assert answer(locked, alice, made, admit=True).status_code == 204

    def test_a_denial_cannot_be_changed(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        answer(locked, alice, made, admit=False)
        assert answer(locked, alice, made, admit=False).status_code == 204
        refused(409, "knock-settled", answer, locked, alice, made, admit=True)

    def test_a_session_can_withdraw_its_knock(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        alice.news()
        assert withdraw(locked, dave, made).status_code == 204
        (event,) = alice.news()
        assert (event["type"], event["knockId"], event["reason"]) == ("knock-withdrawn", made, "withdrawn")
        before = all_rows()
        assert withdraw(locked, dave, made).status_code == 204
        assert all_rows() == before
        assert dave.news() == []
        refused(409, "knock-settled", answer, locked, alice, made, admit=True)

    def test_a_session_can_give_its_admission_up(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        answer(locked, alice, made, admit=True)
        alice.news()
        assert withdraw(locked, dave, made).status_code == 204
        assert alice.news() == []
        refused(403, "locked", dave.join, locked.id)

    def test_a_knock_ends_with_its_session(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        alice.news()
        dave.request("DELETE", f"/sessions/{dave.id}")
        assert alice.news_types() == ["knock-withdrawn"]
        assert state_of(made) == "knock-withdrawn"
        assert Session.objects.get(pk=dave.id).leaving_since is None

    def test_a_knock_ends_with_a_session_that_stays_away(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        alice.news()
        now = timezone.now()
        Session.objects.filter(pk=dave.id).update(away_until=now)
        for _ in range(2):
            settle_due(now=now)
        assert alice.news_types() == ["knock-withdrawn"]
        assert state_of(made) == "knock-withdrawn"

    def test_a_knock_ends_when_its_session_was_invited_and_joins(
        self, locked: Meeting, alice: Device, dave: Device
    ) -> None:
        made = knocked(locked, dave)
        alice.request("POST", f"/mediaConferences/{locked.id}/participants", {"to": "dave"})
        alice.news()
        assert dave.join(locked.id).status_code == 204
        (event,) = (each for each in alice.news() if each["type"] == "knock-withdrawn")
        assert (event["knockId"], event["reason"]) == (made, "entered")

    def test_unlocking_admits_everybody_who_waits(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        lock(locked, alice, locked=False)
        (answered,) = dave.news()
        assert (answered["knockId"], answered["admitted"]) == (made, True)
        # The admission also counts if the host locks the conference again.
        lock(locked, alice)
        assert dave.join(locked.id).status_code == 204

    def test_the_end_of_the_conference_ends_the_knocks(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        admitted = knocked(locked, Device.register("erin"))
        answer(locked, alice, admitted, admit=True)
        alice.delete(locked.id)
        (answered,) = dave.news()
        assert (answered["knockId"], answered["admitted"], answered["reason"]) == (made, False, "conference-ended")
        assert state_of(made) == state_of(admitted) == "knock-expired"
        refused(409, "conference-not-open", answer, locked, alice, made, admit=True)
        refused(409, "conference-not-open", knock, locked, dave)

    def test_a_repeated_request_gets_the_kept_answer(self, locked: Meeting, dave: Device) -> None:
        first = knock(locked, dave, idempotency_key="k")
        assert knock(locked, dave, idempotency_key="k").json() == first.json()

    def test_a_session_that_knocks_again_gets_the_same_knock(
        self, locked: Meeting, alice: Device, dave: Device
    ) -> None:
        first = knock(locked, dave).json()
        alice.news()
        assert knock(locked, dave).json() == first
        assert alice.news() == []


@pytest.mark.any_engine
class TestDeadlines:
    def test_a_knock_that_nobody_answers_expires(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        alice.news()
        until = Knock.objects.get().expires_at
        deadline = next_deadline()
        assert deadline is not None
        assert deadline <= until
        assert settle_due(now=until - timedelta(milliseconds=1)) == 0
        assert settle_due(now=until) == 1
        (event,) = alice.news()
        assert (event["type"], event["knockId"], event["reason"]) == ("knock-withdrawn", made, "expired")
        (answered,) = dave.news()
        assert (answered["knockId"], answered["admitted"], answered["reason"]) == (made, False, "expired")
        assert settle_due(now=until) == 0

    def test_an_admission_that_nobody_uses_expires(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        answer(locked, alice, made, admit=True)
        alice.news(), dave.news()
        assert settle_due(now=Knock.objects.get().expires_at) == 1
        assert state_of(made) == "knock-expired"
        assert alice.news() == dave.news() == []
        refused(403, "locked", dave.join, locked.id)

    @pytest.mark.parametrize("admitted", [False, True])
    def test_a_late_timekeeper_changes_nothing(
        self, locked: Meeting, alice: Device, dave: Device, admitted: bool
    ) -> None:
        made = knocked(locked, dave)
        if admitted:
            answer(locked, alice, made, admit=True)
        Knock.objects.update(expires_at=timezone.now())
        assert waiting(locked, alice) == []
        refused(403, "locked", dave.join, locked.id)
        if not admitted:
            response = refused(409, "knock-settled", answer, locked, alice, made, admit=True)
            assert problem(response)["state"] == "knock-expired"
        assert knocked(locked, dave) != made
        assert state_of(made) == "knock-expired"

    def test_a_conference_that_is_gone_is_skipped(self) -> None:
        before = all_rows()
        expire_knocks(conference_id="f" * 32, now=timezone.now())
        assert all_rows() == before


@pytest.mark.any_engine
class TestChangingTheHost:
    def test_a_new_host_gets_the_knocks_and_the_right_to_answer(
        self, locked: Meeting, alice: Device, bob: Device, dave: Device
    ) -> None:
        made = knocked(locked, dave)
        path = f"/mediaConferences/{locked.id}/participants/{locked.participant(bob).pk}/role"
        alice.request("PUT", path, {"role": "host"})
        changed, again = bob.news()
        assert (changed["type"], again["type"], again["knock"]["id"]) == ("host-changed", "knock", made)
        refused(403, "forbidden", answer, locked, alice, made, admit=True)
        refused(403, "forbidden", alice.request, "GET", f"/mediaConferences/{locked.id}/knocks")
        assert answer(locked, bob, made, admit=True).status_code == 204

    def test_a_host_that_moves_gets_the_knocks_on_its_new_device(
        self, locked: Meeting, alice: Device, dave: Device
    ) -> None:
        made = knocked(locked, dave)
        phone = Device.register("alice", "phone")
        put(alice, locked.id, CALL_HOLD, "recvonly")
        alice.delete(locked.id)
        phone.news()
        phone.join(locked.id)
        assert [each["knock"]["id"] for each in phone.news() if each["type"] == "knock"] == [made]


class TestBounds:
    """A stranger must not be able to flood the host's log, or to keep others out of the lobby."""

    def test_two_knocks_of_one_user_wait_at_a_time(
        self, locked: Meeting, dave: Device, settings: Settings, still_clock: Clock
    ) -> None:
        devices = [dave, *(Device.register("dave", f"tab {number}") for number in range(9))]
        responses = [knock(locked, device) for device in devices]
        assert [response.status_code for response in responses] == [201] * 2 + [429] * 8
        assert 0 < int(responses[2]["retry-after"]) <= 60

    def test_a_user_may_knock_only_so_often(
        self, locked: Meeting, alice: Device, dave: Device, settings: Settings
    ) -> None:
        settings.KNOCKS_PER_USER = 3
        for _ in range(3):
            withdraw(locked, dave, knocked(locked, dave))
        alice.news()
        refused(429, "rate-limited", knock, locked, dave)
        refused(429, "rate-limited", knock, locked, Device.register("dave", "phone"))
        assert alice.news() == []
        assert knock(locked, Device.register("erin")).status_code == 201

    def test_the_knocks_at_a_conference_in_a_minute_are_bounded(self, locked: Meeting, settings: Settings) -> None:
        settings.KNOCKS_PER_CONFERENCE = 3
        strangers = [Device.register(f"stranger {number}") for number in range(4)]
        for stranger in strangers[:3]:
            withdraw(locked, stranger, knocked(locked, stranger))
        refused(429, "rate-limited", knock, locked, strangers[3])

    def test_the_knocks_that_wait_are_bounded(self, locked: Meeting, alice: Device, settings: Settings) -> None:
        settings.KNOCKS_PER_CONFERENCE = 2
        strangers = [Device.register(f"stranger {number}") for number in range(3)]
        first, _ = (knocked(locked, stranger) for stranger in strangers[:2])
        assert problem(refused(409, "lobby-full", knock, locked, strangers[2]))["limit"] == 2
        settings.KNOCKS_PER_CONFERENCE = 3
        answer(locked, alice, first, admit=True)
        assert knock(locked, strangers[2]).status_code == 201

    @pytest.mark.any_engine
    def test_simultaneous_knocks_do_not_exceed_the_bounds(self, locked: Meeting, settings: Settings) -> None:
        settings.KNOCKS_PER_CONFERENCE = 3
        strangers = [Device.register(f"stranger {number}") for number in range(8)]
        assert at_once([partial(knock, locked, stranger) for stranger in strangers]).count(201) == 3
        assert Knock.objects.count() == 3

    @pytest.mark.any_engine
    def test_simultaneous_knocks_of_one_session_are_one_knock(self, locked: Meeting, dave: Device) -> None:
        assert at_once(4 * [partial(knock, locked, dave)]) == [201] * 4
        assert Knock.objects.count() == 1

    def test_the_pause_after_a_denial_grows(
        self, locked: Meeting, alice: Device, dave: Device, settings: Settings
    ) -> None:
        settings.KNOCKS_PER_USER = 100
        phone = Device.register("dave", "phone")
        for pause in (30, 120, 480, 1920, 7680, 30720, 30720):
            answer(locked, alice, knocked(locked, dave), admit=False)
            for device in (dave, phone):
                response = refused(429, "rate-limited", knock, locked, device)
                assert pause - 5 < int(response["retry-after"]) <= pause
                assert problem(response)["reason"] == "denied"
            Knock.objects.update(settled_at=timezone.now() - timedelta(seconds=pause))
        # Another user, and another conference, are not affected.
        assert knock(locked, Device.register("erin")).status_code == 201


class TestWhoMayKnock:
    def test_a_session_that_may_join_need_not_knock(self, trio: Meeting, alice: Device, bob: Device) -> None:
        dave = Device.register("dave")
        refused(409, "not-locked", knock, trio, dave)
        lock(trio, alice)
        bob.delete(trio.id)
        refused(409, "not-locked", knock, trio, bob)
        answer(trio, alice, knocked(trio, dave), admit=True)
        refused(409, "not-locked", knock, trio, dave)
        alice.request("POST", f"/mediaConferences/{trio.id}/participants", {"to": "erin"})
        refused(409, "not-locked", knock, trio, Device.register("erin"))

    def test_a_participant_cannot_knock(self, locked: Meeting, bob: Device) -> None:
        refused(409, "already-answered", knock, locked, bob)

    def test_a_conference_without_a_lobby_looks_like_none(self, alice: Device, bob: Device, dave: Device) -> None:
        call: Call = open_call(alice, bob, "focus")
        answers = []
        for conference in (call.id, "f" * 32):
            path = f"/mediaConferences/{conference}/knocks"
            for method, at in (("POST", path), ("GET", path), ("PUT", f"{path}/x"), ("DELETE", f"{path}/x")):
                answers.append({**problem(refused(404, "not-found", dave.request, method, at)), "xCorrelator": ""})
        assert answers[:4] == answers[4:]

    def test_a_stranger_sees_no_knocks_and_settles_none(
        self, locked: Meeting, alice: Device, bob: Device, dave: Device
    ) -> None:
        made = knocked(locked, dave)
        erin = Device.register("erin")
        for device in (dave, erin):
            refused(404, "not-found", device.request, "GET", f"/mediaConferences/{locked.id}/knocks")
            refused(404, "not-found", answer, locked, device, made, admit=True)
            refused(404, "not-found", device.request, "GET", f"/mediaConferences/{locked.id}")
        for device in (erin, alice):
            refused(404, "not-found", withdraw, locked, device, made)
        refused(403, "forbidden", answer, locked, bob, made, admit=True)
        refused(404, "not-found", answer, locked, alice, "nonsense", admit=True)

    def test_a_knock_at_another_conference_is_not_found(self, locked: Meeting, alice: Device, dave: Device) -> None:
        made = knocked(locked, dave)
        other = Meeting(started(alice), alice)
        refused(404, "not-found", answer, other, alice, made, admit=True)
        refused(404, "not-found", withdraw, other, dave, made)

    @pytest.mark.parametrize("body", [{}, {"admit": None}, {"admit": 1}, {"admit": "true"}])
    def test_an_answer_is_a_boolean(self, locked: Meeting, alice: Device, dave: Device, body: dict[str, Any]) -> None:
        path = f"/mediaConferences/{locked.id}/knocks/{knocked(locked, dave)}"
        refused(400, "malformed", alice.request, "PUT", path, body)


def test_a_full_conference_still_refuses_an_admitted_session(
    locked: Meeting, alice: Device, dave: Device, settings: Settings
) -> None:
    answer(locked, alice, knocked(locked, dave), admit=True)
    settings.CONFERENCE_CAPACITY = 3
    refused(409, "conference-full", dave.join, locked.id)


def test_knocks_are_deleted_with_their_conference(locked: Meeting, alice: Device, dave: Device) -> None:
    knocked(locked, dave)
    alice.delete(locked.id)
    now = timezone.now()
    Session.objects.filter(pk=dave.id).update(state="ended", ended_at=now)
    Event.objects.all().delete()
    # A session stays as long as a knock refers to it.
    assert prune(now=now + timedelta(days=364))["sessions"] == 0
    gone = prune(now=now + timedelta(days=1000))
    assert (gone["conferences"], gone["sessions"]) == (1, 1)
    assert not Knock.objects.exists()
    assert not Participant.objects.exists()


def test_staff_see_the_lock_and_the_knocks(locked: Meeting, dave: Device) -> None:
    knocked(locked, dave)
    client = Client()
    client.force_login(User.objects.create_superuser("chief", password="irrelevant"))
    page = client.get(f"/admin/conferences/conference/{locked.id}/change/").content.decode()
    assert "knock-waiting" in page
    assert "Locked" in page
    assert Conference.objects.get().locked
