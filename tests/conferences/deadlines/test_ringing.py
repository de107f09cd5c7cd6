"""Ringing ends at its deadline."""

from datetime import datetime, timedelta

import pytest
from pytest_django import Settings

from conferences.models import Conference, Participant
from conferences.operations.deadlines import settle_due
from tests.support.actions import CALL_HOLD
from tests.support.deadlines import INSTANT, assert_all_is_settled
from tests.support.descriptions import offer
from tests.support.devices import Call, Device, hold
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


class TestRingingDeadline:
    def until(self, conference: str) -> datetime:
        (until,) = Participant.objects.ringing().filter(conference=conference).values_list("rings_until", flat=True)
        assert until is not None
        return until

    def test_a_call_rings_until_its_deadline(self, ringing: Call, settings: Settings) -> None:
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
        assert [participant["leftReason"] for participant in body["participants"]] == ["conference-ended", "no-answer"]
        assert_all_is_settled(until)

    def test_an_answer_before_the_deadline_stops_the_ringing(self, ringing: Call) -> None:
        until = self.until(ringing.id)
        ringing.bob.answer(ringing.id)
        assert_all_is_settled(until + timedelta(seconds=1))

    def test_a_call_without_any_device_to_ring_ends_too(self, alice: Device) -> None:
        conference = alice.call("nobody").json()["id"]
        assert settle_due(now=self.until(conference)) == 1
        assert alice.get(conference)["state"] == "session-terminated"

    def test_a_participant_whose_move_is_not_answered_leaves(self, call: Call) -> None:
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
