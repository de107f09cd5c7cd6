"""Participants raise and lower their hands, and the host lowers the hands of others."""

from typing import Any

import pytest
from pytest_django import Settings

from conferences.models import Participant
from events.clock import instant
from tests.support.actions import HOLD
from tests.support.devices import Device
from tests.support.meeting import Meeting, put
from tests.support.refusals import all_rows, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.mark.any_engine
class TestHands:
    def move(self, meeting: Meeting, by: Device, target: Device, raised: bool) -> Any:
        """Raise or lower a participant's hand, as this device."""
        path = f"/mediaConferences/{meeting.id}/participants/{meeting.participant(target).pk}/hand"
        return by.request("PUT", path, {"raised": raised})

    def test_everyone_else_sees_a_raised_hand_and_so_do_those_who_join_later(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        assert self.move(trio, bob, bob, True).status_code == 204
        assert bob.news() == []
        at = trio.participant(bob).hand_raised_at
        assert at is not None
        raised_at = instant(at)
        for device in (alice, carol):
            (hand,) = device.news()
            assert (hand["type"], hand["participant"]["username"]) == ("participant-hand", "bob")
            assert hand["participant"]["handRaisedAt"] == raised_at
        hands = {each["username"]: each["handRaisedAt"] for each in carol.get(trio.id)["participants"]}
        assert hands == {"alice": None, "bob": raised_at, "carol": None}

    def test_a_hand_that_is_raised_again_keeps_its_turn(self, trio: Meeting, bob: Device) -> None:
        self.move(trio, bob, bob, True)
        before = all_rows()
        assert self.move(trio, bob, bob, True).status_code == 204
        assert all_rows() == before

    def test_the_participant_and_the_host_can_lower_a_hand(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        for by in (bob, alice):
            self.move(trio, bob, bob, True)
            carol.news()
            assert self.move(trio, by, bob, False).status_code == 204
            (hand,) = carol.news()
            assert (hand["type"], hand["participant"]["handRaisedAt"]) == ("participant-hand", None)
        assert bob.participant(trio.id)["handRaisedAt"] is None

    def test_nobody_can_raise_or_lower_the_hand_of_another_except_that_the_host_lowers_it(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        refused(403, "forbidden", self.move, trio, alice, bob, True)
        self.move(trio, bob, bob, True)
        for raised in (True, False):
            refused(403, "forbidden", self.move, trio, carol, bob, raised)
        refused(403, "forbidden", self.move, trio, alice, bob, True)
        assert bob.participant(trio.id)["handRaisedAt"] is not None

    def test_a_participant_that_has_left_has_no_hand(
        self, trio: Meeting, alice: Device, bob: Device, carol: Device
    ) -> None:
        self.move(trio, bob, bob, True)
        carol.news()
        bob.delete(trio.id)
        (left,) = [event for event in carol.news() if event["type"] == "participant-left"]
        assert left["participant"]["handRaisedAt"] is None
        refused(404, "not-found", self.move, trio, alice, bob, False)

    def test_a_hand_stays_up_while_its_participant_is_on_hold(self, trio: Meeting, bob: Device, carol: Device) -> None:
        self.move(trio, bob, bob, True)
        put(bob, trio.id, HOLD, "recvonly")
        (held,) = [event for event in carol.news() if event["type"] == "participant-on-hold"]
        assert held["participant"]["handRaisedAt"] is not None

    def test_hands_count_as_changes(self, trio: Meeting, bob: Device, settings: Settings) -> None:
        settings.CHANGES_PER_MINUTE = 2
        for raised in (True, False):
            assert self.move(trio, bob, bob, raised).status_code == 204
        refused(429, "rate-limited", self.move, trio, bob, bob, True)


@pytest.mark.any_engine
def test_a_conference_remembers_when_it_was_first_answered(alice: Device, bob: Device, carol: Device) -> None:
    conference = alice.gather("bob", "carol").json()["id"]
    assert alice.get(conference)["openedAt"] is None
    bob.join(conference)
    joined_at = Participant.objects.get(conference=conference, username="bob").joined_at
    assert joined_at is not None
    assert alice.get(conference)["openedAt"] == instant(joined_at)
    carol.join(conference)
    assert carol.get(conference)["openedAt"] == instant(joined_at)
