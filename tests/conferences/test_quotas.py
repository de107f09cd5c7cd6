"""Nobody uses up the service or another user: each bound refuses the next one and says so."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone
from pytest_django import Settings

from conferences.machine import ConferenceState, ParticipantState
from conferences.models import Conference, Participant, Role, Session
from tests.conferences.refusals import refused
from tests.conferences.test_idempotency import register
from tests.devices import Device
from tests.focus import ScriptedNode

pytestmark = pytest.mark.django_db(transaction=True)


class TestInvitationsPerCallee:
    def test_the_next_call_is_refused_until_one_is_over(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 2
        first = alice.call("bob").json()["id"]
        carol = Device.register("carol")
        assert carol.call("bob").status_code == 201
        problem = refused(409, "callee-busy", Device.register("dave").call, "bob").json()
        assert (problem["to"], problem["limit"]) == ("bob", 2)
        alice.delete(first)
        assert Device.register("erin").call("bob").status_code == 201

    def test_an_answered_call_does_not_count(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        bob.answer(alice.call("bob").json()["id"])
        assert Device.register("carol").call("bob").status_code == 201

    def test_a_number_counts_as_an_address(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        assert alice.call("tel:+15550101").status_code == 201
        problem = refused(409, "callee-busy", Device.register("carol").call, "tel:+15550101").json()
        assert problem["to"] == "tel:+15550101"

    def test_all_addresses_of_a_user_have_one_bound(self, alice: Device, key: str, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        register(key, "k1", username="dave", vtn="+15550177", icmn="+15550178")
        assert alice.call("dave").status_code == 201
        carol = Device.register("carol")
        for address in ("dave", "tel:+15550177", "tel:+15550178"):
            assert refused(409, "callee-busy", carol.call, address).json()["to"] == address

    def test_others_are_not_concerned(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        alice.call("bob")
        assert alice.call("carol").status_code == 201

    def test_an_invitation_counts_like_a_call(
        self, alice: Device, bob: Device, node: ScriptedNode, settings: Settings
    ) -> None:
        settings.INVITATIONS_PER_CALLEE = 1
        Device.register("carol").call("bob")
        conference = alice.gather("dave").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(409, "callee-busy", alice.request, "POST", path, {"to": "bob"})

    def test_calls_in_the_same_instant_do_not_exceed_it(self, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLEE = 3
        callers = [Device.register(f"caller-{number}") for number in range(8)]
        statuses = at_once([partial(caller.call, "bob") for caller in callers])
        assert sorted(statuses) == [201] * 3 + [409] * 5
        assert Participant.objects.filter(username="bob", state="invited").count() == 3


class TestInvitationsPerCaller:
    def test_the_next_call_is_refused_until_one_is_over(self, alice: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 2
        first = alice.call("bob").json()["id"]
        # All devices of a user count together.
        assert Device.register("alice", "tablet").call("carol").status_code == 201
        response = refused(429, "too-many-invitations", alice.call, "dave")
        assert int(response["retry-after"]) == 30
        alice.delete(first)
        assert alice.call("dave").status_code == 201

    def test_all_guests_of_a_conference_count(self, alice: Device, node: ScriptedNode, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 2
        refused(429, "too-many-invitations", alice.gather, "bob", "carol", "dave")
        conference = alice.gather("bob", "carol").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(429, "too-many-invitations", alice.request, "POST", path, {"to": "dave"})

    def test_invitations_of_others_do_not_count(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 1
        bob.call("alice")
        assert alice.call("carol").status_code == 201

    def test_calls_in_the_same_instant_do_not_exceed_it(self, alice: Device, settings: Settings) -> None:
        settings.INVITATIONS_PER_CALLER = 3
        statuses = at_once([partial(alice.call, f"callee-{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [429] * 5


class TestConferencesPerSession:
    def test_a_session_starts_no_more(self, alice: Device, settings: Settings) -> None:
        settings.CONFERENCES_PER_SESSION = 1
        first = alice.call("bob").json()["id"]
        problem = refused(409, "too-many-conferences", alice.call, "carol").json()
        assert problem["limit"] == 1
        assert Device.register("alice", "tablet").call("carol").status_code == 201
        alice.delete(first)
        assert alice.call("dave").status_code == 201

    def test_a_session_answers_no_more(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.CONFERENCES_PER_SESSION = 1
        first, second = alice.call("bob"), Device.register("carol").call("bob")
        bob.answer(first.json()["id"])
        problem = refused(409, "too-many-conferences", bob.answer, second.json()["id"]).json()
        assert problem["limit"] == 1
        bob.delete(first.json()["id"])
        assert bob.answer(second.json()["id"]).status_code == 204


class TestSessionsPerIdentity:
    def test_the_next_one_is_refused_until_one_is_over(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 2
        first = register(key, "k1").json()["id"]
        register(key, "k2")
        problem = refused(409, "too-many-sessions", register, key, "k3").json()
        assert problem["limit"] == 2
        Session.objects.filter(pk=first).update(state="ended")
        assert register(key, "k3").status_code == 201

    def test_a_shared_number_counts(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 1
        assert register(key, "k1", username="dave", vtn="+15550177").status_code == 201
        refused(409, "too-many-sessions", register, key, "k2", username="erin", vtn="+15550177")
        assert register(key, "k3", username="erin").status_code == 201

    def test_registrations_in_the_same_instant_do_not_exceed_it(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 3
        statuses = at_once([partial(register, key, f"k{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [409] * 5


def test_counting_reads_present_rows_only(alice: Device) -> None:
    """However long the history of a user, PostgreSQL finds what quotas count by partial indexes."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no statistics that a test could fill")
    now = timezone.now()
    ended = {"state": ConferenceState.SESSION_TERMINATED, "created_at": now, "ended_at": now}
    past = [Conference(topology="peer", **ended) for _ in range(2000)]
    Conference.objects.bulk_create(past)
    Participant.objects.bulk_create(
        Participant(conference=conference, role=role, username=name, state=ParticipantState.LEFT, position=position)
        for conference in past
        for position, (name, role) in enumerate((("alice", Role.HOST), ("bob", Role.GUEST)))
    )
    invited = Participant.objects.unanswered(now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conferences_conference, conferences_participant")
    assert "participant_present_username" in invited.filter(username="bob").explain()
    assert "participant_present_username" in invited.invited_by(alice.row).explain()


def at_once(requests: list[Any]) -> list[int]:
    """Make requests in as many threads and return their statuses."""

    def make(request: Any) -> int:
        try:
            return int(request().status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(make, requests))
