"""Quotas of the conferences, sessions and participants of one user."""

import re
from functools import partial

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.machine import ConferenceState, ParticipantState
from conferences.models import Conference, Participant, Role
from events.models import Session
from tests.support.devices import Device
from tests.support.plans import prepare_to_plan
from tests.support.quotas import at_once
from tests.support.refusals import refused
from tests.support.requests import register

pytestmark = pytest.mark.django_db(transaction=True)


class TestConferencesPerSession:
    def test_a_session_cannot_start_more_conferences(self, alice: Device, settings: Settings) -> None:
        settings.CONFERENCES_PER_SESSION = 1
        first = alice.call("bob").json()["id"]
        problem = refused(409, "too-many-conferences", alice.call, "carol").json()
        assert problem["limit"] == 1
        assert Device.register("alice", "tablet").call("carol").status_code == 201
        alice.delete(first)
        assert alice.call("dave").status_code == 201

    def test_a_session_cannot_answer_more_conferences(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.CONFERENCES_PER_SESSION = 1
        first, second = alice.call("bob"), Device.register("carol").call("bob")
        bob.answer(first.json()["id"])
        problem = refused(409, "too-many-conferences", bob.answer, second.json()["id"]).json()
        assert problem["limit"] == 1
        bob.delete(first.json()["id"])
        assert bob.answer(second.json()["id"]).status_code == 204


class TestSessionsPerIdentity:
    def test_the_next_session_is_refused_until_one_ends(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 2
        first = register(key, "k1").json()["id"]
        register(key, "k2")
        problem = refused(409, "too-many-sessions", register, key, "k3").json()
        assert problem["limit"] == 2
        Session.objects.filter(pk=first).update(state="ended")
        assert register(key, "k3").status_code == 201

    def test_sessions_with_the_same_number_count_together(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 1
        assert register(key, "k1", username="dave", vtn="+15550177").status_code == 201
        refused(409, "too-many-sessions", register, key, "k2", username="erin", vtn="+15550177")
        assert register(key, "k3", username="erin").status_code == 201

    def test_simultaneous_registrations_do_not_exceed_the_quota(self, key: str, settings: Settings) -> None:
        settings.SESSIONS_PER_IDENTITY = 3
        statuses = at_once([partial(register, key, f"k{number}") for number in range(8)])
        assert sorted(statuses) == [201] * 3 + [409] * 5


def test_counting_reads_only_rows_of_present_participants(alice: Device) -> None:
    """Partial indexes find the rows to count, so the length of a user's history does not matter."""
    now = timezone.now()
    ended = {"state": ConferenceState.SESSION_TERMINATED, "created_at": now, "ended_at": now}
    left = {"state": ParticipantState.LEFT, "left_at": now}
    past = [Conference(topology="peer", **ended) for _ in range(2000)]
    Conference.objects.bulk_create(past)
    Participant.objects.bulk_create(
        Participant(conference=conference, role=role, username=name, position=position, **left)
        for conference in past
        for position, (name, role) in enumerate((("alice", Role.HOST), ("bob", Role.GUEST)))
    )
    invited = Participant.objects.unanswered(now)
    prepare_to_plan()
    for rows in (invited.filter(username="bob"), invited.calling_any(["bob"]), invited.invited_by(alice.row)):
        assert re.search("participant_(present_|inviter)", rows.explain()), rows.explain()
        assert not re.search(r"(participant_(username|vtn)|Seq Scan on|SCAN) ", rows.explain()), rows.explain()


@pytest.mark.usefixtures("node")
class TestParticipantsPerUser:
    def test_one_user_cannot_fill_an_open_conference(self, alice: Device, bob: Device, settings: Settings) -> None:
        settings.SEATS_PER_USER = 2
        conference = alice.gather(access="open").json()["id"]
        tabs = [Device.register("mallory", f"tab {number}") for number in range(3)]
        assert [tab.join(conference).status_code for tab in tabs[:2]] == [204, 204]
        refused(409, "conference-full", tabs[2].join, conference)
        assert bob.join(conference).status_code == 204
        tabs[0].delete(conference)
        assert tabs[2].join(conference).status_code == 204
        refused(409, "conference-full", tabs[0].join, conference)
