"""Joining open conferences, and their capacity."""

import pytest
from pytest_django import Settings

from tests.support.actions import HOLD, MOD
from tests.support.devices import Device
from tests.support.meeting import Meeting, put, started
from tests.support.refusals import refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
class TestOpenConference:
    def test_any_session_with_the_id_can_join(self, alice: Device, bob: Device, carol: Device) -> None:
        conference = started(alice)
        assert bob.request("GET", f"/mediaConferences/{conference}").status_code == 404
        response = bob.join(conference)
        assert (response.status_code, response["x-state"]) == (204, "accepted")
        assert bob.news_types() == ["mod-accepted"]
        _, opened, offered = alice.news()
        assert (opened["type"], opened["from"]["username"]) == ("session-open", "bob")
        assert offered["causedBy"] == response["x-mod-id"]
        assert carol.join(conference).status_code == 204
        (joined,) = alice.news()
        assert (joined["type"], joined["participant"]["username"]) == ("participant-joined", "carol")
        assert [participant["role"] for participant in carol.get(conference)["participants"]] == [
            "host",
            "guest",
            "guest",
        ]

    def test_it_can_invite_users_too(self, alice: Device, bob: Device, carol: Device) -> None:
        conference = started(alice, "bob")
        carol.join(conference)
        assert bob.join(conference).status_code == 204
        assert len(alice.get(conference)["participants"]) == 3

    def test_only_invited_users_can_join_a_conference_that_is_not_open(
        self, alice: Device, bob: Device, carol: Device
    ) -> None:
        conference = alice.gather("bob").json()["id"]
        refused(404, "not-found", carol.join, conference)
        bob.join(conference)
        refused(409, "already-answered", bob.join, conference)
        bob.delete(conference)

    def test_a_participant_cannot_join_twice(self, trio: Meeting, bob: Device) -> None:
        refused(409, "already-answered", bob.join, trio.id)

    def test_a_user_who_has_left_returns_as_the_same_participant(
        self, trio: Meeting, alice: Device, bob: Device
    ) -> None:
        assert bob.delete(trio.id).json()["outcome"] == "left"
        alice.news()
        assert bob.join(trio.id).status_code == 204
        participants = [
            participant for participant in alice.get(trio.id)["participants"] if participant["username"] == "bob"
        ]
        assert [participant["state"] for participant in participants] == ["accepted"]
        trio.catch_up()
        put(bob, trio.id, HOLD, "recvonly")
        assert bob.participant(trio.id)["state"] == "on-hold"
        assert bob.delete(trio.id).json()["outcome"] == "left"

    def test_another_device_of_the_user_becomes_a_separate_participant(self, trio: Meeting) -> None:
        tablet = Device.register("bob", "tablet")
        assert tablet.join(trio.id).status_code == 204
        assert tablet.delete(trio.id).json()["outcome"] == "left"

    def test_it_stays_open_while_only_its_host_is_in_it(self, alice: Device, bob: Device) -> None:
        conference = started(alice)
        for _ in range(2):
            bob.join(conference)
            assert bob.delete(conference).json()["outcome"] == "left"
        assert alice.get(conference)["state"] == "session-open"
        assert [type_ for type_ in alice.news_types() if type_ == "session-open"] == ["session-open"]
        assert alice.delete(conference).json()["state"] == "session-terminated"

    def test_a_session_with_the_id_of_an_ended_conference_learns_that_it_ended(
        self, alice: Device, bob: Device
    ) -> None:
        conference = started(alice)
        alice.delete(conference)
        refused(409, "conference-not-open", bob.join, conference)

    def test_a_session_that_has_not_joined_can_only_answer(self, alice: Device, bob: Device) -> None:
        conference = started(alice)
        for action in (MOD, HOLD, "accept-conference-mod", "nonsense"):
            refused(404, "not-found", bob.put, conference, action, {"sdp": 7})
        refused(404, "not-found", bob.delete, conference)
        refused(400, "malformed", bob.put, conference, "conference-answer", {"sdp": 7})
        refused(422, "sdp-invalid", bob.put, conference, "conference-answer", {})

    def test_a_peer_conference_cannot_be_open(self, alice: Device) -> None:
        refused(400, "malformed", alice.gather, topology="peer", access="open")


class TestCapacity:
    @pytest.fixture(autouse=True)
    def _small(self, settings: Settings) -> None:
        settings.CONFERENCE_CAPACITY = 3

    def test_an_open_conference_admits_no_more_than_its_capacity(self, trio: Meeting, bob: Device) -> None:
        dave = Device.register("dave")
        refused(409, "conference-full", dave.join, trio.id)
        bob.delete(trio.id)
        assert dave.join(trio.id).status_code == 204

    def test_no_more_users_can_be_invited_than_the_capacity(self, alice: Device) -> None:
        refused(409, "conference-full", alice.gather, "bob", "carol", "dave")
        conference = alice.gather("bob", "carol").json()["id"]
        path = f"/mediaConferences/{conference}/participants"
        refused(409, "conference-full", alice.request, "POST", path, {"to": "dave"})
