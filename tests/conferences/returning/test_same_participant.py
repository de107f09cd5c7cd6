"""A user who comes back to a conference returns as the same participant."""

from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Participant, Stay
from events.models import Session
from tests.support.actions import CALL_HOLD, HOLD
from tests.support.crowds import come, go, size
from tests.support.depth import examples
from tests.support.devices import Device
from tests.support.meeting import Meeting, put, started
from tests.support.refusals import refused
from tests.support.replay import facts, replay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


def participants_of(device: Device, conference: str, username: str) -> list[dict[str, Any]]:
    """Return a user's participants in the conference, as a device sees it."""
    return [
        participant for participant in device.get(conference)["participants"] if participant["username"] == username
    ]


@pytest.mark.any_engine
class TestReturning:
    @pytest.mark.timeout(900)
    def test_a_guest_who_rejoins_often_does_not_fill_the_conference(
        self, meeting: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        participant, before, session = bob.participant(meeting.id)["id"], size(alice, meeting.id), bob.row
        rounds = examples(12, deep=1_100)
        for _ in range(rounds):
            go(meeting.id, session)
            come(meeting.id, session)
        meeting.catch_up()
        (mine,) = participants_of(alice, meeting.id, "bob")
        assert (mine["id"], mine["state"], mine["leftReason"]) == (participant, "accepted", None)
        assert size(alice, meeting.id) == before
        assert Participant.objects.count() == 2
        assert carol.join(meeting.id).status_code == 204
        assert Stay.objects.filter(participant=participant).count() == rounds

    def test_the_others_get_events_of_leaving_and_joining(self, meeting: Meeting, alice: Device, bob: Device) -> None:
        participant = bob.participant(meeting.id)["id"]
        bob.delete(meeting.id)
        bob.join(meeting.id)
        left_and_joined = [event for event in alice.news() if event["type"].startswith("participant-")]
        assert [(event["type"], event["participant"]["id"]) for event in left_and_joined] == [
            ("participant-left", participant),
            ("participant-joined", participant),
        ]
        assert left_and_joined[1]["participant"] == bob.participant(meeting.id)
        opening = {"confId": meeting.id, "type": "", "conference": alice.get(meeting.id)}
        assert replay([opening, *alice.log()], meeting.id) == facts(alice.get(meeting.id))

    def test_a_returning_participant_starts_with_fresh_state(
        self, meeting: Meeting, alice: Device, bob: Device
    ) -> None:
        put(bob, meeting.id, CALL_HOLD, "recvonly")
        path = f"/mediaConferences/{meeting.id}/participants/{bob.participant(meeting.id)['id']}/mute"
        assert alice.request("PUT", path, {"audio": True}).status_code == 204
        Participant.objects.filter(session=bob.id).update(move_until=None)
        assert bob.delete(meeting.id).json()["outcome"] == "left"
        assert bob.join(meeting.id).status_code == 204
        participant = bob.participant(meeting.id)
        assert (participant["state"], participant["muted"], participant["leftReason"]) == (
            "accepted",
            {"audio": False, "video": False},
            None,
        )
        meeting.catch_up()
        put(bob, meeting.id, HOLD, "recvonly")
        assert bob.participant(meeting.id)["state"] == "on-hold"
        assert bob.delete(meeting.id).json()["outcome"] == "left"

    def test_a_new_session_returns_as_the_participant_of_an_ended_session(self, meeting: Meeting, bob: Device) -> None:
        participant = bob.participant(meeting.id)["id"]
        bob.request("DELETE", f"/sessions/{bob.id}")
        again = Device.register("bob", "phone", vtn="+15550101")
        again.join(meeting.id)
        assert again.participant(meeting.id)["id"] == participant
        again.delete(meeting.id)
        Session.objects.filter(pk=again.id).update(expires_at=timezone.now())
        third = Device.register("bob", vtn="+15550101")
        third.join(meeting.id)
        assert third.participant(meeting.id)["id"] == participant

    def test_a_removed_participant_can_return_only_to_an_open_conference(
        self, meeting: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        closed = carol.gather("alice", "bob").json()["id"]
        alice.join(closed), bob.join(closed)
        for host, conference in ((alice, meeting.id), (carol, closed)):
            path = f"/mediaConferences/{conference}/participants/{bob.participant(conference)['id']}"
            assert host.request("DELETE", path).status_code == 204
        refused(409, "not-ringing", bob.join, closed)
        assert bob.join(meeting.id).status_code == 204
        assert [stay.left_reason for stay in Stay.objects.all()] == ["removed"]

    def test_a_user_who_is_invited_again_becomes_another_participant(
        self, meeting: Meeting, alice: Device, bob: Device
    ) -> None:
        first = bob.participant(meeting.id)["id"]
        bob.delete(meeting.id)
        path = f"/mediaConferences/{meeting.id}/participants"
        second = alice.request("POST", path, {"to": "bob"}).json()["id"]
        assert bob.join(meeting.id).status_code == 204
        assert bob.participant(meeting.id)["id"] == second != first
        bob.delete(meeting.id)
        assert bob.join(meeting.id).status_code == 204
        assert bob.participant(meeting.id)["id"] == second, "the last one that the user left"

    def test_a_user_does_not_return_as_the_participant_of_a_declined_invitation(
        self, alice: Device, bob: Device
    ) -> None:
        conference = started(alice, "bob")
        bob.delete(conference)
        assert bob.join(conference).status_code == 204
        assert [participant["state"] for participant in participants_of(alice, conference, "bob")] == [
            "left",
            "accepted",
        ]
        assert not Stay.objects.exists()

    def test_users_cannot_return_to_a_full_conference(
        self, meeting: Meeting, bob: Device, carol: Device, settings: Settings
    ) -> None:
        settings.CONFERENCE_CAPACITY = 2
        bob.delete(meeting.id)
        assert carol.join(meeting.id).status_code == 204
        refused(409, "conference-full", bob.join, meeting.id)
        carol.delete(meeting.id)
        assert bob.join(meeting.id).status_code == 204

    def test_users_cannot_return_to_an_ended_conference(self, meeting: Meeting, alice: Device, bob: Device) -> None:
        bob.delete(meeting.id)
        alice.delete(meeting.id)
        refused(409, "conference-not-open", bob.join, meeting.id)


@pytest.mark.any_engine
class TestReturningIdentity:
    def test_another_device_does_not_take_the_participant_of_a_live_session(
        self, meeting: Meeting, bob: Device
    ) -> None:
        participant = bob.participant(meeting.id)["id"]
        bob.delete(meeting.id)
        tablet = Device.register("bob", "tablet", vtn="+15550101")
        tablet.join(meeting.id)
        assert tablet.participant(meeting.id)["id"] != participant
        bob.join(meeting.id)
        assert bob.participant(meeting.id)["id"] == participant

    @pytest.mark.parametrize(
        "identity",
        [
            {"username": "bob"},
            {"username": "bob", "vtn": "+15550199"},
            {"username": "bob", "vtn": "+15550101", "icmn": "+15550177"},
            {"username": "robert", "vtn": "+15550101"},
            {"username": "Bob", "vtn": "+15550101"},
            {"username": "carol"},
        ],
    )
    def test_another_user_becomes_a_new_participant(
        self, meeting: Meeting, bob: Device, identity: dict[str, str]
    ) -> None:
        """The other user's device has the same label, and the session that left has ended. Neither matters."""
        participant = bob.participant(meeting.id)["id"]
        bob.request("DELETE", f"/sessions/{bob.id}")
        other = Device.register(device="laptop", **identity)
        assert other.join(meeting.id).status_code == 204
        assert other.participant(meeting.id)["id"] != participant
        assert Participant.objects.get(pk=participant).state == "left"

    def test_the_old_device_of_a_move_becomes_a_new_participant(
        self, meeting: Meeting, alice: Device, bob: Device
    ) -> None:
        participant, phone = bob.participant(meeting.id)["id"], Device.register("bob", "phone", vtn="+15550101")
        put(bob, meeting.id, CALL_HOLD, "recvonly")
        bob.delete(meeting.id)
        assert phone.join(meeting.id).status_code == 204
        phone.delete(meeting.id)
        assert bob.join(meeting.id).status_code == 204
        assert bob.participant(meeting.id)["id"] != participant
        assert phone.join(meeting.id).status_code == 204
        assert phone.participant(meeting.id)["id"] == participant

    def test_a_session_prefers_the_participant_that_it_left_itself(self, meeting: Meeting, bob: Device) -> None:
        participant = bob.participant(meeting.id)["id"]
        tablet = Device.register("bob", "tablet", vtn="+15550101")
        tablet.join(meeting.id)
        bob.delete(meeting.id), tablet.delete(meeting.id)
        tablet.request("DELETE", f"/sessions/{tablet.id}")
        bob.join(meeting.id)
        assert bob.participant(meeting.id)["id"] == participant
